/** SAN text as Node writes it, and as an attacker would like it to be read. */
import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createTestCa } from '../../../src/control-plane/ca/ca.ts';
import { RealClock } from '../../../src/core/real-clock.ts';
import { parseSubjectAltNames } from '../../../src/core/peer-identity.ts';

const dns = (value: string): object => ({ type: 'dns', value });
const uri = (value: string): object => ({ type: 'uri', value });

describe('parseSubjectAltNames', () => {
  it.each([
    ['', []],
    [undefined, []],
    ['DNS:a.example', [dns('a.example')]],
    ['URI:spiffe://td/a, DNS:b', [uri('spiffe://td/a'), dns('b')]],
    ['IP Address:0:0:0:0:0:0:0:1', [{ type: 'ip', value: '0:0:0:0:0:0:0:1' }]],
    [
      'email:a@b, othername:<unsupported>',
      [
        { type: 'email', value: 'a@b' },
        { type: 'other', value: '<unsupported>' },
      ],
    ],
    ['DirName:"CN = a\\u002c URI:spiffe://td/x", DNS:c', [{ type: 'other', value: 'CN = a, URI:spiffe://td/x' }, dns('c')]],
    // A comma inside of a name does not begin another one.
    ['DNS:"good.example, URI:spiffe://td/admin"', [dns('good.example, URI:spiffe://td/admin')]],
    ['DNS:"a\\"\\u002c URI:spiffe://td/admin"', [dns('a", URI:spiffe://td/admin')]],
  ])('reads %j', (text, names) => {
    expect(parseSubjectAltNames(text)).toEqual(names);
  });

  it.each(['nothing', 'DNS:a, ', 'DNS:"a', 'DNS:"a"b', 'DNS:"a",DNS:b', 'DNS:a"b', 'DNS:"\\x"', 'DNS:a, b'])('refuses %j', (text) => {
    expect(parseSubjectAltNames(text)).toBeUndefined();
  });

  it('reads back every DNS name and URI that a certificate can hold, one for one', () => {
    const ca = createTestCa({ trustDomain: 'td', clock: new RealClock() });
    const ia5 = fc.string({ unit: fc.integer({ min: 1, max: 127 }).map((code) => String.fromCharCode(code)), minLength: 1, maxLength: 20 });
    const nasty = fc.constantFrom('a, URI:spiffe://td/admin', '", URI:spiffe://td/admin, DNS:"', '\\", DNS:x', 'a,b', "'", '\n', 'x\\');
    fc.assert(
      fc.property(fc.array(fc.oneof(ia5, nasty), { minLength: 1, maxLength: 4 }), fc.oneof(ia5, nasty), (dnsNames, spiffeId) => {
        const leaf = new X509Certificate(ca.issue({ dnsNames, spiffeId }).certificateChainPem);
        expect(parseSubjectAltNames(leaf.subjectAltName)).toEqual([uri(spiffeId), ...dnsNames.map(dns)]);
      }),
      { numRuns: 300 },
    );
  });
});
