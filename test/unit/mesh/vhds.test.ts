/** Virtual hosts on demand through the engine (Envoy X-90): asked for by the host of a call, waited for, remembered, forgotten. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ConfigSourceConfig } from '../../../src/config/config-source.ts';
import type { HttpFilterConfig, ListenerConfig } from '../../../src/config/listener.ts';
import { ON_DEMAND_TYPE } from '../../../src/config/on-demand.ts';
import type { RouteConfiguration, VhdsConfig, VirtualHostConfig } from '../../../src/config/routes.ts';
import { baseOf, belongsTo, virtualHostName, withVirtualHosts } from '../../../src/config/vhds.ts';
import type { Reply } from '../../../src/core/reply.ts';
import { IDLE_MS, MAX_DEMANDED } from '../../../src/demand.ts';
import { hostPatterns } from '../../../src/matching/host-patterns.ts';
import { NamedRoutesSource } from '../../../src/xds/named-routes.ts';
import { apiListener, detailsOf, endpointsOf, engineSetup, finish, manager, NO_TLS } from '../../support/mesh-engine.ts';
import type { EngineSetup } from '../../support/mesh-engine.ts';
import { forward, route, routeConfig, virtualHost } from '../routing/builders.ts';

const SOURCE: ConfigSourceConfig = { kind: 'path', id: 'one', path: '/x', watchedDirectory: undefined, initialFetchTimeoutMs: undefined };
const FILTER: HttpFilterConfig = { name: 'od', typeUrl: ON_DEMAND_TYPE, disabled: false, terminal: false, config: { clusters: undefined } };

const hostTo = (cluster: string, ...domains: readonly string[]): VirtualHostConfig =>
  virtualHost({ name: `v-${domains[0]}`, domains, routes: [route({ action: forward({ cluster: { kind: 'cluster', name: cluster } }) })] });
const routesWith = (vhds: Partial<VhdsConfig> = {}, change: Partial<RouteConfiguration> = {}): RouteConfiguration =>
  routeConfig({ name: 'r', virtualHosts: [hostTo('fixed', 'fixed')], vhds: { source: undefined, inherited: {}, ...vhds }, ...change });
const listener = (filters: readonly HttpFilterConfig[] = [FILTER]): ListenerConfig => ({
  ...apiListener('any', ''),
  api: manager({ routeConfigName: 'r', filters }),
});

/** Every host is configured by one listener. */
function setup(
  routes = routesWith(),
  filters?: readonly HttpFilterConfig[],
): EngineSetup & { readonly start: (authority: string) => { readonly reply: Reply | undefined } } {
  const made = engineSetup({ attach: false });
  made.source.candidates = () => ['any'];
  made.engine.attach(made.source, hostPatterns(['*']), NO_TLS);
  made.source.put('listener', 'any', listener(filters)).put('routes', 'r', routes).cluster('fixed', 9);
  made.engine.roots?.demand('any');
  made.source.push();
  return {
    ...made,
    start: (authority) => {
      const one = made.call(authority);
      const state: { reply: Reply | undefined } = { reply: undefined };
      void made.engine.handle(one).then((reply) => {
        state.reply = reply;
        finish(one, reply);
      });
      return state;
    },
  };
}

const asked = ({ source }: EngineSetup): readonly string[] => source.asked.filter((key) => key.startsWith('virtual-host'));

test('an unknown host is asked for by name, the call waits for it and for its clusters; the next one does not wait', async () => {
  const made = setup(routesWith({ source: SOURCE }));
  const { source, clock, transport, engine, call } = made;
  const one = made.start('shop');
  await clock.advance(50);
  expect(source.wanted).toContainEqual({ kind: 'virtual-host', name: 'r/shop', source: SOURCE });
  source.put('virtual-host', 'r/shop', hostTo('c', 'shop')).push();
  await clock.advance(50);
  expect([one.reply, source.asked.includes('cluster c')]).toEqual([undefined, true]);
  source.cluster('c', 1).push();
  await clock.advance(50);
  expect([one.reply?.status, transport.sent]).toEqual([200, ['10.0.0.1:80']]);
  const two = call('shop');
  expect(engine.open(two)).toMatchObject({ cluster: { name: 'c' } });
  two.end(200, undefined, undefined);
});

test('hosts of the route configuration never ask, and neither does one that a domain covers', async () => {
  const made = setup(routesWith({}, { virtualHosts: [hostTo('fixed', '*.test'), hostTo('fixed', 'fixed')] }));
  expect((await made.send('fixed')).reply.status).toBe(200);
  expect((await made.send('a.test')).reply.status).toBe(200);
  expect(asked(made)).toEqual([]);
});

