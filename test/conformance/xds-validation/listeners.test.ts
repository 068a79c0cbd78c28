/** Validation of listeners: gRPC rules 1 to 16 (grpc.md §4.1 to §4.3) and Envoy T-9. */
import { describe, expect, test } from 'vitest';
import {
  apiListener,
  chain,
  decode,
  decodeBytes,
  HCM_TYPE,
  manager,
  ROUTER_FILTER,
  routes,
  socketListener,
  TLS,
} from '../../unit/xds-decode/harness.ts';
import type { Json } from '../../unit/xds-decode/harness.ts';
import { check, FAULT_FILTER, UNKNOWN_FILTER } from './rows.ts';

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

const ON_DEMAND = 'type.googleapis.com/envoy.extensions.filters.http.on_demand.v3';
const onDemand = (config: Json): Json => ({ name: 'od', typed_config: { '@type': `${ON_DEMAND}.OnDemand`, ...config } });
const ADS = { ads: {} };
const KEY = (...parts: readonly string[]): Json => ({ key: { fragments: parts.map((string_key) => ({ string_key })) } });
const extract = (change: Json): Json => ({ scope_key_builder: { fragments: [{ header_value_extractor: { name: 'x', ...change } }] } });
const scopeOf = (name: string, key: string): Json => ({ name, route_configuration_name: 'r', ...KEY(key) });
const inline = (...list: readonly Json[]): Json => ({ scoped_route_configurations_list: { scoped_route_configurations: list } });
const scoped = (change: Json): Json =>
  apiListener({
    rds: undefined,
    scoped_routes: {
      name: 's',
      ...extract({ index: 0 }),
      rds_config_source: ADS,
      scoped_rds: { scoped_rds_config_source: ADS },
      ...change,
    },
  });
const SCOPES = 'api_listener.api_listener.scoped_routes';
const FRAGMENT = `${SCOPES}.scope_key_builder.fragments[0].header_value_extractor`;
const HCM_AT = 'api_listener.api_listener';

