/** Which transport socket an endpoint gets (Cluster.transport_socket_matches): the first entry whose every key and value its metadata has. */
import { expect, test } from 'vitest';
import type { UpstreamTlsConfig } from '../../../src/config/tls.ts';
import { SocketMatches } from '../../../src/cluster/socket-matches.ts';

const tls = (name: string): UpstreamTlsConfig => ({ sni: name }) as UpstreamTlsConfig;
const bytes = (labels: object): Uint8Array =>
  Buffer.from(JSON.stringify({ 'envoy.transport_socket_match': labels, other: { tlsMode: 'istio' } }));

function made(): SocketMatches {
  return new SocketMatches(
    [
      { name: 'both', match: { tlsMode: 'istio', zone: 1 }, tls: tls('both') },
      { name: 'one', match: { tlsMode: 'istio' }, tls: tls('one') },
      { name: 'plain', match: { tlsMode: 'disabled' }, tls: undefined },
    ],
    (config) => config.sni as never,
    (metadata) => JSON.parse(Buffer.from(metadata).toString()) as never,
  );
}

test.each([
  [{ tlsMode: 'istio', zone: 1, more: true }, 'both'],
  [{ tlsMode: 'istio', zone: 2 }, 'one'],
  [{ tlsMode: 'istio', zone: '1' }, 'one'],
  [{ tlsMode: 'disabled' }, undefined],
])('%j: %s', (labels, expected) => {
  expect(made().of(bytes(labels))).toMatchObject({ security: expected });
});

test.each([[undefined], [bytes({})], [bytes({ zone: 1 })]])('no entry matches: the cluster’s own socket counts', (metadata) => {
  expect(made().of(metadata)).toBeUndefined();
});

test('an entry that asks for nothing matches everything', () => {
  const all = new SocketMatches(
    [{ name: 'all', match: {}, tls: tls('all') }],
    (config) => config.sni as never,
    () => ({}),
  );
  expect(all.of(undefined)).toMatchObject({ security: 'all' });
});

test('metadata is read once for the same bytes', () => {
  let reads = 0;
  const matches = new SocketMatches(
    [{ name: 'x', match: { a: 1 }, tls: tls('x') }],
    (config) => config.sni as never,
    () => {
      reads++;
      return {};
    },
  );
  const metadata = bytes({});
  for (let i = 0; i < 5; i++) matches.of(metadata);
  expect(reads).toBe(1);
});
