import { describe, expect, test } from 'vitest';
import { plain } from '../../support/plain-endpoints.ts';
import type { ClusterConfig } from '../../../src/config/cluster.ts';
import { DEFAULT_THRESHOLDS } from '../../../src/config/cluster.ts';
import { accepted, decode, edsCluster, endpoint, POLICIES, TLS } from './harness.ts';
import type { Json } from './harness.ts';

const cluster = (more: Json = {}): ClusterConfig => accepted('cluster', edsCluster(more));
const PROTOCOL = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
const protocol = (more: Json): Json => ({
  typed_extension_protocol_options: { [PROTOCOL]: { '@type': `type.googleapis.com/${PROTOCOL}`, ...more } },
});
const upstream = (common: Json, more: Json = {}): Json => ({
  transport_socket: { name: 'tls', typed_config: { '@type': `${TLS}.UpstreamTlsContext`, common_tls_context: common, ...more } },
});
const policies = (...list: readonly Json[]): Json => ({
  load_balancing_policy: { policies: list.map((typed_config) => ({ typed_extension_config: { name: 'x', typed_config } })) },
});

describe('a cluster', () => {
  test('the smallest one, with every default', () => {
    const value = cluster();
    expect(value).toMatchObject({
      name: 'c',
      discovery: { kind: 'eds', serviceName: 'c' },
      localityWeighted: false,
      thresholds: { default: DEFAULT_THRESHOLDS, high: DEFAULT_THRESHOLDS },
      http2: false,
      connectTimeoutMs: 5000,
      reportLoad: false,
      panicThreshold: 50,
    });
    for (const key of ['outlier', 'tls', 'maxRequestsPerConnection', 'breaker'] as const) expect(value[key]).toBeUndefined();
    expect(value.lb.policy).toBe('round_robin');
    expect(Object.isFrozen(value) && Object.isFrozen(value.thresholds)).toBe(true);
  });

  test('initial_fetch_timeout of the aggregated stream counts for its assignment and its secrets, and is not recorded', () => {
    const ads = (initial_fetch_timeout: string): Json => ({ ads: {}, initial_fetch_timeout, resource_api_version: 'V3' });
    const { decoded, unsupported } = decode(
      'cluster',
      edsCluster({
        eds_cluster_config: { eds_config: ads('0s') },
        ...upstream({
          tls_certificate_sds_secret_configs: [{ name: 'own', sds_config: ads('2s') }],
          validation_context_sds_secret_config: { name: 'trust', sds_config: { ads: {}, resource_api_version: 'V3' } },
        }),
      }),
    );
    expect(decoded.ok && decoded.value).toMatchObject({
      discovery: { kind: 'eds', serviceName: 'c', waitMs: 0 },
      tls: { identity: { kind: 'sds', name: 'own', waitMs: 2000 }, roots: { kind: 'sds', name: 'trust' } },
    });
    expect(decoded.ok && decoded.value.tls?.roots).not.toHaveProperty('waitMs');
    expect(unsupported).toEqual([]);
  });

  test('STATIC has its endpoints', () => {
    const value = accepted('cluster', {
      name: 's',
      load_assignment: { endpoints: [{ lb_endpoints: [endpoint(8080, { load_balancing_weight: 3 })] }] },
    });
    expect(plain(value.discovery)).toEqual({
      kind: 'static',
      endpoints: {
        clusterName: 's',
        dropOverloads: [],
        overprovisioningFactor: 140,
        localities: [
          {
            locality: '',
            priority: 0,
            weight: undefined,
            endpoints: [{ host: '10.0.0.1', port: 8080, hostname: '', weight: 3, health: 'unknown', metadata: undefined }],
          },
        ],
      },
    });
  });

  test.each<[string, Json, Partial<ClusterConfig>]>([
    [
      'service name',
      { eds_cluster_config: { service_name: 's', eds_config: { self: {} } } },
      { discovery: { kind: 'eds', serviceName: 's' } },
    ],
    ['load reports', { lrs_server: { self: {} } }, { reportLoad: true }],
    ['panic', { common_lb_config: { healthy_panic_threshold: { value: 12.5 } } }, { panicThreshold: 12.5 }],
    ['no panic', { common_lb_config: { healthy_panic_threshold: {} } }, { panicThreshold: 0 }],
    ['locality weights', { common_lb_config: { locality_weighted_lb_config: {} } }, { localityWeighted: true }],
    ['connect timeout', { connect_timeout: '0.25s' }, { connectTimeoutMs: 250 }],
    ['HTTP/2', protocol({ explicit_http_config: { http2_protocol_options: {} } }), { http2: true }],
    ['HTTP/1', protocol({ explicit_http_config: { http_protocol_options: {} } }), { http2: false }],
    ['HTTP/2, deprecated', { http2_protocol_options: {} }, { http2: true }],
    [
      'requests per connection',
      protocol({ explicit_http_config: { http_protocol_options: {} }, common_http_protocol_options: { max_requests_per_connection: 7 } }),
      { maxRequestsPerConnection: 7 },
    ],
    ['requests per connection, deprecated', { max_requests_per_connection: 8 }, { maxRequestsPerConnection: 8 }],
    [
      'breaker',
      { metadata: { filter_metadata: { inmesh: { breaker: { volumeThreshold: 5 } } } } },
      { breaker: { errorThresholdPercentage: 50, volumeThreshold: 5, resetTimeoutMs: 10_000, windowMs: 10_000 } },
    ],
    [
      'thresholds',
      {
        circuit_breakers: {
          thresholds: [{ max_requests: 5, retry_budget: {} }, { max_requests: 6 }, { priority: 'HIGH', max_retries: 0 }],
        },
      },
      {
        thresholds: {
          default: { ...DEFAULT_THRESHOLDS, maxRequests: 5, retryBudget: { percent: 20, minConcurrency: 3 } },
          high: { ...DEFAULT_THRESHOLDS, maxRetries: 0 },
        },
      },
    ],
  ])('%s', (_name, json, expected) => expect(cluster(json)).toMatchObject(expected));
});

