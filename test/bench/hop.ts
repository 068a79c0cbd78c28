/**
 * Bench `hop`, HTTP rows: client CPU and bytes of a call through the mesh against the same call without, in one process with shuffled blocks
 * and an A/A twin (performance.md §7.2). Routing, balancing, limits, outlier detection, retry and metrics are on; the server is another process.
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Agent, request } from 'undici';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import type { BenchOptions, BenchRow, Pair } from './report.ts';
import { benchRow, estimate, ratioOfSums, rounded, shuffled } from './report.ts';

type Call = () => Promise<unknown>;

/** Variants measured together; the first is the base, the second its twin. */
const GROUPS = {
  request: ['bare', 'bare (again)', 'mesh', 'breaker'],
  fetch: ['bare', 'bare (again)', 'mesh'],
} as const;
type Group = keyof typeof GROUPS;
const CONCURRENCIES = [1, 50] as const;
/** Calls of one block, by concurrency. */
const BLOCK: Record<number, number> = { 1: 100, 50: 300 };
/** Calls of each variant in one of the five turns before anything is measured. */
const WARM = 2500;
/** Calls of one block whose bytes are counted: no collection falls into it. */
const COUNTED = 2000;

/** Figures per round by what was measured (`request c50`, `bytes`), then variant. */
type Samples = Record<string, Record<string, number[]>>;

async function serve(): Promise<void> {
  const body = Buffer.from(JSON.stringify({ message: 'hello from the server' }));
  const server = createServer((incoming, response) => {
    incoming.resume();
    response.setHeader('content-type', 'application/json');
    response.end(body);
  });
  server.keepAliveTimeout = 120_000;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
  process.stdin.resume().on('end', () => process.exit(0));
}