test.each([
  ['as it was sent', false, 'Shop:8080', 'r/shop:8080'],
  ['without its port where ports do not count', true, 'Shop:8080', 'r/shop'],
])('the name of a host: %s', (_title, ignorePortInHostMatching, authority, name) => {
  const made = setup(routesWith({}, { ignorePortInHostMatching }));
  expect(made.engine.open(made.call(authority))).toBeUndefined();
  expect(asked(made)).toEqual([`virtual-host ${name}`]);
});

test('one that does not exist: 404 at once when the source says so, remembered, and served when it comes', async () => {
  const made = setup();
  const { source, clock, send } = made;
  const one = made.start('shop');
  await clock.advance(100);
  source.fail('virtual-host', 'r/shop', 'cp has no virtual-host of this name').push();
  await clock.advance(0);
  expect(one.reply?.failure).toMatchObject({
    kind: { details: 'route_not_found', flag: 'NR', httpStatus: 404 },
    message: 'virtual host "r/shop": cp has no virtual-host of this name',
  });
  const two = made.start('shop');
  await clock.advance(0);
  expect(two.reply?.status).toBe(404);
  expect(asked(made)).toEqual(['virtual-host r/shop']);
  source.put('virtual-host', 'r/shop', hostTo('fixed', 'shop')).push();
  expect((await send('shop')).reply.status).toBe(200);
  // And deleted again.
  source.fail('virtual-host', 'r/shop', 'deleted').push();
  expect((await send('shop')).reply.failure?.message).toBe('virtual host "r/shop": deleted');
});

test('a source that knows at once needs no waiting', async () => {
  const made = setup();
  made.source.fail('virtual-host', 'r/none', 'no').put('virtual-host', 'r/shop', hostTo('fixed', 'shop'));
  const [one, two] = [made.start('none'), made.start('shop')];
  await made.clock.advance(10);
  expect([one.reply?.status, two.reply?.status]).toEqual([404, 200]);
});

test('silence fails the call after 5 s', async () => {
  const made = setup();
  const one = made.start('shop');
  await made.clock.advance(4999);
  expect(one.reply).toBeUndefined();
  await made.clock.advance(1);
  expect(one.reply?.failure).toMatchObject({
    kind: { details: 'route_not_found' },
    message: 'virtual host "r/shop" was asked for and did not come within 5000 ms',
  });
});

test('one that came for another host is not for this one: 404, and no loop', async () => {
  const made = setup();
  made.source.put('virtual-host', 'r/shop', hostTo('fixed', 'other'));
  expect(detailsOf((await made.send('shop')).reply.failure)).toBe('route_not_found');
  expect((await made.send('other')).reply.status).toBe(200);
});

test('an update of a virtual host is served; those of the route configuration follow RDS alone', async () => {
  const made = setup();
  const { source, send, transport } = made;
  source.put('virtual-host', 'r/shop', hostTo('a', 'shop')).cluster('a', 1).cluster('b', 2);
  await send('shop');
  source.put('virtual-host', 'r/shop', hostTo('b', 'shop', 'fixed')).push();
  await send('shop');
  await send('fixed');
  expect(transport.sent).toEqual(['10.0.0.1:80', '10.0.0.2:80', '10.0.0.9:80']);
  // RDS changes; what was discovered stays.
  source.put('routes', 'r', routesWith({}, { virtualHosts: [hostTo('a', 'fixed')] })).push();
  await send('fixed');
  await send('shop');
  expect(transport.sent.slice(3)).toEqual(['10.0.0.1:80', '10.0.0.2:80']);
});

test('another source, or none: everything that was discovered goes', async () => {
  const made = setup();
  const { source, send, clock, call, engine } = made;
  source.put('virtual-host', 'r/shop', hostTo('fixed', 'shop'));
  await send('shop');
  source.put('routes', 'r', routesWith({ source: SOURCE })).push();
  expect(asked(made)).toEqual([]);
  source.wait('virtual-host', 'r/shop');
  expect(engine.open(call('shop'))).toBeUndefined();
  expect(source.wanted).toContainEqual({ kind: 'virtual-host', name: 'r/shop', source: SOURCE });
  source.put('virtual-host', 'r/shop', hostTo('fixed', 'shop')).push();
  expect((await send('shop')).reply.status).toBe(200);
  const { vhds: _gone, ...plain } = routesWith();
  source.put('routes', 'r', plain).push();
  expect(detailsOf((await send('shop')).reply.failure)).toBe('route_not_found');
  expect(asked(made)).toEqual([]);
  await clock.advance(1);
});

