/** Scoped routes through the engine: which scope a call gets, what is awaited, what is on demand, what conflicts (Envoy X-91). */
import { expect, test } from 'vitest';
import type { ConfigSourceConfig } from '../../../src/config/config-source.ts';
import type { ListenerConfig } from '../../../src/config/listener.ts';
import type { RouteConfiguration } from '../../../src/config/routes.ts';
import type { ScopedRoutesConfig, ScopedRoutesRefConfig } from '../../../src/config/scoped-routes.ts';
import { OutboundCall } from '../../../src/core/call.ts';
import type { Logger } from '../../../src/core/log.ts';
import { silentLogger } from '../../../src/core/log.ts';
import type { Reply } from '../../../src/core/reply.ts';
import { apiListener, detailsOf, endpointsOf, engineSetup, finish, manager, routesTo } from '../../support/mesh-engine.ts';
import type { EngineOptions, EngineSetup } from '../../support/mesh-engine.ts';
import { requestHead } from '../routing/builders.ts';

const SOURCE: ConfigSourceConfig = { kind: 'path', id: 'file', path: '/x', watchedDirectory: undefined, initialFetchTimeoutMs: undefined };

function listener(scopes: ScopedRoutesRefConfig['scopes'], change: Partial<ListenerConfig> = {}): ListenerConfig {
  const builder = [{ header: 'x-tier', separator: '', take: { kind: 'index' as const, index: 0 } }];
  const http = manager({ scopedRoutes: { name: 'tiers', builder, routesSource: SOURCE, scopes } });
  return { ...apiListener('shop', ''), api: http, ...change };
}

const DISCOVERED: ScopedRoutesRefConfig['scopes'] = { kind: 'discovered', source: SOURCE, resourcesLocator: '' };

const scope = (name: string, routes: string | RouteConfiguration, onDemand = false, key = name): ScopedRoutesConfig => ({
  name,
  routeConfigName: typeof routes === 'string' ? routes : undefined,
  routeConfig: typeof routes === 'string' ? undefined : routes,
  key: [key],
  onDemand,
});

interface Tiers extends EngineSetup {
  readonly get: (tier: string | undefined) => Promise<string>;
  readonly start: (tier: string) => { readonly reply: Reply | undefined };
}

/** `get`: the address that a call of the tier reaches, or how it fails. */
function setup(options: EngineOptions = {}): Tiers {
  const made = engineSetup({ include: ['shop'], ...options });
  const call = (tier: string | undefined): OutboundCall =>
    new OutboundCall(
      requestHead({ authority: 'shop' }, tier === undefined ? {} : { 'x-tier': tier }),
      { replayable: true },
      made.transport,
    );
  const start: Tiers['start'] = (tier) => {
    const one = call(tier);
    const state: { reply: Reply | undefined } = { reply: undefined };
    void made.engine.handle(one).then((reply) => {
      state.reply = reply;
      finish(one, reply);
    });
    return state;
  };
  return {
    ...made,
    start,
    get: async (tier) => {
      const one = call(tier);
      const before = made.transport.sent.length;
      const answered = made.engine.handle(one);
      await made.clock.advance(10);
      const reply = await answered;
      finish(one, reply);
      return made.transport.sent[before] ?? `${reply.status} ${detailsOf(reply.failure) ?? ''}: ${reply.failure?.message ?? ''}`;
    },
  };
}

test('an inline list: each key its routes; no key and an unknown key have none', async () => {
  const { source, get } = setup();
  const list = [scope('vip', routesTo('r1', 'fast')), scope('free', routesTo('r2', 'slow'))];
  source
    .put('listener', 'shop', listener({ kind: 'inline', list }))
    .cluster('fast', 1)
    .cluster('slow', 2)
    .push();
  expect([await get('vip'), await get('free')]).toEqual(['10.0.0.1:80', '10.0.0.2:80']);
  for (const tier of ['gold', undefined]) expect(await get(tier)).toBe('404 route_not_found: no route for GET shop/ in listener "shop"');
});

