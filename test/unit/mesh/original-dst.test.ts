/** Clusters of type ORIGINAL_DST, such as Istio's PassthroughCluster: the host that the call names is dialled. */
import { expect, test } from 'vitest';
import type { ResourceTypes } from '../../../src/config/resource.ts';
import { apiListener, clusterConfig, detailsOf, endpointsOf, engineSetup } from '../../support/mesh-engine.ts';
import { forward, route, routeConfig, virtualHost } from '../routing/builders.ts';

const to = (name: string, ...domains: readonly string[]) =>
  virtualHost({ name, domains, routes: [route({ action: forward({ cluster: { kind: 'cluster', name } }) })] });
const PASS: ResourceTypes['cluster'] = clusterConfig('PassthroughCluster', { discovery: { kind: 'original-dst' } });

function setup() {
  const made = engineSetup({ include: ['*'] });
  made.source.candidates = () => ['any'];
  made.source
    .put('listener', 'any', apiListener('any', routeConfig({ virtualHosts: [to('shop', 'shop'), to('PassthroughCluster', '*')] })))
    .cluster('shop', 1)
    .put('cluster', 'PassthroughCluster', PASS);
  made.engine.roots?.demand('any');
  made.source.push();
  return made;
}

test('hosts of the mesh are the mesh, all others are dialled as they are named', async () => {
  const { send, transport, source } = setup();
  for (const authority of ['shop', 'example.com', 'example.com:8080', '192.0.2.7:81', '[2001:db8::1]:82', '[2001:db8::1]'])
    await send(authority);
  await send('example.com', { scheme: 'https' });
  expect(transport.sent).toEqual([
    '10.0.0.1:80',
    'example.com:80',
    'example.com:8080',
    '192.0.2.7:81',
    '[2001:db8::1]:82',
    '[2001:db8::1]:80',
    'example.com:443',
  ]);
  expect(source.asked).not.toContain('endpoints PassthroughCluster');
});

test('a host keeps its endpoint across calls and updates; those that nobody uses make room', async () => {
  const { send, engine, source } = setup();
  await send('a.test');
  const cluster = engine.clusters?.get('PassthroughCluster');
  const [first] = cluster?.endpoints ?? [];
  await send('b.test');
  await send('a.test');
  source.put('endpoints', 'shop', endpointsOf('shop', 2)).push();
  source.put('cluster', 'PassthroughCluster', { ...PASS, connectTimeoutMs: 1 }).push();
  await send('a.test');
  expect(cluster?.endpoints).toHaveLength(2);
  expect(cluster?.endpoints[0]).toBe(first);
  for (let i = 0; i < 1100; i++) cluster?.pick({ head: { authority: `h${i}.test`, scheme: 'http' } } as never);
  expect(cluster?.endpoints).toHaveLength(1000);
  expect(first?.gone).toBe(true);
  // A host that had to make room is found anew.
  expect(cluster?.pick({ head: { authority: 'a.test', scheme: 'http' } } as never)).not.toBe(first);
});

test('no host, no endpoint; and a cluster that becomes another kind is that', async () => {
  const { send, source, transport, engine } = setup();
  expect(engine.clusters?.get('PassthroughCluster')?.pick({ head: { authority: '', scheme: 'http' } } as never)).toBeUndefined();
  await send('a.test');
  source.put('cluster', 'PassthroughCluster', clusterConfig('PassthroughCluster')).push();
  source.put('endpoints', 'PassthroughCluster', endpointsOf('PassthroughCluster', 5)).push();
  await send('a.test');
  source.put('endpoints', 'PassthroughCluster', endpointsOf('PassthroughCluster')).push();
  expect(detailsOf((await send('a.test')).reply.failure)).toBe('no_healthy_upstream');
  source.put('cluster', 'PassthroughCluster', PASS).push();
  await send('a.test');
  expect(transport.sent).toEqual(['a.test:80', '10.0.0.5:80', 'a.test:80']);
});
