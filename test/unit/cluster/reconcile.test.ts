/** Whatever the snapshots say one after the other: the clusters that run are those that are named, and each that goes is closed once. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LB_POLICIES } from '../../../src/balancing/registry.ts';
import { Clusters } from '../../../src/cluster/clusters.ts';
import type { MeshCluster } from '../../../src/cluster/cluster.ts';
import { DEFAULT_THRESHOLDS } from '../../../src/config/cluster.ts';
import type { ClusterConfig } from '../../../src/config/cluster.ts';
import type { EndpointsConfig } from '../../../src/config/endpoints.ts';
import type { ListenerConfig } from '../../../src/config/listener.ts';
import type { ResolvedCluster, Snapshot } from '../../../src/config/snapshot.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { FakeClock, SeededRandom } from '../../../src/testing/index.ts';

const NAMES = ['a', 'b', 'c', 'd', 'e'] as const;
const CONFIGS = [5000, 6000, 7000] as const;
const LISTENER: ListenerConfig = {
  name: 'l',
  api: undefined,
  address: undefined,
  direction: 'unspecified',
  filterChains: [],
  defaultFilterChain: undefined,
};

/** What one snapshot says of one cluster: which configuration with which ports, or that it is broken. */
type Said = { readonly config: number; readonly ports: readonly number[] | undefined } | 'broken' | 'waiting';

/** Objects keep their identity as those of a source do. */
const configs = new Map<string, ClusterConfig>();
function configOf(name: string, connectTimeoutMs: number): ClusterConfig {
  const key = `${name} ${connectTimeoutMs}`;
  const known = configs.get(key);
  if (known !== undefined) return known;
  const made: ClusterConfig = {
    name,
    discovery: { kind: 'eds', serviceName: name },
    lb: { policy: 'round_robin', config: undefined },
    thresholds: { default: DEFAULT_THRESHOLDS, high: DEFAULT_THRESHOLDS },
    outlier: undefined,
    tls: undefined,
    http2: false,
    connectTimeoutMs,
    maxRequestsPerConnection: undefined,
    breaker: undefined,
    reportLoad: false,
    panicThreshold: 50,
    localityWeighted: false,
  };
  configs.set(key, made);
  return made;
}

const assignment = (clusterName: string, ports: readonly number[]): EndpointsConfig => ({
  clusterName,
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

function resolved(name: string, said: Said): ResolvedCluster {
  if (said === 'broken') return { ok: false, reason: 'rejected' };
  if (said === 'waiting') return { ok: false, reason: 'waiting', waiting: true };
  return {
    ok: true,
    config: configOf(name, said.config),
    endpoints: said.ports && assignment(name, said.ports),
    note: said.ports === undefined ? 'no endpoints yet' : '',
  };
}

const snapshot = (said: ReadonlyMap<string, Said>): Snapshot => ({
  root: 'r',
  listener: LISTENER,
  routes: new Map(),
  clusters: new Map([...said].map(([name, each]) => [name, resolved(name, each)])),
});

const said: fc.Arbitrary<Said> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      config: fc.constantFrom(...CONFIGS),
      ports: fc.option(fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { maxLength: 4 }), { nil: undefined }),
    }),
  },
  { weight: 1, arbitrary: fc.constantFrom('broken' as const, 'waiting' as const) },
);
const oneSnapshot = fc
  .uniqueArray(fc.tuple(fc.constantFrom(...NAMES), said), { selector: ([name]) => name, maxLength: 5 })
  .map((entries) => new Map<string, Said>(entries));
/** The snapshots of up to three roots, again and again. */
const history = fc.array(fc.array(oneSnapshot, { maxLength: 3 }), { minLength: 1, maxLength: 8 });

/** The last snapshot that has a cluster whole counts; one that has it not counts for nothing. */
function expected(snapshots: readonly ReadonlyMap<string, Said>[]): Map<string, Exclude<Said, string>> {
  const result = new Map<string, Exclude<Said, string>>();
  for (const each of snapshots) for (const [name, what] of each) if (typeof what === 'object') result.set(name, what);
  return result;
}

function newClusters(): Clusters {
  return new Clusters({
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

/** Counts how often each cluster is closed. */
function watchClosing(cluster: MeshCluster, closed: Map<MeshCluster, number>): void {
  if (closed.has(cluster)) return;
  closed.set(cluster, 0);
  const close = cluster.close.bind(cluster);
  cluster.close = () => {
    closed.set(cluster, (closed.get(cluster) ?? 0) + 1);
    return close();
  };
}

test('running clusters are those that are named, as last said; what goes is closed once, what stays stays itself', async () => {
  await fc.assert(
    fc.asyncProperty(history, async (rounds) => {
      const clusters = newClusters();
      const closed = new Map<MeshCluster, number>();
      let before = new Map<string, MeshCluster>();
      for (const snapshots of rounds) {
        clusters.reconcile(snapshots.map(snapshot));
        const want = expected(snapshots);
        const running = new Map(clusters.names().flatMap((name) => [[name, clusters.get(name) as MeshCluster] as const]));
        expect([...running.keys()].toSorted()).toEqual([...want.keys()].toSorted());
        for (const [name, { config, ports }] of want) {
          const cluster = running.get(name);
          expect(clusters.get(name)).toBe(cluster);
          expect(cluster?.config).toBe(configOf(name, config));
          expect(cluster?.endpoints.map(({ port }) => port)).toEqual(ports ?? []);
          expect(cluster?.note).toBe(ports === undefined ? 'no endpoints yet' : '');
          const known = before.get(name);
          if (known !== undefined) expect(cluster, `${name} was there`).toBe(known);
          if (cluster !== undefined) watchClosing(cluster, closed);
        }
        for (const name of NAMES) if (!want.has(name)) expect(clusters.get(name)).toBeUndefined();
        const alive = new Set(running.values());
        for (const [cluster, times] of closed) expect(times, cluster.name).toBe(alive.has(cluster) ? 0 : 1);
        before = running;
      }
      await clusters.close();
      expect([clusters.names(), ...clusters.values()]).toEqual([[]]);
      for (const [cluster, times] of closed) expect(times, cluster.name).toBe(1);
      // Closed again, also by an end without waiting, nothing is closed twice.
      await clusters.close();
      clusters.destroy(new Error('the end'));
      for (const [cluster, times] of closed) expect(times, cluster.name).toBe(1);
    }),
    { numRuns: 300 },
  );
});

test('a cluster that comes back while its predecessor drains is a new one, and both are closed in the end', async () => {
  const clusters = newClusters();
  const whole = snapshot(new Map<string, Said>([['a', { config: 5000, ports: [1] }]]));
  clusters.reconcile([whole]);
  const first = clusters.get('a');
  const endpoint = first?.endpoints[0];
  if (first === undefined || endpoint === undefined) throw new Error('no cluster');
  let release: () => void = () => undefined;
  let asked = 0;
  endpoint.connection(
    {
      name: 't',
      connect: () => ({
        send: () => Promise.reject(new Error('unused')),
        close: () => (asked++, new Promise<void>((resolve) => (release = resolve))),
      }),
    },
    false,
  );
  clusters.reconcile([]);
  clusters.reconcile([whole]);
  expect(clusters.get('a')).not.toBe(first);
  let done = false;
  const closing = clusters.close().then(() => (done = true));
  await new Promise((resolve) => setImmediate(resolve));
  expect([asked, done], 'waits for what still drains').toEqual([1, false]);
  release();
  await closing;
  expect(done).toBe(true);
});
