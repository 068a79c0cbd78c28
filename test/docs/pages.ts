/** The pages of the documentation as data: code blocks, tables and links, with the line they stand on. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));

export interface Block {
  readonly page: string;
  readonly line: number;
  readonly language: string;
  readonly code: string;
}

export interface Page {
  /** Relative to the root of the repository. */
  readonly path: string;
  readonly text: string;
  readonly blocks: readonly Block[];
  /** Text without code blocks. */
  readonly prose: string;
}

function read(path: string): Page {
  const text = readFileSync(join(root, path), 'utf8');
  const blocks: Block[] = [];
  const prose = text.replaceAll(/^```(\w*)\n([^]*?)^```$/gm, (whole, language: string, code: string, offset: number) => {
    blocks.push({ page: path, line: text.slice(0, offset).split('\n').length, language, code });
    return whole.replaceAll(/[^\n]/g, '');
  });
  return { path, text, blocks, prose };
}

export const PAGES: readonly Page[] = ['README.md', 'docs/**/*.md', 'examples/*/README.md']
  .flatMap((pattern) => globSync(pattern, { cwd: root }))
  .toSorted()
  .map(read);

export function page(path: string): Page {
  const found = PAGES.find((candidate) => candidate.path === path);
  if (found === undefined) throw new Error(`there is no page ${path}`);
  return found;
}

/** Lines of `sh` blocks: commands that must work, from the root of the repository. */
export function commands(): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const { blocks } of PAGES) {
    for (const { page: path, line, language, code } of blocks) {
      if (language !== 'sh') continue;
      for (const [index, text] of code.trimEnd().split('\n').entries())
        if (!found.has(text)) found.set(text, `${path}:${line + 1 + index}`);
    }
  }
  return found;
}

/** Rows of the table whose first column has this heading; cells without their backticks when they are one piece of code. */
export function table(path: string, heading: string, nth = 0): readonly (readonly string[])[] {
  const lines = page(path).prose.split('\n');
  const heads = lines.flatMap((line, index) => (line.startsWith('|') && line.split('|')[1]?.trim() === heading ? [index] : []));
  const head = heads[nth];
  if (head === undefined) throw new Error(`${path} has no table that begins with "${heading}"`);
  const rows: string[][] = [];
  for (let i = head + 2; lines[i]?.startsWith('|') === true; i++) {
    const cells = (lines[i] ?? '').slice(1, -1).replaceAll('\\|', '\u0000').split('|');
    rows.push(
      cells.map((cell) =>
        cell
          .replaceAll('\u0000', '|')
          .trim()
          .replace(/^`([^`]*)`$/, '$1'),
      ),
    );
  }
  return rows;
}
