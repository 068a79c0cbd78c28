/**
 * Bench `import`: what a process pays before its first call, in fresh processes, interleaved: the main entry with a mesh.yaml beside the
 * HTTP client alone, and the time to the first reply over a local control plane beside bare Node, with `@grpc/grpc-js-xds` in the same run.
 * Measures the built package (`dist`), as applications load it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Server } from '@grpc/grpc-js';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { startMiniAds } from '../support/mini-ads.ts';
import type { BenchOptions, BenchRow } from './report.ts';
import { benchRow, estimate, median, rounded, shuffled } from './report.ts';
import { portOf } from '../support/byte-server.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const entry = pathToFileURL(join(root, 'dist/index.js')).href;
const undici = pathToFileURL(join(root, 'node_modules/undici/index.js')).href;
const grpcJs = pathToFileURL(join(root, 'node_modules/@grpc/grpc-js/build/src/index.js')).href;
const grpcXds = pathToFileURL(join(root, 'node_modules/@grpc/grpc-js-xds/build/src/index.js')).href;

interface Figure {
  /** Milliseconds since the process began. */
  readonly ms: number;
  readonly rssMb: number;
}

const DONE = `process.stdout.write(JSON.stringify({ ms: performance.now(), rssMb: process.memoryUsage().rss / 1e6 })); process.exit(0);`;

interface LastGood {
  /** Of a control plane that is gone. */
  readonly ads: number;
  readonly file: string;
}

function programs(yaml: string, http: { ads: number }, grpc: { ads: number }, lastGood: LastGood): Readonly<Record<string, string>> {
  const bootstrap = (ads: number): string =>
    JSON.stringify({
      xds_servers: [{ server_uri: `127.0.0.1:${ads}`, channel_creds: [{ type: 'insecure' }] }],
      node: { id: 'bench', locality: {} },
    });
  return {
    bare: DONE,
    'bare (again)': DONE,
    // The HTTP client as the mesh uses it: undici with one agent made.
    client: `const { Agent } = await import(${JSON.stringify(undici)}); new Agent(); ${DONE}`,
    'client (again)': `const { Agent } = await import(${JSON.stringify(undici)}); new Agent(); ${DONE}`,
    mesh: `const { createMesh } = await import(${JSON.stringify(entry)}); const mesh = await createMesh(${JSON.stringify(yaml)}); mesh.dispatcher; ${DONE}`,
    'first reply': `const { createMesh } = await import(${JSON.stringify(entry)});
      const mesh = await createMesh({ bootstrap: ${bootstrap(http.ads)}, include: ['echo'] });
      const reply = await mesh.fetch('http://echo/'); if ((await reply.text()) !== 'ok') throw new Error('wrong reply'); ${DONE}`,
    'last good': lastGoodProgram(lastGood, DONE),
    'first reply, grpc-js-xds': `process.env.GRPC_XDS_BOOTSTRAP_CONFIG = ${JSON.stringify(bootstrap(grpc.ads))};
      const grpc = (await import(${JSON.stringify(grpcJs)})).default; (await import(${JSON.stringify(grpcXds)})).default.register();
      const same = (value) => value; const client = new grpc.Client('xds:///echo', grpc.credentials.createInsecure());
      await new Promise((resolve, reject) => client.makeUnaryRequest('/echo.Echo/Unary', same, same, Buffer.from('x'), (error) => (error ? reject(error) : resolve()))); ${DONE}`,
  };
}

const lastGoodProgram = ({ ads, file }: LastGood, then: string): string => {
  const bootstrap = {
    xds_servers: [{ server_uri: `127.0.0.1:${ads}`, channel_creds: [{ type: 'insecure' }] }],
    node: { id: 'bench', locality: {} },
  };
  return `const { createMesh } = await import(${JSON.stringify(entry)});
      const mesh = await createMesh({ bootstrap: ${JSON.stringify(bootstrap)}, include: ['echo'], lastGood: ${JSON.stringify(file)}, logger: { debug() {}, info() {}, warn() {}, error() {} } });
      const reply = await mesh.fetch('http://echo/'); if ((await reply.text()) !== 'ok') throw new Error('wrong reply'); ${then}`;
};

