import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import {
  ADAPTER_EXTRAS,
  BANNED,
  CONTAINMENT,
  EXTRA_EDGES,
  LEVELS,
  MAX_LINES,
  ROOT_FILES,
  SMALL_SHARE,
  TYPE_ONLY_IMPORTS,
} from './rules.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');

interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** Comments and strings blanked out. */
  readonly code: string;
  readonly imports: readonly { readonly to: string; readonly typeOnly: boolean }[];
}

function stripped(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`/g, ' ');
}

function importsOf(text: string): { to: string; typeOnly: boolean }[] {
  const found: { to: string; typeOnly: boolean }[] = [];
  const bare = text.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/[^\n]*/gm, ' ');
  for (const match of bare.matchAll(/(?:^|\n)\s*(import|export)\s+(type\s+)?[^'"`;]*?\bfrom\s+['"]([^'"]+)['"]/g))
    found.push({ to: match[3] ?? '', typeOnly: match[2] !== undefined });
  for (const match of bare.matchAll(/(?:^|\n)\s*import\s+['"]([^'"]+)['"]/g)) found.push({ to: match[1] ?? '', typeOnly: false });
  return found;
}

const files: SourceFile[] = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .map((path) => posix.join('src', path.replaceAll('\\', '/')))
  .filter((path) => path.endsWith('.ts') && !path.startsWith('src/proto/gen/'))
  .map((path) => {
    const text = readFileSync(join(root, path), 'utf8');
    return { path, text, code: stripped(text), imports: importsOf(text) };
  });

const levelOf = (path: string): number | undefined => LEVELS.find(([prefix]) => path.startsWith(prefix))?.[1];
const folderOf = (path: string): string =>
  ROOT_FILES.test(path)
    ? 'src'
    : path
        .split('/')
        .slice(0, path.startsWith('src/adapters/') ? 3 : 2)
        .join('/');
const resolved = (from: string, to: string): string => posix.normalize(posix.join(posix.dirname(from), to));

test('the scan sees the source', () => {
  expect(files.length).toBeGreaterThan(60);
  expect(files.flatMap((file) => file.imports).length).toBeGreaterThan(150);
});

test('every file has a level, and imports only lower levels and its own folder', () => {
  const wrong: string[] = [];
  for (const { path, imports } of files) {
    if (path.startsWith('src/testing/')) continue;
    const level = levelOf(path);
    if (level === undefined) {
      wrong.push(`${path} has no level in test/architecture/rules.ts`);
      continue;
    }
    for (const { to } of imports) {
      if (!to.startsWith('.')) continue;
      const target = resolved(path, to);
      if (target.startsWith('src/testing/')) wrong.push(`${path} imports the test kit ${target}`);
      if (folderOf(target) === folderOf(path)) continue;
      const other = levelOf(target);
      if (path.startsWith('src/adapters/')) {
        if (target.startsWith('src/core/') || ADAPTER_EXTRAS.some(([from, into]) => from.test(path) && into.test(target))) continue;
        wrong.push(`${path} imports ${target}: adapters see core/ and their library only`);
      } else if (other === undefined || (other >= level && !EXTRA_EDGES.some(([from, into]) => from.test(path) && into.test(target)))) {
        wrong.push(`${path} (level ${level}) imports ${target} (level ${String(other)})`);
      }
    }
  }
  expect(wrong).toEqual([]);
});

test('there are no import cycles', () => {
  const graph = new Map(
    files.map((file) => [file.path, file.imports.filter((i) => i.to.startsWith('.') && !i.typeOnly).map((i) => resolved(file.path, i.to))]),
  );
  const state = new Map<string, 'open' | 'done'>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    if (state.get(path) === 'done') return;
    if (state.get(path) === 'open') {
      cycles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '));
      return;
    }
    state.set(path, 'open');
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    state.set(path, 'done');
  };
  for (const path of graph.keys()) visit(path, []);
  expect(cycles).toEqual([]);
});

test('third-party packages stay where they belong', () => {
  const wrong: string[] = [];
  for (const { path, imports } of files) {
    for (const { to, typeOnly } of imports) {
      if (to.startsWith('.') || to.startsWith('node:')) continue;
      const name = to
        .split('/')
        .slice(0, to.startsWith('@') ? 2 : 1)
        .join('/');
      if (builtinModules.includes(name)) wrong.push(`${path} imports ${to} without node:`);
      else {
        const rule = CONTAINMENT.find(([known]) => known === name);
        if (rule === undefined) wrong.push(`${path} imports ${name}, which is no dependency of ours`);
        else if (!rule[1].test(path) && !(typeOnly && (name === '@bufbuild/protobuf' || TYPE_ONLY_IMPORTS.test(path))))
          wrong.push(`${path} imports ${name}: only ${rule[1].source} may`);
      }
    }
  }
  expect(wrong).toEqual([]);
});

test('time, chance, environment and console have one home each', () => {
  const wrong: string[] = [];
  for (const { path, code } of files) {
    if (path.startsWith('src/testing/')) continue;
    for (const [what, allowed, cure] of BANNED)
      if (what.test(code) && !allowed.test(path)) wrong.push(`${path} uses ${what.source}: ${cure}`);
  }
  expect(wrong).toEqual([]);
});

test('no default exports, no export *, no any, no utils', () => {
  const wrong: string[] = [];
  for (const { path, code } of files) {
    if (/\bexport\s+default\b/.test(code)) wrong.push(`${path}: default export`);
    if (/\bexport\s+\*/.test(code)) wrong.push(`${path}: export *`);
    if (/(:|<|as|,|\|)\s*any\b(?!\w)/.test(code)) wrong.push(`${path}: any`);
    if (/(^|\/)(utils?|helpers?|misc|common)\.ts$/.test(path)) wrong.push(`${path}: a name that says nothing`);
  }
  expect(wrong).toEqual([]);
});

test('files are small and say what they are', () => {
  const long = files
    .filter(({ text }) => text.split('\n').length > MAX_LINES)
    .map(({ path, text }) => `${path}: ${text.split('\n').length} lines`);
  expect(long).toEqual([]);
  const small = files.filter(({ text }) => text.split('\n').length <= 250).length;
  expect(small / files.length).toBeGreaterThanOrEqual(SMALL_SHARE);
  expect(files.filter(({ text }) => !/^(#![^\n]*\n)?\/\*\*/.test(text)).map(({ path }) => path)).toEqual([]);
});