describe('LB policies', () => {
  test.each<[string, Json, string, Json]>([
    [
      'LEAST_REQUEST',
      { lb_policy: 'LEAST_REQUEST', least_request_lb_config: { choice_count: 5, slow_start_config: { slow_start_window: '3s' } } },
      'least_request',
      { choiceCount: 5, slowStartConfig: { slowStartWindow: { seconds: 3n } } },
    ],
    [
      'RING_HASH',
      {
        lb_policy: 'RING_HASH',
        ring_hash_lb_config: { minimum_ring_size: '7', hash_function: 'MURMUR_HASH_2' },
        common_lb_config: { consistent_hashing_lb_config: { use_hostname_for_hashing: true } },
      },
      'ring_hash',
      { minimumRingSize: 7n, hashFunction: 2, consistentHashingLbConfig: { useHostnameForHashing: true } },
    ],
    ['RING_HASH, defaults', { lb_policy: 'RING_HASH' }, 'ring_hash', { hashFunction: 1 }],
    ['RANDOM', { lb_policy: 'RANDOM' }, 'random', {}],
    ['MAGLEV', { lb_policy: 'MAGLEV', maglev_lb_config: { table_size: '11' } }, 'maglev', { tableSize: 11n }],
    [
      'ROUND_ROBIN',
      { round_robin_lb_config: { slow_start_config: { min_weight_percent: { value: 20 } } } },
      'round_robin',
      { slowStartConfig: { minWeightPercent: { value: 20 } } },
    ],
    [
      'a typed policy',
      policies({ '@type': `${POLICIES}.least_request.v3.LeastRequest`, choice_count: 3 }),
      'least_request',
      { choiceCount: 3 },
    ],
    [
      'a TypedStruct',
      policies({
        '@type': 'type.googleapis.com/xds.type.v3.TypedStruct',
        type_url: `${POLICIES}.least_request.v3.LeastRequest`,
        value: { choice_count: 4 },
      }),
      'least_request',
      { choiceCount: 4 },
    ],
  ])('%s', (_name, json, policy, config) => {
    const { lb } = cluster(json);
    expect(lb.policy).toBe(policy);
    expect(lb.config).toMatchObject(config);
  });

  const rr = { '@type': `${POLICIES}.round_robin.v3.RoundRobin` };
  test.each<[string, Json, boolean]>([
    [
      'wrr_locality',
      policies({
        '@type': `${POLICIES}.wrr_locality.v3.WrrLocality`,
        endpoint_picking_policy: { policies: [{ typed_extension_config: { name: 'r', typed_config: rr } }] },
      }),
      true,
    ],
    ['locality_lb_config', policies({ ...rr, locality_lb_config: { locality_weighted_lb_config: {} } }), true],
    ['zone aware', policies({ ...rr, locality_lb_config: { zone_aware_lb_config: {} } }), false],
    ['nothing said', policies(rr), false],
  ])('localities weighted: %s', (_name, json, expected) => {
    const value = cluster(json);
    expect([value.lb.policy, value.localityWeighted]).toEqual(['round_robin', expected]);
  });
});

