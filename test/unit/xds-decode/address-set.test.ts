import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { AddressSet } from '../../../src/xds/decode/address-set.ts';

const part = fc.oneof(fc.integer({ min: 0, max: 3 }).map(String), fc.constantFrom('255', '256', '01', '', 'a'));
const host = fc.oneof(
  fc.tuple(part, part, part, part).map((parts) => parts.join('.')),
  fc.constantFrom('::1', 'localhost', '1.2.3', '1.2.3.4.5', '1.2.3.'),
);

test('finds what a set of texts finds', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(host, fc.integer({ min: 1, max: 4 })), { maxLength: 400 }), (addresses) => {
      const set = new AddressSet();
      const seen = new Set<string>();
      for (const [name, port] of addresses) {
        const key = `${name} ${port}`;
        expect(set.add(name, port)).toBe(!seen.has(key));
        seen.add(key);
      }
    }),
  );
});

test('many neighbours', () => {
  const set = new AddressSet();
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 50_000; i++) expect(set.add(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, 8080)).toBe(round === 0);
  }
});