describe('listeners of clients (§4.2)', () => {
  check('listener', [
    ['4', 'an API listener', apiListener(), 'accepted'],
    [
      '4',
      'not a connection manager',
      { name: 'x', api_listener: { api_listener: { '@type': ROUTER_FILTER.typed_config['@type'] } } },
      `${HCM_AT}: envoy.extensions.filters.http.router`,
    ],
    ['5', 'trusted hops', apiListener({ xff_num_trusted_hops: 1 }), `${HCM_AT}.xff_num_trusted_hops`],
    ['5', 'ip detection', apiListener({ original_ip_detection_extensions: [{ name: 'x' }] }), `${HCM_AT}.original_ip_detection_extensions`],
    ['6', 'RDS over self', apiListener({ rds: { route_config_name: 'w', config_source: { self: {} } } }), 'accepted'],
    ['6', 'RDS from a file (Envoy)', apiListener({ rds: { route_config_name: 'w', config_source: { path: '/x' } } }), 'accepted'],
    ['6', 'RDS from nowhere', apiListener({ rds: { route_config_name: 'w' } }), `${HCM_AT}.rds.config_source`],
    ['6', 'RDS without a name', apiListener({ rds: { config_source: { ads: {} } } }), `${HCM_AT}.rds.route_config_name`],
    [
      '6',
      'neither',
      { name: 'x', api_listener: { api_listener: { '@type': HCM_TYPE, http_filters: [ROUTER_FILTER] } } },
      `${HCM_AT}: neither`,
    ],
    [
      '6',
      'inline routes are validated',
      {
        name: 'x',
        api_listener: { api_listener: { '@type': HCM_TYPE, route_config: routes({ match: {} }), http_filters: [ROUTER_FILTER] } },
      },
      `${HCM_AT}.route_config.virtual_hosts[0].routes[0].match`,
    ],
    ['X-91', 'scopes, discovered', scoped({}), 'accepted'],
    ['X-91', 'scopes in a list', scoped({ scoped_rds: undefined, ...inline(scopeOf('a', 'x'), scopeOf('b', 'y')) }), 'accepted'],
    ['X-91', 'no scopes', scoped({ scoped_rds: undefined }), `${SCOPES}: neither scoped_rds`],
    ['X-91', 'scopes from nowhere', scoped({ scoped_rds: {} }), `${SCOPES}.scoped_rds.scoped_rds_config_source`],
    ['X-91', 'their routes from nowhere', scoped({ rds_config_source: undefined }), `${SCOPES}.rds_config_source`],
    [
      'X-91',
      'a list that needs no source',
      scoped({
        rds_config_source: undefined,
        scoped_rds: undefined,
        ...inline({ name: 'a', ...KEY('x'), route_configuration: { name: 'r' } }),
      }),
      'accepted',
    ],
    ['X-91', 'no key builder', scoped({ scope_key_builder: {} }), `${SCOPES}.scope_key_builder.fragments`],
    [
      'X-91',
      'a fragment of nothing',
      scoped({ scope_key_builder: { fragments: [{}] } }),
      `${SCOPES}.scope_key_builder.fragments[0]: header_value_extractor`,
    ],
    ['X-91', 'neither index nor element', scoped(extract({})), `${FRAGMENT}: neither`],
    ['X-91', 'an index without a separator', scoped(extract({ index: 1 })), `${FRAGMENT}.index`],
    ['X-91', 'an index with one', scoped(extract({ index: 1, element_separator: ',' })), 'accepted'],
    ['X-91', 'no header', scoped(extract({ name: '', index: 0 })), `${FRAGMENT}.name`],
    ['X-91', 'an element', scoped(extract({ element: { key: 'k', separator: '=' } })), 'accepted'],
    ['X-91', 'an element without a key', scoped(extract({ element: { separator: '=' } })), `${FRAGMENT}.element.key`],
    ['X-91', 'an element without a separator', scoped(extract({ element: { key: 'k' } })), `${FRAGMENT}.element.separator`],
    [
      'X-91',
      'one key twice in a list',
      scoped({ scoped_rds: undefined, ...inline(scopeOf('a', 'x'), scopeOf('b', 'x')) }),
      `${SCOPES}.scoped_route_configurations_list.scoped_route_configurations[1].key: scope "a"`,
    ],
    ['X-95', 'the on_demand filter', apiListener({ http_filters: [onDemand({}), ROUTER_FILTER] }), 'accepted'],
    [
      'X-95',
      'with clusters on demand',
      apiListener({ http_filters: [onDemand({ odcds: { source: { ads: {} }, timeout: '1s' } }), ROUTER_FILTER] }),
      'accepted',
    ],
    [
      'X-95',
      'with clusters from nowhere',
      apiListener({ http_filters: [onDemand({ odcds: {} }), ROUTER_FILTER] }),
      `${HCM_AT}.http_filters[0].typed_config.odcds.source`,
    ],
    [
      'X-95',
      'with a collection of clusters',
      apiListener({ http_filters: [onDemand({ odcds: { source: { ads: {} }, resources_locator: 'xdstp://a/b' } }), ROUTER_FILTER] }),
      `${HCM_AT}.http_filters[0].typed_config.odcds.resources_locator`,
    ],
    [
      'X-95',
      'with a negative timeout',
      apiListener({ http_filters: [onDemand({ odcds: { source: { ads: {} }, timeout: '-1s' } }), ROUTER_FILTER] }),
      `${HCM_AT}.http_filters[0].typed_config.odcds.timeout`,
    ],
    ['7', 'no filters', apiListener({ http_filters: [] }), `${HCM_AT}.http_filters: the list`],
    [
      '7',
      'a nameless filter',
      apiListener({ http_filters: [{ typed_config: ROUTER_FILTER.typed_config }] }),
      `${HCM_AT}.http_filters[0].name`,
    ],
    [
      '7',
      'a name twice',
      apiListener({ http_filters: [{ ...FAULT_FILTER, name: 'router' }, ROUTER_FILTER] }),
      `${HCM_AT}.http_filters[1].name`,
    ],
    ['7', 'an unknown filter', apiListener({ http_filters: [UNKNOWN_FILTER, ROUTER_FILTER] }), `${HCM_AT}.http_filters[0].typed_config`],
    [
      '7',
      'an unknown optional filter',
      apiListener({ http_filters: [{ ...UNKNOWN_FILTER, is_optional: true }, ROUTER_FILTER] }),
      'accepted',
    ],
    [
      '7',
      'only an unknown optional filter',
      apiListener({ http_filters: [{ ...UNKNOWN_FILTER, is_optional: true }] }),
      `${HCM_AT}.http_filters: the list`,
    ],
    ['7', 'no router', apiListener({ http_filters: [FAULT_FILTER] }), `${HCM_AT}.http_filters: the last filter`],
    [
      '7',
      'the router not last',
      apiListener({ http_filters: [ROUTER_FILTER, { ...ROUTER_FILTER, name: 'again' }] }),
      `${HCM_AT}.http_filters: terminal`,
    ],
    ['7', 'no config', apiListener({ http_filters: [{ name: 'x' }, ROUTER_FILTER] }), `${HCM_AT}.http_filters[0]: filter "x"`],
    ['9', 'neither API listener nor address', { name: 'x' }, 'address: '],
  ]);

  test('rule 8: max_stream_duration is read', () => {
    const { decoded } = decode('listener', apiListener({ common_http_protocol_options: { max_stream_duration: '1.5s' } }));
    expect(decoded.ok && decoded.value.api?.maxStreamDurationMs).toBe(1500);
  });
});

