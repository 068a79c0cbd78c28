/** Roots: one per listener in use; routes never before their clusters, old plans kept while new ones are incomplete, clusters shared at once. */
import { expect, test } from 'vitest';
import { DEFAULT_THRESHOLDS } from '../../../src/config/cluster.ts';
import type { ListenerConfig } from '../../../src/config/listener.ts';
import { apiListener, clusterConfig, detailsOf, endpointsOf, engineSetup, manager, routesTo } from '../../support/mesh-engine.ts';
import { forward, route, routeConfig, virtualHost } from '../routing/builders.ts';

const planOf = (setup: ReturnType<typeof engineSetup>, name: string) =>
  [...(setup.engine.roots?.values() ?? [])].find((root) => root.name === name)?.plan;

test('no tears: routes are not served before their cluster and its endpoints are there', () => {
  const { engine, source, call } = engineSetup({ include: ['shop'] });
  for (const step of [
    () => source.put('listener', 'shop', apiListener('shop', 'r')),
    () => source.put('routes', 'r', routesTo('r', 'c')),
    () => source.put('cluster', 'c', clusterConfig('c')),
  ]) {
    step();
    source.push();
    expect(engine.open(call('shop'))).toBeUndefined();
  }
  source.put('endpoints', 'c', endpointsOf('c', 1)).push();
  const one = call('shop');
  expect(engine.open(one)).toMatchObject({ cluster: { name: 'c' } });
  one.end(200, undefined, undefined);
});

test('an update that names a missing cluster keeps the old plan until it is complete, then swaps at once', async () => {
  const setup = engineSetup({ include: ['shop'] });
  const { engine, source, send, transport, call } = setup;
  source.put('listener', 'shop', apiListener('shop', 'r')).put('routes', 'r', routesTo('r', 'old')).cluster('old', 1).push();
  const running = call('shop');
  const opened = engine.open(running);
  const before = planOf(setup, 'shop');
  source.put('routes', 'r', routesTo('r', 'new')).push();
  expect(planOf(setup, 'shop')).toBe(before);
  expect((await send('shop')).reply.status).toBe(200);
  source.put('cluster', 'new', clusterConfig('new')).push();
  expect(planOf(setup, 'shop')).toBe(before);
  expect(engine.clusters?.names()).toEqual(['old']);
  source.put('endpoints', 'new', endpointsOf('new', 2)).push();
  expect(planOf(setup, 'shop')).not.toBe(before);
  expect(engine.clusters?.names()).toEqual(['new']);
  await send('shop');
  expect(transport.sent).toEqual(['10.0.0.1:80', '10.0.0.2:80']);
  // A running call keeps the target it started with.
  expect(running.target).toBe(opened);
  expect(running.target?.labels.cluster).toBe('old');
  running.end(200, undefined, undefined);
});

test('while a new configuration is incomplete, the endpoints and limits of the old one still follow the control plane', async () => {
  const { source, send, transport, engine } = engineSetup({ include: ['shop'] });
  source.put('listener', 'shop', apiListener('shop', 'r')).put('routes', 'r', routesTo('r', 'old')).cluster('old', 1).push();
  await send('shop');
  source.put('routes', 'r', routesTo('r', 'new')).push();
  // Still asked for: without it the control plane would stop telling us about it.
  expect(source.asked).toEqual(['cluster new', 'cluster old', 'endpoints old', 'listener shop', 'routes r']);
  source.put('endpoints', 'old', endpointsOf('old', 2)).push();
  await send('shop');
  expect(transport.sent).toEqual(['10.0.0.1:80', '10.0.0.2:80']);
  source
    .put(
      'cluster',
      'old',
      clusterConfig('old', { thresholds: { default: { ...DEFAULT_THRESHOLDS, maxRequests: 0 }, high: DEFAULT_THRESHOLDS } }),
    )
    .push();
  expect(detailsOf((await send('shop')).reply.failure)).toBe('upstream_overflow');
  // The old cluster is deleted in the meantime: what is served stays.
  source.fail('cluster', 'old').push();
  expect(engine.clusters?.get('old')).toBeDefined();
  source.cluster('new', 3).push();
  await send('shop');
  expect(transport.sent.at(-1)).toBe('10.0.0.3:80');
  expect(source.asked).not.toContain('cluster old');
});

