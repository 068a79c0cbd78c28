import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LB_POLICIES } from '../../../src/balancing/registry.ts';
import { MeshCluster } from '../../../src/cluster/cluster.ts';
import type { ClusterConfig } from '../../../src/config/cluster.ts';
import { DEFAULT_THRESHOLDS } from '../../../src/config/cluster.ts';
import type { EndpointsConfig } from '../../../src/config/endpoints.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { FakeClock, SeededRandom } from '../../../src/testing/index.ts';

const config: ClusterConfig = {
  name: 'c',
  discovery: { kind: 'eds', serviceName: 'c' },
  lb: { policy: 'round_robin', config: undefined },
  thresholds: { default: DEFAULT_THRESHOLDS, high: DEFAULT_THRESHOLDS },
  outlier: undefined,
  tls: undefined,
  http2: false,
  connectTimeoutMs: 5000,
  maxRequestsPerConnection: undefined,
  breaker: undefined,
  reportLoad: false,
  panicThreshold: 50,
  localityWeighted: false,
};

function newCluster(): MeshCluster {
  return new MeshCluster(config, {
    clock: new FakeClock(),
    random: new SeededRandom(1),
    log: silentLogger,
    security: () => {
      throw new Error('no TLS here');
    },
    metadata: () => ({}),
    lbPolicies: LB_POLICIES,
    breakers: {},
  });
}

const assignment = (ports: readonly number[]): EndpointsConfig => ({
  clusterName: 'c',
  localities: [
    {
      locality: '//',
      priority: 0,
      weight: 1,
      endpoints: ports.map((port) => ({ host: '127.0.0.1', port, hostname: '', weight: 1, health: 'unknown', metadata: undefined })),
    },
  ],
  dropOverloads: [],
  overprovisioningFactor: 140,
});

test('whatever the order of two assignments, endpoints are kept by address, removed ones are closed', async () => {
  const ports = fc.uniqueArray(fc.integer({ min: 1, max: 40 }), { maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(ports, ports, async (first, second) => {
      const cluster = newCluster();
      cluster.assign(assignment(first), '');
      const before = new Map(cluster.endpoints.map((endpoint) => [endpoint.port, endpoint]));
      const closed: number[] = [];
      for (const endpoint of cluster.endpoints) {
        endpoint.connection(
          {
            name: 't',
            connect: () => ({
              send: () => Promise.reject(new Error('unused')),
              close: () => (closed.push(endpoint.port), Promise.resolve()),
            }),
          },
          false,
        );
      }
      cluster.assign(assignment(second), '');
      expect(cluster.endpoints.map((endpoint) => endpoint.port)).toEqual(second);
      for (const endpoint of cluster.endpoints) {
        const known = before.get(endpoint.port);
        if (known !== undefined) expect(endpoint).toBe(known);
      }
      expect(closed.toSorted()).toEqual(first.filter((port) => !second.includes(port)).toSorted());
      await cluster.close();
    }),
  );
});
