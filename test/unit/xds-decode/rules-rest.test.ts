/** Clauses of the gRPC rules (grpc.md §4) that test/conformance/xds-validation has no row for, with the filters and policies of the package. */
import { expect, test } from 'vitest';
import type { ResourceKind } from '../../../src/config/resource.ts';
import { LB_POLICIES } from '../../../src/balancing/registry.ts';
import { FILTERS } from '../../../src/filters/registry.ts';
import type { Json } from './harness.ts';
import {
  apiListener,
  chain,
  decode,
  edsCluster,
  HCM_TYPE,
  manager,
  rejection,
  ROUTER_FILTER,
  routes,
  socketListener,
  TLS,
} from './harness.ts';

const own = { filters: FILTERS, lbPolicies: LB_POLICIES };
const HCM_AT = 'api_listener.api_listener';
const BAD_RBAC = { '@type': 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC', rules: { policies: { p: {} } } };
const filters = (...list: readonly Json[]): Json => socketListener({ filter_chains: [chain({ filters: list })] });
const socket = (transport_socket: Json): Json => edsCluster({ transport_socket });

test.each<[rule: string, kind: ResourceKind, resource: Json, expected: string]>([
  [
    '6 scoped routes',
    'listener',
    { name: 'x', api_listener: { api_listener: { '@type': HCM_TYPE, scoped_routes: { name: 's' }, http_filters: [ROUTER_FILTER] } } },
    `${HCM_AT}.scoped_routes.scope_key_builder.fragments`,
  ],
  [
    '7 a known filter that cannot be read, though optional',
    'listener',
    apiListener({ http_filters: [{ name: 'r', is_optional: true, typed_config: BAD_RBAC }, ROUTER_FILTER] }),
    `${HCM_AT}.http_filters[0].typed_config.rules.policies["p"].permissions`,
  ],
  ['12 a network filter without a name', 'listener', filters({ typed_config: manager() }), 'filter_chains[0].filters[0].name'],
  ['12 a network filter without configuration', 'listener', filters({ name: 'a' }), 'filter_chains[0].filters[0]: network filter "a"'],
  ['17 a domain that can never match', 'routes', routes({}, { domains: ['a*b', '*x*'] }), 'accepted'],
  [
    '20 an empty contains',
    'routes',
    routes({ match: { prefix: '/', headers: [{ name: 'x', string_match: { contains: '' } }] } }),
    'virtual_hosts[0].routes[0].match.headers[0].string_match.contains',
  ],
  ['22 cluster_header (Envoy R-30)', 'routes', routes({ route: { cluster_header: 'x-cluster' } }), 'accepted'],
  ['24 filter_action', 'routes', routes({ route: undefined, filter_action: {} }), 'accepted'],
  ['27 LOGICAL_DNS (calls fail)', 'cluster', { name: 'c', type: 'LOGICAL_DNS' }, 'accepted'],
  ['28 RING_HASH, not there yet', 'cluster', edsCluster({ lb_policy: 'RING_HASH' }), 'lb_policy: LB policy RING_HASH is not supported'],
  [
    '28 LEAST_REQUEST with one choice',
    'cluster',
    edsCluster({ lb_policy: 'LEAST_REQUEST', least_request_lb_config: { choice_count: 1 } }),
    'lb_policy.choice_count',
  ],
  ['28 RANDOM (Envoy)', 'cluster', edsCluster({ lb_policy: 'RANDOM' }), 'accepted'],
  [
    '32 a socket without configuration',
    'cluster',
    socket({ name: 'envoy.transport_sockets.tls' }),
    'transport_socket: transport socket "envoy.transport_sockets.tls"',
  ],
  // Where Envoy and gRPC disagree; docs/reference/xds-support.md says so.
  [
    '32 no trust anchors (Envoy T-2)',
    'cluster',
    socket({ name: 'envoy.transport_sockets.tls', typed_config: { '@type': `${TLS}.UpstreamTlsContext`, common_tls_context: {} } }),
    'accepted',
  ],
])('rule %s', (_rule, kind, resource, expected) => {
  expect(rejection(kind, resource, own).slice(0, expected.length)).toBe(expected);
});

test.each<[rule: string, kind: ResourceKind, resource: Json, unsupported: readonly string[]]>([
  ['10 use_original_dst', 'listener', socketListener({ use_original_dst: true }), ['use_original_dst']],
  [
    '35 metadata of others',
    'cluster',
    edsCluster({ metadata: { filter_metadata: { 'com.google.csm.telemetry_labels': { service_name: 's' } } } }),
    [],
  ],
  [
    '36 health_checks',
    'cluster',
    edsCluster({ health_checks: [{ timeout: '1s', interval: '1s', unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {} }] }),
    ['health_checks'],
  ],
])('rule %s: accepted, and recorded where it has no effect', (_rule, kind, resource, unsupported) => {
  const outcome = decode(kind, resource, own);
  expect(outcome.decoded.ok).toBe(true);
  expect(outcome.unsupported).toEqual(unsupported);
});
