import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { EndpointsConfig } from '../../../src/config/endpoints.ts';
import { jsonToAny } from '../../../src/proto/any.ts';
import { RESOURCE_TYPES } from '../../../src/xds/resource-types.ts';
import type { DecodeContext } from '../../../src/xds/resource-type.ts';

const type = RESOURCE_TYPES.find(({ kind }) => kind === 'endpoints');
const context: DecodeContext = { filters: [], lbPolicies: [], certificateProviders: new Set(), unsupported: () => undefined };

interface Spec {
  readonly port: number;
  readonly weight: number;
  readonly label: string | undefined;
}

const bytesOf = (specs: readonly Spec[]): Uint8Array =>
  jsonToAny({
    '@type': 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment',
    clusterName: 'c',
    endpoints: [
      {
        locality: { region: 'r' },
        lbEndpoints: specs.map(({ port, weight, label }) => ({
          endpoint: { address: { socketAddress: { address: '10.0.0.1', portValue: port } } },
          loadBalancingWeight: weight,
          ...(label === undefined ? {} : { metadata: { filterMetadata: { 'envoy.lb': { label } } } }),
        })),
      },
    ],
  }).value;

function inSteps(bytes: Uint8Array, previous: EndpointsConfig | undefined): { value: EndpointsConfig; steps: number } {
  const run = type?.decodeInSteps?.(bytes, context, previous as never);
  if (run === undefined) throw new Error('endpoints are decoded in steps');
  for (let steps = 0; ; steps++) {
    const step = run.next();
    if (step.done !== true) continue;
    if (!step.value.ok) throw new Error(JSON.stringify(step.value.errors));
    return { value: step.value.value as unknown as EndpointsConfig, steps };
  }
}

const specs = fc.uniqueArray(
  fc.record({ port: fc.integer({ min: 1, max: 30 }), weight: fc.integer({ min: 1, max: 2 }), label: fc.constantFrom(undefined, 'a', 'b') }),
  {
    selector: ({ port }) => port,
    maxLength: 20,
  },
);

test('with a previous value the result is the same; endpoints that did not change are the same objects', () => {
  fc.assert(
    fc.property(specs, specs, (first, second) => {
      const before = inSteps(bytesOf(first), undefined).value;
      const fresh = inSteps(bytesOf(second), undefined).value;
      const reused = inSteps(bytesOf(second), before).value;
      expect(reused).toEqual(fresh);
      const old = new Set(before.localities.flatMap(({ endpoints }) => endpoints));
      for (const endpoint of reused.localities[0]?.endpoints ?? []) {
        if (!old.has(endpoint)) continue;
        const spec = first.find(({ port }) => port === endpoint.port);
        expect(spec).toEqual(second.find(({ port }) => port === endpoint.port));
      }
    }),
  );
});

test('one removed, one added, one changed: all others keep their objects', () => {
  const first = Array.from({ length: 50 }, (_, i) => ({ port: i + 1, weight: 1, label: 'a' }));
  const before = inSteps(bytesOf(first), undefined).value;
  const second = [
    ...first.slice(0, 10),
    ...first.slice(11, 30),
    { port: 99, weight: 1, label: 'a' },
    ...first.slice(30, 40),
    { port: 41, weight: 2, label: 'a' },
    ...first.slice(41),
  ];
  const after = inSteps(bytesOf(second), before).value;
  const old = new Set(before.localities[0]?.endpoints);
  expect(after.localities[0]?.endpoints.filter((endpoint) => !old.has(endpoint)).map(({ port }) => port)).toEqual([99, 41]);
});

test('a large assignment is read in steps', () => {
  const specsOf = (count: number): Spec[] => Array.from({ length: count }, (_, i) => ({ port: i + 1, weight: 1, label: undefined }));
  expect(inSteps(bytesOf(specsOf(10)), undefined).steps).toBe(0);
  expect(inSteps(bytesOf(specsOf(10_000)), undefined).steps).toBeGreaterThanOrEqual(4);
});
