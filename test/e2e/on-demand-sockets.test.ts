/** Virtual hosts on demand (VHDS, Envoy X-90) and scoped routes (SRDS, X-91) from a control plane on a socket, with real calls. */
import { expect, onTestFinished, test } from 'vitest';
import { ControlPlane } from '../../src/control-plane/control-plane.ts';
import type { ControlPlaneOptions } from '../../src/control-plane/control-plane.ts';
import type { AdsRequest, DeltaRequest } from '../../src/control-plane/messages.ts';
import type { Mesh, MeshOptions } from '../../src/index.ts';
import { serve, until } from '../support/http-servers.ts';
import { expectIdle, meshOver } from '../support/mesh-app.ts';
import { ROUTER, cluster, endpoints, hcm, listener, routeResource, to } from '../support/mesh-raw.ts';

type Json = Readonly<Record<string, unknown>>;
type Resources = NonNullable<ControlPlaneOptions['resources']>;

const TYPE = 'type.googleapis.com/';
const VHOST = `${TYPE}envoy.config.route.v3.VirtualHost`;
const SCOPE = `${TYPE}envoy.config.route.v3.ScopedRouteConfiguration`;
const ADS = { ads: {}, resource_api_version: 'V3' };

const answering = (body: string) => serve((_request, response) => response.end(body));

async function world(resources: Resources, include: readonly string[], options: MeshOptions) {
  const asked: (AdsRequest | DeltaRequest)[] = [];
  const plane = await ControlPlane.start({ resources, onRequest: (request) => void asked.push(request) });
  onTestFinished(() => plane.close());
  const mesh = await meshOver(plane, include, undefined, { startTimeout: 10_000, ...options });
  /** Over delta, each name once. */
  const subscribed = (typeUrl: string): readonly string[] => [
    ...new Set(
      asked.flatMap((request) =>
        request.typeUrl === typeUrl && 'resourceNamesSubscribe' in request ? request.resourceNamesSubscribe : [],
      ),
    ),
  ];
  return { plane, mesh, subscribed };
}

async function get(mesh: Mesh, host: string, headers: Readonly<Record<string, string>> = {}): Promise<string> {
  const response = await mesh.fetch(`http://${host}/`, { headers });
  return response.ok ? response.text() : `${response.status} ${response.headers.get('x-inmesh-failure')}`;
}

const becomes = async (call: () => Promise<string>, answer: string): Promise<void> => {
  while ((await call()) !== answer) await new Promise((resolve) => setTimeout(resolve, 5));
};

test('virtual hosts on demand: only those that are called, changed and taken away while calls go on', async () => {
  const [a, b] = [await answering('a'), await answering('b')];
  const host = (name: string, to_: string): Json => ({
    '@type': `${TYPE}envoy.service.discovery.v3.Resource`,
    name: `shop/${name}`,
    resource: { '@type': VHOST, name, domains: [name], routes: [to(to_)] },
  });
  const fixed = [
    ...['a.test', 'b.test', 'c.test'].map((name) =>
      listener(name, 'shop', {
        http_filters: [{ name: 'od', typed_config: { '@type': `${TYPE}envoy.extensions.filters.http.on_demand.v3.OnDemand` } }, ROUTER],
      }),
    ),
    { '@type': `${TYPE}envoy.config.route.v3.RouteConfiguration`, name: 'shop', vhds: { config_source: ADS } },
    ...['a', 'b'].map((name) => cluster(name)),
    endpoints('a', a.port),
    endpoints('b', b.port),
  ];
  const hosts = ['*.test'];
  const { plane, mesh, subscribed } = await world([...fixed, host('a.test', 'a'), host('b.test', 'b')], hosts, { protocol: 'delta' });
  expect(await get(mesh, 'a.test')).toBe('a');
  expect(subscribed(VHOST)).toEqual(['shop/a.test']);
  expect(await get(mesh, 'b.test')).toBe('b');
  expect(subscribed(VHOST)).toEqual(['shop/a.test', 'shop/b.test']);
  // Nobody has that one: the call is answered, and does not wait for a time limit.
  expect(await get(mesh, 'c.test')).toBe('404 NR route_not_found');

  plane.replace([...fixed, host('a.test', 'b'), host('b.test', 'b')]);
  await becomes(() => get(mesh, 'a.test'), 'b');
  plane.replace([...fixed, host('b.test', 'b')]);
  await becomes(() => get(mesh, 'a.test'), '404 NR route_not_found');
  expect(await get(mesh, 'b.test')).toBe('b');
  expect(plane.nacks).toEqual([]);
  expectIdle(mesh);
});

test.each(['sotw', 'delta'] as const)('scoped routes over %s: the header chooses; scopes come and go', async (protocol) => {
  const [a, b] = [await answering('a'), await answering('b')];
  const scope = (name: string, change: Json = {}): Json => ({
    '@type': SCOPE,
    name,
    route_configuration_name: `r-${name}`,
    key: { fragments: [{ string_key: name }] },
    ...change,
  });
  const scoped_routes = {
    name: 'tiers',
    scope_key_builder: { fragments: [{ header_value_extractor: { name: 'x-tier', index: 0 } }] },
    rds_config_source: ADS,
    scoped_rds: { scoped_rds_config_source: ADS },
  };
  const fixed = [
    {
      '@type': `${TYPE}envoy.config.listener.v3.Listener`,
      name: 'shop',
      api_listener: { api_listener: hcm({ scoped_routes }) },
    },
    routeResource('r-vip', [to('a')]),
    routeResource('r-free', [to('b')]),
    ...['a', 'b'].map((name) => cluster(name)),
    endpoints('a', a.port),
    endpoints('b', b.port),
  ];
  const { plane, mesh } = await world([...fixed, scope('vip')], ['shop'], { protocol });
  await mesh.ready();
  const tier = (name: string) => get(mesh, 'shop', { 'x-tier': name });
  expect([await tier('vip'), await tier('free'), await get(mesh, 'shop')]).toEqual([
    'a',
    '404 NR route_not_found',
    '404 NR route_not_found',
  ]);
  plane.replace([...fixed, scope('vip'), scope('free', { on_demand: true })]);
  await becomes(() => tier('free'), 'b');
  plane.replace([...fixed, scope('free', { on_demand: true })]);
  await becomes(() => tier('vip'), '404 NR route_not_found');
  expect(await tier('free')).toBe('b');
  expect(plane.nacks).toEqual([]);
  await until(() => mesh.describe().callsInFlight === 0);
});
