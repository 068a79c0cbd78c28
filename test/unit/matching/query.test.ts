import { expect, test } from 'vitest';
import { compileQuery, queryParameter } from '../../../src/matching/query.ts';

test.each([
  ['/p', 'a', undefined],
  ['/p?', 'a', undefined],
  ['/p?a=1', 'a', '1'],
  ['/p?a', 'a', ''],
  ['/p?a=', 'a', ''],
  ['/p?b=2&a=1', 'a', '1'],
  ['/p?a=1&a=2', 'a', '1'],
  ['/p?ab=1', 'a', undefined],
  ['/p?ba=1', 'a', undefined],
  ['/p?a=1=2', 'a', '1=2'],
  ['/p?a=%20', 'a', '%20'],
  ['/p?%61=1', 'a', undefined],
  ['/p?x=?&a=1', 'a', '1'],
  ['/p?&&a=1', 'a', '1'],
  ['/p/a=1', 'a', undefined],
])('in %j the value of %j is %j (Envoy R-22)', (path, name, value) => {
  expect(queryParameter(path, name)).toBe(value);
});

test.each([
  [true, '/p?debug', true],
  [true, '/p', false],
  [false, '/p', true],
  [false, '/p?debug=1', false], // D10
])('present %s on %j is %s', (present, path, expected) => {
  expect(compileQuery({ name: 'debug', match: { kind: 'present', present } })(path)).toBe(expected);
});

test('a string matcher needs the key', () => {
  const match = compileQuery({ name: 'v', match: { kind: 'string', matcher: { kind: 'regex', value: '[0-9]*', ignoreCase: false } } });
  expect([match('/p?v=12'), match('/p?v'), match('/p'), match('/p?v=x')]).toEqual([true, true, false, false]);
});