const C = 'filter_chains[0]';
const inbound = (more: Json): Json => socketListener({ filter_chains: [chain(more)] });
const match = (...matches: readonly Json[]): Json =>
  socketListener({ filter_chains: matches.map((filter_chain_match) => chain({ filter_chain_match })) });
const serverTls = (more: Json, common: Json = { tls_certificate_provider_instance: { instance_name: 'default' } }): Json =>
  inbound({
    transport_socket: { name: 'tls', typed_config: { '@type': `${TLS}.DownstreamTlsContext`, common_tls_context: common, ...more } },
  });
const S = `${C}.transport_socket.typed_config`;

describe('listeners of servers (§4.3)', () => {
  check('listener', [
    [
      '10',
      'a listener filter that only looks',
      socketListener({ listener_filters: [{ name: 'envoy.filters.listener.tls_inspector' }] }),
      'accepted',
    ],
    [
      '10',
      'a listener filter that decides',
      socketListener({ listener_filters: [{ name: 'envoy.filters.listener.proxy_protocol' }] }),
      'listener_filters[0]',
    ],
    ['11', 'no address', { name: 'x', filter_chains: [chain()] }, 'address: '],
    ['11', 'a pipe (Envoy; serves nobody here)', socketListener({ address: { pipe: { path: '/x' } } }), 'accepted'],
    [
      '11',
      'UDP (Envoy; serves nobody here)',
      socketListener({ address: { socket_address: { protocol: 'UDP', address: '0.0.0.0', port_value: 1 } } }),
      'accepted',
    ],
    ['11', 'port 0 is any port', socketListener({ address: { socket_address: { address: '0.0.0.0', port_value: 0 } } }), 'accepted'],
    ['12', 'no filters', inbound({ filters: [] }), `${C}.filters`],
    [
      '12',
      'two managers',
      inbound({
        filters: [
          { name: 'a', typed_config: manager() },
          { name: 'b', typed_config: manager() },
        ],
      }),
      `${C}.filters[1]`,
    ],
    [
      '12',
      'a name twice',
      inbound({
        filters: [
          { name: 'a', typed_config: manager() },
          { name: 'a', typed_config: manager() },
        ],
      }),
      `${C}.filters[1].name`,
    ],
    [
      '12',
      'access rules before the manager',
      inbound({
        filters: [
          { name: 'r', typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC', stat_prefix: 'x' } },
          { name: 'a', typed_config: manager() },
        ],
      }),
      `${C}.filters[0]`,
    ],
    [
      '12',
      'no manager at all',
      inbound({
        filters: [{ name: 't', typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy' } }],
      }),
      'accepted',
    ],
    [
      '7',
      'a filter for clients on a server',
      inbound({ filters: [{ name: 'a', typed_config: manager({ http_filters: [FAULT_FILTER, ROUTER_FILTER] }) }] }),
      `${C}.filters[0].typed_config.http_filters[0]`,
    ],
    [
      '13',
      'a bad address',
      match({ prefix_ranges: [{ address_prefix: '10.0.0', prefix_len: 8 }] }),
      `${C}.filter_chain_match.prefix_ranges[0].address_prefix`,
    ],
    [
      '13',
      'too long a prefix',
      match({ prefix_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 33 }] }),
      `${C}.filter_chain_match.prefix_ranges[0].prefix_len`,
    ],
    ['13', 'an unknown source type', match({ source_type: 7 }), `${C}.filter_chain_match.source_type`],
    ['14', 'the same match twice', match({}, {}), 'filter_chains[1].filter_chain_match'],
    [
      '14',
      'the same after masking',
      match(
        { prefix_ranges: [{ address_prefix: '10.1.2.3', prefix_len: 8 }] },
        { prefix_ranges: [{ address_prefix: '10.9.9.9', prefix_len: 8 }] },
      ),
      'filter_chains[1].filter_chain_match',
    ],
    [
      '14',
      'the same with a mapped address',
      match(
        { prefix_ranges: [{ address_prefix: '::ffff:10.0.0.0', prefix_len: 104 }] },
        { prefix_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 8 }] },
      ),
      'filter_chains[1].filter_chain_match',
    ],
    ['14', 'lists that overlap', match({ source_ports: [1, 2] }, { source_ports: [2, 3] }), 'filter_chains[1].filter_chain_match'],
    [
      '14',
      'different prefixes',
      match(
        { prefix_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 8 }] },
        { prefix_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 9 }] },
      ),
      'accepted',
    ],
    ['14', 'different protocols', match({ transport_protocol: 'tls' }, { transport_protocol: 'raw_buffer' }, {}), 'accepted'],
    ['15', 'no chain', socketListener({ filter_chains: [] }), 'filter_chains: '],
    ['15', 'only a default chain', socketListener({ filter_chains: [], default_filter_chain: chain() }), 'accepted'],
    ['T-9', 'a matcher tree', socketListener({ filter_chain_matcher: {} }), 'filter_chain_matcher'],
    ['16', 'TLS', serverTls({}), 'accepted'],
    [
      '16',
      'another socket',
      inbound({ transport_socket: { name: 'alts', typed_config: { '@type': 'type.googleapis.com/google.protobuf.Struct', value: {} } } }),
      `${C}.transport_socket.typed_config: transport socket type`,
    ],
    ['16', 'a socket without config', inbound({ transport_socket: { name: 'envoy.transport_sockets.tls' } }), `${C}.transport_socket`],
    ['16', 'raw_buffer', inbound({ transport_socket: { name: 'envoy.transport_sockets.raw_buffer' } }), 'accepted'],
    ['16', 'require_sni', serverTls({ require_sni: true }), `${S}.require_sni`],
    ['16', 'require_sni false', serverTls({ require_sni: false }), 'accepted'],
    ['16', 'OCSP', serverTls({ ocsp_staple_policy: 'MUST_STAPLE' }), `${S}.ocsp_staple_policy`],
    ['16', 'no certificate', serverTls({}, {}), `${S}.common_tls_context: a server`],
    ['16', 'client certificates without roots', serverTls({ require_client_certificate: true }), `${S}.require_client_certificate`],
    [
      '16',
      'client certificates with roots',
      serverTls(
        { require_client_certificate: true },
        {
          tls_certificate_provider_instance: { instance_name: 'default' },
          validation_context: { ca_certificate_provider_instance: { instance_name: 'default' } },
        },
      ),
      'accepted',
    ],
    [
      '16',
      'system roots',
      serverTls({}, { tls_certificate_provider_instance: { instance_name: 'default' }, validation_context: { system_root_certs: {} } }),
      `${S}.common_tls_context.validation_context.system_root_certs`,
    ],
  ]);
});

