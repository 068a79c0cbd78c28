/** Clusters on demand (Envoy X-95): asked for with the first call that chooses them; waiting, failing, forgetting, on simulated time. */
import { describe, expect, test } from 'vitest';
import type { HttpFilterConfig } from '../../../src/config/listener.ts';
import { ON_DEMAND_TYPE } from '../../../src/config/on-demand.ts';
import type { OnDemandConfig } from '../../../src/config/on-demand.ts';
import type { ConfigSourceConfig } from '../../../src/config/config-source.ts';
import type { Reply } from '../../../src/core/reply.ts';
import { IDLE_MS, MAX_DEMANDED } from '../../../src/demand.ts';
import { SeededRandom } from '../../../src/testing/index.ts';
import { apiListener, clusterConfig, detailsOf, endpointsOf, engineSetup, finish, manager } from '../../support/mesh-engine.ts';
import type { EngineSetup } from '../../support/mesh-engine.ts';
import { forward, requestHead, route, routeConfig, virtualHost } from '../routing/builders.ts';
import { OutboundCall } from '../../../src/core/call.ts';

const to = (name: string) =>
  route({
    name,
    match: { path: { kind: 'prefix', value: `/${name}`, caseSensitive: true } },
    action: forward({ cluster: { kind: 'cluster', name } }),
  });
const routes = (...names: readonly string[]) => routeConfig({ name: 'r', virtualHosts: [virtualHost({ routes: names.map(to) })] });
const byHeader = route({ action: forward({ cluster: { kind: 'cluster-header', header: 'x-cluster' } }) });

function onDemand(...names: readonly string[]): EngineSetup {
  const setup = engineSetup({ include: ['shop'], parts: { clustersOnDemand: true } });
  setup.source
    .put('listener', 'shop', apiListener('shop', 'r'))
    .put('routes', 'r', routes(...names))
    .push();
  return setup;
}

/** Starts a call; what became of it. */
function start({ engine, call }: EngineSetup, path: string): { readonly reply: Reply | undefined } {
  const one = call('shop', { path });
  const state: { reply: Reply | undefined } = { reply: undefined };
  void engine.handle(one).then((reply) => {
    state.reply = reply;
    finish(one, reply);
  });
  return state;
}

