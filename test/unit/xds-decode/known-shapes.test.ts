/** Clusters and virtual hosts that are made from others like them are what decoding each by itself gives, also where they only seem alike. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../src/testing/seeded-random.ts';
import type { Json } from './harness.ts';
import { accepted, bytesOf, decodeBytes, edsCluster, LB_POLICIES, TLS } from './harness.ts';

const socket = (sni: string, more: Json = {}, type = 'UpstreamTlsContext'): Json => ({
  transport_socket: {
    name: 'tls',
    typed_config: {
      '@type': `${TLS}.${type}`,
      common_tls_context: {
        tls_certificate_provider_instance: { instance_name: 'default' },
        validation_context: { ca_certificate_provider_instance: { instance_name: 'default' } },
      },
      sni,
      ...more,
    },
  },
});

const text = fc.constantFrom('', 'a', 'b', 'outbound|80||a.example', 'xdstp://x/y', 'ü', 'inmesh');
const metadata = fc.constantFrom<Json>(
  {},
  { metadata: { filter_metadata: { istio: { services: [{ host: 'a' }] } } } },
  { metadata: { filter_metadata: { istio: { services: [{ host: 'b' }, { host: 'c' }] } } } },
  { metadata: { filter_metadata: { inmesh: { breaker: true } } } },
  { metadata: { filter_metadata: { inmesh: { breaker: { volumeThreshold: 3 } } } } },
);
const tls = fc.oneof(
  { weight: 5, arbitrary: fc.constant<Json>({}) },
  text.map((sni) => socket(sni)),
  text.map((sni) => socket(sni, { auto_sni_san_validation: true })),
  fc.tuple(text, text).map(([sni, other]): Json => ({
    ...socket(sni),
    transport_socket_matches: [
      { name: 'tls', match: { tlsMode: 'istio' }, ...socket(other) },
      { name: 'plain', match: {}, transport_socket: { name: 'envoy.transport_sockets.raw_buffer' } },
    ],
  })),
  fc.constant<Json>({ transport_socket: { name: 'envoy.transport_sockets.raw_buffer' } }),
  fc.constant(socket('x'.repeat(256))),
);
/** Mostly none, so that many are alike. */
const rest = fc.constantFrom<Json>(
  ...Array.from({ length: 20 }, () => ({})),
  { outlier_detection: { consecutive_5xx: 3 } },
  { circuit_breakers: { thresholds: [{ max_requests: 5 }] } },
  { dns_refresh_rate: '5s' },
  { type: 'STRICT_DNS', eds_cluster_config: undefined },
  { type: 'STATIC', eds_cluster_config: undefined },
  { lb_policy: 'LEAST_REQUEST', common_lb_config: { locality_weighted_lb_config: {} } },
  { connect_timeout: '-1s' },
  { preconnect_policy: { per_upstream_preconnect_ratio: 2 } },
);
const cluster = fc.tuple(text, text, text, metadata, tls, rest).map(([name, service, statistics, described, secured, more]) =>
  bytesOf(
    'cluster',
    edsCluster({
      name,
      eds_cluster_config: { eds_config: { ads: {} }, ...(service !== '' && { service_name: service }) },
      ...(statistics !== '' && { alt_stat_name: statistics }),
      ...described,
      ...secured,
      ...more,
    }),
  ),
);

const route = fc.tuple(text, text, fc.nat(4)).map(([name, target, shape]): Json => ({
  name,
  match: { prefix: '/' },
  ...[
    { route: { cluster: target } },
    { route: { weighted_clusters: { clusters: [{ name: target, weight: 1 }] } } },
    { direct_response: { status: 200 } },
    { route: { cluster_header: 'x-to' }, decorator: { operation: target } },
    { match: { connect_matcher: {} }, route: { cluster: target } },
  ][shape],
}));
const host = fc
  .tuple(text, fc.array(text, { minLength: 1, maxLength: 2 }), fc.array(route, { maxLength: 2 }))
  .map(([name, domains, routes]): Json => ({ name, domains: domains.map((domain) => `${domain}.Example`), routes }));
const routes = fc
  .array(host, { minLength: 1, maxLength: 12, size: 'max' })
  .map((hosts) => hosts.map((one, i) => ({ ...one, domains: (one['domains'] as string[]).map((domain, j) => `${i}.${j}.${domain}`) })));

