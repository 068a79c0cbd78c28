/**
 * Discovery on demand, from the bytes of the control plane to the reply of a call: scoped routes in both dialects, virtual hosts and clusters
 * over delta. The control plane is in memory, time is simulated; messages, decoders, cache and engine are real.
 */
import { expect, onTestFinished, test } from 'vitest';
import { LB_POLICIES } from '../../src/balancing/registry.ts';
import { TYPE_URLS } from '../../src/config/resource.ts';
import type { ResourceKind } from '../../src/config/resource.ts';
import { OutboundCall } from '../../src/core/call.ts';
import { silentLogger } from '../../src/core/log.ts';
import type { Reply } from '../../src/core/reply.ts';
import { FILTERS } from '../../src/filters/registry.ts';
import { hostPatterns } from '../../src/matching/host-patterns.ts';
import { jsonToAny } from '../../src/proto/any.ts';
import { settle } from '../../src/testing/fake-clock.ts';
import { ScriptedRandom } from '../../src/testing/seeded-random.ts';
import { XdsClient } from '../../src/xds/client.ts';
import { RESOURCE_TYPES } from '../../src/xds/resource-types.ts';
import { engineSetup, finish, NO_TLS } from '../support/mesh-engine.ts';
import { hcm, ROUTER } from '../support/mesh-raw.ts';
import { requestHead } from '../unit/routing/builders.ts';
import { FakeTransport, SERVER, bootstrap } from '../unit/xds/fake-control-plane.ts';

type Json = Readonly<Record<string, unknown>>;

const ADS = { ads: {}, resource_api_version: 'V3' };
const ON_DEMAND = 'type.googleapis.com/envoy.extensions.filters.http.on_demand.v3.OnDemand';
const onDemand = (config: Json = {}): Json => ({ name: 'od', typed_config: { '@type': ON_DEMAND, ...config } });

const listenerOf = (routes: Json, ...filters: readonly Json[]): Json => ({
  name: 'shop',
  api_listener: { api_listener: hcm({ ...routes, http_filters: [...filters, ROUTER] }) },
});
const RDS: Json = { rds: { route_config_name: 'r', config_source: ADS } };
const hostTo = (name: string, cluster: string, ...domains: readonly string[]): Json => ({
  name,
  domains,
  routes: [{ match: { prefix: '/' }, route: { cluster } }],
});
const cluster = (name: string): Json => ({ name, type: 'EDS', eds_cluster_config: { eds_config: ADS } });
const endpoints = (name: string, last: number): Json => ({
  cluster_name: name,
  endpoints: [
    {
      load_balancing_weight: 1,
      lb_endpoints: [{ endpoint: { address: { socket_address: { address: `10.0.0.${last}`, port_value: 80 } } } }],
    },
  ],
});

function open(protocol: 'sotw' | 'delta', authority = 'shop') {
  const made = engineSetup({ attach: false });
  const transport = new FakeTransport();
  const client = new XdsClient({
    bootstrap: bootstrap({ servers: [{ ...SERVER, protocol }] }),
    transport: () => transport,
    types: RESOURCE_TYPES,
    decode: { filters: FILTERS, lbPolicies: LB_POLICIES },
    clock: made.clock,
    random: new ScriptedRandom(0.5),
    log: silentLogger,
    wildcard: false,
    userAgentVersion: '0',
  });
  onTestFinished(() => client.close());
  made.engine.attach(client, hostPatterns(['shop', '*.test']), NO_TLS);
  transport.stream.connect();
  let nonce = 0;
  const bodyOf = (kind: ResourceKind, json: Json) => jsonToAny({ '@type': TYPE_URLS[kind], ...json });
  return {
    ...made,
    client,
    /** Resources of one type; `name|alias` is the name in the wrapper. */
    async serve(kind: ResourceKind, entries: Readonly<Record<string, Json>>, removed: readonly string[] = []): Promise<void> {
      const id = String(++nonce);
      if (protocol === 'sotw')
        transport.stream.respond(
          kind,
          id,
          id,
          Object.values(entries).map((json) => bodyOf(kind, json)),
        );
      else
        transport.stream.respondDelta(
          kind,
          id,
          Object.entries(entries).map(([names, json]) => {
            const [name = '', ...aliases] = names.split('|');
            return { name, version: id, aliases, body: bodyOf(kind, json) };
          }),
          removed,
        );
      do await settle();
      while (transport.stream.paused);
    },
    /** Names that are subscribed to now, of one type, as they were sent since the last time. */
    asked: (kind: ResourceKind): readonly string[] =>
      protocol === 'sotw'
        ? transport.stream
            .take()
            .filter(({ type, nack }) => type === kind && nack === undefined)
            .flatMap(({ names }) => names)
        : transport.stream
            .takeDelta()
            .filter(({ type }) => type === kind)
            .flatMap(({ sub = [] }) => sub),
    start(host = authority, headers: Readonly<Record<string, string>> = {}): { readonly reply: Reply | undefined } {
      const one = new OutboundCall(requestHead({ authority: host }, headers), { replayable: true }, made.transport);
      const state: { reply: Reply | undefined } = { reply: undefined };
      void made.engine.handle(one).then((reply) => {
        state.reply = reply;
        finish(one, reply);
      });
      return state;
    },
  };
}

