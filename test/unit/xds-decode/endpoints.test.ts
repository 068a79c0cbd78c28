import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { plain } from '../../support/plain-endpoints.ts';
import type { EndpointsConfig } from '../../../src/config/endpoints.ts';
import { fieldsOf, pack, unpack } from '../../../src/proto/any.ts';
import type { ClusterLoadAssignment } from '../../../src/proto/gen/envoy/config/endpoint/v3/endpoint_pb.js';
import type { LbEndpoint } from '../../../src/proto/gen/envoy/config/endpoint/v3/endpoint_components_pb.js';
import { survey } from '../../../src/xds/decode/survey.ts';
import { Scope } from '../../../src/xds/decode/scope.ts';
import { accepted, bytesOf, decodeBytes, endpoint } from './harness.ts';
import type { Json } from './harness.ts';

const HEALTH = ['unknown', 'healthy', 'unhealthy', 'draining', 'timeout', 'degraded'];
const TYPE = 'envoy.config.endpoint.v3.ClusterLoadAssignment';

/** The same through protobuf-es, written for clearness; only for valid assignments. */
function reference(bytes: Uint8Array): EndpointsConfig {
  const message = unpack<ClusterLoadAssignment>({ typeUrl: `x/${TYPE}`, value: bytes });
  const list = (entries: readonly LbEndpoint[]): EndpointsConfig['localities'][number]['endpoints'] =>
    entries.flatMap((entry) => {
      if (entry.hostIdentifier.case !== 'endpoint') return [];
      const { address, hostname } = entry.hostIdentifier.value;
      if (address?.address.case !== 'socketAddress') throw new Error('not generated');
      const { address: host, portSpecifier } = address.address.value;
      const metadata = entry.metadata && pack('envoy.config.core.v3.Metadata', { ...entry.metadata }).value;
      return [
        {
          host,
          port: Number(portSpecifier.value),
          hostname,
          weight: entry.loadBalancingWeight ?? 1,
          health: HEALTH[entry.healthStatus] ?? 'unknown',
          metadata,
        },
      ];
    }) as EndpointsConfig['localities'][number]['endpoints'];
  return {
    clusterName: message.clusterName,
    localities: message.endpoints
      .filter((group) => group.loadBalancingWeight !== 0)
      .map((group) => ({
        locality: group.locality === undefined ? '' : `${group.locality.region}/${group.locality.zone}/${group.locality.subZone}`,
        priority: group.priority,
        weight: group.loadBalancingWeight,
        endpoints: [
          ...list(group.lbEndpoints),
          ...(group.lbConfig.case === 'loadBalancerEndpoints' ? list(group.lbConfig.value.lbEndpoints) : []),
        ],
      }))
      .toSorted((a, b) => a.priority - b.priority),
    dropOverloads: (message.policy?.dropOverloads ?? []).map((drop) => {
      const denominator = [100, 10_000, 1_000_000][drop.dropPercentage?.denominator ?? 0] ?? 0;
      return { category: drop.category, numerator: Math.min(drop.dropPercentage?.numerator ?? 0, denominator), denominator };
    }),
    overprovisioningFactor: message.policy?.overprovisioningFactor ?? 140,
  };
}

const option = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(arbitrary, { nil: undefined });
const lbEndpoint = fc.record({
  hostname: fc.string({ unit: 'grapheme', maxLength: 12 }),
  weight: option(fc.integer({ min: 1, max: 70_000 })),
  health: fc.integer({ min: 0, max: 7 }),
  metadata: option(
    fc.dictionary(fc.string({ minLength: 1, maxLength: 4 }), fc.record({ a: fc.string(), n: fc.integer() }), { maxKeys: 1 }),
  ),
  named: fc.boolean(),
  additional: fc.boolean(),
  check: fc.boolean(),
});
const group = fc.record({
  region: option(fc.string({ maxLength: 4 })),
  weight: option(fc.integer({ min: 0, max: 4_000_000_000 / 8 })),
  endpoints: fc.array(lbEndpoint, { maxLength: 6 }),
  inList: fc.boolean(),
  proximity: option(fc.integer({ min: 0, max: 5 })),
});
const assignment = fc
  .record({
    priorities: fc.array(fc.array(group, { minLength: 1, maxLength: 3 }), { maxLength: 3 }),
    drops: fc.array(
      fc.record({
        category: fc.string(),
        numerator: fc.integer({ min: 0, max: 3_000_000 }),
        denominator: fc.constantFrom('HUNDRED', 'TEN_THOUSAND', 'MILLION'),
      }),
      { maxLength: 2 },
    ),
    factor: option(fc.integer({ min: 1, max: 300 })),
    stale: fc.boolean(),
  })
  .map(({ priorities, drops, factor, stale }): Json => {
    let port = 0;
    const endpoints = priorities.flatMap((groups, priority) =>
      groups.map((one, i) => {
        const list = one.endpoints.map((entry) => ({
          ...(entry.named && i > 0
            ? { endpoint_name: 'e' }
            : {
                endpoint: {
                  address: { socket_address: { address: '10.0.0.1', port_value: ++port } },
                  hostname: entry.hostname,
                  additional_addresses: entry.additional
                    ? [{ address: { socket_address: { address: '10.0.0.2', port_value: ++port } } }]
                    : undefined,
                  health_check_config: entry.check ? { port_value: 9 } : undefined,
                },
              }),
          load_balancing_weight: entry.weight,
          health_status: entry.health,
          metadata: entry.metadata && { filter_metadata: entry.metadata },
        }));
        return {
          locality: one.region === undefined ? undefined : { region: one.region, zone: String(i) },
          // The first of a priority stays, so that none is missing.
          load_balancing_weight: i === 0 && one.weight === 0 ? 1 : one.weight,
          priority,
          proximity: one.proximity,
          ...(one.inList ? { load_balancer_endpoints: { lb_endpoints: list } } : { lb_endpoints: list }),
        };
      }),
    );
    const policy = {
      drop_overloads: drops.map(({ category, ...drop_percentage }) => ({ category, drop_percentage })),
      overprovisioning_factor: factor,
      endpoint_stale_after: stale ? '5s' : undefined,
    };
    return { cluster_name: 'c', endpoints, policy };
  });