test('a discovered list: subscribed whole, with the routes and clusters of every scope, each from its source', async () => {
  const { source, engine, get, call } = setup();
  source.put('listener', 'shop', listener(DISCOVERED)).push();
  expect(source.wanted).toContainEqual({ kind: 'scoped-routes', name: '*', source: SOURCE });
  expect(engine.open(call('shop'))).toBeUndefined();
  source.put('scoped-routes', 'vip', scope('vip', 'r1')).put('scoped-routes', 'free', scope('free', 'r2')).push();
  expect(source.wanted).toContainEqual({ kind: 'routes', name: 'r2', source: SOURCE });
  source.put('routes', 'r1', routesTo('r1', 'fast')).cluster('fast', 1).push();
  // Routes of one scope are missing: nothing is served half.
  expect(engine.open(call('shop'))).toBeUndefined();
  source.fail('routes', 'r2', 'sent nothing').push();
  expect(await get('vip')).toBe('10.0.0.1:80');
  expect(await get('free')).toBe('404 route_not_found: route configuration "r2": sent nothing');
  source.put('routes', 'r2', routesTo('r2', 'slow')).cluster('slow', 2).push();
  expect(await get('free')).toBe('10.0.0.2:80');
  // Names of scopes are never asked for one by one.
  expect(source.asked.filter((key) => key.startsWith('scoped-routes'))).toEqual(['scoped-routes *']);
});

test('the list changes at once: a new scope, another key, a scope that goes; a list that is empty has no routes', async () => {
  const { source, get } = setup();
  source.put('listener', 'shop', listener(DISCOVERED)).put('routes', 'r1', routesTo('r1', 'fast')).cluster('fast', 1);
  source.put('scoped-routes', 'a', scope('a', 'r1', false, 'vip')).push();
  expect(await get('vip')).toBe('10.0.0.1:80');
  source.put('scoped-routes', 'a', scope('a', 'r1', false, 'gold')).push();
  expect(await get('vip')).toContain('404 route_not_found');
  expect(await get('gold')).toBe('10.0.0.1:80');
  // A new scope is served when its routes are there; the others go on meanwhile.
  source.put('scoped-routes', 'b', scope('b', 'r2')).push();
  expect(await get('gold')).toBe('10.0.0.1:80');
  source.put('routes', 'r2', routesTo('r2', 'slow')).cluster('slow', 2).push();
  expect(await get('b')).toBe('10.0.0.2:80');
  source.scopesThere = true;
  source.wait('scoped-routes', 'a').wait('scoped-routes', 'b').push();
  expect(await get('gold')).toContain('404 route_not_found');
  expect(source.asked).toEqual(['listener shop', 'scoped-routes *']);
});

test('a list that cannot be had says why', async () => {
  const { source, get } = setup();
  source.put('listener', 'shop', listener(DISCOVERED)).fail('scoped-routes', '*', 'cp sent nothing').push();
  expect(await get('vip')).toBe('404 route_not_found: scoped routes "tiers": cp sent nothing');
});

test('two scopes with one key: the first stays, the other is left out and logged', async () => {
  const warnings: unknown[] = [];
  const log: Logger = { ...silentLogger, warn: (_message, fields) => void warnings.push(fields?.['problems']) };
  const { source, get } = setup({ parts: { log } });
  source.put('listener', 'shop', listener(DISCOVERED)).cluster('fast', 1).cluster('slow', 2);
  source.put('scoped-routes', 'a', scope('a', routesTo('r1', 'fast'), false, 'vip'));
  source.put('scoped-routes', 'b', scope('b', routesTo('r2', 'slow'), false, 'vip')).push();
  expect(await get('vip')).toBe('10.0.0.1:80');
  expect(warnings).toEqual(['scope "b" is not used: scope "a" has the same key']);
  source.push();
  expect(warnings).toHaveLength(1);
});

