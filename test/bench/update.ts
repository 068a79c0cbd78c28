/**
 * Bench `update`: from the bytes of an EDS response to the new pickers, through the real client, cache, resolver and clusters; the stream is
 * played in memory. Longest event-loop task and retained heap beside the time. The control is a twin: a second mesh of the same kind that takes
 * the same bytes in turn, in random order. It has a process of its own, or each would pay for the other's heap.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { LB_POLICIES } from '../../src/balancing/registry.ts';
import { readBootstrap } from '../../src/xds/bootstrap.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import { silentLogger } from '../../src/core/log.ts';
import { realRandom } from '../../src/core/random.ts';
import type { AdsStreamEvents, AdsTransport } from '../../src/core/transport.ts';
import { FILTERS } from '../../src/filters/registry.ts';
import { hostPatterns } from '../../src/matching/host-patterns.ts';
import { MeshEngine } from '../../src/mesh.ts';
import { jsonToAny, pack } from '../../src/proto/any.ts';
import { TlsContexts } from '../../src/security/tls-context.ts';
import { Telemetry } from '../../src/telemetry/telemetry.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { XdsClient } from '../../src/xds/client.ts';
import { RESOURCE_TYPES } from '../../src/xds/resource-types.ts';
import type { BenchOptions, BenchRow, Pair } from './report.ts';
import { benchRow, estimate, median, ratioOfSums, rounded, shuffled } from './report.ts';

type Measured = 'small' | 'large' | 'unchanged' | 'task' | 'heap';

/** What one step found; nothing while it prepares and warms up. */
type Found = Partial<Record<Measured, number>>;

const TYPE = 'type.googleapis.com/envoy.';
const CLA = `${TYPE}config.endpoint.v3.ClusterLoadAssignment`;

function response(typeUrl: string, version: string, resources: readonly object[]): Uint8Array {
  const message = pack('envoy.service.discovery.v3.DiscoveryResponse', {
    versionInfo: version,
    typeUrl,
    nonce: version,
    resources: resources.map((resource) => jsonToAny(resource)),
  });
  return message.value;
}

function assignment(cluster: string, size: number, salt: number): object {
  const endpoints = Array.from({ length: size }, (_, i) => ({
    // One endpoint of a cluster differs from one salt to the next.
    endpoint: {
      address: {
        socketAddress: { address: `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`, portValue: i === 7 ? 9000 + salt : 8080 },
      },
    },
    loadBalancingWeight: 1,
    healthStatus: 'HEALTHY',
  }));
  return {
    '@type': CLA,
    clusterName: cluster,
    endpoints: [{ locality: { region: 'r', zone: 'z' }, loadBalancingWeight: 1, lbEndpoints: endpoints }],
  };
}

interface Push {
  /** From the bytes to the reply of the client. */
  readonly ms: number;
  readonly longestTask: number;
}

class Rig {
  #events: AdsStreamEvents | undefined;
  #sent = 0;
  readonly engine: MeshEngine;
  readonly clusters: readonly string[];

