/** What changed, told exactly, leads to the same as walking everything again: same states, same clusters, same targets, same subscriptions. */
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import type { ClusterConfig } from '../../../src/config/cluster.ts';
import { DEFAULT_THRESHOLDS } from '../../../src/config/cluster.ts';
import type { EndpointsConfig } from '../../../src/config/endpoints.ts';
import type { ListenerConfig } from '../../../src/config/listener.ts';
import type { ResourceKey } from '../../../src/config/resource.ts';
import type { RouteConfiguration } from '../../../src/config/routes.ts';
import type { OutboundCall } from '../../../src/core/call.ts';
import type { OutboundTarget } from '../../../src/core/target.ts';
import type { MeshCluster } from '../../../src/cluster/cluster.ts';
import { SeededRandom } from '../../../src/testing/index.ts';
import type { EngineSetup, FakeSource } from '../../support/mesh-engine.ts';
import { apiListener, clusterConfig, endpointsOf, engineSetup } from '../../support/mesh-engine.ts';
import { forward, route, routeConfig, virtualHost } from '../routing/builders.ts';

const HOSTS = ['web', 'api'] as const;
const CLUSTERS = ['a', 'b', 'c', 'd'] as const;
/** `other` is the assignment of several clusters, and of none by its name. */
const SERVICES = [...CLUSTERS, 'other'] as const;

/** No call passes: what tells one stack from another. */
const thresholds = { default: { ...DEFAULT_THRESHOLDS, maxRequests: 0 }, high: DEFAULT_THRESHOLDS };
const LISTENERS = new Map<string, ListenerConfig>(HOSTS.map((host) => [host, apiListener(host, `${host}-routes`)]));

function configsOf(name: string): readonly ClusterConfig[] {
  return [
    clusterConfig(name),
    clusterConfig(name, { thresholds }),
    clusterConfig(name, { discovery: { kind: 'eds', serviceName: 'other' } }),
    clusterConfig(name, { discovery: { kind: 'eds', serviceName: 'other' }, connectTimeoutMs: 7 }),
    clusterConfig(name, { discovery: { kind: 'static', endpoints: endpointsOf(name, 9) } }),
  ];
}
const CONFIGS = new Map(CLUSTERS.map((name) => [name, configsOf(name)] as const));
const ASSIGNMENTS = new Map(
  SERVICES.map((name) => [name, [[1], [1, 2], [2, 1], [3], []].map((ports) => endpointsOf(name, ...ports))] as const),
);

function routesOf(host: string, clusters: readonly string[]): RouteConfiguration {
  const routes = clusters.map((name) =>
    route({
      match: { path: { kind: 'prefix', value: `/${name}`, caseSensitive: true } },
      action: forward({ cluster: { kind: 'cluster', name } }),
    }),
  );
  return routeConfig({ name: `${host}-routes`, virtualHosts: [virtualHost({ routes })] });
}
const SUBSETS = [['a'], ['a', 'b'], ['b', 'c', 'd'], ['a', 'b', 'c', 'd']];
const ROUTES = new Map(HOSTS.map((host) => [host, SUBSETS.map((clusters) => routesOf(host, clusters))] as const));

/** Does the same to any source. */
type Action = (source: FakeSource) => void;

