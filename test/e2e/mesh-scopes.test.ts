/** Scoped routes with real calls: from the resources of a `mesh.yaml`, scopes of a list that changes. */
import { expect, test } from 'vitest';
import { serve } from '../support/http-servers.ts';
import { meshOf } from '../support/mesh-app.ts';
import { cluster, endpoints, listener, meshFile, routeResource, to } from '../support/mesh-raw.ts';

const ADS = { ads: {}, resource_api_version: 'V3' };

test('the header chooses the routes; without it there are none', async () => {
  const [a, b] = [await serve((_r, response) => response.end('fast')), await serve((_r, response) => response.end('slow'))];
  const scope = (name: string, routes: string) => ({
    '@type': 'type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration',
    name,
    route_configuration_name: routes,
    key: { fragments: [{ string_key: name }] },
  });
  const scoped_routes = {
    name: 'tiers',
    scope_key_builder: { fragments: [{ header_value_extractor: { name: 'X-Tier', element_separator: ',', index: 0 } }] },
    rds_config_source: ADS,
    scoped_rds: { scoped_rds_config_source: ADS },
  };
  const text = meshFile([
    listener('shop', 'unused', { rds: undefined, scoped_routes }),
    scope('vip', 'r1'),
    scope('free', 'r2'),
    routeResource('r1', [to('a')]),
    routeResource('r2', [to('b')]),
    ...['a', 'b'].map((name) => cluster(name)),
    endpoints('a', a.port),
    endpoints('b', b.port),
  ]);
  const mesh = await meshOf(text, { include: ['shop'] });
  const get = async (headers: Readonly<Record<string, string>>): Promise<string> => {
    const response = await mesh.fetch('http://shop/', { headers });
    return response.ok ? response.text() : `${response.status} ${response.headers.get('x-inmesh-failure')}`;
  };
  expect([await get({ 'x-tier': 'vip' }), await get({ 'x-tier': 'free,more' }), await get({ 'x-tier': 'gold' }), await get({})]).toEqual([
    'fast',
    'slow',
    '404 NR route_not_found',
    '404 NR route_not_found',
  ]);
});