  constructor(clusters: number) {
    this.clusters = Array.from({ length: clusters }, (_, i) => `c${i}`);
    const clock = new RealClock();
    const telemetry = new Telemetry({ clock, observers: [], tracer: () => undefined, bridge: () => undefined });
    const parts = {
      clock,
      random: realRandom,
      log: silentLogger,
      telemetry,
      filters: FILTERS,
      lbPolicies: LB_POLICIES,
      breakers: {},
      attemptLayers: [],
      startTimeoutMs: 15_000,
    };
    this.engine = new MeshEngine(parts);
    const transport: AdsTransport = {
      open: (_method, events) => {
        this.#events = events;
        events.onConnected();
        return { send: () => void this.#sent++, pause: () => undefined, resume: () => undefined, cancel: () => undefined };
      },
      close: () => undefined,
    };
    const bootstrap = readBootstrap(
      JSON.stringify({ xds_servers: [{ server_uri: 'x', channel_creds: [{ type: 'insecure' }] }], node: { id: 'bench' } }),
      'bench',
    );
    const source = new XdsClient({
      bootstrap,
      transport: () => transport,
      types: RESOURCE_TYPES,
      decode: { filters: FILTERS, lbPolicies: LB_POLICIES },
      clock,
      random: realRandom,
      log: silentLogger,
      wildcard: false,
      userAgentVersion: '0',
    });
    this.engine.attach(source, hostPatterns(['web']), new TlsContexts({ providers: {}, clock, log: silentLogger }));
  }

  async configure(size: number): Promise<void> {
    const routes = this.clusters.map((cluster) => ({ match: { prefix: `/${cluster}` }, route: { cluster } }));
    const manager = {
      '@type': `${TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
      statPrefix: 'web',
      routeConfig: { name: 'web', virtualHosts: [{ name: 'web', domains: ['*'], routes }] },
      httpFilters: [{ name: 'router', typedConfig: { '@type': `${TYPE}extensions.filters.http.router.v3.Router` } }],
    };
    await this.push(
      response(`${TYPE}config.listener.v3.Listener`.replace('envoy.config', 'envoy.config'), '1', [
        { '@type': `${TYPE}config.listener.v3.Listener`, name: 'web', apiListener: { apiListener: manager } },
      ]),
    );
    await this.push(
      response(
        `${TYPE}config.cluster.v3.Cluster`,
        '1',
        this.clusters.map((name) => ({
          '@type': `${TYPE}config.cluster.v3.Cluster`,
          name,
          type: 'EDS',
          edsClusterConfig: { edsConfig: { ads: {} } },
        })),
      ),
    );
    await this.push(this.eds(size, 0));
    // As if every cluster had been called: only then are there pickers.
    for (const name of this.clusters) this.engine.clusters?.get(name);
  }

  eds(size: number, salt: number): Uint8Array {
    return response(
      CLA,
      `e${salt}`,
      this.clusters.map((cluster) => assignment(cluster, size, salt)),
    );
  }

  /** Gives the client a message; resolves when it has answered it. */
  async push(bytes: Uint8Array): Promise<Push> {
    const before = this.#sent;
    let longestTask = 0;
    const start = performance.now();
    this.#events?.onMessage(bytes);
    longestTask = performance.now() - start;
    while (this.#sent === before) {
      const turn = performance.now();
      await new Promise((resolve) => setImmediate(resolve));
      longestTask = Math.max(longestTask, performance.now() - turn);
    }
    return { ms: performance.now() - start, longestTask };
  }

  get endpoints(): number {
    return [...(this.engine.clusters?.values() ?? [])].reduce((sum, cluster) => sum + cluster.endpoints.length, 0);
  }
}

function heap(): number {
  const gc: unknown = Reflect.get(globalThis, 'gc');
  if (typeof gc === 'function') for (let i = 0; i < 4; i++) gc();
  return process.memoryUsage().heapUsed / 1e6;
}

/** One mesh's part of a launch; it goes on when it is its turn. */
async function* steps(rounds: number): AsyncGenerator<Found, void> {
  const small = new Rig(1);
  await small.configure(5000);
  const smalls = [small.eds(5000, 1), small.eds(5000, 2)];
  for (let i = -40; i < rounds * 4; i++) {
    const { ms } = await small.push(smalls[i & 1] as Uint8Array);
    yield i < 0 ? {} : { small: ms };
  }
  await small.engine.close(0);

  const large = new Rig(10);
  // Bytes first: what the measurement itself holds must not count as the mesh's.
  const larges = [large.eds(10_000, 1), large.eds(10_000, 2)];
  await large.configure(0);
  const before = heap();
  await large.push(larges[0] as Uint8Array);
  if (large.endpoints !== 100_000) throw new Error(`expected 100 000 endpoints, found ${large.endpoints}`);
  yield { heap: heap() - before };
  for (let i = -6; i < rounds; i++) {
    const bytes = larges[(i + 1) & 1] as Uint8Array;
    const { ms, longestTask } = await large.push(bytes);
    yield i < 0 ? {} : { large: ms, task: longestTask };
    const same = await large.push(bytes);
    yield i < 0 ? {} : { unchanged: same.ms };
  }
  await large.engine.close(0);
}

class Twin {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(rounds: number) {
    this.#process = spawn(
      process.execPath,
      ['--expose-gc', '--disable-warning=ExperimentalWarning', fileURLToPath(import.meta.url), '--sample', String(rounds)],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    if (this.#process.stdout === null) throw new Error('no output');
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  /** Undefined after the last step. */
  async step(): Promise<Found | undefined> {
    this.#process.stdin?.write('\n');
    const line = await this.#lines.next();
    if (line.done === true) throw new Error('a launch of the update bench ended early');
    return line.value === 'end' ? undefined : (JSON.parse(line.value) as Found);
  }

  close(): void {
    this.#process.kill();
  }
}

async function beTwin(rounds: number): Promise<void> {
  const turns = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  await turns.next();
  for await (const found of steps(rounds)) {
    process.stdout.write(`${JSON.stringify(found)}\n`);
    if ((await turns.next()).done === true) return;
  }
  process.stdout.write('end\n');
}

/** `a` of a pair is the mesh that is measured, `b` its twin. */
type Pairs = Record<Measured, Pair[]>;

async function launch(rounds: number, seed: number, into: Pairs): Promise<void> {
  const random = new SeededRandom(seed);
  const twins = { a: new Twin(rounds), b: new Twin(rounds) };
  try {
    for (;;) {
      const found: { a?: Found | undefined; b?: Found | undefined } = {};
      for (const which of shuffled(['a', 'b'] as const, random)) found[which] = await twins[which].step();
      const { a, b } = found;
      if (a === undefined || b === undefined) return;
      for (const name of Object.keys(a) as Measured[]) into[name].push({ a: a[name] ?? Number.NaN, b: b[name] ?? Number.NaN });
    }
  } finally {
    twins.a.close();
    twins.b.close();
  }
}

/** Each launch has one figure of the heap, and fewer than five have no interval worth the name: then it is reported without its target. */
const HEAP_LAUNCHES = 5;

export async function run({ quick, progress }: BenchOptions): Promise<BenchRow[]> {
  const launches = HEAP_LAUNCHES;
  const rounds = quick ? 10 : 40;
  progress(`update: ${launches} launches of ${rounds} rounds${quick ? ' (full: 40 rounds)' : ''}`);
  const pairs: Pairs = { small: [], large: [], unchanged: [], task: [], heap: [] };
  for (let i = 0; i < launches; i++) {
    await launch(rounds, i + 1, pairs);
    progress(`update: launch ${i + 1} of ${launches} done`);
  }
  const row = (what: Measured, name: string, metric: string, target: number): BenchRow => {
    const found = estimate(
      pairs[what].map(({ a }) => a),
      median,
    );
    const judged = what !== 'heap' || pairs.heap.length >= HEAP_LAUNCHES;
    return rounded(benchRow({ name, metric, ...(judged ? { target } : {}) }, found, estimate(pairs[what], ratioOfSums)));
  };
  return [
    row('small', 'EDS, 5 000 endpoints, one changed', 'ms from bytes to pickers', 5),
    row('large', 'EDS, 100 000 endpoints, ten changed', 'ms from bytes to pickers', 60),
    row('task', 'EDS, 100 000 endpoints, longest task', 'ms of the longest event-loop task', 8),
    row('heap', 'EDS, 100 000 endpoints, retained', 'MB of heap', 25),
    row('unchanged', 'EDS, 100 000 endpoints, unchanged', 'ms from bytes to reply', 6),
  ];
}

if (process.argv[2] === '--sample') {
  await beTwin(Number(process.argv[3]));
  process.exit(0);
}
