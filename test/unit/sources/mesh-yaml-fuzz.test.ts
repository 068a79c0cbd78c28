/** Whatever a file contains: a value or problems that point into it, never a throw. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { loadMeshYaml } from '../../../src/sources/mesh-yaml/load.ts';
import { printProblem } from '../../../src/sources/mesh-yaml/problem.ts';
import { SHAPES } from '../../../src/sources/mesh-yaml/shapes.ts';

const EXAMPLE =
  /```yaml\n([\s\S]*?)```/.exec(readFileSync(new URL('../../../docs/reference/mesh-yaml.md', import.meta.url), 'utf8'))?.[1] ?? '';

function check(text: string): void {
  const loaded = loadMeshYaml(text, 'f');
  if (loaded.ok) return;
  expect(loaded.errors.length).toBeGreaterThan(0);
  const lines = text.split('\n');
  for (const problem of loaded.errors) {
    expect(problem.line).toBeGreaterThanOrEqual(1);
    expect(problem.line).toBeLessThanOrEqual(lines.length);
    expect(problem.column).toBeGreaterThanOrEqual(1);
    expect(problem.column).toBeLessThanOrEqual((lines[problem.line - 1] ?? '').length + 1);
    expect(problem.cure).not.toBe('');
    expect(printProblem(text, problem)).toContain('^');
  }
}

test('a file with a piece replaced', () => {
  expect(loadMeshYaml(EXAMPLE, 'f').ok).toBe(true);
  const piece = fc.oneof(
    fc.string({ maxLength: 6 }),
    fc.constantFrom(': ', '- ', '[', '}', '\n', '&a ', '*a', '"', '*', '0', '<<: ', '!!set ', '? ', '|', '---\n'),
  );
  fc.assert(
    fc.property(fc.nat(EXAMPLE.length), fc.nat(12), piece, (at, length, inserted) =>
      check(EXAMPLE.slice(0, at) + inserted + EXAMPLE.slice(at + length)),
    ),
    { numRuns: 600 },
  );
});

test('known keys with any values', () => {
  const keys = Object.values(SHAPES).flatMap((shape) => Object.keys(shape.keys));
  const leaf = fc.oneof(
    fc.constantFrom('1s', '20%', '/x/**', 'a', 'spiffe://dev/a', '127.0.0.1:80', 'strict', 'v1'),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
  );
  const { node } = fc.letrec((tie) => ({
    node: fc.oneof(
      { depthSize: 'small' },
      leaf,
      fc.array(tie('node'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...keys), tie('node'), { maxKeys: 4 }),
    ),
  }));
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom(...Object.keys(SHAPES['service']?.keys ?? {})), node, { maxKeys: 5 }),
      node,
      (service, inbound) => check(stringify({ version: 1, services: { a: service }, inbound: [inbound] })),
    ),
    { numRuns: 400 },
  );
});
