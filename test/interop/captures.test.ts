/**
 * What Consul 1.22.7 and Envoy Gateway 1.9.0 really sent, replayed message by message to a mesh in the sidecar view: every response has one answer,
 * what is refused is refused for a limit that the reference page names, and what is left at the end is what they said.
 */
import { describe, expect, test } from 'vitest';
import type { Mesh } from '../../src/index.ts';
import { startMesh, until } from './harness.ts';
import { messagesOf, readCapture, startReplay } from './replay.ts';

/** Where an in-process client would call: Consul's upstream listener, Envoy Gateway's listeners. */
const CONSUL = ['any.test:9191', 'any.test:9192'];
const GATEWAY = ['api.example.test:10080', 'grpc.example.test:10080', 'api.example.test:10443'];

async function replayed(
  name: string,
  include: readonly string[],
  unasked: readonly string[] = [],
): Promise<{ readonly mesh: Mesh; readonly nacks: readonly string[] }> {
  const capture = readCapture(name);
  const messages = messagesOf(capture);
  const replay = await startReplay(capture);
  const mesh = await startMesh({
    bootstrap: { xds_servers: [{ server_uri: replay.address, channel_creds: [{ type: 'insecure' }] }], node: { id: 'web-sidecar-proxy' } },
    include,
    subscribe: 'wildcard',
    protocol: capture.transport,
    startTimeout: 60_000,
  });
  // A call asks for what its listener names.
  for (const host of include)
    void mesh.fetch(`http://${host}/`).then(
      (response) => response.text(),
      () => undefined,
    );
  const due = messages.filter(({ typeUrl }) => !unasked.some((type) => typeUrl.endsWith(`.${type}`)));
  await until('every message is sent and answered', () => due.every(({ nonce }) => replay.answers.has(nonce)), 8_000).catch(
    (error: unknown) => {
      throw new Error(
        `${String(error)}; answered ${[...replay.answers.keys()].join()}; waiting ${replay.waiting().join()}; nacks ${replay.nacks.join()}`,
      );
    },
  );
  expect(replay.waiting()).toEqual(unasked);
  for (const [nonce, count] of replay.answers) expect(count, `answers to ${nonce}`).toBe(1);
  return { mesh, nacks: replay.nacks };
}

/** Names of a type that the server has at the end, by its own messages. */
function left(name: string, type: string): string[] {
  const names = new Set<string>();
  for (const message of messagesOf(readCapture(name))) {
    if (!message.typeUrl.endsWith(type)) continue;
    for (const added of message.names) names.add(added);
    for (const removed of message.removed) names.delete(removed);
  }
  return [...names].sort();
}

const accepted = (mesh: Mesh, type: string): string[] =>
  (mesh.describe().source?.resources ?? [])
    .flatMap(({ typeUrl, name, status }) => (typeUrl.endsWith(type) && status === 'ACKED' ? [name] : []))
    .sort();

describe('Consul', () => {
  test.each([
    ['consul-web-delta', []],
    // Its only route leads to the aggregate.
    ['consul-web-delta-grpc', ['ClusterLoadAssignment']],
    ['consul-web-delta-updates', []],
    ['consul-web-delta-ca-rotation', []],
  ])('%s', async (name, unasked) => {
    const { mesh, nacks } = await replayed(name, CONSUL, unasked);
    expect(nacks).toEqual([]);
    expect(accepted(mesh, '.Cluster')).toEqual(left(name, '.Cluster'));
    expect(accepted(mesh, '.Listener')).toEqual(left(name, '.Listener'));
    expect(accepted(mesh, '.RouteConfiguration')).toEqual(['api']);
    // The failover cluster is an aggregate, which does not run here: calls to it say so; the mesh goes on.
    const fields = mesh.describe().source?.unsupported.map(({ field }) => field);
    expect(fields).toContain('cluster_type=envoy.clusters.aggregate');
    expect(JSON.stringify(mesh.describe())).not.toMatch(/PRIVATE KEY|REDACTD KEY/);
  });

  test.each(['consul-api1-delta', 'consul-api1-delta-grpc', 'consul-api2-delta', 'consul-db1-delta'])(
    '%s: the serving side',
    async (name) => {
      const { mesh, nacks } = await replayed(name, ['any.test:1']);
      expect(nacks).toEqual([]);
      expect(accepted(mesh, '.Listener')).toEqual(left(name, '.Listener'));
    },
  );

  test('instances into maintenance and back, a split that ends: the mesh follows', async () => {
    const { mesh } = await replayed('consul-web-delta', CONSUL);
    const [cluster] = mesh.describe().clusters.filter(({ name }) => name.startsWith('v2.api'));
    expect(cluster?.endpoints.map(({ address }) => address)).toEqual(['127.0.0.22:21002']);
    expect(cluster?.tls).toBe(true);
  });
});

describe('Envoy Gateway', () => {
  test.each([
    ['envoy-gateway-delta', [], []],
    ['envoy-gateway-sotw', [], []],
    // A documented limit: rate limits on the way in. With its listener refused, nobody asks for what that leads to.
    ['envoy-gateway-delta-update', ['local_ratelimit'], ['Secret']],
    ['envoy-gateway-sotw-update', ['local_ratelimit'], ['Secret']],
  ] as const)('%s', async (name, limits, unasked) => {
    const { mesh, nacks } = await replayed(name, GATEWAY, unasked);
    for (const nack of nacks)
      for (const line of nack.split(';\n'))
        expect(
          limits.some((limit) => line.includes(limit)),
          line,
        ).toBe(true);
    expect(new Set(nacks.flatMap((nack) => limits.filter((limit) => nack.includes(limit)))).size).toBe(limits.length);
    expect(accepted(mesh, '.Cluster')).toContain('httproute/default/api/rule/0');
    // A split by localities is one cluster whose weights must count.
    expect(mesh.describe().clusters.find((cluster) => cluster.name === 'httproute/default/api/rule/1')?.endpoints.length).toBeGreaterThan(
      1,
    );
  });
});
