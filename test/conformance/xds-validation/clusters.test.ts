/** Validation of clusters and their TLS: gRPC rules 27 to 36 (grpc.md §4.5) and the T- rules of Envoy. */
import { describe, expect, test } from 'vitest';
import { decodeBytes, edsCluster, endpoint, POLICIES, rejection, TLS } from '../../unit/xds-decode/harness.ts';
import type { Json } from '../../unit/xds-decode/harness.ts';
import { check } from './rows.ts';

const clusterTls = (common: Json, more: Json = {}): Json =>
  edsCluster({
    transport_socket: { name: 'tls', typed_config: { '@type': `${TLS}.UpstreamTlsContext`, common_tls_context: common, ...more } },
  });
const U = 'transport_socket.typed_config';
const V = `${U}.common_tls_context.validation_context`;
const CA = { ca_certificate_provider_instance: { instance_name: 'default' } };
const lb = (...policies: readonly Json[]): Json => ({
  policies: policies.map((typed_config) => ({ typed_extension_config: { name: 'x', typed_config } })),
});
const ROUND_ROBIN = { '@type': `${POLICIES}.round_robin.v3.RoundRobin` };
const nested = (depth: number): Json =>
  depth === 0 ? ROUND_ROBIN : { '@type': `${POLICIES}.wrr_locality.v3.WrrLocality`, endpoint_picking_policy: lb(nested(depth - 1)) };
const outlier = (more: Json): Json => edsCluster({ outlier_detection: more });

