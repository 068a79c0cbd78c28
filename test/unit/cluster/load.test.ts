/** What a cluster counts for load reports, and the calls that it drops. */
import { expect, test } from 'vitest';
import { LB_POLICIES } from '../../../src/balancing/registry.ts';
import { MeshCluster } from '../../../src/cluster/cluster.ts';
import type { ClusterConfig } from '../../../src/config/cluster.ts';
import { DEFAULT_THRESHOLDS } from '../../../src/config/cluster.ts';
import type { EndpointsConfig } from '../../../src/config/endpoints.ts';
import { Attempt } from '../../../src/core/call.ts';
import { ClusterLoad } from '../../../src/core/load.ts';
import { silentLogger } from '../../../src/core/log.ts';
import type { Random } from '../../../src/core/random.ts';
import { admit } from '../../../src/resilience/admission.ts';
import { FakeClock, ScriptedRandom } from '../../../src/testing/index.ts';
import { startedCall } from '../resilience/fakes.ts';

const clock = new FakeClock();
const CONFIG: ClusterConfig = {
  name: 'c',
  discovery: { kind: 'eds', serviceName: 'c-eds' },
  lb: { policy: 'round_robin', config: undefined },
  thresholds: { default: DEFAULT_THRESHOLDS, high: DEFAULT_THRESHOLDS },
  outlier: undefined,
  tls: undefined,
  http2: false,
  connectTimeoutMs: 5000,
  maxRequestsPerConnection: undefined,
  breaker: undefined,
  reportLoad: true,
  panicThreshold: 50,
  localityWeighted: false,
};

const place = (locality: string, port: number): EndpointsConfig['localities'][number] => ({
  locality,
  priority: 0,
  weight: 1,
  endpoints: [{ host: '127.0.0.1', port, hostname: '', weight: 1, health: 'unknown', metadata: undefined }],
});

function assignment(dropOverloads: EndpointsConfig['dropOverloads'] = [], locality = 'r/z/s'): EndpointsConfig {
  return { clusterName: 'c-eds', localities: [place(locality, 1)], dropOverloads, overprovisioningFactor: 140 };
}

function made(config = CONFIG, random: Random = new ScriptedRandom(0.5)) {
  const opened = new Map<string, { readonly load: ClusterLoad; released: boolean }>();
  const cluster = new MeshCluster(config, {
    clock,
    random,
    log: silentLogger,
    security: () => {
      throw new Error('no TLS here');
    },
    metadata: () => ({}),
    lbPolicies: LB_POLICIES,
    breakers: {},
    load: (name, service) => {
      const one = { load: new ClusterLoad(name, service), released: false };
      opened.set(`${name}/${service}`, one);
      return { load: one.load, release: () => void (one.released = true) };
    },
  });
  cluster.assign(assignment(), '');
  const begin = (): Attempt => {
    const attempt = new Attempt(startedCall(clock), 1);
    attempt.endpoint = cluster.pick(attempt.call);
    cluster.counter?.onAttemptStart(attempt);
    return attempt;
  };
  const end = (attempt: Attempt, status: number): void => {
    attempt.status = status;
    cluster.counter?.onAttemptEnd(attempt);
  };
  return { cluster, opened, begin, end };
}

const shown = (load: ClusterLoad | undefined): readonly string[] | undefined =>
  load?.take()?.localities.map((at) => `${at.locality} ${at.issued}/${at.successful}/${at.errors}/${at.inProgress}`);

test('nothing is opened before the cluster is called, nor where nobody wants to know', async () => {
  const { cluster, opened } = made();
  expect(opened.size).toBe(0);
  expect(cluster.counter).toBeDefined();
  expect(cluster.counter).toBe(cluster.counter);
  expect([...opened.keys()]).toEqual(['c/c-eds']);
  await cluster.close();
  expect(opened.get('c/c-eds')?.released).toBe(true);
  expect(cluster.counter).toBeUndefined();
  const quiet = made({ ...CONFIG, reportLoad: false });
  expect(quiet.cluster.counter).toBeUndefined();
  expect(quiet.opened.size).toBe(0);
});

