/** `resolve` walks from a listener to all it needs (gRFC A74): what is used, what is missing, and that a failed piece blocks nobody. */
import { expect, test } from 'vitest';
import { clustersOfRoutes } from '../../../src/config/on-demand.ts';
import type { ClusterConfig } from '../../../src/config/cluster.ts';
import { managersOf, refresh, resolve } from '../../../src/config/resolve.ts';
import type { UpstreamTlsConfig } from '../../../src/config/tls.ts';
import { apiListener, clusterConfig, endpointsOf, FakeSource, manager, routesTo } from '../../support/mesh-engine.ts';
import { forward, route, routeConfig, virtualHost } from '../routing/builders.ts';

const names = (keys: readonly { kind: string; name: string }[]): string[] => keys.map(({ kind, name }) => `${kind} ${name}`);

test('each step waits for the one before, and says what it waits for', () => {
  const source = new FakeSource();
  const steps: [() => void, string[], string[]][] = [
    [() => undefined, ['listener l'], ['listener l']],
    [() => source.put('listener', 'l', apiListener('l', 'r')), ['listener l', 'routes r'], ['routes r']],
    [() => source.put('routes', 'r', routesTo('r', 'c')), ['listener l', 'routes r', 'cluster c'], ['cluster c']],
    [
      () => source.put('cluster', 'c', clusterConfig('c', { discovery: { kind: 'eds', serviceName: 'e' } })),
      ['listener l', 'routes r', 'cluster c', 'endpoints e'],
      ['endpoints e'],
    ],
  ];
  for (const [apply, used, missing] of steps) {
    apply();
    const resolution = resolve('l', source);
    if (resolution.status !== 'waiting') throw new Error(`expected to wait for ${missing.join()}`);
    expect(names(resolution.used)).toEqual(used);
    expect(names(resolution.missing)).toEqual(missing);
  }
  source.put('endpoints', 'e', endpointsOf('c', 1));
  const complete = resolve('l', source);
  if (complete.status !== 'complete') throw new Error('expected a snapshot');
  expect(names(complete.used)).toEqual(['listener l', 'routes r', 'cluster c', 'endpoints e']);
  expect([...complete.snapshot.clusters.keys()]).toEqual(['c']);
});

test('a static cluster brings its endpoints', () => {
  const endpoints = endpointsOf('c', 1, 2);
  const source = new FakeSource()
    .put('listener', 'l', apiListener('l', routesTo('r', 'c')))
    .put('cluster', 'c', clusterConfig('c', { discovery: { kind: 'static', endpoints } }));
  const resolution = resolve('l', source);
  expect(resolution).toMatchObject({ status: 'complete' });
  expect(resolution.status === 'complete' && resolution.snapshot.clusters.get('c')).toMatchObject({ ok: true, endpoints });
});

test('defect 5: a failed cluster, a cluster without endpoints and failed routes count as resolved', () => {
  const config = routeConfig({
    name: 'r',
    virtualHosts: [
      virtualHost({
        routes: ['good', 'bad', 'empty'].map((name) =>
          route({
            match: { path: { kind: 'prefix', value: `/${name}`, caseSensitive: true } },
            action: forward({ cluster: { kind: 'cluster', name } }),
          }),
        ),
      }),
    ],
  });
  const source = new FakeSource()
    .put('listener', 'l', apiListener('l', 'r'))
    .put('routes', 'r', config)
    .cluster('good', 1)
    .fail('cluster', 'bad', 'nobody knows it')
    .put('cluster', 'empty', clusterConfig('empty'))
    .fail('endpoints', 'empty', 'timed out');
  const resolution = resolve('l', source);
  if (resolution.status !== 'complete') throw new Error('expected a snapshot');
  const { clusters } = resolution.snapshot;
  expect(clusters.get('good')).toMatchObject({ ok: true });
  expect(clusters.get('bad')).toEqual({ ok: false, reason: 'cluster "bad": nobody knows it' });
  expect(clusters.get('empty')).toMatchObject({ ok: true, endpoints: undefined, note: 'endpoints "empty": timed out' });

  source.fail('routes', 'r', 'rejected');
  const without = resolve('l', source);
  expect(without.status === 'complete' && [...without.snapshot.routes.values()]).toEqual([
    { ok: false, reason: 'route configuration "r": rejected' },
  ]);
});