async function block(call: Call, concurrency: number, calls: number): Promise<void> {
  let left = calls;
  const worker = async (): Promise<void> => {
    while (left-- > 0) await call();
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

async function cpu(call: Call, concurrency: number): Promise<number> {
  const calls = BLOCK[concurrency] ?? 100;
  const before = process.cpuUsage();
  await block(call, concurrency, calls);
  const used = process.cpuUsage(before);
  return (used.user + used.system) / calls;
}

async function bytes(call: Call): Promise<number> {
  (globalThis as { gc?: () => void }).gc?.();
  const before = process.memoryUsage().heapUsed;
  await block(call, 50, COUNTED);
  return (process.memoryUsage().heapUsed - before) / COUNTED;
}

function file(port: number): string {
  const common = `endpoints: ["127.0.0.1:${port}"]
    timeout: 15s
    limits: { maxRequests: 1024, maxPending: 1024, maxRetries: 3 }
    outlier: { consecutive5xx: 5, ejection: 30s }
    retries: { attempts: 3, on: [connect-failure, reset, 503] }`;
  return `version: 1
services:
  shop:
    ${common}
  broken:
    ${common}
    breaker: { errorRate: 50% }
`;
}

async function sample(rounds: number, warmUp: number, seed: number, port: number): Promise<Samples> {
  const { createMesh } = await import('../../src/index.ts');
  const folder = mkdtempSync(join(tmpdir(), 'hop-'));
  const config = join(folder, 'mesh.yaml');
  writeFileSync(config, file(port));
  const mesh = await createMesh({ config, watch: false });
  await mesh.ready();
  const agent = new Agent();
  const bare = `http://127.0.0.1:${port}/items/7`;
  const viaRequest =
    (url: string, dispatcher: Agent | typeof mesh.dispatcher): Call =>
    async () => {
      const reply = await request(url, { dispatcher });
      if (reply.statusCode !== 200) throw new Error(`status ${reply.statusCode}`);
      return reply.body.text();
    };
  const viaFetch =
    (url: string, call: typeof fetch): Call =>
    async () => {
      const reply = await call(url);
      if (reply.status !== 200) throw new Error(`status ${reply.status}`);
      return reply.text();
    };
  const calls: Record<Group, Record<string, Call>> = {
    request: {
      bare: viaRequest(bare, agent),
      'bare (again)': viaRequest(bare, agent),
      mesh: viaRequest('http://shop/items/7', mesh.dispatcher),
      breaker: viaRequest('http://broken/items/7', mesh.dispatcher),
    },
    fetch: { bare: viaFetch(bare, fetch), 'bare (again)': viaFetch(bare, fetch), mesh: viaFetch('http://shop/items/7', mesh.fetch) },
  };
  const samples: Samples = {};
  const random = new SeededRandom(seed);
  const record = async (
    name: string,
    group: Group,
    measure: (call: Call) => Promise<number>,
    count: number,
    before: number,
  ): Promise<void> => {
    const figures = (samples[name] = Object.fromEntries(GROUPS[group].map((variant) => [variant, [] as number[]])));
    for (let round = -before; round < count; round++) {
      for (const variant of shuffled<string>(GROUPS[group], random)) {
        const figure = await measure(calls[group][variant] as Call);
        if (round >= 0) figures[variant]?.push(figure);
      }
    }
  };
  for (const group of ['request', 'fetch'] as const) {
    // With too few calls behind them variants differ by how far they are compiled (performance.md §7.2, rule 4).
    for (let turn = 0; turn < 5; turn++)
      for (const variant of shuffled<string>(GROUPS[group], random)) await block(calls[group][variant] as Call, 50, WARM);
    for (const concurrency of CONCURRENCIES) {
      // Fetch shows ratios far from 1: a third of the rounds resolves them.
      const count = group === 'fetch' ? Math.ceil(rounds / 3) : rounds;
      await record(`${group} c${concurrency}`, group, (call) => cpu(call, concurrency), count, warmUp);
    }
  }
  await record('bytes', 'request', bytes, Math.max(5, Math.ceil(rounds / 10)), 2);
  await agent.close();
  await mesh.close();
  rmSync(folder, { recursive: true, force: true });
  return samples;
}

/** Runs this kind of file as a process of its own. */
export function startProcess(path: string, args: readonly string[], flags: readonly string[] = []): ChildProcess {
  return spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...flags, path, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}

/** The whole output of a process that has to succeed, as JSON. */
export async function outputOf<T>(child: ChildProcess): Promise<T> {
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`a launch of the bench ended with ${String(code)}`);
  return JSON.parse(output) as T;
}

export function collect(all: Samples, launch: Samples): void {
  for (const [name, figures] of Object.entries(launch)) {
    const into = (all[name] ??= {});
    for (const [variant, values] of Object.entries(figures)) (into[variant] ??= []).push(...values);
  }
}

export function pairs(figures: Record<string, number[]> | undefined, a: string, b: string): Pair[] {
  const [first = [], second = []] = [figures?.[a], figures?.[b]];
  return first.map((value, index) => ({ a: value, b: second[index] ?? value }));
}

const SELF = fileURLToPath(import.meta.url);

export async function run({ quick, progress }: BenchOptions): Promise<BenchRow[]> {
  const [launches, rounds, warmUp] = quick ? [2, 60, 25] : [5, 240, 100];
  progress(`hop, HTTP: ${launches} launches of ${rounds} rounds${quick ? ' (full: 5 of 240)' : ''}`);
  const server = startProcess(SELF, ['--serve']);
  try {
    const [line] = (await once(server.stdout ?? server, 'data')) as [Buffer];
    const port = Number(line.toString());
    const all: Samples = {};
    for (let number = 1; number <= launches; number++) {
      const flags = ['--expose-gc', '--max-semi-space-size=128'];
      collect(
        all,
        await outputOf<Samples>(startProcess(SELF, ['--sample', String(rounds), String(warmUp), String(number), String(port)], flags)),
      );
      progress(`hop, HTTP: launch ${number} of ${launches} done`);
    }
    return rows(all).map(rounded);
  } finally {
    server.stdin?.end();
  }
}

function rows(all: Samples): BenchRow[] {
  const row = (spec: Parameters<typeof benchRow>[0], what: string, variant: string): BenchRow =>
    benchRow(
      spec,
      estimate(pairs(all[what], 'bare', variant), ratioOfSums),
      estimate(pairs(all[what], 'bare', 'bare (again)'), ratioOfSums),
    );
  return [
    ...CONCURRENCIES.flatMap((c) => [
      row({ name: `undici.request c${c}`, metric: 'client CPU, mesh / bare', target: 1.03, aim: 1.01 }, `request c${c}`, 'mesh'),
      row(
        { name: `undici.request c${c}, opossum`, metric: 'client CPU, mesh with a breaker / bare', target: 1.1 },
        `request c${c}`,
        'breaker',
      ),
      row({ name: `fetch c${c}`, metric: 'client CPU, mesh.fetch / global fetch', target: 0.8, aim: 0.55 }, `fetch c${c}`, 'mesh'),
    ]),
    row({ name: 'undici.request c50, bytes', metric: 'bytes allocated per call, mesh / bare', target: 1.05 }, 'bytes', 'mesh'),
  ];
}

if (process.argv[1] === SELF) {
  const [mode, ...rest] = process.argv.slice(2);
  if (mode === '--serve') await serve();
  if (mode === '--sample') {
    const [rounds = 0, warmUp = 0, seed = 0, port = 0] = rest.map(Number);
    process.stdout.write(JSON.stringify(await sample(rounds, warmUp, seed, port)), () => process.exit(0));
  }
}
