/** Packed addresses are the texts that they were made of, and equal exactly where those are. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { EndpointConfig } from '../../../src/config/endpoints.ts';
import { addressKey, EndpointTraits, hostText, PackedEndpoint, packHost, sameAddress } from '../../../src/config/packed-endpoint.ts';
import { WireReader } from '../../../src/xds/decode/wire.ts';

const TRAITS = new EndpointTraits('', 1, 'healthy', undefined);
const part = fc.oneof(fc.nat(260).map(String), fc.constantFrom('00', '01', '', '-1', '256'));
const host = fc.oneof(
  fc.ipV4(),
  fc.array(part, { minLength: 3, maxLength: 5 }).map((parts) => parts.join('.')),
  fc.constantFrom('::1', 'db.local', '1.2.3.4 ', '255.255.255.255', '0.0.0.0', '10.0.0.1'),
);

test('a host is its text again, also as read from the wire', () => {
  fc.assert(
    fc.property(host, (text) => {
      expect(hostText(packHost(text))).toBe(text);
      const bytes = Buffer.from(text);
      const wire = new WireReader(Buffer.concat([Uint8Array.of(0x12, bytes.length), bytes]));
      expect([wire.next(), wire.host(), wire.next()]).toEqual([true, packHost(text), false]);
    }),
    { numRuns: 2000 },
  );
  expect(typeof packHost('10.0.0.1')).toBe('number');
  expect(packHost('10.0.0.01')).toBe('10.0.0.01');
});

test('addresses are equal where host and port are, packed or not', () => {
  const endpoint = fc.tuple(host, fc.constantFrom(80, 81), fc.boolean()).map(([text, port, packed]): EndpointConfig => {
    if (packed) return new PackedEndpoint(packHost(text), port, TRAITS);
    return { host: text, port, hostname: '', weight: 1, health: 'healthy', metadata: undefined };
  });
  fc.assert(
    fc.property(endpoint, endpoint, fc.boolean(), (a, other, same) => {
      const b: EndpointConfig = same ? { ...plainOf(a) } : other;
      const equal = a.host === b.host && a.port === b.port;
      expect([sameAddress(a, b), addressKey(a) === addressKey(b)]).toEqual([equal, equal]);
    }),
    { numRuns: 2000 },
  );
});

function plainOf({ host: text, port, hostname, weight, health, metadata }: EndpointConfig): EndpointConfig {
  return { host: text, port, hostname, weight, health, metadata };
}