test('what stays in use while a newer cluster is incomplete keeps its own secrets and endpoints, and follows them', () => {
  const secured = (secret: string, serviceName: string): ClusterConfig =>
    clusterConfig('c', {
      discovery: { kind: 'eds', serviceName, waitMs: 0 },
      tls: { identity: { kind: 'sds', name: secret }, roots: { kind: 'sds', name: `${secret}-roots` } } as unknown as UpstreamTlsConfig,
    });
  const source = new FakeSource()
    .put('listener', 'l', apiListener('l', routesTo('r', 'c')))
    .put('cluster', 'c', secured('old', 'e1'))
    .put('endpoints', 'e1', endpointsOf('e1', 1));
  for (const name of ['old', 'old-roots']) source.fail('secret', name, 'present or failed, both count as said');
  const complete = resolve('l', source);
  if (complete.status !== 'complete') throw new Error('expected a snapshot');

  source.put('cluster', 'c', secured('new', 'e2'));
  expect(resolve('l', source)).toMatchObject({ status: 'waiting' });
  source.put('endpoints', 'e1', endpointsOf('e1', 1, 2));
  const { used, snapshot } = refresh(complete.snapshot, source);
  expect(names(used)).toEqual(expect.arrayContaining(['secret old', 'secret old-roots', 'endpoints e1', 'secret new', 'endpoints e2']));
  expect(snapshot.clusters.get('c')).toMatchObject({
    ok: true,
    config: secured('old', 'e1'),
    endpoints: endpointsOf('e1', 1, 2),
  });
});

test('a failed listener says why', () => {
  expect(resolve('l', new FakeSource().fail('listener', 'l', 'gone'))).toMatchObject({ status: 'failed', reason: 'listener "l": gone' });
});

test('every filter chain and the default one have a connection manager', () => {
  const [a, b] = [manager({ routeConfigName: 'a' }), manager({ routeConfigName: 'b' })];
  const chain = {
    name: '',
    match: {
      destinationPort: undefined,
      prefixRanges: [],
      serverNames: [],
      transportProtocol: '',
      applicationProtocols: [],
      directSourcePrefixRanges: [],
      sourceType: 'any' as const,
      sourcePrefixRanges: [],
      sourcePorts: [],
    },
    tls: undefined,
  };
  const listener = {
    name: 'l',
    api: undefined,
    address: { host: '0.0.0.0', port: 80 },
    direction: 'inbound' as const,
    filterChains: [
      { ...chain, http: a },
      { ...chain, http: undefined },
    ],
    defaultFilterChain: { ...chain, http: b },
  };
  expect(managersOf(listener)).toEqual([a, b]);
  const source = new FakeSource().put('listener', 'l', listener).put('routes', 'a', routeConfig({ name: 'a' }));
  expect(resolve('l', source)).toMatchObject({ status: 'waiting', missing: [{ kind: 'routes', name: 'b' }] });
});

test('weighted clusters are all named, each once; answers and serving routes name none', () => {
  const weighted = (name: string) => ({
    name,
    weight: 1,
    headers: { requestAdd: [], requestRemove: [], responseAdd: [], responseRemove: [] },
    filterOverrides: {},
    hostRewriteLiteral: undefined,
  });
  const config = routeConfig({
    virtualHosts: [
      virtualHost({
        routes: [
          route({ action: forward({ cluster: { kind: 'weighted', clusters: [weighted('a'), weighted('b')], total: 2 } }) }),
          route({ action: forward({ cluster: { kind: 'cluster', name: 'a' } }) }),
          route({ action: { kind: 'serve' } }),
          route({ action: { kind: 'direct-response', status: 200, body: '' } }),
        ],
      }),
    ],
  });
  expect([...clustersOfRoutes(config)]).toEqual(['a', 'b']);
});
