/**
 * Bench `scale`: the configuration path at 10 000 clusters and 100 000 endpoints: what each retains, how long snapshots take to apply and
 * how long they hold the event loop, one endpoint changed among more and more, and the heap over many updates. Every sample is a process of
 * its own; the control is the second half of the samples against the first.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { LB_POLICIES } from '../../src/balancing/registry.ts';
import { FILTERS } from '../../src/filters/registry.ts';
import { jsonToAny } from '../../src/proto/any.ts';
import type { DecodeContext } from '../../src/xds/resource-type.ts';
import { RESOURCE_TYPES } from '../../src/xds/resource-types.ts';
import type { BenchOptions, BenchRow, RowSpec } from './report.ts';
import { benchRow, estimate, median, rounded } from './report.ts';
import { assignment, cluster, delta, listener, Rig, routes } from './scale-rig.ts';

/** Names of figures and their values. */
type Found = Readonly<Record<string, number>>;

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** Everything that the process holds after a full collection, on the heap and outside; in bytes. */
async function held(): Promise<number> {
  const gc: unknown = Reflect.get(globalThis, 'gc');
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    if (typeof gc === 'function') for (let j = 0; j < 2; j++) gc();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

interface Shape {
  readonly services: number;
  /** All services lead to the first of these. */
  readonly clusters: number;
  readonly endpoints: number;
}

/** A mesh that has this configuration. The messages are made one at a time and not kept. */
async function loaded({ services, clusters, endpoints }: Shape): Promise<Rig> {
  const rig = new Rig();
  await rig.push(delta('listener', 1, [listener()]));
  await rig.push(delta('routes', 1, [routes(services, clusters)]));
  await rig.push(
    delta(
      'cluster',
      1,
      range(clusters).map((i) => cluster(i)),
    ),
  );
  await rig.push(
    delta(
      'endpoints',
      1,
      range(clusters).map((i) => assignment(i, endpoints)),
    ),
  );
  if (!rig.ready) throw new Error('the configuration is not complete');
  return rig;
}

/** Retained by a mesh of this shape; then by the same mesh once every cluster was called. */
async function retained(shape: Shape): Promise<readonly [configured: number, called: number]> {
  // What is loaded, compiled and cached once for all meshes.
  await (await loaded({ services: 4, clusters: 4, endpoints: 4 })).engine.close(0);
  const before = await held();
  const rig = await loaded(shape);
  const configured = (await held()) - before;
  for (let i = 0; i < shape.clusters; i++) rig.call(i);
  const called = (await held()) - before;
  await rig.engine.close(0);
  return [configured, called];
}

const MANY = 10_000;
const FEW = 1000;

/** Bytes of decoded configuration and nothing else. */
async function decoded(kind: 'cluster' | 'endpoints', make: (index: number) => object): Promise<number> {
  const type = RESOURCE_TYPES.find((each) => each.kind === kind);
  if (type === undefined) throw new Error(`no type ${kind}`);
  const context: DecodeContext = {
    filters: FILTERS,
    lbPolicies: LB_POLICIES,
    certificateProviders: new Set<string>(),
    unsupported: () => undefined,
  };
  const decode = (index: number): unknown => {
    const result = type.decode(jsonToAny(make(index)).value, context);
    return result.ok ? result.value : undefined;
  };
  decode(0);
  const values: unknown[] = [];
  const before = await held();
  for (let i = 0; i < MANY; i++) values.push(decode(i));
  const after = await held();
  // An array of references, which are not the configuration's.
  return values.length === MANY ? after - before - 8 * MANY : Number.NaN;
}

const MEMORY: Readonly<Record<string, () => Promise<Found>>> = {
  async memory() {
    const [routesOnly] = await retained({ services: MANY, clusters: 1, endpoints: 1 });
    const [one, oneCalled] = await retained({ services: MANY, clusters: MANY, endpoints: 1 });
    const [eleven, elevenCalled] = await retained({ services: MANY, clusters: MANY, endpoints: 11 });
    return {
      endpoint: (eleven - one) / (10 * MANY),
      'endpoint called': (elevenCalled - oneCalled) / (10 * MANY),
      cluster: (one - routesOnly) / MANY,
      'cluster called': (oneCalled - routesOnly) / MANY,
      route: routesOnly / MANY,
    };
  },
  async parts() {
    const bytesOf = (resource: object): number => jsonToAny(resource).value.length;
    const one = await decoded('endpoints', (i) => assignment(i, 1));
    const eleven = await decoded('endpoints', (i) => assignment(i, 11));
    return {
      'endpoint raw': (bytesOf(assignment(0, 11)) - bytesOf(assignment(0, 1))) / 10,
      'endpoint decoded': (eleven - one) / (10 * MANY),
      'cluster raw': bytesOf(cluster(0)) + bytesOf(assignment(0, 1)),
      'cluster decoded': ((await decoded('cluster', (i) => cluster(i))) + one) / MANY,
    };
  },
};

interface Snapshot {
  readonly ms: number;
  readonly task: number;
  readonly cpu: number;
}

/** Clusters and endpoints of one size, from bytes to the plan in place; the routes that name them were there before. */
async function snapshot(size: number): Promise<Snapshot> {
  const rig = new Rig();
  await rig.push(delta('listener', 1, [listener()]));
  await rig.push(delta('routes', 1, [routes(size)]));
  const messages = [
    delta(
      'cluster',
      1,
      range(size).map((i) => cluster(i)),
    ),
    delta(
      'endpoints',
      1,
      range(size).map((i) => assignment(i, 10)),
    ),
  ];
  const before = process.cpuUsage();
  let ms = 0;
  let task = 0;
  for (const message of messages) {
    const applied = await rig.push(message);
    ms += applied.ms;
    task = Math.max(task, applied.longestTask);
  }
  const { user, system } = process.cpuUsage(before);
  if (!rig.ready) throw new Error('the configuration is not complete');
  await rig.engine.close(0);
  return { ms, task, cpu: (user + system) / 1000 };
}

const TIMES: Readonly<Record<string, () => Promise<Found>>> = {
  async snapshots() {
    const cold = await snapshot(FEW);
    for (let i = 0; i < 4; i++) await snapshot(FEW);
    const warm = await snapshot(FEW);
    const large = await snapshot(MANY);
    return {
      'snapshot cold': cold.ms,
      'snapshot cold task': cold.task,
      snapshot: warm.ms,
      'snapshot task': warm.task,
      'snapshot cpu': warm.cpu,
      'large snapshot': large.ms,
      'large snapshot task': large.task,
    };
  },
  async one() {
    const found: Record<string, number> = {};
    for (const clusters of [100, FEW, MANY]) {
      const rig = await loaded({ services: clusters, clusters, endpoints: 10 });
      rig.call(7);
      const messages = [1, 2].map((salt) => delta('endpoints', salt + 1, [assignment(7, 10, salt)]));
      const times: number[] = [];
      for (let i = 0; i < 600; i++) {
        const { ms } = await rig.push(messages[i & 1] as Uint8Array);
        if (i >= 200) times.push(ms);
      }
      found[`one of ${clusters * 10}`] = median(times);
      await rig.engine.close(0);
    }
    return { ...found, slope: (found[`one of ${MANY * 10}`] ?? Number.NaN) / (found['one of 1000'] ?? Number.NaN) };
  },
};

/** Updates until the time is over; the heap after the first tenth and at the end. */
async function soak(updates: number, limitMs: number): Promise<Found> {
  const rig = await loaded({ services: FEW, clusters: FEW, endpoints: 10 });
  for (let i = 0; i < 50; i++) rig.call(i);
  const messages = range(FEW).map(
    (i) => [delta('endpoints', 2, [assignment(i, 10, 1)]), delta('endpoints', 3, [assignment(i, 10, 2)])] as const,
  );
  const start = performance.now();
  let done = 0;
  let early = Number.NaN;
  const run = async (until: number): Promise<void> => {
    for (; done < until && performance.now() - start < limitMs; done++) {
      await rig.push(messages[done % FEW]?.[Math.floor(done / FEW) & 1] as Uint8Array);
    }
  };
  await run(updates / 10);
  early = await held();
  await run(updates);
  const late = await held();
  await rig.engine.close(0);
  return { growth: (late - early) / 1e6, updates: done, 'per update': (performance.now() - start) / done };
}

const SOAKS: Readonly<Record<string, () => Promise<Found>>> = {
  soak: () => soak(1_000_000, 600_000),
  'short soak': () => soak(50_000, 60_000),
};

const SAMPLES = { ...MEMORY, ...TIMES, ...SOAKS };

function sample(name: string): Promise<Found> {
  return new Promise((resolve, reject) => {
    const flags = ['--expose-gc', '--disable-warning=ExperimentalWarning'];
    const child = spawn(process.execPath, [...flags, fileURLToPath(import.meta.url), '--sample', name], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(text) as Found);
      else reject(new Error(`a sample of the scale bench (${name}) failed`));
    });
  });
}