test.each([
  ['no filter', []],
  ['a disabled one', [{ ...FILTER, disabled: true }]],
])('without the on_demand filter nobody asks (%s)', async (_title, filters) => {
  const made = setup(routesWith(), filters);
  made.source.put('virtual-host', 'r/shop', hostTo('fixed', 'shop'));
  expect(detailsOf((await made.send('shop')).reply.failure)).toBe('route_not_found');
  expect(asked(made)).toEqual([]);
});

test('routes by name without a listener have it', async () => {
  const { engine, source, send } = engineSetup({ attach: false });
  engine.attach(new NamedRoutesSource(source, ['%port%']), hostPatterns(['*']), NO_TLS);
  source
    .put('routes', '80', routesWith({}, { name: '80' }))
    .put('virtual-host', '80/shop', hostTo('fixed', 'shop'))
    .cluster('fixed', 9);
  expect((await send('shop')).reply.status).toBe(200);
});

test('while an update of the routes is incomplete, hosts are still found for the old ones', async () => {
  const made = setup();
  const { source, clock } = made;
  source.put('routes', 'r', routesWith({}, { virtualHosts: [hostTo('late', 'fixed')] })).push();
  const one = made.start('shop');
  await clock.advance(10);
  source.put('virtual-host', 'r/shop', hostTo('fixed', 'shop')).push();
  await clock.advance(10);
  expect(one.reply?.status).toBe(200);
  source.cluster('late', 1).push();
  expect((await made.send('fixed')).reply.status).toBe(200);
});

test('hosts that do not exist are bounded, never push out one that does, and are forgotten when idle', async () => {
  const made = setup();
  const { source, engine, call, send, clock } = made;
  source.put('virtual-host', 'r/shop', hostTo('fixed', 'shop'));
  await send('shop');
  for (let i = 0; i < MAX_DEMANDED + 20; i++) engine.open(call(`junk${i}`));
  expect(asked(made)).toHaveLength(MAX_DEMANDED);
  expect(asked(made)).toContain('virtual-host r/shop');
  for (let i = 0; i < 5; i++) {
    await clock.advance(IDLE_MS / 4);
    await send('shop');
  }
  expect(asked(made)).toEqual(['virtual-host r/shop']);
  await clock.advance(2 * IDLE_MS);
  expect(asked(made)).toEqual([]);
  expect((await send('shop')).reply.status).toBe(200);
  // Endpoints go on changing without a new plan.
  const { epoch } = engine;
  source.put('endpoints', 'fixed', endpointsOf('fixed', 8)).push();
  expect(engine.epoch).toBe(epoch);
});

describe('names and tables', () => {
  const name = fc.string({ minLength: 1 });
  const host = fc.string({ minLength: 1 }).filter((text) => !text.includes('/'));

  test('a name is divided at its last slash, whatever the route configuration is called', () => {
    fc.assert(
      fc.property(name, host, (config, one) => {
        const full = virtualHostName(config, one);
        const slash = full.lastIndexOf('/');
        expect([full.slice(0, slash), full.slice(slash + 1)]).toEqual([config, one]);
      }),
    );
  });

  test('joined: RDS first, each once, the same object for the same parts, and the base is kept', () => {
    const pool = ['a', 'b', 'c', 'fixed'].map((domain) => hostTo('x', domain));
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pool), { maxLength: 6 }), (found) => {
        const base = routesWith();
        const config = withVirtualHosts(base, found);
        expect(baseOf(config)).toBe(base);
        expect(withVirtualHosts(base, [...found])).toBe(config);
        expect(config.virtualHosts.slice(0, 1)).toEqual(base.virtualHosts);
        expect(config.virtualHosts.slice(1)).toEqual([...new Set(found)]);
      }),
    );
  });

  test('overrides of the route configuration hold for what comes; its own win', () => {
    const inherited = { f: { disabled: true, config: undefined }, g: { disabled: true, config: undefined } };
    const own = { ...hostTo('x', 'a'), filterOverrides: { g: { disabled: false, config: 1 } } };
    const config = withVirtualHosts(routesWith({ inherited }), [own]);
    expect(config.virtualHosts[1]?.filterOverrides).toEqual({ f: inherited.f, g: own.filterOverrides.g });
  });

  test('a host belongs to its configuration, by name and by source', () => {
    const wanted = { routeConfig: 'r', source: SOURCE };
    expect(belongsTo(wanted, routesWith({ source: { ...SOURCE } }))).toBe(true);
    expect(belongsTo(wanted, routesWith())).toBe(false);
    expect(belongsTo(wanted, routesWith({ source: SOURCE }, { name: 'other' }))).toBe(false);
    expect(belongsTo(wanted, routeConfig({ name: 'r' }))).toBe(false);
  });
});