describe('clusters', () => {
  test('one after the other by one client, and each by a client of its own', () => {
    fc.assert(
      fc.property(fc.array(cluster, { minLength: 1, maxLength: 30, size: 'max' }), (all) => {
        const certificateProviders = new Set(['default']);
        for (const bytes of all) {
          const alone = decodeBytes('cluster', bytes);
          const shared = decodeBytes('cluster', bytes, { certificateProviders });
          expect({ ...shared, unsupported: shared.unsupported.toSorted() }).toEqual({
            ...alone,
            unsupported: alone.unsupported.toSorted(),
          });
        }
      }),
      { numRuns: 100 },
    );
  });

  test.each<[string, (name: string) => Json]>([
    ['STATIC', (name) => ({ name, type: 'STATIC' })],
    ['of a type that does not run here', (name) => ({ name, type: 'STRICT_DNS' })],
    ['ORIGINAL_DST', (name) => ({ name, type: 'ORIGINAL_DST', lb_policy: 'CLUSTER_PROVIDED' })],
    ['with fields without effect', (name) => edsCluster({ name, preconnect_policy: { per_upstream_preconnect_ratio: 2 } })],
    [
      'with a breaker',
      (name) => edsCluster({ name, metadata: { filter_metadata: { inmesh: { breaker: { volumeThreshold: name.length } } } } }),
    ],
    [
      'with TLS by endpoint, as istiod sends it to sidecars',
      (name) =>
        edsCluster({
          name,
          transport_socket_matches: [
            { name: 'tls', match: { tlsMode: 'istio' }, ...socket(`${name}.example`) },
            { name: 'plain', match: {}, transport_socket: { name: 'envoy.transport_sockets.raw_buffer' } },
          ],
        }),
    ],
    [
      'with a name for the assignment',
      (name) => edsCluster({ name, eds_cluster_config: { eds_config: { ads: {} }, service_name: `${name}.x` } }),
    ],
  ])('%s', (_name, make) => {
    const certificateProviders = new Set(['default']);
    for (const name of ['a', 'bb', 'ccc']) {
      const bytes = bytesOf('cluster', make(name));
      expect(decodeBytes('cluster', bytes, { certificateProviders })).toEqual(decodeBytes('cluster', bytes));
    }
  });

  test('with bytes turned over, they are rejected or read as by a client of its own', () => {
    const random = new SeededRandom(5);
    const certificateProviders = new Set(['default']);
    const whole = (name: string): Buffer =>
      Buffer.from(bytesOf('cluster', edsCluster({ name, ...socket('sni.example'), outlier_detection: { consecutive_5xx: 3 } })));
    decodeBytes('cluster', whole('first'), { certificateProviders });
    for (let i = 0; i < 3000; i++) {
      const bytes = whole('again');
      bytes[Math.floor(random.next() * bytes.length)] = Math.floor(random.next() * 256);
      const cut = random.next() < 0.2 ? bytes.subarray(0, Math.floor(random.next() * bytes.length)) : bytes;
      expect(decodeBytes('cluster', cut, { certificateProviders }).decoded).toEqual(decodeBytes('cluster', cut).decoded);
    }
  });

  test('of a thousand that are alike one is decoded, and they share what is equal', () => {
    let decoded = 0;
    const lbPolicies = LB_POLICIES.map((policy) => ({ ...policy, parse: () => (decoded++, {}) }));
    const certificateProviders = new Set(['default']);
    const all = Array.from({ length: 1000 }, (_, i) =>
      accepted(
        'cluster',
        edsCluster({
          name: `c${i}`,
          ...socket(`${i}.example`),
          circuit_breakers: { thresholds: [{ max_requests: 5 }] },
          metadata: { filter_metadata: { istio: { services: [{ host: `c${i}` }] } } },
        }),
        { certificateProviders, lbPolicies },
      ),
    );
    expect(decoded).toBe(1);
    const [first] = all;
    for (const [i, one] of all.entries()) {
      expect(one).toMatchObject({ name: `c${i}`, discovery: { serviceName: `c${i}` }, tls: { sni: `${i}.example` } });
      expect([one.thresholds === first?.thresholds, one.lb === first?.lb, Object.isFrozen(one)]).toEqual([true, true, true]);
    }
  });
});

describe('virtual hosts', () => {
  test.each<[string, (name: string) => readonly Json[]]>([
    [
      'a route that is skipped',
      (cluster) => [
        { match: { connect_matcher: {} }, route: { cluster: `not ${cluster}` } },
        { match: { prefix: '/' }, route: { cluster } },
      ],
    ],
    ['a cluster by header', () => [{ match: { prefix: '/' }, route: { cluster_header: 'x' } }]],
    [
      'two clusters',
      (cluster) => [
        { name: cluster, match: { prefix: `/` }, route: { cluster } },
        { match: { prefix: '/' }, route: { cluster: 'other' } },
      ],
    ],
  ])('%s', (_name, make) => {
    const hosts = ['a', 'bb'].map((name): Json => ({ name, domains: [`${name}.X`], routes: make(name) }));
    const { decoded } = decodeBytes('routes', bytesOf('routes', { name: 'r', virtual_hosts: hosts }));
    const alone = hosts.map((host) => accepted('routes', { name: 'r', virtual_hosts: [host] }).virtualHosts[0]);
    expect(decoded.ok && decoded.value.virtualHosts).toEqual(alone);
  });

  test('all in one configuration, and each in one of its own', () => {
    fc.assert(
      fc.property(routes, (hosts) => {
        const together = decodeBytes('routes', bytesOf('routes', { name: 'r', virtual_hosts: hosts }));
        const each = hosts.map((one) => decodeBytes('routes', bytesOf('routes', { name: 'r', virtual_hosts: [one] })));
        const failed = each.findIndex(({ decoded }) => !decoded.ok);
        if (failed >= 0) {
          const alone = each[failed]?.decoded;
          const field = alone?.ok === false ? alone.errors[0]?.field.replace('[0]', `[${failed}]`) : '';
          expect(together.decoded).toMatchObject({ ok: false, errors: [{ field }] });
          return;
        }
        expect(together.decoded).toMatchObject({
          ok: true,
          value: { virtualHosts: each.map(({ decoded }) => (decoded.ok ? decoded.value.virtualHosts[0] : undefined)) },
        });
        expect(new Set(together.unsupported)).toEqual(new Set(each.flatMap(({ unsupported }) => unsupported)));
      }),
      { numRuns: 300 },
    );
  });
});