describe('outlier detection', () => {
  test("Envoy's defaults", () => {
    expect(cluster({ outlier_detection: {} }).outlier).toEqual({
      consecutive5xx: 5,
      enforcingConsecutive5xx: 100,
      consecutiveGatewayFailure: 5,
      enforcingConsecutiveGatewayFailure: 0,
      consecutiveLocalOriginFailure: 5,
      enforcingConsecutiveLocalOriginFailure: 100,
      splitExternalLocalOriginErrors: false,
      intervalMs: 10_000,
      baseEjectionTimeMs: 30_000,
      maxEjectionTimeMs: 300_000,
      maxEjectionTimeJitterMs: 0,
      maxEjectionPercent: 10,
      alwaysEjectOneHost: false,
      successRate: { minimumHosts: 5, requestVolume: 100, stdevFactor: 1900, enforcing: 100 },
      failurePercentage: undefined,
    });
  });

  test('what is set', () => {
    const outlier = cluster({
      outlier_detection: {
        consecutive_5xx: 0,
        base_ejection_time: '400s',
        enforcing_success_rate: 0,
        enforcing_failure_percentage: 50,
        failure_percentage_threshold: 10,
      },
    }).outlier;
    expect(outlier).toMatchObject({
      consecutive5xx: 0,
      baseEjectionTimeMs: 400_000,
      maxEjectionTimeMs: 400_000,
      failurePercentage: { threshold: 10, minimumHosts: 5, requestVolume: 50, enforcing: 50 },
    });
    expect(outlier?.successRate).toBeUndefined();
  });
});

describe('TLS of a cluster', () => {
  test('provider instances and SAN matchers of both kinds', () => {
    const json = upstream(
      {
        tls_certificate_provider_instance: { instance_name: 'default', certificate_name: 'n' },
        validation_context: {
          ca_certificate_provider_instance: { instance_name: 'default' },
          match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: 'spiffe://a' } }],
          match_subject_alt_names: [{ prefix: 'spiffe://b', ignore_case: true }],
        },
        alpn_protocols: ['h2'],
        tls_params: { tls_minimum_protocol_version: 'TLSv1_3' },
      },
      { sni: 'x.y' },
    );
    expect(cluster(json).tls).toEqual({
      identity: { kind: 'provider', instance: 'default', certificateName: 'n' },
      roots: { kind: 'provider', instance: 'default', certificateName: '' },
      sanMatchers: [
        { type: 'uri', matcher: { kind: 'exact', value: 'spiffe://a', ignoreCase: false } },
        { type: 'any', matcher: { kind: 'prefix', value: 'spiffe://b', ignoreCase: true } },
      ],
      alpn: ['h2'],
      minVersion: 'TLSv1.3',
      maxVersion: undefined,
      sni: 'x.y',
      autoHostSni: false,
      autoSniSanValidation: false,
    });
  });

  test('inline and files', () => {
    const tls = cluster(
      upstream(
        {
          tls_certificates: [
            {
              certificate_chain: { filename: '/c.pem' },
              private_key: { inline_bytes: Buffer.from('key').toString('base64') },
              watched_directory: { path: '/w' },
            },
          ],
          combined_validation_context: { default_validation_context: { trusted_ca: { inline_string: 'ca' } } },
        },
        { auto_host_sni: true },
      ),
    ).tls;
    expect(tls?.identity).toEqual({
      kind: 'pair',
      certificateChain: { kind: 'file', path: '/c.pem', watchedDirectory: '/w' },
      privateKey: { kind: 'inline', pem: 'key' },
    });
    expect(tls?.roots).toEqual({ kind: 'inline', pem: 'ca' });
    expect(tls?.autoHostSni).toBe(true);
  });

  test('nothing to verify with: accepted, and it says so', () => {
    expect(cluster(upstream({})).tls).toMatchObject({ identity: undefined, roots: undefined, sanMatchers: [] });
    expect(cluster(upstream({ validation_context: { system_root_certs: {} } })).tls?.roots).toEqual({ kind: 'system' });
  });

  test('old versions are raised', () => {
    expect(cluster(upstream({ tls_params: { tls_minimum_protocol_version: 'TLSv1_0' } })).tls?.minVersion).toBe('TLSv1.2');
  });
});

test('what has no effect is recorded once, and what has no meaning is not', () => {
  const { unsupported } = decode(
    'cluster',
    edsCluster({
      health_checks: [1, 2].map(() => ({ timeout: '1s', interval: '1s' })),
      alt_stat_name: 'a',
      dns_refresh_rate: '1s',
      lb_subset_config: {},
      ...protocol({ auto_config: {} }),
    }),
  );
  expect(unsupported.toSorted()).toEqual(['health_checks', 'lb_subset_config', 'typed_extension_protocol_options[].auto_config']);
});