describe('clusters (§4.5)', () => {
  check('cluster', [
    ['27', 'EDS', edsCluster(), 'accepted'],
    ['27', 'EDS without its configuration', { name: 'c', type: 'EDS' }, 'eds_cluster_config'],
    ['27', 'EDS from a file (Envoy)', edsCluster({ eds_cluster_config: { eds_config: { path: '/x' } } }), 'accepted'],
    ['27', 'EDS from nowhere', edsCluster({ eds_cluster_config: {} }), 'eds_cluster_config.eds_config'],
    [
      '27',
      'EDS from an API that names no server',
      edsCluster({ eds_cluster_config: { eds_config: { api_config_source: { api_type: 'GRPC' } } } }),
      'eds_cluster_config.eds_config.api_config_source: names no server',
    ],
    [
      '27',
      'EDS by REST without a pause',
      edsCluster({ eds_cluster_config: { eds_config: { api_config_source: { api_type: 'REST', cluster_names: ['x'] } } } }),
      'eds_cluster_config.eds_config.api_config_source.refresh_delay',
    ],
    [
      '27',
      'EDS by version 2 of the API',
      edsCluster({ eds_cluster_config: { eds_config: { ads: {}, resource_api_version: 'V2' } } }),
      'eds_cluster_config.eds_config.resource_api_version',
    ],
    ['27', 'xdstp without a service name', edsCluster({ name: 'xdstp://a/b' }), 'eds_cluster_config.service_name'],
    [
      '27',
      'xdstp with a service name',
      edsCluster({ name: 'xdstp://a/b', eds_cluster_config: { service_name: 's', eds_config: { ads: {} } } }),
      'accepted',
    ],
    ['Envoy', 'ORIGINAL_DST', { name: 'c', type: 'ORIGINAL_DST', lb_policy: 'CLUSTER_PROVIDED' }, 'accepted'],
    ['27', 'STRICT_DNS (Envoy; calls fail)', { name: 'c', type: 'STRICT_DNS' }, 'accepted'],
    ['27', 'aggregate (calls fail)', { name: 'c', cluster_type: { name: 'envoy.clusters.aggregate' } }, 'accepted'],
    ['27', 'a type that nobody knows', { name: 'c', type: 77 }, 'type: unknown value'],
    ['Envoy', 'STATIC', { name: 'c', load_assignment: { endpoints: [{ lb_endpoints: [endpoint(80)] }] } }, 'accepted'],
    [
      'Envoy',
      'STATIC with a bad endpoint',
      { name: 'c', load_assignment: { endpoints: [{ lb_endpoints: [endpoint(70_000)] }] } },
      'load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value',
    ],
    ['28', 'CLUSTER_PROVIDED', edsCluster({ lb_policy: 'CLUSTER_PROVIDED' }), 'lb_policy'],
    ['28', 'a list that is not there', edsCluster({ lb_policy: 'LOAD_BALANCING_POLICY_CONFIG' }), 'lb_policy'],
    [
      '29',
      'an unknown policy',
      edsCluster({ load_balancing_policy: lb({ '@type': `${POLICIES}.pick_first.v3.PickFirst` }) }),
      'load_balancing_policy: none',
    ],
    [
      '29',
      'the first known',
      edsCluster({ load_balancing_policy: lb({ '@type': `${POLICIES}.pick_first.v3.PickFirst` }, ROUND_ROBIN) }),
      'accepted',
    ],
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
    [
      '32',
      'no common context',
      edsCluster({ transport_socket: { name: 't', typed_config: { '@type': `${TLS}.UpstreamTlsContext` } } }),
      `${U}.common_tls_context`,
    ],
    [
      '32',
      'the server side',
      edsCluster({ transport_socket: { name: 't', typed_config: { '@type': `${TLS}.DownstreamTlsContext` } } }),
      `${U}: transport socket type`,
    ],
    ['33', 'cipher suites', clusterTls({ tls_params: { cipher_suites: ['X'] } }), `${U}.common_tls_context.tls_params.cipher_suites`],
    [
      '33',
      'TLS 1.0 at most',
      clusterTls({ tls_params: { tls_maximum_protocol_version: 'TLSv1_0' } }),
      `${U}.common_tls_context.tls_params.tls_maximum_protocol_version`,
    ],
    ['33', 'a handshaker', clusterTls({ custom_handshaker: { name: 'x' } }), `${U}.common_tls_context.custom_handshaker`],
    ['33', 'SDS (Envoy)', clusterTls({ tls_certificate_sds_secret_configs: [{ name: 'x', sds_config: { ads: {} } }] }), 'accepted'],
    ['33', 'SDS of a static secret', clusterTls({ tls_certificate_sds_secret_configs: [{ name: 'x' }] }), 'accepted'],
    [
      '33',
      'SDS without a name',
      clusterTls({ tls_certificate_sds_secret_configs: [{ sds_config: { ads: {} } }] }),
      `${U}.common_tls_context.tls_certificate_sds_secret_configs[0].name`,
    ],
    [
      '33',
      'SDS for two certificates',
      clusterTls({ tls_certificate_sds_secret_configs: [{ name: 'x' }, { name: 'y' }] }),
      `${U}.common_tls_context.tls_certificate_sds_secret_configs: more than one`,
    ],
    ['33', 'SDS for roots', clusterTls({ validation_context_sds_secret_config: { name: 'x' } }), 'accepted'],
    [
      '33',
      'SDS for roots, combined',
      clusterTls({ combined_validation_context: { default_validation_context: CA, validation_context_sds_secret_config: { name: 'x' } } }),
      'accepted',
    ],
    [
      '33',
      'SDS from nowhere',
      clusterTls({ validation_context_sds_secret_config: { name: 'x', sds_config: {} } }),
      `${U}.common_tls_context.validation_context_sds_secret_config.sds_config`,
    ],
    [
      '33',
      'two certificates',
      clusterTls({
        tls_certificates: [1, 2].map(() => ({ certificate_chain: { inline_string: 'c' }, private_key: { inline_string: 'k' } })),
      }),
      `${U}.common_tls_context.tls_certificates`,
    ],
    [
      '33',
      'a certificate without key',
      clusterTls({ tls_certificates: [{ certificate_chain: { inline_string: 'c' } }] }),
      `${U}.common_tls_context.tls_certificates[0].private_key`,
    ],
    [
      '33',
      'a password',
      clusterTls({
        tls_certificates: [
          { certificate_chain: { inline_string: 'c' }, private_key: { inline_string: 'k' }, password: { inline_string: 'p' } },
        ],
      }),
      `${U}.common_tls_context.tls_certificates[0].password`,
    ],
    [
      '33',
      'certificate from the environment',
      clusterTls({ tls_certificates: [{ certificate_chain: { environment_variable: 'C' }, private_key: { inline_string: 'k' } }] }),
      `${U}.common_tls_context.tls_certificates[0].certificate_chain`,
    ],
    ['33', 'pinning', clusterTls({ validation_context: { ...CA, verify_certificate_hash: ['00'] } }), `${V}.verify_certificate_hash`],
    ['33', 'SPKI', clusterTls({ validation_context: { ...CA, verify_certificate_spki: ['00'] } }), `${V}.verify_certificate_spki`],
    ['33', 'CRL', clusterTls({ validation_context: { ...CA, crl: { inline_string: 'x' } } }), `${V}.crl`],
    [
      '33',
      'SCT',
      clusterTls({ validation_context: { ...CA, require_signed_certificate_timestamp: true } }),
      `${V}.require_signed_certificate_timestamp`,
    ],
    ['33', 'SCT false', clusterTls({ validation_context: { ...CA, require_signed_certificate_timestamp: false } }), 'accepted'],
    [
      '33',
      'a validator',
      clusterTls({ validation_context: { ...CA, custom_validator_config: { name: 'x' } } }),
      `${V}.custom_validator_config`,
    ],
    ['33', 'verify depth', clusterTls({ validation_context: { ...CA, max_verify_depth: 1 } }), `${V}.max_verify_depth`],
    [
      '33',
      'ignored fields',
      clusterTls(
        { validation_context: { ...CA, allow_expired_certificate: true, trust_chain_verification: 'ACCEPT_UNTRUSTED' } },
        { allow_renegotiation: true, max_session_keys: 5 },
      ),
      'accepted',
    ],
    [
      '33',
      'an unknown provider',
      clusterTls({ tls_certificate_provider_instance: { instance_name: 'nope' } }),
      `${U}.common_tls_context.tls_certificate_provider_instance.instance_name`,
    ],
    [
      '33',
      'an unknown provider of roots',
      clusterTls({ validation_context: { ca_certificate_provider_instance: { instance_name: 'nope' } } }),
      `${V}.ca_certificate_provider_instance.instance_name`,
    ],
    [
      '33',
      'a deprecated provider',
      clusterTls({
        tls_certificate_certificate_provider_instance: { instance_name: 'default' },
        validation_context_certificate_provider_instance: { instance_name: 'default' },
      }),
      'accepted',
    ],
    [
      'T-3',
      'SAN matchers without roots',
      clusterTls({ validation_context: { match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: 'x' } }] } }),
      `${V}: SAN matchers`,
    ],
    [
      'T-3',
      'SAN type OTHER_NAME',
      clusterTls({
        validation_context: { ...CA, match_typed_subject_alt_names: [{ san_type: 'OTHER_NAME', oid: '1', matcher: { exact: 'x' } }] },
      }),
      `${V}.match_typed_subject_alt_names[0].oid`,
    ],
    [
      'T-3',
      'a SAN regex',
      clusterTls({ validation_context: { ...CA, match_subject_alt_names: [{ safe_regex: { regex: '(' } }] } }),
      `${V}.match_subject_alt_names[0].safe_regex.regex`,
    ],
    [
      '34',
      'per-host connections 0',
      edsCluster({ circuit_breakers: { per_host_thresholds: [{ max_connections: 0 }] } }),
      'circuit_breakers.per_host_thresholds[0].max_connections',
    ],
    ['Envoy', 'connect_timeout 0', edsCluster({ connect_timeout: '0s' }), 'connect_timeout'],
    [
      'Envoy',
      'HTTP/3',
      edsCluster({
        typed_extension_protocol_options: {
          'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
            '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
            explicit_http_config: { http3_protocol_options: {} },
          },
        },
      }),
      'typed_extension_protocol_options',
    ],
  ]);

  test('a field of a newer TLS message rejects', () => {
    // UpstreamTlsContext { field 99: 1 }
    const context = { typeUrl: `${TLS}.UpstreamTlsContext`, value: Buffer.from([0x0a, 0, 0x98, 6, 1]).toString('base64') };
    const known = clusterTls({});
    expect(rejection('cluster', known)).toBe('accepted');
    const bytes = Buffer.concat([
      Buffer.from('0a0163', 'hex'),
      Buffer.from(anySocket(context.typeUrl, Buffer.from(context.value, 'base64'))),
    ]);
    const { decoded } = decodeBytes('cluster', bytes);
    expect(decoded.ok ? '' : decoded.errors[0]?.reason).toContain('field number 99');
  });
});

/** Cluster.transport_socket (24) { name: "t", typed_config (3) { type_url, value } }, as bytes. */
function anySocket(typeUrl: string, value: Buffer): Buffer {
  const field = (number: number, bytes: Buffer): Buffer =>
    Buffer.concat([
      Buffer.from([(number << 3) | 2].flatMap((tag) => (tag < 128 ? [tag] : [(tag & 127) | 128, tag >> 7]))),
      Buffer.from([bytes.length]),
      bytes,
    ]);
  return field(24, Buffer.concat([field(1, Buffer.from('t')), field(3, Buffer.concat([field(1, Buffer.from(typeUrl)), field(2, value)]))]));
}
