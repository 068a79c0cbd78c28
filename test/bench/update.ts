/**
 * Bench `update`: from the bytes of an EDS response to the new pickers, through the real client, cache, resolver and clusters; the stream is
 * played in memory. Longest event-loop task and retained heap beside the time.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
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
import { decodeDiscoveryResponse } from '../../src/proto/discovery.ts';
import { TlsContexts } from '../../src/security/tls-context.ts';
import { Telemetry } from '../../src/telemetry/telemetry.ts';
import { XdsClient } from '../../src/xds/client.ts';
import { RESOURCE_TYPES } from '../../src/xds/resource-types.ts';
import type { BenchOptions, BenchRow } from './report.ts';
import { benchRow, estimate, median, rounded } from './report.ts';

interface Sample {
  /** Milliseconds from the bytes to the reply of the client. */
  readonly small: readonly number[];
  readonly large: readonly number[];
  readonly unchanged: readonly number[];
  /** Longest task while a large update was applied, ms. */
  readonly task: readonly number[];
  readonly heapMb: number;
}

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
    endpoint: { address: { socketAddress: { address: `10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`, portValue: i === 7 ? 9000 + salt : 8080 } } },
    loadBalancingWeight: 1,
    healthStatus: 'HEALTHY',
  }));
  return { '@type': CLA, clusterName: cluster, endpoints: [{ locality: { region: 'r', zone: 'z' }, loadBalancingWeight: 1, lbEndpoints: endpoints }] };
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
    const parts = { clock, random: realRandom, log: silentLogger, telemetry, filters: FILTERS, lbPolicies: LB_POLICIES, breakers: {}, attemptLayers: [], startTimeoutMs: 15_000 };
    this.engine = new MeshEngine(parts);
    const transport: AdsTransport = {
      open: (_method, events) => {
        this.#events = events;
        events.onConnected();
        return { send: () => void this.#sent++, pause: () => undefined, resume: () => undefined, cancel: () => undefined };
      },
      close: () => undefined,
    };
    const bootstrap = readBootstrap(JSON.stringify({ xds_servers: [{ server_uri: 'x', channel_creds: [{ type: 'insecure' }] }], node: { id: 'bench' } }), 'bench');
    const source = new XdsClient({ bootstrap, transport: () => transport, types: RESOURCE_TYPES, decode: { filters: FILTERS, lbPolicies: LB_POLICIES }, clock, random: realRandom, log: silentLogger, wildcard: false, userAgentVersion: '0' });
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
    await this.push(response(`${TYPE}config.listener.v3.Listener`.replace('envoy.config', 'envoy.config'), '1', [{ '@type': `${TYPE}config.listener.v3.Listener`, name: 'web', apiListener: { apiListener: manager } }]));
    await this.push(
      response(`${TYPE}config.cluster.v3.Cluster`, '1', this.clusters.map((name) => ({ '@type': `${TYPE}config.cluster.v3.Cluster`, name, type: 'EDS', edsClusterConfig: { edsConfig: { ads: {} } } }))),
    );
    await this.push(this.eds(size, 0));
  }

  eds(size: number, salt: number): Uint8Array {
    return response(CLA, `e${salt}`, this.clusters.map((cluster) => assignment(cluster, size, salt)));
  }

  /** Gives the client a message; resolves when it has answered it. */
  async push(bytes: Uint8Array): Promise<{ readonly ms: number; readonly longestTask: number }> {
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

async function sample(rounds: number): Promise<Sample> {
  const result = { small: [] as number[], large: [] as number[], unchanged: [] as number[], task: [] as number[], heapMb: 0 };
  const small = new Rig(1);
  await small.configure(5000);
  const smalls = [small.eds(5000, 1), small.eds(5000, 2)];
  for (let i = 0; i < 40; i++) await small.push(smalls[i % 2] as Uint8Array);
  for (let i = 0; i < rounds * 4; i++) result.small.push((await small.push(smalls[i % 2] as Uint8Array)).ms);
  await small.engine.close(0);

  const large = new Rig(10);
  // Bytes first: what the measurement itself holds must not count as the mesh's.
  const larges = [large.eds(10_000, 1), large.eds(10_000, 2)];
  await large.configure(0);
  const before = heap();
  await large.push(larges[0] as Uint8Array);
  if (large.endpoints !== 100_000) throw new Error(`expected 100 000 endpoints, found ${large.endpoints}`);
  result.heapMb = heap() - before;
  for (let i = 0; i < 6; i++) await large.push(larges[(i + 1) % 2] as Uint8Array);
  for (let i = 0; i < rounds; i++) {
    const { ms, longestTask } = await large.push(larges[(i + 1) % 2] as Uint8Array);
    result.large.push(ms);
    result.task.push(longestTask);
    const same = decodeDiscoveryResponse(larges[(i + 1) % 2] as Uint8Array);
    if (same.resources.length !== 10) throw new Error('the response was lost');
    result.unchanged.push((await large.push(larges[(i + 1) % 2] as Uint8Array)).ms);
  }
  await large.engine.close(0);
  return result;
}

async function launch(rounds: number): Promise<Sample> {
  const child = spawn(process.execPath, ['--expose-gc', '--disable-warning=ExperimentalWarning', fileURLToPath(import.meta.url), '--sample', String(rounds)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`a launch of the update bench ended with ${String(code)}`);
  return JSON.parse(output) as Sample;
}

export async function run({ quick, progress }: BenchOptions): Promise<BenchRow[]> {
  const launches = quick ? 2 : 4;
  const rounds = quick ? 10 : 30;
  progress(`update: ${launches} launches of ${rounds} rounds${quick ? ' (full: 4 of 30)' : ''}`);
  const samples: Sample[] = [];
  for (let i = 0; i < launches; i++) {
    samples.push(await launch(rounds));
    progress(`update: launch ${i + 1} of ${launches} done`);
  }
  const row = (name: string, metric: string, values: readonly number[], target: number): BenchRow => {
    // Halves of the same series against each other: the error bar of an absolute figure.
    const halves = [values.filter((_, i) => i % 2 === 0), values.filter((_, i) => i % 2 === 1)].map(median);
    const ratio = (halves[1] ?? 1) / (halves[0] ?? 1);
    return rounded(benchRow({ name, metric, target }, estimate(values, median), [Math.min(ratio, 1 / ratio), Math.max(ratio, 1 / ratio)]));
  };
  return [
    row('EDS, 5 000 endpoints, one changed', 'ms from bytes to pickers', samples.flatMap((s) => s.small), 5),
    row('EDS, 100 000 endpoints, ten changed', 'ms from bytes to pickers', samples.flatMap((s) => s.large), 60),
    row('EDS, 100 000 endpoints, longest task', 'ms of the longest event-loop task', samples.flatMap((s) => s.task), 8),
    row('EDS, 100 000 endpoints, retained', 'MB of heap', samples.map((s) => s.heapMb), 25),
    row('EDS, 100 000 endpoints, unchanged', 'ms from bytes to reply', samples.flatMap((s) => s.unchanged), 6),
  ];
}

if (process.argv[2] === '--sample') {
  process.stdout.write(JSON.stringify(await sample(Number(process.argv[3]))));
  process.exit(0);
}
