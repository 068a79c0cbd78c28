import { isIP } from 'node:net';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { compileCidr, isLoopback, parseAddress } from '../../../src/matching/cidr.ts';

const contains = (address: string, prefixLength: number, peer: string): boolean => {
  const bytes = parseAddress(peer);
  return bytes !== undefined && compileCidr({ address, prefixLength }).contains(bytes);
};

test.each([
  ['10.0.0.0', 8, '10.255.1.2', true],
  ['10.0.0.0', 8, '11.0.0.1', false],
  ['10.1.2.3', 32, '10.1.2.3', true],
  ['10.1.2.3', 32, '10.1.2.2', false],
  ['0.0.0.0', 0, '1.2.3.4', true],
  ['0.0.0.0', 0, '::1', false],
  ['::', 0, '1.2.3.4', false],
  ['::', 0, '2001:db8::1', true],
  ['10.0.0.0', 8, '::ffff:10.1.1.1', true],
  ['::ffff:10.0.0.0', 104, '10.1.1.1', true],
  ['::ffff:10.0.0.0', 104, '11.1.1.1', false],
  ['10.64.0.0', 10, '10.127.255.255', true],
  ['10.64.0.0', 10, '10.128.0.0', false],
  ['2001:db8::', 33, '2001:db8:7fff::1', true],
  ['2001:db8::', 33, '2001:db8:8000::1', false],
  ['10.0.0.0', 99, '10.0.0.0', true],
  ['10.0.0.0', 99, '10.0.0.1', false],
  ['fe80::', 10, 'fe80::1%eth0', true],
])('%s/%i holds %s: %s', (address, length, peer, expected) => {
  expect(contains(address, length, peer)).toBe(expected);
});

test('what is no address is refused', () => {
  for (const bad of [
    '',
    'x',
    '1.2.3',
    '1.2.3.4.5',
    '256.1.1.1',
    '01.2.3.4',
    '1::2::3',
    ':::',
    '12345::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '::1.2.3',
  ]) {
    expect(parseAddress(bad), bad).toBeUndefined();
    expect(() => compileCidr({ address: bad, prefixLength: 8 })).toThrow('is not an IP address');
  }
});

test('the same texts are addresses as for Node', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.ipV4(),
        fc.ipV6(),
        fc.array(fc.constantFrom(':', '::', '1', 'f', '.', '0', '12', '256', 'g'), { maxLength: 12 }).map((parts) => parts.join('')),
      ),
      (text) => {
        expect(parseAddress(text) !== undefined, text).toBe(isIP(text) !== 0);
      },
    ),
    { numRuns: 3000 },
  );
});

test('loopback', () => {
  expect(
    ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1', '10.0.0.1', '::2', '::'].map((text) => isLoopback(parseAddress(text) ?? [])),
  ).toEqual([true, true, true, true, false, false, false]);
});