describe('the wire reader', () => {
  test('reads what protobuf-es reads, and records what the survey records', () => {
    fc.assert(
      fc.property(assignment, (json) => {
        const bytes = bytesOf('endpoints', json);
        const { decoded, unsupported } = decodeBytes('endpoints', bytes);
        expect(plain(decoded)).toEqual({ ok: true, name: 'c', value: reference(bytes) });
        const recorded: string[] = [];
        const scope = new Scope('endpoints', {
          filters: [],
          lbPolicies: [],
          certificateProviders: new Set(),
          unsupported: (_kind, field) => void recorded.push(field),
        });
        survey(unpack<ClusterLoadAssignment>({ typeUrl: `x/${TYPE}`, value: bytes }), '', scope);
        // The reader numbers what it has no name for; the survey knows every name.
        const renamed = recorded.map((field) => field.replace('load_balancer_endpoints.lb_endpoints', 'lb_endpoints'));
        expect([...new Set(unsupported)].toSorted()).toEqual([...new Set(renamed)].toSorted());
      }),
      { numRuns: 300 },
    );
  });

  test('equal metadata is kept once, and reads back', () => {
    const metadata = { filter_metadata: { 'envoy.lb': { canary: true } } };
    const value = accepted('endpoints', {
      cluster_name: 'c',
      endpoints: [{ lb_endpoints: [endpoint(1, { metadata }), endpoint(2, { metadata }), endpoint(3)] }],
    });
    const [first, second, third] = value.localities[0]?.endpoints ?? [];
    expect(first?.metadata).toBe(second?.metadata);
    expect(third?.metadata).toBeUndefined();
    expect(unpack<object>({ typeUrl: 'x/envoy.config.core.v3.Metadata', value: first?.metadata ?? new Uint8Array() })).toMatchObject({
      filterMetadata: { 'envoy.lb': { canary: true } },
    });
  });

  test('the numbers that it reads are those of the messages', () => {
    const numbers = (typeName: string): Record<string, number> =>
      Object.fromEntries(fieldsOf(typeName).map((field) => [field.name, field.number]));
    expect(numbers(TYPE)).toMatchObject({ cluster_name: 1, endpoints: 2, policy: 4, named_endpoints: 5 });
    expect(numbers('envoy.config.endpoint.v3.LocalityLbEndpoints')).toEqual({
      locality: 1,
      lb_endpoints: 2,
      load_balancing_weight: 3,
      priority: 5,
      proximity: 6,
      load_balancer_endpoints: 7,
      leds_cluster_locality_config: 8,
      metadata: 9,
    });
    expect(numbers('envoy.config.endpoint.v3.LbEndpoint')).toEqual({
      endpoint: 1,
      health_status: 2,
      metadata: 3,
      load_balancing_weight: 4,
      endpoint_name: 5,
    });
    expect(numbers('envoy.config.endpoint.v3.Endpoint')).toEqual({
      address: 1,
      health_check_config: 2,
      hostname: 3,
      additional_addresses: 4,
    });
  });

  test('localities come in the order of their priorities', () => {
    const value = accepted('endpoints', {
      cluster_name: 'c',
      endpoints: [{ priority: 1, locality: { region: 'b' } }, { locality: { region: 'a' } }],
    });
    expect(value.localities.map((locality) => locality.locality)).toEqual(['a//', 'b//']);
  });
});
