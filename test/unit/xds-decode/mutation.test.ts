import { describe, expect, test } from 'vitest';
import { SeededRandom } from '../../../src/testing/seeded-random.ts';
import type { ResourceKind } from '../../../src/config/resource.ts';
import { apiListener, bytesOf, decodeBytes, edsCluster, endpoint, manager, POLICIES, routes, socketListener, TLS } from './harness.ts';
import type { Json } from './harness.ts';

const retry_policy = {
  retry_on: '5xx,reset',
  num_retries: 2,
  retry_back_off: { base_interval: '0.025s', max_interval: '1s' },
  retriable_headers: [{ name: 'x', string_match: { exact: 'y' } }],
};
const tls = (side: string): Json => ({
  name: 'tls',
  typed_config: {
    '@type': `${TLS}.${side}TlsContext`,
    common_tls_context: {
      tls_certificate_provider_instance: { instance_name: 'default' },
      validation_context: { ca_certificate_provider_instance: { instance_name: 'default' } },
    },
  },
});

const SEEDS: readonly (readonly [ResourceKind, Json])[] = [
  ['listener', apiListener({ common_http_protocol_options: { max_stream_duration: '1s' } })],
  [
    'listener',
    socketListener({
      filter_chains: [
        {
          filter_chain_match: { prefix_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 8 }], source_ports: [1] },
          transport_socket: tls('Downstream'),
          filters: [{ name: 'h', typed_config: manager() }],
        },
      ],
    }),
  ],
  [
    'routes',
    routes({
      match: {
        safe_regex: { regex: '/a.*' },
        headers: [{ name: 'x', range_match: { start: '1', end: '9' } }],
        query_parameters: [{ name: 'q', present_match: true }],
      },
      route: {
        weighted_clusters: {
          clusters: [
            { name: 'a', weight: 1 },
            { name: 'b', weight: 9 },
          ],
        },
        timeout: '5s',
        retry_policy,
        hash_policy: [{ header: { header_name: 'h' } }],
      },
    }),
  ],
  [
    'cluster',
    edsCluster({
      transport_socket: tls('Upstream'),
      outlier_detection: { consecutive_5xx: 3, interval: '1s' },
      load_balancing_policy: {
        policies: [
          {
            typed_extension_config: {
              name: 'x',
              typed_config: {
                '@type': `${POLICIES}.wrr_locality.v3.WrrLocality`,
                endpoint_picking_policy: {
                  policies: [{ typed_extension_config: { name: 'r', typed_config: { '@type': `${POLICIES}.round_robin.v3.RoundRobin` } } }],
                },
              },
            },
          },
        ],
      },
    }),
  ],
  ['cluster', { name: 's', load_assignment: { endpoints: [{ lb_endpoints: [endpoint(1), endpoint(2)] }] } }],
  [
    'endpoints',
    {
      cluster_name: 'c',
      endpoints: [
        {
          locality: { region: 'r' },
          load_balancing_weight: 3,
          lb_endpoints: [endpoint(1, { load_balancing_weight: 7, metadata: { filter_metadata: { a: { b: 1 } } } }), endpoint(2)],
        },
      ],
      policy: { drop_overloads: [{ category: 'x', drop_percentage: { numerator: 5 } }] },
    },
  ],
];

function mutated(bytes: Uint8Array, random: SeededRandom): Uint8Array {
  const below = (limit: number): number => Math.floor(random.next() * limit);
  const out = [...bytes];
  for (let n = 1 + below(4); n > 0; n--) {
    const at = below(out.length + 1);
    const kind = below(4);
    if (kind === 0) out[Math.min(at, out.length - 1)] = below(256);
    else if (kind === 1) out.splice(at, 1 + below(8));
    else if (kind === 2) out.splice(at, 0, ...Array.from({ length: 1 + below(4) }, () => below(256)));
    else out.splice(at, 0, ...out.slice(below(out.length + 1), below(out.length + 1)));
  }
  return Uint8Array.from(out);
}

describe('mutated resources', () => {
  test.each(SEEDS.map(([kind, json], i) => [i, kind, json] as const))(
    'seed %i, %s: a value or an error, never a throw',
    (i, kind, json) => {
      const original = bytesOf(kind, json);
      expect(decodeBytes(kind, original).decoded.ok).toBe(true);
      const random = new SeededRandom(1000 + i);
      const outcomes = { ok: 0, rejected: 0 };
      for (let n = 0; n < 3000; n++) {
        const { decoded } = decodeBytes(kind, mutated(original, random));
        if (decoded.ok) {
          outcomes.ok++;
          expect(decoded.name).not.toBe('');
          continue;
        }
        outcomes.rejected++;
        for (const error of decoded.errors) {
          expect(error.kind).toBe(kind);
          // That text stands for an exception that no decoder meant to throw.
          expect(error.reason).not.toContain('the decoder failed');
        }
      }
      expect(outcomes.ok).toBeGreaterThan(0);
      expect(outcomes.rejected).toBeGreaterThan(0);
    },
  );
});