async function measure(program: string): Promise<Figure> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'], cwd: root });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`a process of the import bench ended with ${String(code)}`);
  return JSON.parse(output) as Figure;
}

export async function run({ quick, progress }: BenchOptions): Promise<BenchRow[]> {
  if (!existsSync(join(root, 'dist/index.js'))) throw new Error('dist is missing: run `npm run build` first');
  const rounds = quick ? 12 : 40;
  progress(`import: ${rounds} rounds of fresh processes${quick ? ' (full: 40)' : ''}`);
  const scratch = mkdtempSync(join(tmpdir(), 'inmesh-bench-'));
  const web = createServer((_request, response) => void response.end('ok')).listen(0, '127.0.0.1');
  await once(web, 'listening');
  const server = new Server();
  const same = (value: Buffer): Buffer => value;
  server.register(
    '/echo.Echo/Unary',
    ((call: { request: Buffer }, done: (error: null, value: Buffer) => void) => done(null, call.request)) as never,
    same as never,
    same as never,
    'unary',
  );
  const grpcPort = await portOf(server);
  const webPort = (web.address() as AddressInfo).port;
  const [httpAds, grpcAds] = [await startMiniAds('echo', webPort), await startMiniAds('echo', grpcPort)];
  const yaml = join(scratch, 'mesh.yaml');
  writeFileSync(yaml, `version: 1\nservices:\n  echo:\n    hosts: [echo]\n    endpoints: [127.0.0.1:${webPort}]\n`);
  const gone = await startMiniAds('echo', webPort);
  const lastGood = { ads: gone.port, file: join(scratch, 'last-good') };
  await measure(lastGoodProgram(lastGood, `await mesh.close(); ${DONE}`));
  await gone.close();
  const all = programs(yaml, { ads: httpAds.port }, { ads: grpcAds.port }, lastGood);
  const figures: Record<string, Figure[]> = {};
  const random = new SeededRandom(1);
  try {
    for (let round = -1; round < rounds; round++) {
      for (const name of shuffled(Object.keys(all), random)) {
        const figure = await measure(all[name] ?? '');
        // The first round warms the page cache.
        if (round >= 0) (figures[name] ??= []).push(figure);
      }
    }
  } finally {
    web.close();
    server.forceShutdown();
    await Promise.all([httpAds.close(), grpcAds.close()]);
    rmSync(scratch, { recursive: true, force: true });
  }
  const beyond = (name: string, base: string, of: (figure: Figure) => number): number[] =>
    (figures[name] ?? []).map((figure, i) => of(figure) - of(figures[base]?.[i] ?? figure));
  const row = (
    name: string,
    metric: string,
    variant: string,
    base: string,
    of: (figure: Figure) => number,
    target?: number,
    aim?: number,
  ): BenchRow => {
    const control = estimate(beyond(`${base} (again)`, base, of), median);
    return rounded(
      benchRow(
        { name, metric, ...(target === undefined ? {} : { target }), ...(aim === undefined ? {} : { aim }) },
        estimate(beyond(variant, base, of), median),
        [control.low, control.high],
      ),
    );
  };
  const ms = (figure: Figure): number => figure.ms;
  const rss = (figure: Figure): number => figure.rssMb;
  return [
    row('main entry with mesh.yaml', 'ms beyond the HTTP client', 'mesh', 'client', ms, 40, 15),
    row('main entry with mesh.yaml, memory', 'MB RSS beyond the HTTP client', 'mesh', 'client', rss, 15, 5),
    row('first reply over xDS, mesh.fetch', 'ms beyond bare Node', 'first reply', 'bare', ms, 150, 80),
    row('first reply from the last good file', 'ms beyond bare Node, the control plane is away', 'last good', 'bare', ms, 150),
    row('first reply over xDS, grpc-js-xds', 'ms beyond bare Node', 'first reply, grpc-js-xds', 'bare', ms),
    row('HTTP client alone', 'ms beyond bare Node', 'client', 'bare', ms),
  ];
}