describe('subscription on demand', () => {
  test('nothing but the routes is asked for before a call; then its cluster, and nothing of the others', async () => {
    const setup = onDemand('a', 'b', 'c');
    const { source, clock, transport, engine } = setup;
    await engine.ready(1000);
    expect(source.asked).toEqual(['listener shop', 'routes r']);
    const one = start(setup, '/a');
    await clock.advance(100);
    expect(source.asked).toEqual(['cluster a', 'listener shop', 'routes r']);
    source.put('cluster', 'a', clusterConfig('a')).push();
    await clock.advance(100);
    expect(one.reply).toBeUndefined();
    expect(source.asked).toEqual(['cluster a', 'endpoints a', 'listener shop', 'routes r']);
    source.put('endpoints', 'a', endpointsOf('a', 1)).push();
    await clock.advance(10);
    expect([one.reply?.status, transport.sent]).toEqual([200, ['10.0.0.1:80']]);
    // The next one does not wait.
    const two = setup.call('shop', { path: '/a' });
    expect(engine.open(two)).toMatchObject({ cluster: { name: 'a' } });
    two.end(200, undefined, undefined);
  });

  test('a cluster that does not come fails the call after 5 s with its name, and later calls at once when the source knows', async () => {
    const setup = onDemand('a', 'b');
    const { source, clock } = setup;
    const one = start(setup, '/a');
    await clock.advance(4999);
    expect(one.reply).toBeUndefined();
    await clock.advance(1);
    expect(one.reply?.failure).toMatchObject({
      kind: { details: 'cluster_not_found', flag: 'NC', httpStatus: 503 },
      message: 'cluster "a" was asked for and did not come within 5000 ms',
    });
    // A call that comes while it is awaited has 5 s of its own.
    const two = start(setup, '/a');
    await clock.advance(4000);
    expect(two.reply).toBeUndefined();
    source.fail('cluster', 'a', 'cp has no cluster of this name').push();
    await clock.advance(1);
    expect(two.reply?.failure?.message).toBe('cluster "a": cp has no cluster of this name');
    const three = start(setup, '/a');
    await clock.advance(0);
    expect(three.reply?.failure?.message).toBe('cluster "a": cp has no cluster of this name');
    source.cluster('a', 1).push();
    expect((await setup.send('shop', { path: '/a' })).reply.status).toBe(200);
  });

  test('a source that knows at once needs no waiting, whichever way the call comes', async () => {
    const setup = onDemand('a', 'b');
    const { source, clock, engine, call } = setup;
    source.cluster('a', 1).fail('cluster', 'b', 'no such cluster');
    const one = call('shop', { path: '/a' });
    expect(engine.open(one)).toMatchObject({ cluster: { name: 'a' } });
    one.end(200, undefined, undefined);
    const two = start(setup, '/b');
    await clock.advance(0);
    expect(two.reply?.failure?.message).toBe('cluster "b": no such cluster');
  });

  test('the status is that of the route (cluster_not_found_response_code)', async () => {
    const setup = engineSetup({ include: ['shop'], parts: { clustersOnDemand: true } });
    const action = forward({ cluster: { kind: 'cluster', name: 'a' }, clusterNotFoundStatus: 404 });
    setup.source
      .put('listener', 'shop', apiListener('shop', routeConfig({ virtualHosts: [virtualHost({ routes: [route({ action })] })] })))
      .push();
    const one = start(setup, '/');
    await setup.clock.advance(5000);
    expect(one.reply).toMatchObject({ status: 404, failure: { kind: { details: 'cluster_not_found' } } });
    setup.source.fail('cluster', 'a').push();
    expect((await setup.send('shop')).reply.status).toBe(404);
  });

  test('startTimeout and the deadline of the call bound the wait as well', async () => {
    const setup = engineSetup({ include: ['shop'], parts: { clustersOnDemand: true, startTimeoutMs: 2000 } });
    const { source, clock, engine, call } = setup;
    source.put('listener', 'shop', apiListener('shop', 'r')).put('routes', 'r', routes('a')).push();
    const one = start(setup, '/a');
    const two = call('shop', { path: '/a' });
    two.deadline = clock.now() + 300;
    const second = engine.handle(two);
    await clock.advance(300);
    expect(detailsOf((await second).failure)).toBe('downstream_deadline_exceeded');
    finish(two, await second);
    await clock.advance(1700);
    expect(one.reply?.failure?.message).toBe('cluster "a" was asked for and did not come within 2000 ms');
  });

  test('one cluster that never comes holds up no update of the routes and no other cluster', async () => {
    const setup = onDemand('a', 'b');
    const { source, clock, send } = setup;
    start(setup, '/a');
    await clock.advance(10);
    source.put('routes', 'r', routes('a', 'c')).cluster('c', 3).push();
    expect((await send('shop', { path: '/c' })).reply.status).toBe(200);
    await clock.advance(5000);
  });

  test('what calls use follows make before break; what routes no longer name is given back', async () => {
    const setup = onDemand('a', 'b');
    const { source, send, transport } = setup;
    source.cluster('a', 1);
    await send('shop', { path: '/a' });
    // Its endpoints get another name, which is not there yet: the old ones serve.
    source.put('cluster', 'a', clusterConfig('a', { discovery: { kind: 'eds', serviceName: 'a2' } })).push();
    await send('shop', { path: '/a' });
    source.put('endpoints', 'a2', endpointsOf('a2', 2)).push();
    await send('shop', { path: '/a' });
    expect(transport.sent).toEqual(['10.0.0.1:80', '10.0.0.1:80', '10.0.0.2:80']);
    source.put('routes', 'r', routes('b')).push();
    expect(source.asked).toEqual(['listener shop', 'routes r']);
    source.put('routes', 'r', routes('a')).push();
    expect(source.asked).toEqual(['cluster a', 'endpoints a2', 'listener shop', 'routes r']);
  });

  test('while an update is incomplete, calls may ask for clusters of the old routes', async () => {
    const setup = engineSetup({ include: ['shop'], parts: { clustersOnDemand: true } });
    const { source, send, clock } = setup;
    source.put('listener', 'shop', apiListener('shop', 'r')).put('routes', 'r', routes('a', 'b')).push();
    source.put('listener', 'shop', apiListener('shop', 'r2')).push();
    const one = start(setup, '/b');
    await clock.advance(10);
    source.cluster('b', 2).push();
    await clock.advance(10);
    expect(one.reply?.status).toBe(200);
    source.put('routes', 'r2', routes('c')).cluster('c', 3).push();
    expect((await send('shop', { path: '/c' })).reply.status).toBe(200);
  });

  test('weighted clusters: each when it is chosen', async () => {
    // A call that has waited draws again: with this seed the same.
    const setup = engineSetup({ include: ['shop'], parts: { clustersOnDemand: true, random: new SeededRandom(4) } });
    const { source, send } = setup;
    const weights = ['x', 'y'].map((name) => ({
      name,
      weight: 50,
      headers: { requestAdd: [], requestRemove: [], responseAdd: [], responseRemove: [] },
      filterOverrides: {},
      hostRewriteLiteral: undefined,
    }));
    const split = route({ action: forward({ cluster: { kind: 'weighted', clusters: weights, total: 100 } }) });
    source
      .cluster('x', 1)
      .cluster('y', 2)
      .put('listener', 'shop', apiListener('shop', routeConfig({ virtualHosts: [virtualHost({ routes: [split] })] })))
      .push();
    expect(source.asked).toEqual(['listener shop']);
    await send('shop');
    expect(source.asked.filter((key) => key.startsWith('cluster'))).toHaveLength(1);
    for (let i = 0; i < 20; i++) await send('shop');
    expect(source.asked.filter((key) => key.startsWith('cluster'))).toHaveLength(2);
  });

  test('a cluster that no call uses for ten minutes is given up, one in use is not; it can be asked for again', async () => {
    const setup = onDemand('a', 'b');
    const { source, send, clock, engine, call, transport } = setup;
    source.cluster('a', 1).cluster('b', 2);
    await send('shop', { path: '/a' });
    await send('shop', { path: '/b' });
    for (let i = 0; i < 8; i++) {
      await send('shop', { path: '/b' });
      await clock.advance(IDLE_MS / 4);
    }
    expect(source.asked).toEqual(['cluster b', 'endpoints b', 'listener shop', 'routes r']);
    expect(engine.clusters?.names()).toEqual(['b']);
    expect((await send('shop', { path: '/a' })).reply.status).toBe(200);
    // Negative control for what counts as use: an attempt that runs on.
    await clock.advance(2 * IDLE_MS);
    expect(source.asked).toEqual(['listener shop', 'routes r']);
    const long = call('shop', { path: '/b' });
    const target = engine.open(long);
    expect(target).toMatchObject({ cluster: { name: 'b' } });
    const cluster = engine.clusters?.get('b');
    if (cluster !== undefined) cluster.requests++;
    await clock.advance(2 * IDLE_MS);
    expect(source.asked).toContain('cluster b');
    if (cluster !== undefined) cluster.requests--;
    long.end(200, undefined, undefined);
    expect(transport.sent.length).toBeGreaterThan(3);
  });
});

