/**
 * Bench `hop`, gRPC rows: client CPU of a grpc-js unary call through the mesh, through `@grpc/grpc-js-xds` and plain, in one process with
 * shuffled blocks and an A/A twin (performance.md §7.2). Routing, balancing, limits, outlier detection, retry and metrics are on.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Client, credentials, Server } from '@grpc/grpc-js';
import type { sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { startMiniAds } from '../support/mini-ads.ts';
import type { BenchOptions, BenchRow } from './report.ts';
import { benchRow, estimate, ratioOfSums, rounded, shuffled } from './report.ts';
import { portOf } from '../support/byte-server.ts';

const VARIANTS = ['bare', 'bare (again)', 'mesh', 'xds'] as const;
type Variant = (typeof VARIANTS)[number];
const CONCURRENCIES = [1, 50] as const;
/** Calls of one block, by concurrency. */
const BLOCK: Record<(typeof CONCURRENCIES)[number], number> = { 1: 40, 50: 100 };

/** CPU microseconds per call: concurrency, then variant; index is the round. */
type Samples = Record<string, Record<Variant, number[]>>;

const TARGET = 1.02;
const AIM = 1.01;
const PATH = '/echo.Echo/Unary';
const PAYLOAD = Buffer.alloc(100, 'x');
const same = (value: Buffer): Buffer => value;

async function serve(): Promise<void> {
  const server = new Server();
  const answer = (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>): void => done(null, call.request);
  server.register(PATH, answer as never, same as never, same as never, 'unary');
  const port = await portOf(server);
  const ads = await startMiniAds('echo', port);
  process.stdout.write(`${JSON.stringify({ port, ads: ads.port })}\n`);
  process.stdin.resume().on('end', () => process.exit(0));
}

function call(client: Client): Promise<void> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(PATH, same, same, PAYLOAD, (error, value) => {
      if (error !== null || value?.length !== PAYLOAD.length) reject(error ?? new Error('a reply of another length'));
      else resolve();
    });
  });
}

async function block(client: Client, concurrency: number, calls: number): Promise<number> {
  let left = calls;
  const worker = async (): Promise<void> => {
    while (left-- > 0) await call(client);
  };
  const before = process.cpuUsage();
  await Promise.all(Array.from({ length: concurrency }, worker));
  const used = process.cpuUsage(before);
  return (used.user + used.system) / calls;
}

async function sample(rounds: number, warmUp: number, seed: number, port: number): Promise<Samples> {
  const { createMesh } = await import('../../src/index.ts');
  const xds = await import('@grpc/grpc-js-xds');
  xds.register();
  const folder = mkdtempSync(join(tmpdir(), 'hop-grpc-'));
  const file = join(folder, 'mesh.yaml');
  writeFileSync(
    file,
    `version: 1
services:
  echo:
    hosts: ["echo:50051"]
    protocol: grpc
    endpoints: ["127.0.0.1:${port}"]
    limits: { maxRequests: 1024 }
    outlier: { consecutive5xx: 5, ejection: 30s }
    retries: { attempts: 2, on: [unavailable] }
`,
  );
  const mesh = await createMesh({ config: file, watch: false });
  await mesh.ready();
  // Each variant has a connection of its own.
  const own = { 'grpc.use_local_subchannel_pool': 1 };
  const insecure = credentials.createInsecure();
  const clients: Record<Variant, Client> = {
    bare: new Client(`127.0.0.1:${port}`, insecure, own),
    'bare (again)': new Client(`127.0.0.1:${port}`, insecure, own),
    mesh: new Client('echo:50051', insecure, mesh.grpc.channelOptions()),
    xds: new Client('xds:///echo', insecure, own),
  };
  const samples: Samples = {};
  const random = new SeededRandom(seed);
  for (const concurrency of CONCURRENCIES) {
    const figures: Record<Variant, number[]> = { bare: [], 'bare (again)': [], mesh: [], xds: [] };
    samples[String(concurrency)] = figures;
    for (let round = -warmUp; round < rounds; round++) {
      for (const variant of shuffled(VARIANTS, random)) {
        const figure = await block(clients[variant], concurrency, BLOCK[concurrency]);
        if (round >= 0) figures[variant].push(figure);
      }
    }
  }
  for (const client of Object.values(clients)) client.close();
  await mesh.close();
  rmSync(folder, { recursive: true, force: true });
  return samples;
}

function start(args: readonly string[], env: Record<string, string> = {}): ChildProcess {
  const file = fileURLToPath(import.meta.url);
  return spawn(process.execPath, ['--disable-warning=ExperimentalWarning', file, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
}

async function launch(rounds: number, warmUp: number, seed: number, port: number, ads: number): Promise<Samples> {
  const bootstrap = JSON.stringify({
    xds_servers: [{ server_uri: `127.0.0.1:${ads}`, channel_creds: [{ type: 'insecure' }] }],
    node: { id: 'bench', locality: {} },
  });
  const child = start(['--sample', String(rounds), String(warmUp), String(seed), String(port)], { GRPC_XDS_BOOTSTRAP_CONFIG: bootstrap });
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`a launch of the gRPC hop bench ended with ${String(code)}`);
  return JSON.parse(output) as Samples;
}

export async function run({ quick, progress }: BenchOptions): Promise<BenchRow[]> {
  const [launches, rounds, warmUp] = quick ? [2, 120, 40] : [5, 500, 120];
  progress(`hop, gRPC: ${launches} launches of ${rounds} rounds${quick ? ' (full: 5 of 500)' : ''}`);
  const server = start(['--serve']);
  try {
    const [line] = (await once(server.stdout ?? server, 'data')) as [Buffer];
    const { port, ads } = JSON.parse(line.toString()) as { port: number; ads: number };
    const all: Samples = {};
    for (let number = 1; number <= launches; number++) {
      for (const [concurrency, figures] of Object.entries(await launch(rounds, warmUp, number, port, ads))) {
        const collected = (all[concurrency] ??= { bare: [], 'bare (again)': [], mesh: [], xds: [] });
        for (const variant of VARIANTS) collected[variant].push(...figures[variant]);
      }
      progress(`hop, gRPC: launch ${number} of ${launches} done`);
    }
    return CONCURRENCIES.flatMap((concurrency) => rowsOf(concurrency, all[String(concurrency)])).map(rounded);
  } finally {
    server.stdin?.end();
  }
}

function rowsOf(concurrency: number, figures: Record<Variant, number[]> | undefined): BenchRow[] {
  if (figures === undefined) return [];
  const pairs = (a: Variant, b: Variant): { a: number; b: number }[] =>
    figures[a].map((value, index) => ({ a: value, b: figures[b][index] ?? value }));
  const control = estimate(pairs('bare', 'bare (again)'), ratioOfSums);
  const name = `grpc-js unary c${concurrency}`;
  return [
    benchRow({ name, metric: 'client CPU, mesh / bare', target: TARGET, aim: AIM }, estimate(pairs('bare', 'mesh'), ratioOfSums), control),
    benchRow({ name, metric: 'client CPU, mesh / grpc-js-xds', target: 1 }, estimate(pairs('xds', 'mesh'), ratioOfSums), control),
    benchRow({ name, metric: 'client CPU, grpc-js-xds / bare' }, estimate(pairs('bare', 'xds'), ratioOfSums), control),
  ];
}

const [mode, ...rest] = process.argv.slice(2);
if (mode === '--serve') await serve();
if (mode === '--sample') {
  const [rounds = 0, warmUp = 0, seed = 0, port = 0] = rest.map(Number);
  process.stdout.write(JSON.stringify(await sample(rounds, warmUp, seed, port)), () => process.exit(0));
}