const listed = <T>(values: readonly T[] | undefined, pick: number): T => (values ?? [])[pick % (values?.length ?? 1)] as T;
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.tuple(fc.constantFrom(...SERVICES), fc.nat(4)).map(([name, pick]): Action => {
      const value: EndpointsConfig = listed(ASSIGNMENTS.get(name), pick);
      return (source) => void source.put('endpoints', name, value);
    }),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(...SERVICES).map(
      (name): Action =>
        (source) =>
          void source.fail('endpoints', name),
    ),
  },
  {
    weight: 8,
    arbitrary: fc.tuple(fc.constantFrom(...CLUSTERS), fc.nat(4)).map(([name, pick]): Action => {
      const value = listed(CONFIGS.get(name), pick);
      return (source) => void source.put('cluster', name, value);
    }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(...CLUSTERS).map(
      (name): Action =>
        (source) =>
          void source.fail('cluster', name),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.constantFrom(...HOSTS), fc.nat(3)).map(([host, pick]): Action => {
      const value = listed(ROUTES.get(host), pick);
      return (source) => void source.put('routes', value.name, value);
    }),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(...HOSTS).map(
      (host): Action =>
        (source) =>
          void source.put('listener', host, LISTENERS.get(host) as ListenerConfig),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(...HOSTS).map(
      (host): Action =>
        (source) =>
          void source.fail('listener', host),
    ),
  },
);

/** A batch of changes, then calls to these paths. */
const round = fc.tuple(
  fc.array(action, { minLength: 1, maxLength: 4 }),
  fc.array(fc.tuple(fc.constantFrom(...HOSTS), fc.constantFrom(...CLUSTERS)), { maxLength: 3 }),
);
const history = fc.array(round, { minLength: 1, maxLength: 25 });
const allButEndpoints: Action = (source) => {
  for (const host of HOSTS) source.put('listener', host, LISTENERS.get(host) as ListenerConfig);
  for (const routes of ROUTES.values()) source.put('routes', listed(routes, 3).name, listed(routes, 3));
  for (const [name, configs] of CONFIGS) source.put('cluster', name, listed(configs, 0));
};
const beginning: Action = (source) => {
  allButEndpoints(source);
  source.put('endpoints', 'a', listed(ASSIGNMENTS.get('a'), 0));
};
const everything: Action = (source) => {
  allButEndpoints(source);
  for (const [name, assignments] of ASSIGNMENTS) source.put('endpoints', name, listed(assignments, 0));
};

function callTo({ engine, call }: EngineSetup, host: string, cluster: string): unknown {
  const one = call(host, { path: `/${cluster}` });
  const opened = engine.open(one);
  try {
    if (opened === undefined) return 'waits';
    if (!('handler' in opened)) return opened.failure?.message;
    const target = opened.cluster as MeshCluster | undefined;
    if (target === undefined) return 'answers by itself';
    return {
      cluster: target.name,
      config: target.config,
      endpoints: target.endpoints.map(({ address }) => address),
      note: target.note,
      admitted: startOf(opened, one),
      stack: [...(engine.roots?.values() ?? [])].find(({ name }) => name === host)?.plan?.assembled,
    };
  } finally {
    one.end(200, undefined, undefined);
  }
}

function startOf({ direct }: OutboundTarget, call: OutboundCall): string {
  const started = direct?.start(call);
  if (started === undefined) return 'no direct path';
  if (!('call' in started)) return started.failure?.kind.details ?? 'answered';
  started.end(200, undefined, undefined);
  return 'begins';
}

const idOf = ({ kind, name }: ResourceKey): string => `${kind} ${name}`;

function stateOf({ engine, source }: EngineSetup): unknown {
  return {
    asked: [...new Set(source.asked)],
    clusters: engine.clusters?.names().toSorted(),
    roots: Array.from(engine.roots?.values() ?? [], ({ name, status, reason, partial, old, missing, snapshot, plan }) => ({
      name,
      status,
      reason,
      partial,
      old,
      missing: [...new Set(missing.map(idOf))].toSorted(),
      listener: snapshot?.listener,
      routes: [...(snapshot?.routes.values() ?? [])],
      clusters: new Map([...(snapshot?.clusters ?? [])].toSorted(([a], [b]) => (a < b ? -1 : 1))),
      plan: plan !== undefined && plan.snapshot === snapshot,
    })),
  };
}

describe.each([
  ['names in advance', false],
  ['on demand', true],
])('%s', (_name, clustersOnDemand) => {
  test.each([
    ['from nothing', undefined],
    ['while most is awaited', beginning],
    ['from a whole configuration', everything],
  ])('changes told exactly, %s', (__name, first) => {
    fc.assert(
      fc.property(history, (rounds) => {
        const options = { include: HOSTS, parts: { clustersOnDemand, random: new SeededRandom(3) } };
        const [exact, whole] = [engineSetup(options), engineSetup(options)];
        const [exactSource, wholeSource] = [exact.source, whole.source];
        const all: (typeof rounds)[number][] = first === undefined ? rounds : [[[first], []], ...rounds];
        for (const [actions, calls] of all) {
          for (const act of actions) {
            act(exactSource);
            act(wholeSource);
          }
          const epochs = [exact.engine.epoch, whole.engine.epoch] as const;
          exactSource.push();
          wholeSource.pushAll();
          expect(exact.engine.epoch > epochs[0], 'calls that wait are told').toBe(whole.engine.epoch > epochs[1]);
          expect(stateOf(exact)).toEqual(stateOf(whole));
          for (const [host, cluster] of calls) expect(callTo(exact, host, cluster)).toEqual(callTo(whole, host, cluster));
          expect(stateOf(exact)).toEqual(stateOf(whole));
        }
        for (const host of HOSTS)
          for (const cluster of CLUSTERS) expect(callTo(exact, host, cluster)).toEqual(callTo(whole, host, cluster));
      }),
      { numRuns: 150 },
    );
  });
});

describe('the work of a change', () => {
  /** Counts what is read of the source. */
  function counted(size: number) {
    const setup = engineSetup({ include: ['web'] });
    const { source } = setup;
    const names = Array.from({ length: size }, (_, i) => `c${i}`);
    for (const name of names) source.cluster(name, 1);
    source.put('listener', 'web', apiListener('web', 'web-routes')).put('routes', 'web-routes', routesOf('web', names)).push();
    const get = vi.spyOn(source, 'get');
    const want = vi.spyOn(source, 'want');
    return { ...setup, work: () => [get.mock.calls.length, want.mock.calls.length] };
  }

  test.each([10, 1000])('one assignment, or the limits of one cluster, among %i: that one is read', (size) => {
    const setup = counted(size);
    const { source, engine, work } = setup;
    expect(callTo(setup, 'web', 'c7')).toMatchObject({ admitted: 'begins' });
    source.put('endpoints', 'c7', endpointsOf('c7', 1, 2)).push();
    expect(engine.clusters?.get('c7')?.endpoints).toHaveLength(2);
    expect(work()).toEqual([2, 0]);
    source.put('cluster', 'c7', clusterConfig('c7', { thresholds })).push();
    expect(callTo(setup, 'web', 'c7')).toMatchObject({ config: { thresholds }, admitted: 'upstream_overflow' });
    expect(callTo(setup, 'web', 'c8')).toMatchObject({ admitted: 'begins' });
    expect(work()).toEqual([4, 0]);
    // Nobody's.
    source.put('endpoints', 'elsewhere', endpointsOf('elsewhere', 1)).push();
    expect(work()).toEqual([4, 0]);
    // Negative control: what may change anything is walked.
    source.pushAll();
    expect(work()[0]).toBeGreaterThan(size);
  });
});