describe('scoped route configurations (X-91)', () => {
  check('scoped-routes', [
    ['X-91', 'routes by name', scopeOf('a', 'x'), 'accepted'],
    ['X-91', 'routes of its own', { name: 'a', ...KEY('x', ''), route_configuration: { name: 'r' }, on_demand: true }, 'accepted'],
    ['X-91', 'no name', { route_configuration_name: 'r', ...KEY('x') }, 'name: must not be empty'],
    ['X-91', 'no key', { name: 'a', route_configuration_name: 'r' }, 'key.fragments: a scope needs a key'],
    ['X-91', 'a fragment of nothing', { name: 'a', route_configuration_name: 'r', key: { fragments: [{}] } }, 'key.fragments[0]'],
    ['X-91', 'no routes', { name: 'a', ...KEY('x') }, ': neither route_configuration'],
    ['X-91', 'both', { name: 'a', ...KEY('x'), route_configuration_name: 'r', route_configuration: { name: 'r' } }, ': only one of'],
    [
      'X-91',
      'routes of its own are validated',
      {
        name: 'a',
        ...KEY('x'),
        route_configuration: { name: 'r', virtual_hosts: [{ name: 'v', domains: ['*'], routes: [{ match: {} }] }] },
      },
      'route_configuration.virtual_hosts[0].routes[0].match',
    ],
  ]);
});
