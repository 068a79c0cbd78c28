/** Text of a YAML file → a reader over it and its root, or what is wrong with the syntax, with its place. Which keys there are is the shapes' business. */
import type { Node, YAMLError } from 'yaml';
import { parseDocument } from 'yaml';
import { LineIndex } from './line-index.ts';
import type { FileProblem } from './problem.ts';
import { Reader } from './reader.ts';
import type { ShapeSpec } from './type-spec.ts';

export type OpenedYaml =
  | { readonly ok: true; readonly reader: Reader; readonly root: Node }
  | { readonly ok: false; readonly errors: readonly FileProblem[] };

/** `origin` names the file in messages; `begin` says what to write into an empty one; `merge`: `<<` keys are merged. Never throws. */
export function openYaml(
  text: string,
  origin: string,
  shapes: Readonly<Record<string, ShapeSpec>>,
  begin: string,
  merge = false,
): OpenedYaml {
  // YAML 1.2: `off`, `on` and `yes` are texts. Keys are compared by the reader's own rules.
  const document = parseDocument(text, { prettyErrors: false, version: '1.2', merge });
  const lines = new LineIndex(text);
  if (document.errors.length > 0) return { ok: false, errors: document.errors.map((error) => syntaxProblem(error, origin, lines)) };
  if (document.contents === null) {
    const place = { file: origin, line: 1, column: 1, length: 1, path: '' };
    return { ok: false, errors: [{ ...place, message: 'the file is empty', cure: begin }] };
  }
  return { ok: true, reader: new Reader(origin, document, lines, shapes), root: document.contents };
}

/** Problems in the order in which they stand in the file. */
export function inOrder(problems: readonly FileProblem[]): readonly FileProblem[] {
  return problems.toSorted((a, b) => a.line - b.line || a.column - b.column);
}

const SYNTAX_CURES: Readonly<Partial<Record<YAMLError['code'], string>>> = {
  TAB_AS_INDENT: 'Indent with spaces.',
  DUPLICATE_KEY: 'Keep one of the two.',
  BAD_INDENT: 'Give keys of one map the same indentation.',
  MISSING_CHAR: 'Close what was opened, or quote the text.',
  MULTIPLE_DOCS: 'Keep one document: take the "---" away.',
  MULTILINE_IMPLICIT_KEY: 'Put a colon and a space behind the key, and quote texts that hold a colon.',
  BLOCK_AS_IMPLICIT_KEY: 'Begin nested keys on a line of their own, with more indentation; quote texts that hold ": ".',
};

function syntaxProblem(error: YAMLError, origin: string, lines: LineIndex): FileProblem {
  const [from, to] = error.pos;
  const message = error.message.replace(/\s+/g, ' ').replace(/[.:]$/, '');
  const place = { file: origin, ...lines.at(from), length: Math.max(1, to - from), path: '' };
  // The library reports an unclosed bracket at the next line that is not indented like its content.
  const code = error.code === 'BAD_INDENT' && message.startsWith('Flow') ? 'MISSING_CHAR' : error.code;
  return { ...place, message: `not YAML: ${message}`, cure: SYNTAX_CURES[code] ?? 'Mend the YAML syntax here.' };
}