describe('cluster_header', () => {
  function headers(lazy: boolean) {
    const setup = engineSetup({ include: ['shop'], parts: { clustersOnDemand: lazy } });
    setup.source.put('listener', 'shop', apiListener('shop', routeConfig({ virtualHosts: [virtualHost({ routes: [byHeader] })] }))).push();
    const open = (name: string) => {
      const one = new OutboundCall(requestHead({ authority: 'shop' }, { 'x-cluster': name }), { replayable: true }, setup.transport);
      const opened = setup.engine.open(one);
      if (!one.ended && opened !== undefined) one.end(200, undefined, undefined);
      return opened;
    };
    return { ...setup, open };
  }

  test.each([false, true])('the named cluster is asked for, whatever the subscription (on demand: %s)', (lazy) => {
    const { source, open } = headers(lazy);
    expect(open('named')).toBeUndefined();
    expect(source.asked).toEqual(['cluster named', 'listener shop']);
    source.cluster('named', 1).push();
    expect(open('named')).toMatchObject({ cluster: { name: 'named' } });
  });

  test('names that do not exist are bounded and never push out one that does', () => {
    const { source, open } = headers(false);
    source.cluster('real', 1);
    expect(open('real')).toMatchObject({ cluster: { name: 'real' } });
    for (let i = 0; i < MAX_DEMANDED + 50; i++) open(`junk${i}`);
    const asked = source.asked.filter((key) => key.startsWith('cluster'));
    expect(asked).toHaveLength(MAX_DEMANDED);
    expect(asked).toContain('cluster real');
    expect(asked).toContain(`cluster junk${MAX_DEMANDED + 49}`);
  });
});

