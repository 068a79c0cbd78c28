/**
 * Bench `hop-server`: server CPU per request behind the inbound stack over bare `node:http`, both servers in one process and the load from
 * another, in shuffled blocks with an A/A twin (performance.md §7.2). An allow rule, the context of the application and metrics are on.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Pool } from 'undici';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { collect, outputOf, pairs, startProcess } from './hop.ts';
import type { BenchOptions, BenchRow } from './report.ts';
import { benchRow, estimate, ratioOfSums, rounded, shuffled } from './report.ts';

const VARIANTS = ['bare', 'bare (again)', 'mesh'] as const;
const CONCURRENCIES = [1, 50] as const;
const BLOCK: Record<number, number> = { 1: 150, 50: 600 };
/** Calls of each variant before anything is measured. */
const WARM = 12_000;
const SELF = fileURLToPath(import.meta.url);

type Samples = Record<string, Record<string, number[]>>;

/** Sends `port concurrency calls` worth of load per line of standard input, answers each with a line. */
async function load(): Promise<void> {
  const pools = new Map<number, Pool>();
  for await (const line of createInterface({ input: process.stdin })) {
    const [port = 0, concurrency = 1, calls = 0] = line.split(' ').map(Number);
    let pool = pools.get(port);
    if (pool === undefined) pools.set(port, (pool = new Pool(`http://127.0.0.1:${port}`)));
    let left = calls;
    let wrong = 0;
    const worker = async (): Promise<void> => {
      while (left-- > 0) {
        const reply = await (pool as Pool).request({ path: '/items/7', method: 'GET' });
        if (reply.statusCode !== 200) wrong++;
        await reply.body.text();
      }
    };
    await Promise.all(Array.from({ length: concurrency }, worker));
    process.stdout.write(`${wrong}\n`);
  }
  process.exit(0);
}

function listener(request: IncomingMessage, response: ServerResponse): void {
  request.resume();
  response.setHeader('content-type', 'application/json');
  response.end('{"message":"hello from the server"}');
}

async function sample(rounds: number, warmUp: number, seed: number): Promise<Samples> {
  const { createMesh } = await import('../../src/index.ts');
  const [bare, meshed] = [createServer(listener), createServer(listener)];
  for (const server of [bare, meshed]) {
    server.keepAliveTimeout = 120_000;
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  }
  const portOf = (server: typeof bare): number => (server.address() as AddressInfo).port;
  const folder = mkdtempSync(join(tmpdir(), 'hop-server-'));
  const config = join(folder, 'mesh.yaml');
  writeFileSync(
    config,
    `version: 1\ninbound:\n  - port: ${portOf(meshed)}\n    allow:\n      - { methods: [GET, POST], paths: ["/items/**"] }\n`,
  );
  const mesh = await createMesh({ config, watch: false });
  mesh.http.server(meshed);
  await mesh.ready();
  const child = startProcess(SELF, ['--load']);
  const answers = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  const block = async (variant: string, concurrency: number, calls = BLOCK[concurrency] ?? 100): Promise<number> => {
    const before = process.cpuUsage();
    child.stdin?.write(`${portOf(variant === 'mesh' ? meshed : bare)} ${concurrency} ${calls}\n`);
    const { value } = await answers.next();
    const used = process.cpuUsage(before);
    if (value !== '0') throw new Error(`${String(value)} calls of ${variant} failed`);
    return (used.user + used.system) / calls;
  };
  const samples: Samples = {};
  const random = new SeededRandom(seed);
  for (const variant of VARIANTS) await block(variant, 50, WARM);
  for (const concurrency of CONCURRENCIES) {
    const figures: Record<string, number[]> = { bare: [], 'bare (again)': [], mesh: [] };
    samples[`c${concurrency}`] = figures;
    for (let round = -warmUp; round < rounds; round++) {
      for (const variant of shuffled(VARIANTS, random)) {
        const figure = await block(variant, concurrency);
        if (round >= 0) figures[variant]?.push(figure);
      }
    }
  }
  child.stdin?.end();
  await once(child, 'close');
  await mesh.close();
  rmSync(folder, { recursive: true, force: true });
  return samples;
}

export async function run({ quick, progress }: BenchOptions): Promise<BenchRow[]> {
  const [launches, rounds, warmUp] = quick ? [2, 60, 25] : [5, 200, 80];
  progress(`hop-server: ${launches} launches of ${rounds} rounds${quick ? ' (full: 5 of 200)' : ''}`);
  const all: Samples = {};
  for (let number = 1; number <= launches; number++) {
    collect(all, await outputOf<Samples>(startProcess(SELF, ['--sample', String(rounds), String(warmUp), String(number)])));
    progress(`hop-server: launch ${number} of ${launches} done`);
  }
  return CONCURRENCIES.map((concurrency) => {
    const figures = all[`c${concurrency}`];
    const found = estimate(pairs(figures, 'bare', 'mesh'), ratioOfSums);
    const control = estimate(pairs(figures, 'bare', 'bare (again)'), ratioOfSums);
    return rounded(
      benchRow({ name: `node:http c${concurrency}`, metric: 'server CPU, mesh / bare', target: 1.1, aim: 1.05 }, found, control),
    );
  });
}

if (process.argv[1] === SELF) {
  const [mode, ...rest] = process.argv.slice(2);
  if (mode === '--load') await load();
  if (mode === '--sample') {
    const [rounds = 0, warmUp = 0, seed = 0] = rest.map(Number);
    process.stdout.write(JSON.stringify(await sample(rounds, warmUp, seed)), () => process.exit(0));
  }
}