test('clusters shared between roots update at once, also while one of the roots still waits', async () => {
  const { source, send, transport } = engineSetup({ include: ['a', 'b'] });
  source.put('listener', 'a', apiListener('a', 'ra')).put('listener', 'b', apiListener('b', 'rb'));
  source.put('routes', 'ra', routesTo('ra', 'shared')).put('routes', 'rb', routesTo('rb', 'shared')).cluster('shared', 1).push();
  await send('a');
  await send('b');
  // Root a waits for something new; its old snapshot must not bring back the old endpoints of the shared cluster.
  source.put('routes', 'ra', routesTo('ra', 'late')).put('endpoints', 'shared', endpointsOf('shared', 2)).push();
  await send('b');
  await send('a');
  expect(transport.sent).toEqual(['10.0.0.1:80', '10.0.0.1:80', '10.0.0.2:80', '10.0.0.2:80']);
});

test('defect 5: one broken cluster never blocks the others, and calls to it say why', async () => {
  const { source, send } = engineSetup({ include: ['shop'] });
  const to = (name: string) =>
    route({
      match: { path: { kind: 'prefix', value: `/${name}`, caseSensitive: true } },
      action: forward({ cluster: { kind: 'cluster', name } }),
    });
  source.put(
    'listener',
    'shop',
    apiListener('shop', routeConfig({ virtualHosts: [virtualHost({ routes: [to('good'), to('bad'), to('empty')] })] })),
  );
  source
    .cluster('good', 1)
    .fail('cluster', 'bad', 'rejected: lb_policy')
    .put('cluster', 'empty', clusterConfig('empty'))
    .fail('endpoints', 'empty', 'sent nothing within 15 s')
    .push();
  expect((await send('shop', { path: '/good' })).reply.status).toBe(200);
  const bad = (await send('shop', { path: '/bad' })).reply.failure;
  expect(bad).toMatchObject({ kind: { details: 'cluster_not_found' }, message: 'cluster "bad": rejected: lb_policy' });
  const empty = (await send('shop', { path: '/empty' })).reply.failure;
  expect(empty).toMatchObject({ kind: { details: 'no_healthy_upstream' } });
  expect(empty?.message).toContain('sent nothing within 15 s');
  // Mended later.
  source.cluster('bad', 3).push();
  expect((await send('shop', { path: '/bad' })).reply.status).toBe(200);
});

test('an endpoint update swaps no plan and tells nobody; a changed cluster does', () => {
  const setup = engineSetup({ include: ['shop'] });
  const { source, engine } = setup;
  source.put('listener', 'shop', apiListener('shop', 'r')).put('routes', 'r', routesTo('r', 'c')).cluster('c', 1).push();
  const plan = planOf(setup, 'shop');
  const { epoch } = engine;
  source.put('endpoints', 'c', endpointsOf('c', 1, 2)).push();
  expect(planOf(setup, 'shop')).toBe(plan);
  expect(engine.epoch).toBe(epoch);
  expect(engine.clusters?.get('c')?.endpoints.map((e) => e.address)).toEqual(['10.0.0.1:80', '10.0.0.2:80']);
  source
    .put(
      'cluster',
      'c',
      clusterConfig('c', { thresholds: { default: { ...DEFAULT_THRESHOLDS, maxRequests: 1 }, high: DEFAULT_THRESHOLDS } }),
    )
    .push();
  expect(planOf(setup, 'shop')).not.toBe(plan);
  expect(engine.epoch).toBe(epoch + 1);
});

test('a deleted listener takes its plan away and gives its clusters back; calls say that it is gone; it can come back', async () => {
  const { source, send, engine } = engineSetup({ include: ['shop'] });
  source.put('listener', 'shop', apiListener('shop', 'r')).put('routes', 'r', routesTo('r', 'c')).cluster('c', 1).push();
  const listener = source.get('listener', 'shop');
  expect((await send('shop')).reply.status).toBe(200);
  source.fail('listener', 'shop', 'deleted by cp').push();
  expect((await send('shop')).reply.failure).toMatchObject({
    kind: { details: 'route_not_found' },
    message: 'listener "shop": deleted by cp',
  });
  expect(engine.clusters?.names()).toEqual([]);
  expect(source.asked).toEqual(['listener shop']);
  // A new reason is shown, not the remembered one.
  source.fail('listener', 'shop', 'rejected').push();
  expect((await send('shop')).reply.failure?.message).toBe('listener "shop": rejected');
  if (listener.status === 'present') source.put('listener', 'shop', listener.value).push();
  expect((await send('shop')).reply.status).toBe(200);
});