test('an assignment of the name of its cluster has no name of its own', () => {
  const { cluster, opened } = made({ ...CONFIG, discovery: { kind: 'eds', serviceName: 'c' } });
  expect(cluster.counter).toBeDefined();
  expect([...opened.keys()]).toEqual(['c/']);
});

test('an attempt ends where it began, whatever has become of its locality, its assignment or the wish for reports', () => {
  const { cluster, opened, begin, end } = made();
  const [moved, renamed, unwanted] = [begin(), begin(), begin()];
  cluster.assign(assignment([], 'r/other/s'), '');
  const there = begin();
  end(moved, 200);
  const first = opened.get('c/c-eds');
  expect(shown(first?.load)).toEqual(['r/z/s 3/1/0/2', 'r/other/s 1/0/0/1']);
  cluster.configure({ ...CONFIG, discovery: { kind: 'eds', serviceName: 'new' } });
  expect([first?.released, opened.get('c/new')?.released]).toEqual([true, false]);
  end(begin(), 404);
  end(renamed, 503);
  expect(shown(first?.load)).toEqual(['r/z/s 0/0/1/1', 'r/other/s 0/0/0/1']);
  expect(shown(opened.get('c/new')?.load)).toEqual(['r/other/s 1/1/0/0']);
  cluster.configure({ ...CONFIG, reportLoad: false });
  expect(opened.get('c/new')?.released).toBe(true);
  unwanted.load?.end(true);
  there.load?.end(true);
  expect(shown(first?.load)).toEqual(['r/z/s 0/1/0/0', 'r/other/s 0/1/0/0']);
  expect(begin().load).toBeUndefined();
});

test('drop_overloads: each category in its order, with a lot of its own; the thresholds come after (gRFC A27, A32)', () => {
  // Never: 0 %; then 50 % and 20 %. Dropped by the first, by the second, by none, by none.
  const lots = [
    [0, 0.49],
    [0, 0.5, 0.19],
    [0, 0.5, 0.2],
    [0, 0.5, 0.2],
  ].flat();
  // Policies draw when they are made.
  let random: Random = new ScriptedRandom(0.5);
  const { cluster, opened } = made(CONFIG, { next: () => random.next() });
  expect(cluster.counter).toBeDefined();
  const drops = [
    { category: 'never', numerator: 0, denominator: 100 },
    { category: 'first', numerator: 5000, denominator: 10_000 },
    { category: 'second', numerator: 200_000, denominator: 1_000_000 },
  ];
  cluster.assign(assignment(drops), '');
  random = new ScriptedRandom(...lots);
  const { step } = admit(cluster, { ...DEFAULT_THRESHOLDS, maxRequests: 1 });
  const answers = Array.from({ length: 4 }, () => step?.enter(new Attempt(startedCall(clock), 1))?.failure);
  expect(answers.map((failure) => failure && `${failure.kind.flag} ${failure.message}`)).toEqual([
    'DO cluster "c" drops a share of its calls (first)',
    'DO cluster "c" drops a share of its calls (second)',
    undefined,
    'UO max_requests 1 of cluster "c" is reached',
  ]);
  const figures = opened.get('c/c-eds')?.load.take();
  expect(figures).toMatchObject({ dropped: 3, localities: [] });
  expect(Object.fromEntries(figures?.droppedBy ?? [])).toEqual({ first: 1, second: 1 });
});

test('nothing is dropped without drop_overloads, and no lot is drawn', () => {
  const random: Random = {
    next: () => {
      throw new Error('a lot was drawn');
    },
  };
  const { cluster } = made({ ...CONFIG, lb: { policy: 'random', config: undefined } }, random);
  expect(cluster.shed()).toBeUndefined();
});
