import { expect, test } from 'vitest';
import { LB_POLICIES } from '../../../src/balancing/registry.ts';
import type { ResourceKind } from '../../../src/config/resource.ts';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import { FILTERS } from '../../../src/filters/registry.ts';
import { WITHOUT_EFFECT } from '../../../src/filters/without-effect.ts';
import { jsonToAny } from '../../../src/proto/any.ts';
import { RESOURCE_TYPES } from '../../../src/xds/resource-types.ts';

/** Decoded and accepted, read by nothing: an operator who set it must be able to see that. */
const MANAGER = {
  '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
  stat_prefix: 'x',
  route_config: { name: 'r' },
  http_filters: [{ name: 'router', typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' } }],
};
const route = { match: { prefix: '/' }, route: { cluster: 'c', hash_policy: [{ header: { header_name: 'x-user' } }] } };
const eds = { name: 'c', type: 'EDS', eds_cluster_config: { eds_config: { ads: {} } } };

test.each<[string, ResourceKind, object, string]>([
  ['hash_policy', 'routes', { name: 'r', virtual_hosts: [{ name: 'v', domains: ['*'], routes: [route] }] }, 'hash_policy'],
  [
    'strip_any_host_port',
    'listener',
    { name: 'l', api_listener: { api_listener: { ...MANAGER, strip_any_host_port: true } } },
    'strip_any_host_port',
  ],
  ['max_connections', 'cluster', { ...eds, circuit_breakers: { thresholds: [{ max_connections: 5 }] } }, 'max_connections'],
])('%s has no effect yet, and is recorded as such', (_name, kind, json, field) => {
  const unsupported: string[] = [];
  const any = jsonToAny({ '@type': TYPE_URLS[kind], ...json });
  const decoded = RESOURCE_TYPES.find((type) => type.kind === kind)?.decode(any.value, {
    filters: FILTERS,
    lbPolicies: LB_POLICIES,
    certificateProviders: new Set(),
    unsupported: (_kind, found) => void unsupported.push(found),
  });
  expect(decoded?.ok).toBe(true);
  expect(unsupported.filter((found) => found.endsWith(field))).toHaveLength(1);
});

test.each(WITHOUT_EFFECT.typeUrls.filter((typeUrl) => !/PerRoute|CorsPolicy/.test(typeUrl)))(
  'the filter %s is taken, and recorded',
  (type_url) => {
    const filter = { name: 'f', typed_config: { '@type': 'type.googleapis.com/xds.type.v3.TypedStruct', type_url, value: {} } };
    const manager = { ...MANAGER, http_filters: [filter, ...MANAGER.http_filters] };
    const unsupported: string[] = [];
    const any = jsonToAny({ '@type': TYPE_URLS.listener, name: 'l', api_listener: { api_listener: manager } });
    const decoded = RESOURCE_TYPES.find((type) => type.kind === 'listener')?.decode(any.value, {
      filters: FILTERS,
      lbPolicies: LB_POLICIES,
      certificateProviders: new Set(),
      unsupported: (_kind, found) => void unsupported.push(found),
    });
    expect(decoded?.ok).toBe(true);
    expect(unsupported.some((found) => found.includes('http_filters'))).toBe(true);
  },
);
