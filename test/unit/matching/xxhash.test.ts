import { expect, test } from 'vitest';
import { loadXxhash, xxh64 } from '../../../src/matching/xxhash.ts';

test('before it is loaded it says so, then it gives the reference values', async () => {
  expect(() => xxh64('foo')).toThrow('Await loadXxhash() first');
  await loadXxhash();
  // Envoy's golden values (envoy.md §3.8).
  expect(xxh64('foo')).toBe(3728699739546630719n);
  expect(xxh64('bar')).toBe(5234164152756840025n);
  expect(xxh64('')).toBe(17241709254077376921n);
  expect(xxh64('lyft')).toBe(4400747396090729504n);
  // Values of several headers are chained by the seed.
  expect(xxh64('bar', xxh64('foo'))).toBe(17745830980996999794n);
});