test('candidates in order: the better listener takes over when it arrives later', async () => {
  const { source, send, transport } = engineSetup({ include: ['shop'] });
  source
    .put('listener', 'shop', apiListener('shop', routesTo('r', 'plain')))
    .cluster('plain', 1)
    .cluster('port', 2)
    .push();
  await send('shop:8080');
  source.put('listener', 'shop:8080', apiListener('shop:8080', routesTo('r8080', 'port'))).push();
  await send('shop:8080');
  await send('shop');
  // And gives way again when it goes.
  source.fail('listener', 'shop:8080').push();
  await send('shop:8080');
  expect(transport.sent).toEqual(['10.0.0.1:80', '10.0.0.2:80', '10.0.0.1:80', '10.0.0.1:80']);
});

function socketListener(
  name: string,
  port: number,
  cluster: string,
  direction: ListenerConfig['direction'] = 'outbound',
  domains = ['*'],
): ListenerConfig {
  const match = {
    destinationPort: undefined,
    prefixRanges: [],
    serverNames: [],
    transportProtocol: '',
    applicationProtocols: [],
    directSourcePrefixRanges: [],
    sourceType: 'any' as const,
    sourcePrefixRanges: [],
    sourcePorts: [],
  };
  return {
    name,
    api: undefined,
    address: { host: '0.0.0.0', port },
    direction,
    filterChains: [{ name: '', match, tls: undefined, http: manager({ routeConfig: routesTo(`${name}-routes`, cluster, domains) }) }],
    defaultFilterChain: undefined,
  };
}

test('the sidecar view: the listener on the port of the request, the default port without one, never an inbound listener', async () => {
  const { source, send, transport, engine } = engineSetup({ include: ['*'] });
  source.listed = ['0.0.0.0_80', '0.0.0.0_9080', 'inbound'];
  source.put('listener', '0.0.0.0_80', socketListener('0.0.0.0_80', 80, 'eighty', 'outbound', ['shop', 'shop:80']));
  source.put('listener', '0.0.0.0_9080', socketListener('0.0.0.0_9080', 9080, 'ninety'));
  source.put('listener', 'inbound', socketListener('inbound', 7000, 'own', 'inbound'));
  source.cluster('eighty', 1).cluster('ninety', 2).cluster('own', 3);
  for (const name of ['shop', 'shop:9080', 'shop:7000', 'other']) source.fail('listener', name);
  source.push();
  await send('shop');
  await send('shop:9080');
  expect(transport.sent).toEqual(['10.0.0.1:80', '10.0.0.2:80']);
  // The listener is there, but no virtual host has the domain.
  expect((await send('other')).reply.failure?.message).toBe('no route for GET other/ in listener "0.0.0.0_80"');
  expect(detailsOf((await send('shop:7000')).reply.failure)).toBe('route_not_found');
  // A listener that comes later is found, though the failure was remembered.
  source.listed = [...source.listed, '0.0.0.0_7000'];
  source
    .put('listener', '0.0.0.0_7000', socketListener('0.0.0.0_7000', 7000, 'late'))
    .cluster('late', 4)
    .push();
  await send('shop:7000');
  expect(transport.sent.at(-1)).toBe('10.0.0.4:80');
  expect(engine.includes('anything')).toBe(true);
});

test('hosts that were called once are not remembered for ever', async () => {
  const { source, send, engine } = engineSetup({ include: ['*.svc'] });
  for (let i = 0; i < 3000; i++) {
    source.fail('listener', `h${i}.svc`);
    expect(engine.roots?.lookup(`h${i}.svc`).status).toBe('failed');
  }
  // Not too many at any time, and nothing that is there is forgotten.
  expect([...(engine.roots?.values() ?? [])].length).toBeLessThanOrEqual(1000);
  expect(source.wanted.length).toBeLessThanOrEqual(1000);
  source
    .put('listener', 'good.svc', apiListener('good.svc', routesTo('r', 'c')))
    .cluster('c', 1)
    .push();
  expect((await send('good.svc')).reply.status).toBe(200);
}, 20_000);
