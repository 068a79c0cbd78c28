/** Text of a `mesh.yaml` → checked `MeshFile`, or every problem with its position. Syntax by `yaml`, keys by `reader.ts`, sense by `checks.ts`. */
import type { YAMLError } from 'yaml';
import { parseDocument } from 'yaml';
import { Checks } from './checks.ts';
import { LineIndex } from './line-index.ts';
import type { FileProblem } from './problem.ts';
import { Reader } from './reader.ts';
import { SHAPES } from './shapes.ts';
import type { MeshFile } from './types.ts';

export type ParsedMeshYaml =
  | { readonly ok: true; readonly file: MeshFile }
  | { readonly ok: false; readonly errors: readonly FileProblem[] };

/** `origin` names the file in messages. Never throws. Problems come in the order in which they stand in the file. */
export function parseMeshYaml(text: string, origin: string): ParsedMeshYaml {
  // YAML 1.2: `off`, `on` and `yes` are texts. Keys are compared by the reader's own rules.
  const document = parseDocument(text, { prettyErrors: false, version: '1.2' });
  const lines = new LineIndex(text);
  if (document.errors.length > 0) return { ok: false, errors: document.errors.map((error) => syntaxProblem(error, origin, lines)) };
  const reader = new Reader(origin, document, lines, SHAPES);
  if (document.contents === null) {
    return {
      ok: false,
      errors: [
        {
          file: origin,
          line: 1,
          column: 1,
          length: 1,
          path: '',
          message: 'the file is empty',
          cure: 'Begin with "version: 1" and "services:".',
        },
      ],
    };
  }
  const raw = reader.shape('file', document.contents, '');
  const file = raw === undefined || reader.problems.length > 0 ? undefined : new Checks(reader, raw, origin).file();
  if (file === undefined || reader.problems.length > 0) {
    return { ok: false, errors: reader.problems.sort((a, b) => a.line - b.line || a.column - b.column) };
  }
  return { ok: true, file };
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
