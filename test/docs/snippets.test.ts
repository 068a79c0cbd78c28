/** Code in the pages is right: TypeScript type-checks against the built package, YAML of `mesh.yaml` is valid, JSON is JSON. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { loadMeshYaml } from '../../src/sources/mesh-yaml/load.ts';
import { PAGES, root } from './pages.ts';

const blocks = PAGES.flatMap((page) => page.blocks);
const KNOWN = new Set(['ts', 'yaml', 'json', 'sh', 'console', 'text', 'proto']);

test('every block says what it is', () => {
  expect(blocks.filter(({ language }) => !KNOWN.has(language)).map(({ page, line, language }) => `${page}:${line} ${language}`)).toEqual(
    [],
  );
});

/** A project that sees the built package as its users do. Returns tsc's output. */
function typeCheck(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-docs-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, 'node_modules'));
  symlinkSync(root, join(folder, 'node_modules/inmesh'));
  for (const name of ['@grpc', '@types', '@opentelemetry', 'undici'])
    symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2023',
    lib: ['es2023', 'dom'],
    types: ['node'],
    strict: true,
    noEmit: true,
    skipLibCheck: true,
  };
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions }));
  writeFileSync(join(folder, 'globals.d.ts'), "declare const mesh: import('inmesh').Mesh;\n");
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  const { stdout, stderr } = spawnSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder], {
    cwd: folder,
    encoding: 'utf8',
  });
  return `${stdout}${stderr}`;
}

test('TypeScript type-checks', () => {
  const snippets = blocks.filter(({ language }) => language === 'ts');
  expect(snippets.length).toBeGreaterThan(3);
  // Lines of the error messages are those of the page.
  const files = snippets.map(
    ({ page, line, code }) => [`${page.replaceAll('/', '_')}.${line}.ts`, `${'\n'.repeat(line)}${code}export {};\n`] as const,
  );
  expect(typeCheck(Object.fromEntries(files))).toBe('');
});

test('the type check finds what is wrong', () => {
  expect(
    typeCheck({ 'wrong.ts': "import { createMesh } from 'inmesh';\nconst m = await createMesh();\nm.fetsch('http://a/');\n" }),
  ).toContain("'fetsch'");
});

test.each(
  blocks
    .filter(({ language, code }) => language === 'yaml' && /^version: 1$/m.test(code))
    .map((block) => [`${block.page}:${block.line}`, block.code] as const),
)('the mesh.yaml at %s is valid', (_where, code) => {
  const loaded = loadMeshYaml(code, 'mesh.yaml', { previous: undefined });
  expect(loaded.ok ? [] : loaded.errors).toEqual([]);
});

test.each(['fetch-yaml', 'express-service', 'grpc', 'register', 'go-control-plane'])('examples/%s/mesh.yaml is valid', (folder) => {
  const loaded = loadMeshYaml(readFileSync(join(root, 'examples', folder, 'mesh.yaml'), 'utf8'), 'mesh.yaml', { previous: undefined });
  expect(loaded.ok ? [] : loaded.errors).toEqual([]);
});

test('JSON is JSON', () => {
  for (const { language, code } of blocks) if (language === 'json') JSON.parse(code);
});
