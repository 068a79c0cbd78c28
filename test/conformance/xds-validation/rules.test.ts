/**
 * The validation rules of the gRPC checklist (grpc.md §4, by number) and where Envoy goes further (R-, L-, H-, T- numbers).
 * A row is a resource and what is said about it: 'accepted', or the beginning of the rejection, which names the field.
 */
import { describe, expect, test } from 'vitest';
import type { ResourceKind } from '../../../src/config/resource.ts';
import { apiListener, chain, decode, decodeBytes, edsCluster, endpoint, HCM_TYPE, manager, POLICIES, rejection, ROUTER_FILTER, routes, socketListener, TLS } from '../../unit/xds-decode/harness.ts';
import type { Json } from '../../unit/xds-decode/harness.ts';

type Row = readonly [rule: string, title: string, resource: Json, expected: string];

function check(kind: ResourceKind, rows: readonly Row[]): void {
  test.each(rows)('rule %s: %s', (_rule, _title, resource, expected) => {
    expect(rejection(kind, resource).slice(0, Math.max(expected.length, 'accepted'.length))).toBe(expected);
  });
}

const UNKNOWN_FILTER = { name: 'cors', typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors' } };
const FAULT_FILTER = { name: 'fault', typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault' } };
const HCM_AT = 'api_listener.api_listener';

describe('all types (§4.1)', () => {
  test.each(['listener', 'routes', 'cluster', 'endpoints'] as const)('rule 1: %s that is empty or garbage', (kind) => {
    for (const bytes of [new Uint8Array(0), new Uint8Array([0xff, 0xff, 0xff]), new Uint8Array([0x0a, 0x7f, 0x41])]) {
      const { decoded } = decodeBytes(kind, bytes);
      expect(decoded.ok).toBe(false);
    }
  });

  test('rule 2: unknown fields are recorded and ignored', () => {
    const bytes = decodeBytes('routes', new Uint8Array([0x0a, 1, 0x77, 0xa0, 0x3f, 1])); // name: "w", field 1012 = 1
    expect(bytes.decoded.ok).toBe(true);
    expect(bytes.unsupported).toEqual(['#1012']);
  });
});

describe('listeners of clients (§4.2)', () => {
  check('listener', [
    ['4', 'an API listener', apiListener(), 'accepted'],
    ['4', 'not a connection manager', { name: 'x', api_listener: { api_listener: { '@type': ROUTER_FILTER.typed_config['@type'] } } }, `${HCM_AT}: envoy.extensions.filters.http.router`],
    ['5', 'trusted hops', apiListener({ xff_num_trusted_hops: 1 }), `${HCM_AT}.xff_num_trusted_hops`],
    ['5', 'ip detection', apiListener({ original_ip_detection_extensions: [{ name: 'x' }] }), `${HCM_AT}.original_ip_detection_extensions`],
    ['6', 'RDS over self', apiListener({ rds: { route_config_name: 'w', config_source: { self: {} } } }), 'accepted'],
    ['6', 'RDS from a file', apiListener({ rds: { route_config_name: 'w', config_source: { path: '/x' } } }), `${HCM_AT}.rds.config_source`],
    ['6', 'RDS from nowhere', apiListener({ rds: { route_config_name: 'w' } }), `${HCM_AT}.rds.config_source`],
    ['6', 'RDS without a name', apiListener({ rds: { config_source: { ads: {} } } }), `${HCM_AT}.rds.route_config_name`],
    ['6', 'neither', { name: 'x', api_listener: { api_listener: { '@type': HCM_TYPE, http_filters: [ROUTER_FILTER] } } }, `${HCM_AT}: neither`],
    ['6', 'inline routes are validated', { name: 'x', api_listener: { api_listener: { '@type': HCM_TYPE, route_config: routes({ match: {} }), http_filters: [ROUTER_FILTER] } } }, `${HCM_AT}.route_config.virtual_hosts[0].routes[0].match`],
    ['7', 'no filters', apiListener({ http_filters: [] }), `${HCM_AT}.http_filters: the list`],
    ['7', 'a nameless filter', apiListener({ http_filters: [{ typed_config: ROUTER_FILTER.typed_config }] }), `${HCM_AT}.http_filters[0].name`],
    ['7', 'a name twice', apiListener({ http_filters: [{ ...FAULT_FILTER, name: 'router' }, ROUTER_FILTER] }), `${HCM_AT}.http_filters[1].name`],
    ['7', 'an unknown filter', apiListener({ http_filters: [UNKNOWN_FILTER, ROUTER_FILTER] }), `${HCM_AT}.http_filters[0].typed_config`],
    ['7', 'an unknown optional filter', apiListener({ http_filters: [{ ...UNKNOWN_FILTER, is_optional: true }, ROUTER_FILTER] }), 'accepted'],
    ['7', 'only an unknown optional filter', apiListener({ http_filters: [{ ...UNKNOWN_FILTER, is_optional: true }] }), `${HCM_AT}.http_filters: the list`],
    ['7', 'no router', apiListener({ http_filters: [FAULT_FILTER] }), `${HCM_AT}.http_filters: the last filter`],
    ['7', 'the router not last', apiListener({ http_filters: [ROUTER_FILTER, { ...ROUTER_FILTER, name: 'again' }] }), `${HCM_AT}.http_filters: terminal`],
    ['7', 'no config', apiListener({ http_filters: [{ name: 'x' }, ROUTER_FILTER] }), `${HCM_AT}.http_filters[0]: filter "x"`],
    ['7', 'ECDS', apiListener({ http_filters: [{ name: 'x', config_discovery: { type_urls: ['a'] } }, ROUTER_FILTER] }), `${HCM_AT}.http_filters[0]: filter "x"`],
    ['9', 'neither API listener nor address', { name: 'x' }, 'address: '],
  ]);

  test('rule 8: max_stream_duration is read', () => {
    const { decoded } = decode('listener', apiListener({ common_http_protocol_options: { max_stream_duration: '1.5s' } }));
    expect(decoded.ok && decoded.value.api?.maxStreamDurationMs).toBe(1500);
  });
});

const C = 'filter_chains[0]';
const inbound = (more: Json): Json => socketListener({ filter_chains: [chain(more)] });
const match = (...matches: readonly Json[]): Json => socketListener({ filter_chains: matches.map((filter_chain_match) => chain({ filter_chain_match })) });
const serverTls = (more: Json, common: Json = { tls_certificate_provider_instance: { instance_name: 'default' } }): Json =>
  inbound({ transport_socket: { name: 'tls', typed_config: { '@type': `${TLS}.DownstreamTlsContext`, common_tls_context: common, ...more } } });
const S = `${C}.transport_socket.typed_config`;

describe('listeners of servers (§4.3)', () => {
  check('listener', [
    ['10', 'a listener filter that only looks', socketListener({ listener_filters: [{ name: 'envoy.filters.listener.tls_inspector' }] }), 'accepted'],
    ['10', 'a listener filter that decides', socketListener({ listener_filters: [{ name: 'envoy.filters.listener.proxy_protocol' }] }), 'listener_filters[0]'],
    ['11', 'no address', { name: 'x', filter_chains: [chain()] }, 'address: '],
    ['11', 'a pipe', socketListener({ address: { pipe: { path: '/x' } } }), 'address: '],
    ['11', 'UDP', socketListener({ address: { socket_address: { protocol: 'UDP', address: '0.0.0.0', port_value: 1 } } }), 'address.socket_address.protocol'],
    ['11', 'port 0 is any port', socketListener({ address: { socket_address: { address: '0.0.0.0', port_value: 0 } } }), 'accepted'],
    ['12', 'no filters', inbound({ filters: [] }), `${C}.filters`],
    ['12', 'two managers', inbound({ filters: [{ name: 'a', typed_config: manager() }, { name: 'b', typed_config: manager() }] }), `${C}.filters[1]`],
    ['12', 'a name twice', inbound({ filters: [{ name: 'a', typed_config: manager() }, { name: 'a', typed_config: manager() }] }), `${C}.filters[1].name`],
    [
      '12', 'access rules before the manager',
      inbound({ filters: [{ name: 'r', typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC', stat_prefix: 'x' } }, { name: 'a', typed_config: manager() }] }),
      `${C}.filters[0]`,
    ],
    ['12', 'no manager at all', inbound({ filters: [{ name: 't', typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy' } }] }), 'accepted'],
    ['7', 'a filter for clients on a server', inbound({ filters: [{ name: 'a', typed_config: manager({ http_filters: [FAULT_FILTER, ROUTER_FILTER] }) }] }), `${C}.filters[0].typed_config.http_filters[0]`],
    ['13', 'a bad address', match({ prefix_ranges: [{ address_prefix: '10.0.0', prefix_len: 8 }] }), `${C}.filter_chain_match.prefix_ranges[0].address_prefix`],
    ['13', 'too long a prefix', match({ prefix_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 33 }] }), `${C}.filter_chain_match.prefix_ranges[0].prefix_len`],
    ['13', 'an unknown source type', match({ source_type: 7 }), `${C}.filter_chain_match.source_type`],
    ['14', 'the same match twice', match({}, {}), 'filter_chains[1].filter_chain_match'],
    ['14', 'the same after masking', match({ prefix_ranges: [{ address_prefix: '10.1.2.3', prefix_len: 8 }] }, { prefix_ranges: [{ address_prefix: '10.9.9.9', prefix_len: 8 }] }), 'filter_chains[1].filter_chain_match'],
    ['14', 'the same with a mapped address', match({ prefix_ranges: [{ address_prefix: '::ffff:10.0.0.0', prefix_len: 104 }] }, { prefix_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 8 }] }), 'filter_chains[1].filter_chain_match'],
    ['14', 'lists that overlap', match({ source_ports: [1, 2] }, { source_ports: [2, 3] }), 'filter_chains[1].filter_chain_match'],
    ['14', 'different prefixes', match({ prefix_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 8 }] }, { prefix_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 9 }] }), 'accepted'],
    ['14', 'different protocols', match({ transport_protocol: 'tls' }, { transport_protocol: 'raw_buffer' }, {}), 'accepted'],
    ['15', 'no chain', socketListener({ filter_chains: [] }), 'filter_chains: '],
    ['15', 'only a default chain', socketListener({ filter_chains: [], default_filter_chain: chain() }), 'accepted'],
    ['T-9', 'a matcher tree', socketListener({ filter_chain_matcher: {} }), 'filter_chain_matcher'],
    ['16', 'TLS', serverTls({}), 'accepted'],
    ['16', 'another socket', inbound({ transport_socket: { name: 'alts', typed_config: { '@type': 'type.googleapis.com/google.protobuf.Struct' , value: {} } } }), `${C}.transport_socket.typed_config: transport socket type`],
    ['16', 'a socket without config', inbound({ transport_socket: { name: 'envoy.transport_sockets.tls' } }), `${C}.transport_socket`],
    ['16', 'raw_buffer', inbound({ transport_socket: { name: 'envoy.transport_sockets.raw_buffer' } }), 'accepted'],
    ['16', 'require_sni', serverTls({ require_sni: true }), `${S}.require_sni`],
    ['16', 'require_sni false', serverTls({ require_sni: false }), 'accepted'],
    ['16', 'OCSP', serverTls({ ocsp_staple_policy: 'MUST_STAPLE' }), `${S}.ocsp_staple_policy`],
    ['16', 'no certificate', serverTls({}, {}), `${S}.common_tls_context: a server`],
    ['16', 'client certificates without roots', serverTls({ require_client_certificate: true }), `${S}.require_client_certificate`],
    ['16', 'client certificates with roots', serverTls({ require_client_certificate: true }, { tls_certificate_provider_instance: { instance_name: 'default' }, validation_context: { ca_certificate_provider_instance: { instance_name: 'default' } } }), 'accepted'],
    ['16', 'system roots', serverTls({}, { tls_certificate_provider_instance: { instance_name: 'default' }, validation_context: { system_root_certs: {} } }), `${S}.common_tls_context.validation_context.system_root_certs`],
  ]);
});

const R = 'virtual_hosts[0].routes[0]';
const matching = (more: Json): Json => routes({ match: more });
const action = (more: Json): Json => routes({ route: more });
const header = (more: Json): Json => matching({ prefix: '/', headers: [{ name: 'x', ...more }] });
const retry = (more: Json): Json => action({ cluster: 'c', retry_policy: { retry_on: '5xx', ...more } });
const override = (any: Json): Json => routes({ typed_per_filter_config: { f: any } });
const FAULT_ANY = FAULT_FILTER.typed_config;
const FILTER_CONFIG = 'type.googleapis.com/envoy.config.route.v3.FilterConfig';

describe('route configurations (§4.4)', () => {
  check('routes', [
    ['R-5', 'a domain twice', { name: 'w', virtual_hosts: [{ name: 'a', domains: ['x.com'] }, { name: 'b', domains: ['X.com'] }] }, 'virtual_hosts[1].domains[0]'],
    ['R-5', 'two catch-alls', { name: 'w', virtual_hosts: [{ name: 'a', domains: ['*'] }, { name: 'b', domains: ['*'] }] }, 'virtual_hosts[1].domains[0]'],
    ['17', 'no retries', retry({ num_retries: 0 }), 'accepted'],
    ['17', 'base interval 0', retry({ retry_back_off: { base_interval: '0s' } }), `${R}.route.retry_policy.retry_back_off.base_interval`],
    ['17', 'max interval 0', retry({ retry_back_off: { base_interval: '1s', max_interval: '0s' } }), `${R}.route.retry_policy.retry_back_off.max_interval`],
    ['17', 'on the virtual host', routes({}, { retry_policy: { retry_back_off: { base_interval: '-1s' } } }), 'virtual_hosts[0].retry_policy.retry_back_off.base_interval'],
    ['18', 'no match', { name: 'w', virtual_hosts: [{ name: 'a', domains: ['*'], routes: [{ route: { cluster: 'c' } }] }] }, `${R}.match: a route needs`],
    ['19', 'no path specifier', matching({}), `${R}.match: no path`],
    ['19', 'a bad regex', matching({ safe_regex: { regex: '([a-z' } }), `${R}.match.safe_regex.regex`],
    ['19', 'an empty regex', matching({ safe_regex: {} }), `${R}.match.safe_regex.regex`],
    ['19', 'look-around', matching({ safe_regex: { regex: '(?=a)' } }), `${R}.match.safe_regex.regex`],
    ['19', 'a path extension', matching({ path_match_policy: { name: 'x' } }), `${R}.match.path_match_policy`],
    ['19', 'a separated prefix', matching({ path_separated_prefix: '/a' }), 'accepted'],
    ['19', 'a separated prefix with a slash', matching({ path_separated_prefix: '/a/' }), `${R}.match.path_separated_prefix`],
    ['20', 'a header regex', header({ safe_regex_match: { regex: '*' } }), `${R}.match.headers[0].safe_regex_match.regex`],
    ['20', 'an empty prefix', header({ string_match: { prefix: '' } }), `${R}.match.headers[0].string_match.prefix`],
    ['20', 'an empty suffix', header({ suffix_match: '' }), `${R}.match.headers[0].suffix_match`],
    ['20', 'no pattern', header({ string_match: {} }), `${R}.match.headers[0].string_match`],
    ['20', 'no name', matching({ prefix: '/', headers: [{ present_match: true }] }), `${R}.match.headers[0].name`],
    ['R-21', 'no specifier is presence', header({}), 'accepted'],
    ['R-22', 'a query regex', matching({ prefix: '/', query_parameters: [{ name: 'q', string_match: { safe_regex: { regex: '(' } } }] }), `${R}.match.query_parameters[0].string_match.safe_regex.regex`],
    ['21', 'an unknown denominator', matching({ prefix: '/', runtime_fraction: { default_value: { numerator: 1, denominator: 9 } } }), `${R}.match.runtime_fraction.default_value.denominator`],
    ['22', 'no cluster', action({}), `${R}.route: the route names`],
    ['22', 'an empty name', action({ cluster: '' }), `${R}.route.cluster`],
    ['22', 'weights of 0', action({ weighted_clusters: { clusters: [{ name: 'a', weight: 0 }] } }), `${R}.route.weighted_clusters.clusters: the weights`],
    ['22', 'weights too large', action({ weighted_clusters: { clusters: [{ name: 'a', weight: 4294967295 }, { name: 'b', weight: 1 }] } }), `${R}.route.weighted_clusters.clusters: the weights`],
    ['22', 'weights just right', action({ weighted_clusters: { clusters: [{ name: 'a', weight: 4294967294 }, { name: 'b', weight: 1 }] } }), 'accepted'],
    ['22', 'an undeclared plugin', action({ cluster_specifier_plugin: 'p' }), `${R}.route.cluster_specifier_plugin`],
    ['22', 'a declared plugin', routes({}, {}, { cluster_specifier_plugins: [{ extension: { name: 'p' } }] }), 'cluster_specifier_plugins[0]'],
    ['22', 'an optional plugin', routes({ route: { cluster_specifier_plugin: 'p' } }, {}, { cluster_specifier_plugins: [{ extension: { name: 'p' }, is_optional: true }] }), 'accepted'],
    ['23', 'a bad rewrite in a hash policy', action({ cluster: 'c', hash_policy: [{ header: { header_name: 'h', regex_rewrite: { pattern: { regex: '(' } } } }] }), `${R}.route.hash_policy[0].header.regex_rewrite.pattern.regex`],
    ['R-40', 'two rewrites', action({ cluster: 'c', prefix_rewrite: '/', regex_rewrite: { pattern: { regex: 'a' } } }), `${R}.route: only one`],
    ['R-42', 'a bad substitution', action({ cluster: 'c', regex_rewrite: { pattern: { regex: 'a' }, substitution: '\\1' } }), `${R}.route.regex_rewrite.substitution`],
    ['R-53', 'a status of 199', routes({ route: undefined, direct_response: { status: 199 } }), `${R}.direct_response.status`],
    ['R-53', 'too long a body', routes({ route: undefined, direct_response: { status: 200, body: { inline_string: 'x'.repeat(4097) } } }), `${R}.direct_response.body: 4097`],
    ['R-102', 'a pseudo header', routes({ request_headers_to_add: [{ header: { key: ':path', value: 'x' } }] }), `${R}.request_headers_to_add[0].header.key`],
    ['R-102', 'removing Host', routes({ request_headers_to_remove: ['Host'] }), `${R}.request_headers_to_remove[0]`],
    ['24', 'redirect', routes({ route: undefined, redirect: { https_redirect: true } }), 'accepted'],
    ['24', 'no action', routes({ route: undefined }), 'accepted'],
    ['25', 'an override', override(FAULT_ANY), 'accepted'],
    ['25', 'a wrapped override', override({ '@type': FILTER_CONFIG, config: FAULT_ANY }), 'accepted'],
    ['25', 'an unknown override', override(UNKNOWN_FILTER.typed_config), `${R}.typed_per_filter_config["f"]`],
    ['25', 'an unknown optional override', override({ '@type': FILTER_CONFIG, is_optional: true, config: UNKNOWN_FILTER.typed_config }), 'accepted'],
    ['25', 'only disabled', override({ '@type': FILTER_CONFIG, disabled: true }), 'accepted'],
    ['25', 'an empty wrapper', override({ '@type': FILTER_CONFIG }), `${R}.typed_per_filter_config["f"].config`],
    ['41', 'an override of the router', override(ROUTER_FILTER.typed_config), `${R}.typed_per_filter_config["f"]`],
    ['A31', 'a duration that is none', action({ cluster: 'c', timeout: '-1s' }), `${R}.route.timeout`],
  ]);
});

const clusterTls = (common: Json, more: Json = {}): Json =>
  edsCluster({ transport_socket: { name: 'tls', typed_config: { '@type': `${TLS}.UpstreamTlsContext`, common_tls_context: common, ...more } } });
const U = 'transport_socket.typed_config';
const V = `${U}.common_tls_context.validation_context`;
const CA = { ca_certificate_provider_instance: { instance_name: 'default' } };
const lb = (...policies: readonly Json[]): Json => ({ policies: policies.map((typed_config) => ({ typed_extension_config: { name: 'x', typed_config } })) });
const ROUND_ROBIN = { '@type': `${POLICIES}.round_robin.v3.RoundRobin` };
const nested = (depth: number): Json => (depth === 0 ? ROUND_ROBIN : { '@type': `${POLICIES}.wrr_locality.v3.WrrLocality`, endpoint_picking_policy: lb(nested(depth - 1)) });
const outlier = (more: Json): Json => edsCluster({ outlier_detection: more });

describe('clusters (§4.5)', () => {
  check('cluster', [
    ['27', 'EDS', edsCluster(), 'accepted'],
    ['27', 'EDS without its configuration', { name: 'c', type: 'EDS' }, 'eds_cluster_config'],
    ['27', 'EDS from a file', edsCluster({ eds_cluster_config: { eds_config: { path: '/x' } } }), 'eds_cluster_config.eds_config'],
    ['27', 'xdstp without a service name', edsCluster({ name: 'xdstp://a/b' }), 'eds_cluster_config.service_name'],
    ['27', 'xdstp with a service name', edsCluster({ name: 'xdstp://a/b', eds_cluster_config: { service_name: 's', eds_config: { ads: {} } } }), 'accepted'],
    ['27', 'STRICT_DNS', { name: 'c', type: 'STRICT_DNS' }, 'type: clusters of type STRICT_DNS'],
    ['27', 'aggregate', { name: 'c', cluster_type: { name: 'envoy.clusters.aggregate' } }, 'cluster_type'],
    ['Envoy', 'STATIC', { name: 'c', load_assignment: { endpoints: [{ lb_endpoints: [endpoint(80)] }] } }, 'accepted'],
    ['Envoy', 'STATIC with a bad endpoint', { name: 'c', load_assignment: { endpoints: [{ lb_endpoints: [endpoint(0)] }] } }, 'load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value'],
    ['28', 'CLUSTER_PROVIDED', edsCluster({ lb_policy: 'CLUSTER_PROVIDED' }), 'lb_policy'],
    ['28', 'a list that is not there', edsCluster({ lb_policy: 'LOAD_BALANCING_POLICY_CONFIG' }), 'lb_policy'],
    ['29', 'an unknown policy', edsCluster({ load_balancing_policy: lb({ '@type': `${POLICIES}.pick_first.v3.PickFirst` }) }), 'load_balancing_policy: none'],
    ['29', 'the first known', edsCluster({ load_balancing_policy: lb({ '@type': `${POLICIES}.pick_first.v3.PickFirst` }, ROUND_ROBIN) }), 'accepted'],
    ['29', 'an empty list', edsCluster({ load_balancing_policy: {} }), 'load_balancing_policy: the list'],
    ['29', '16 levels', edsCluster({ load_balancing_policy: lb(nested(15)) }), 'accepted'],
    ['29', '17 levels', edsCluster({ load_balancing_policy: lb(nested(16)) }), 'load_balancing_policy.policies[0]'],
    ['28', 'lb_policy beside the list', edsCluster({ lb_policy: 'CLUSTER_PROVIDED', load_balancing_policy: lb(ROUND_ROBIN) }), 'accepted'],
    ['30', 'load reports elsewhere', edsCluster({ lrs_server: { ads: {} } }), 'lrs_server'],
    ['30', 'load reports', edsCluster({ lrs_server: { self: {} } }), 'accepted'],
    ['31', 'a percentage of 101', outlier({ max_ejection_percent: 101 }), 'outlier_detection.max_ejection_percent'],
    ['31', 'enforcing 101', outlier({ enforcing_success_rate: 101 }), 'outlier_detection.enforcing_success_rate'],
    ['31', 'threshold 101', outlier({ failure_percentage_threshold: 101 }), 'outlier_detection.failure_percentage_threshold'],
    ['31', 'a negative interval', outlier({ interval: '-1s' }), 'outlier_detection.interval'],
    ['32', 'sockets by endpoint', edsCluster({ transport_socket_matches: [{ name: 'x' }] }), 'transport_socket_matches'],
    ['32', 'TLS', clusterTls({ validation_context: CA }), 'accepted'],
    ['32', 'a long SNI', clusterTls({ validation_context: CA }, { sni: 'x'.repeat(256) }), `${U}.sni`],
    ['32', 'no common context', edsCluster({ transport_socket: { name: 't', typed_config: { '@type': `${TLS}.UpstreamTlsContext` } } }), `${U}.common_tls_context`],
    ['32', 'the server side', edsCluster({ transport_socket: { name: 't', typed_config: { '@type': `${TLS}.DownstreamTlsContext` } } }), `${U}: transport socket type`],
    ['33', 'cipher suites', clusterTls({ tls_params: { cipher_suites: ['X'] } }), `${U}.common_tls_context.tls_params.cipher_suites`],
    ['33', 'TLS 1.0 at most', clusterTls({ tls_params: { tls_maximum_protocol_version: 'TLSv1_0' } }), `${U}.common_tls_context.tls_params.tls_maximum_protocol_version`],
    ['33', 'a handshaker', clusterTls({ custom_handshaker: { name: 'x' } }), `${U}.common_tls_context.custom_handshaker`],
    ['33', 'SDS', clusterTls({ tls_certificate_sds_secret_configs: [{ name: 'x' }] }), `${U}.common_tls_context.tls_certificate_sds_secret_configs`],
    ['33', 'SDS for roots', clusterTls({ validation_context_sds_secret_config: { name: 'x' } }), `${U}.common_tls_context.validation_context_sds_secret_config`],
    ['33', 'SDS for roots, combined', clusterTls({ combined_validation_context: { default_validation_context: CA, validation_context_sds_secret_config: { name: 'x' } } }), `${U}.common_tls_context.combined_validation_context.validation_context_sds_secret_config`],
    ['33', 'two certificates', clusterTls({ tls_certificates: [1, 2].map(() => ({ certificate_chain: { inline_string: 'c' }, private_key: { inline_string: 'k' } })) }), `${U}.common_tls_context.tls_certificates`],
    ['33', 'a certificate without key', clusterTls({ tls_certificates: [{ certificate_chain: { inline_string: 'c' } }] }), `${U}.common_tls_context.tls_certificates[0].private_key`],
    ['33', 'a password', clusterTls({ tls_certificates: [{ certificate_chain: { inline_string: 'c' }, private_key: { inline_string: 'k' }, password: { inline_string: 'p' } }] }), `${U}.common_tls_context.tls_certificates[0].password`],
    ['33', 'certificate from the environment', clusterTls({ tls_certificates: [{ certificate_chain: { environment_variable: 'C' }, private_key: { inline_string: 'k' } }] }), `${U}.common_tls_context.tls_certificates[0].certificate_chain`],
    ['33', 'pinning', clusterTls({ validation_context: { ...CA, verify_certificate_hash: ['00'] } }), `${V}.verify_certificate_hash`],
    ['33', 'SPKI', clusterTls({ validation_context: { ...CA, verify_certificate_spki: ['00'] } }), `${V}.verify_certificate_spki`],
    ['33', 'CRL', clusterTls({ validation_context: { ...CA, crl: { inline_string: 'x' } } }), `${V}.crl`],
    ['33', 'SCT', clusterTls({ validation_context: { ...CA, require_signed_certificate_timestamp: true } }), `${V}.require_signed_certificate_timestamp`],
    ['33', 'SCT false', clusterTls({ validation_context: { ...CA, require_signed_certificate_timestamp: false } }), 'accepted'],
    ['33', 'a validator', clusterTls({ validation_context: { ...CA, custom_validator_config: { name: 'x' } } }), `${V}.custom_validator_config`],
    ['33', 'verify depth', clusterTls({ validation_context: { ...CA, max_verify_depth: 1 } }), `${V}.max_verify_depth`],
    ['33', 'ignored fields', clusterTls({ validation_context: { ...CA, allow_expired_certificate: true, trust_chain_verification: 'ACCEPT_UNTRUSTED' } }, { allow_renegotiation: true, max_session_keys: 5 }), 'accepted'],
    ['33', 'an unknown provider', clusterTls({ tls_certificate_provider_instance: { instance_name: 'nope' } }), `${U}.common_tls_context.tls_certificate_provider_instance.instance_name`],
    ['33', 'an unknown provider of roots', clusterTls({ validation_context: { ca_certificate_provider_instance: { instance_name: 'nope' } } }), `${V}.ca_certificate_provider_instance.instance_name`],
    ['33', 'a deprecated provider', clusterTls({ tls_certificate_certificate_provider_instance: { instance_name: 'default' }, validation_context_certificate_provider_instance: { instance_name: 'default' } }), 'accepted'],
    ['T-3', 'SAN matchers without roots', clusterTls({ validation_context: { match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: 'x' } }] } }), `${V}: SAN matchers`],
    ['T-3', 'SAN type OTHER_NAME', clusterTls({ validation_context: { ...CA, match_typed_subject_alt_names: [{ san_type: 'OTHER_NAME', oid: '1', matcher: { exact: 'x' } }] } }), `${V}.match_typed_subject_alt_names[0].oid`],
    ['T-3', 'a SAN regex', clusterTls({ validation_context: { ...CA, match_subject_alt_names: [{ safe_regex: { regex: '(' } }] } }), `${V}.match_subject_alt_names[0].safe_regex.regex`],
    ['34', 'per-host connections 0', edsCluster({ circuit_breakers: { per_host_thresholds: [{ max_connections: 0 }] } }), 'circuit_breakers.per_host_thresholds[0].max_connections'],
    ['Envoy', 'connect_timeout 0', edsCluster({ connect_timeout: '0s' }), 'connect_timeout'],
    ['Envoy', 'HTTP/3', edsCluster({ typed_extension_protocol_options: { 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': { '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions', explicit_http_config: { http3_protocol_options: {} } } } }), 'typed_extension_protocol_options'],
  ]);

  test('a field of a newer TLS message rejects', () => {
    // UpstreamTlsContext { field 99: 1 }
    const context = { typeUrl: `${TLS}.UpstreamTlsContext`, value: Buffer.from([0x0a, 0, 0x98, 6, 1]).toString('base64') };
    const known = clusterTls({});
    expect(rejection('cluster', known)).toBe('accepted');
    const bytes = Buffer.concat([Buffer.from('0a0163', 'hex'), Buffer.from(anySocket(context.typeUrl, Buffer.from(context.value, 'base64')))]);
    const { decoded } = decodeBytes('cluster', bytes);
    expect(decoded.ok ? '' : decoded.errors[0]?.reason).toContain('field number 99');
  });
});

/** Cluster.transport_socket (24) { name: "t", typed_config (3) { type_url, value } }, as bytes. */
function anySocket(typeUrl: string, value: Buffer): Buffer {
  const field = (number: number, bytes: Buffer): Buffer => Buffer.concat([Buffer.from([(number << 3) | 2].flatMap((tag) => (tag < 128 ? [tag] : [(tag & 127) | 128, tag >> 7]))), Buffer.from([bytes.length]), bytes]);
  return field(24, Buffer.concat([field(1, Buffer.from('t')), field(3, Buffer.concat([field(1, Buffer.from(typeUrl)), field(2, value)]))]));
}

const LOCALITY = { locality: { region: 'r', zone: 'z' }, load_balancing_weight: 1 };
const eds = (...endpoints: readonly Json[]): Json => ({ cluster_name: 'c', endpoints });
const L = 'endpoints[0].lb_endpoints';

describe('endpoints (§4.6)', () => {
  check('endpoints', [
    ['37', 'a locality', eds({ ...LOCALITY, lb_endpoints: [endpoint(1)] }), 'accepted'],
    ['37', 'no locality at all (Envoy)', eds({ lb_endpoints: [endpoint(1)] }), 'accepted'],
    ['37', 'the same twice', eds(LOCALITY, LOCALITY), 'endpoints[1].locality'],
    ['37', 'the same in two priorities', eds(LOCALITY, { ...LOCALITY, priority: 1 }), 'accepted'],
    ['37', 'locality weights too large', eds({ ...LOCALITY, load_balancing_weight: 4294967295 }, { locality: { region: 'b' }, load_balancing_weight: 1 }), 'endpoints: the weights'],
    ['37', 'a gap', eds({ ...LOCALITY, priority: 1 }), 'endpoints: there is no locality of priority 0'],
    ['37', 'a gap where the locality has weight 0', eds({ ...LOCALITY, load_balancing_weight: 0 }, { ...LOCALITY, priority: 1 }), 'endpoints: there is no locality of priority 0'],
    ['37', 'no gap without the one of weight 0', eds(LOCALITY, { ...LOCALITY, priority: 2, load_balancing_weight: 0 }), 'accepted'],
    ['L-3', 'priority 129', eds({ ...LOCALITY, priority: 129 }), 'endpoints[0].priority'],
    ['38', 'endpoint weight 0', eds({ ...LOCALITY, lb_endpoints: [endpoint(1, { load_balancing_weight: 0 })] }), `${L}[0].load_balancing_weight`],
    ['38', 'endpoint weights too large', eds({ ...LOCALITY, lb_endpoints: [endpoint(1, { load_balancing_weight: 4294967295 }), endpoint(2)] }), `${L}[1].load_balancing_weight`],
    ['38', 'an address twice', eds({ ...LOCALITY, lb_endpoints: [endpoint(1), endpoint(1)] }), `${L}[1].endpoint.address`],
    ['38', 'an address twice in two localities', eds({ ...LOCALITY, lb_endpoints: [endpoint(1)] }, { locality: { region: 'b' }, lb_endpoints: [endpoint(1)] }), 'endpoints[1].lb_endpoints[0].endpoint.address'],
    ['38', 'an additional address twice', eds({ ...LOCALITY, lb_endpoints: [endpoint(1), { endpoint: { address: { socket_address: { address: '10.0.0.9', port_value: 1 } }, additional_addresses: [{ address: { socket_address: { address: '10.0.0.1', port_value: 1 } } }] } }] }), `${L}[1].endpoint.additional_addresses`],
    ['38', 'port 65536', eds({ ...LOCALITY, lb_endpoints: [endpoint(65536)] }), `${L}[0].endpoint.address.socket_address.port_value`],
    ['38', 'no address', eds({ ...LOCALITY, lb_endpoints: [{ endpoint: {} }] }), `${L}[0].endpoint.address`],
    ['38', 'a pipe', eds({ ...LOCALITY, lb_endpoints: [{ endpoint: { address: { pipe: { path: '/x' } } } }] }), `${L}[0].endpoint.address`],
    ['38', 'a named port', eds({ ...LOCALITY, lb_endpoints: [{ endpoint: { address: { socket_address: { address: '1.2.3.4', named_port: 'http' } } } }] }), `${L}[0].endpoint.address.socket_address.named_port`],
    ['39', 'an unknown denominator', { cluster_name: 'c', policy: { drop_overloads: [{ category: 'x', drop_percentage: { numerator: 1, denominator: 5 } }] } }, 'policy.drop_overloads[0].drop_percentage.denominator'],
    ['40', 'no localities', { cluster_name: 'c' }, 'accepted'],
    ['1', 'no name', { endpoints: [] }, 'cluster_name'],
  ]);

  test('rule 39: more than everything is always', () => {
    const { decoded } = decode('endpoints', { cluster_name: 'c', policy: { drop_overloads: [{ category: 'x', drop_percentage: { numerator: 200 } }] } });
    expect(decoded.ok && decoded.value.dropOverloads).toEqual([{ category: 'x', numerator: 100, denominator: 100 }]);
  });
});