const ROWS: readonly (RowSpec & { readonly figure: string })[] = [
  { figure: 'endpoint', name: 'an endpoint', metric: 'bytes retained, among 110 000', target: 200, aim: 120 },
  { figure: 'endpoint called', name: 'an endpoint, its cluster called', metric: 'bytes retained, among 110 000', target: 200, aim: 120 },
  { figure: 'endpoint raw', name: '  of it, bytes in the cache', metric: 'bytes' },
  { figure: 'endpoint decoded', name: '  of it, decoded', metric: 'bytes' },
  { figure: 'cluster', name: 'a cluster with one endpoint', metric: 'bytes retained, among 10 000', target: 4096, aim: 1024 },
  { figure: 'cluster called', name: 'a cluster that was called', metric: 'bytes retained, among 10 000', target: 4096, aim: 1024 },
  { figure: 'cluster raw', name: '  of it, bytes in the cache', metric: 'bytes' },
  { figure: 'cluster decoded', name: '  of it, decoded', metric: 'bytes' },
  { figure: 'route', name: 'a virtual host with one route', metric: 'bytes retained, among 10 000' },
  { figure: 'snapshot', name: 'snapshot of 1 000 clusters', metric: 'ms from bytes to the plan, the sixth in its process', target: 50 },
  { figure: 'snapshot task', name: '  longest task', metric: 'ms of the longest event-loop task', target: 20 },
  { figure: 'snapshot cpu', name: '  CPU time', metric: 'ms, all threads' },
  { figure: 'snapshot cold', name: 'the first in its process', metric: 'ms from bytes to the plan', target: 50 },
  { figure: 'snapshot cold task', name: '  longest task', metric: 'ms of the longest event-loop task', target: 20 },
  { figure: 'large snapshot', name: 'snapshot of 10 000 clusters', metric: 'ms from bytes to the plan' },
  { figure: 'large snapshot task', name: '  longest task', metric: 'ms of the longest event-loop task' },
  { figure: 'one of 1000', name: 'one changed of 1 000 endpoints', metric: 'ms from bytes to reply and picker', target: 1 },
  { figure: 'one of 10000', name: 'one changed of 10 000', metric: 'ms from bytes to reply and picker', target: 1 },
  { figure: 'one of 100000', name: 'one changed of 100 000', metric: 'ms from bytes to reply and picker', target: 1 },
  { figure: 'slope', name: '  of 100 000 over of 1 000', metric: 'ratio, 1 is independent of the size', target: 1.5 },
];