describe('the on_demand filter', () => {
  const SOURCE: ConfigSourceConfig = {
    kind: 'path',
    id: 'file',
    path: '/x',
    watchedDirectory: undefined,
    initialFetchTimeoutMs: undefined,
  };
  const filter = (config: OnDemandConfig, disabled = false): HttpFilterConfig => ({
    name: 'od',
    typeUrl: ON_DEMAND_TYPE,
    disabled,
    terminal: false,
    config,
  });
  const odcds: OnDemandConfig = { clusters: { source: SOURCE, timeoutMs: 700 } };
  const listener = (filters: readonly HttpFilterConfig[], change: object = {}) => ({
    ...apiListener('shop', ''),
    api: manager({ routeConfig: routeConfig({ virtualHosts: [virtualHost({ routes: [to('a'), { ...to('b'), ...change }] })] }), filters }),
  });

  test('its source and its timeout are used, without any option', async () => {
    const setup = engineSetup({ include: ['shop'] });
    const { source, clock } = setup;
    source.put('listener', 'shop', listener([filter(odcds)])).push();
    expect(source.asked).toEqual(['listener shop']);
    const one = start(setup, '/a');
    await clock.advance(699);
    expect(source.wanted.find(({ kind }) => kind === 'cluster')).toEqual({ kind: 'cluster', name: 'a', source: SOURCE });
    expect(one.reply).toBeUndefined();
    await clock.advance(1);
    expect(one.reply?.failure?.message).toBe('cluster "a" was asked for and did not come within 700 ms');
  });

  test.each([
    ['without odcds it leaves clusters alone', [filter({ clusters: undefined })], {}, ['cluster a', 'cluster b', 'listener shop']],
    ['disabled', [filter(odcds, true)], {}, ['cluster a', 'cluster b', 'listener shop']],
    [
      'switched off by a route',
      [filter(odcds)],
      { filterOverrides: { od: { disabled: true, config: undefined } } },
      ['cluster b', 'listener shop'],
    ],
    [
      'a route without odcds',
      [filter(odcds)],
      { filterOverrides: { od: { disabled: false, config: { clusters: undefined } } } },
      ['cluster b', 'listener shop'],
    ],
    [
      'a route with odcds',
      [filter({ clusters: undefined })],
      { filterOverrides: { od: { disabled: false, config: odcds } } },
      ['cluster a', 'listener shop'],
    ],
  ])('%s', (_title, filters, change, expected) => {
    const { source } = engineSetup({ include: ['shop'] });
    source.put('listener', 'shop', listener(filters, change)).push();
    expect(source.asked).toEqual(expected);
  });
});