test('a virtual host: asked for by host, answered under another name, removed by that name, back again', async () => {
  const { serve, asked, start, clock, transport } = open('delta');
  await serve('listener', { shop: listenerOf(RDS, onDemand()) });
  await serve('routes', { r: { name: 'r', vhds: { config_source: ADS } } });
  const one = start();
  await clock.advance(1);
  expect(asked('virtual-host')).toEqual(['r/shop']);
  await serve('virtual-host', { 'r/v1|r/shop': hostTo('v1', 'c', 'shop') });
  expect(asked('cluster')).toEqual(['c']);
  await serve('cluster', { c: cluster('c') });
  await serve('endpoints', { c: endpoints('c', 1) });
  await clock.advance(1);
  expect([one.reply?.status, transport.sent]).toEqual([200, ['10.0.0.1:80']]);
  await serve('virtual-host', {}, ['r/v1']);
  const two = start();
  await clock.advance(1);
  expect([two.reply?.status, two.reply?.failure?.message]).toEqual([404, 'virtual host "r/shop": deleted by cp:1']);
  await serve('virtual-host', { 'r/v1|r/shop': hostTo('v1', 'c', 'shop') });
  await serve('cluster', { c: cluster('c') });
  await serve('endpoints', { c: endpoints('c', 1) });
  const three = start();
  await clock.advance(1);
  expect(three.reply?.status).toBe(200);
});

test('a virtual host that does not exist: the control plane says so, and the call fails at once', async () => {
  const { serve, start, clock } = open('delta');
  await serve('listener', { shop: listenerOf(RDS, onDemand()) });
  await serve('routes', { r: { name: 'r', vhds: { config_source: ADS } } });
  const one = start();
  await clock.advance(1);
  await serve('virtual-host', {}, ['r/shop']);
  await clock.advance(0);
  expect([one.reply?.status, one.reply?.failure?.message]).toEqual([404, 'virtual host "r/shop": cp:1 has no virtual-host of this name']);
});

test('a virtual host that is rejected fails its calls with the reason, and no others', async () => {
  const { serve, start, clock } = open('delta');
  await serve('listener', { shop: listenerOf(RDS, onDemand()) });
  await serve('routes', { r: { name: 'r', vhds: { config_source: ADS } } });
  const one = start();
  await clock.advance(1);
  await serve('virtual-host', { 'r/shop': { name: 'v', domains: ['shop'], routes: [{ match: {} }] } });
  await clock.advance(0);
  expect(one.reply?.failure?.message).toContain('virtual host "r/shop": virtual-host');
  expect(one.reply?.failure?.message).toContain('routes[0].match');
});

test('clusters on demand by the filter: with its timeout, and with an answer that there is none', async () => {
  const { serve, asked, start, clock } = open('delta');
  await serve('listener', { shop: listenerOf(RDS, onDemand({ odcds: { source: ADS, timeout: '0.5s' } })) });
  await serve('routes', { r: { name: 'r', virtual_hosts: [hostTo('v', 'c', '*')] } });
  expect(asked('cluster')).toEqual([]);
  const one = start();
  await clock.advance(499);
  expect([asked('cluster'), one.reply]).toEqual([['c'], undefined]);
  await clock.advance(1);
  expect(one.reply?.failure?.message).toBe('cluster "c" was asked for and did not come within 500 ms');
  await serve('cluster', {}, ['c']);
  const two = start();
  await clock.advance(0);
  expect(two.reply?.failure).toMatchObject({ kind: { flag: 'NC' }, message: 'cluster "c": cp:1 has no cluster of this name' });
});

test.each(['sotw', 'delta'] as const)(
  'scoped routes (%s): the list, the routes of each scope, a scope on demand, a scope that goes',
  async (protocol) => {
    const { serve, asked, start, clock, transport, client } = open(protocol);
    const scoped_routes = {
      name: 'tiers',
      scope_key_builder: { fragments: [{ header_value_extractor: { name: 'x-tier', index: 0 } }] },
      rds_config_source: ADS,
      scoped_rds: { scoped_rds_config_source: ADS },
    };
    const scope = (name: string, change: Json = {}): Json => ({
      name,
      route_configuration_name: `r-${name}`,
      key: { fragments: [{ string_key: name }] },
      ...change,
    });
    const routes = (name: string, to: string): Json => ({ name: `r-${name}`, virtual_hosts: [hostTo(name, to, '*')] });
    await serve('listener', { shop: listenerOf({ scoped_routes }) });
    await serve('scoped-routes', { vip: scope('vip'), late: scope('late', { on_demand: true }) });
    expect(asked('routes')).toEqual(['r-vip']);
    await serve('routes', { 'r-vip': routes('vip', 'c') });
    await serve('cluster', { c: cluster('c') });
    await serve('endpoints', { c: endpoints('c', 1) });
    const one = start('shop', { 'x-tier': 'vip' });
    const none = start('shop');
    const late = start('shop', { 'x-tier': 'late' });
    await clock.advance(1);
    expect([one.reply?.status, none.reply?.status, late.reply]).toEqual([200, 404, undefined]);
    expect(asked('routes').includes('r-late')).toBe(true);
    await serve('routes', { 'r-vip': routes('vip', 'c'), 'r-late': routes('late', 'c') });
    await clock.advance(1);
    expect([late.reply?.status, transport.sent]).toEqual([200, ['10.0.0.1:80', '10.0.0.1:80']]);
    await serve('scoped-routes', { late: scope('late', { on_demand: true }) }, ['vip']);
    const gone = start('shop', { 'x-tier': 'vip' });
    const still = start('shop', { 'x-tier': 'late' });
    await clock.advance(1);
    expect([gone.reply?.status, still.reply?.status]).toEqual([404, 200]);
    expect(client.describe().resources.filter(({ status }) => status === 'NACKED')).toEqual([]);
  },
);