export async function run({ quick, progress }: BenchOptions): Promise<BenchRow[]> {
  const launches = quick ? 4 : 10;
  progress(`scale: ${launches} launches of each sample${quick ? ' (full: 10), 50 000 updates (full: a million, at most 10 minutes)' : ''}`);
  const found: Found[] = [];
  const names = [...Object.keys(MEMORY), ...Object.keys(TIMES)];
  for (let i = 0; i < launches; i++) {
    let all: Found = {};
    for (const name of names) all = { ...all, ...(await sample(name)) };
    found.push(all);
    progress(`scale: launch ${i + 1} of ${launches} done`);
  }
  const half = found.length / 2;
  const rows = ROWS.map(({ figure, ...spec }) => {
    const values = found.map((each) => each[figure] ?? Number.NaN);
    const [first, second] = [median(values.slice(0, half)), median(values.slice(half))];
    const ratio = second / first;
    return rounded(benchRow(spec, estimate(values, median), [Math.min(ratio, 1 / ratio), Math.max(ratio, 1 / ratio)]));
  });
  const soaked = await sample(quick ? 'short soak' : 'soak');
  const { growth = Number.NaN, updates = 0 } = soaked;
  const flat = { value: growth, low: growth, high: growth };
  const bound: RowSpec = { name: 'heap over updates', metric: `MB more after ${updates} updates than after the first tenth`, target: 1 };
  // One figure, which may be below zero: it has no interval.
  rows.push({ ...rounded(benchRow(bound, flat, [1, 1])), holds: growth <= 1 });
  const perUpdate = soaked['per update'] ?? Number.NaN;
  const pace = { value: perUpdate, low: perUpdate, high: perUpdate };
  rows.push(rounded(benchRow({ name: '  pace of those', metric: 'ms an update, the harness included' }, pace, [1, 1])));
  return rows;
}

if (process.argv[2] === '--sample') {
  const chosen = SAMPLES[process.argv[3] ?? ''];
  if (chosen === undefined) throw new Error(`no sample ${process.argv[3]}`);
  process.stdout.write(JSON.stringify(await chosen()));
  process.exit(0);
}