test('a scope on demand: its routes are asked for with its first call, which waits; the other scopes serve', async () => {
  const { source, get, start, clock } = setup();
  source.put('listener', 'shop', listener(DISCOVERED)).cluster('fast', 1);
  source
    .put('scoped-routes', 'a', scope('a', routesTo('r1', 'fast')))
    .put('scoped-routes', 'late', scope('late', 'r2', true))
    .push();
  expect(await get('a')).toBe('10.0.0.1:80');
  expect(source.asked).not.toContain('routes r2');
  const one = start('late');
  await clock.advance(100);
  expect(source.asked).toContain('routes r2');
  // Meanwhile the list may change.
  source.put('scoped-routes', 'c', scope('c', routesTo('r3', 'fast'))).push();
  expect(await get('c')).toBe('10.0.0.1:80');
  source.put('routes', 'r2', routesTo('r2', 'slow')).push();
  await clock.advance(100);
  // Its clusters are waited for as for any routes.
  expect(one.reply).toBeUndefined();
  source.cluster('slow', 2).push();
  await clock.advance(100);
  expect(one.reply?.status).toBe(200);
  expect(await get('late')).toBe('10.0.0.2:80');
  // Forgotten with the scope.
  source.wait('scoped-routes', 'late').push();
  source.put('scoped-routes', 'late', scope('late', 'r2', true)).push();
  expect(source.asked).not.toContain('routes r2');
});

test('a scope on demand whose routes do not come fails its calls after 5 s, and at once when they do not exist', async () => {
  const { source, get, start, clock } = setup();
  source
    .put('listener', 'shop', listener(DISCOVERED))
    .put('scoped-routes', 'late', scope('late', 'r2', true))
    .push();
  const one = start('late');
  await clock.advance(4999);
  expect(one.reply).toBeUndefined();
  await clock.advance(1);
  expect(one.reply?.failure).toMatchObject({
    kind: { details: 'route_not_found', flag: 'NR' },
    message: 'route configuration "r2" of scope "late" was asked for and did not come within 5000 ms',
  });
  source.fail('routes', 'r2', 'sent nothing').push();
  expect(await get('late')).toBe('404 route_not_found: route configuration "r2": sent nothing');
});

test('on the inbound side nobody waits: scopes on demand are asked for at once', () => {
  const { source, engine } = engineSetup({ include: ['shop'] });
  const inbound = engine.listen('127.0.0.1', 8080);
  const own = listener(DISCOVERED);
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
    http: own.api,
  };
  source
    .put('listener', 'inbound/127.0.0.1:8080', {
      ...own,
      api: undefined,
      address: { host: '127.0.0.1', port: 8080 },
      direction: 'inbound',
      filterChains: [chain],
    })
    .put('scoped-routes', 'late', scope('late', 'r2', true))
    .push();
  expect(source.asked).toContain('routes r2');
  expect(inbound.state).toBe('waiting');
  source.put('routes', 'r2', routesTo('r2', 'c')).cluster('c', 1).push();
  expect(inbound.state).toBe('serving');
});

test('an update of one scope keeps the tables of the others', async () => {
  const { source, get, engine } = setup();
  source.put('listener', 'shop', listener(DISCOVERED)).cluster('fast', 1).cluster('slow', 2);
  source.put('scoped-routes', 'a', scope('a', 'r1')).put('scoped-routes', 'b', scope('b', 'r2'));
  source.put('routes', 'r1', routesTo('r1', 'fast')).put('routes', 'r2', routesTo('r2', 'slow')).push();
  await get('a');
  const target = (tier: string) => {
    const one = new OutboundCall(requestHead({ authority: 'shop' }, { 'x-tier': tier }), { replayable: true }, engineTransport);
    const opened = engine.open(one);
    one.end(200, undefined, undefined);
    return opened;
  };
  const { transport: engineTransport } = engineSetup();
  const [a, b] = [target('a'), target('b')];
  const { epoch } = engine;
  source.put('endpoints', 'fast', endpointsOf('fast', 1, 3)).push();
  expect(engine.epoch).toBe(epoch);
  source.put('routes', 'r2', routesTo('r2', 'slow', ['shop'])).push();
  expect(target('a')).toBe(a);
  expect(target('b')).not.toBe(b);
});
