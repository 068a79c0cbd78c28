/** Starts and ends the peers of an interop test: processes on free loopback ports, snapshots with these ports, the control plane's log. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, inject, onTestFinished } from 'vitest';
import type { TestCa } from '../../src/control-plane/ca/ca.ts';
import { silentLogger } from '../../src/core/log.ts';
import type { Mesh, MeshOptions } from '../../src/index.ts';
import { createMesh } from '../../src/index.ts';

export const peers = inject('peers');

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `check` gives something, for at most `timeoutMs`. */
export async function until<T>(
  what: string,
  check: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 10_000,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const value = await check();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > end) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await pause(15);
  }
}

const taken = new Set<number>();

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });

/** Below the range from which systems take the ports of outgoing connections, so that none of these gets in between. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    if (taken.has(port) || !(await isFree(port))) continue;
    taken.add(port);
    return port;
  }
}

/** A scratch folder, gone with its test. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-interop-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

// --- processes

export interface Running {
  readonly child: ChildProcess;
  /** Everything it wrote so far, both streams. */
  output(): string;
  readonly exited: Promise<number | null>;
  kill(): Promise<void>;
}

export function startProcess(command: string, args: readonly string[]): Running {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  const exited = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      appendFileSync(peers.pids, `ended ${child.pid}\n`);
      resolve(code);
    });
  });
  if (child.pid !== undefined) appendFileSync(peers.pids, `started ${child.pid}\n`);
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
  };
  onTestFinished(kill);
  return { child, output: () => output, exited, kill };
}

export function startGo(program: 'gocp' | 'grpcgo' | 'spiffepeer', args: readonly string[]): Running {
  return startProcess(join(peers.go ?? '', program), args);
}

/** Runs a Go peer to its end. */
export async function runGo(program: 'grpcgo' | 'spiffepeer', args: readonly string[]): Promise<string> {
  const running = startGo(program, args);
  await running.exited;
  return running.output();
}

async function listening(what: string, running: Running, ready: () => Promise<boolean>): Promise<void> {
  await until(`${what} listens`, async () => {
    if (running.child.exitCode !== null) throw new Error(`${what} ended: ${running.output()}`);
    return ready();
  });
}

const accepts = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket
      .once('connect', () => resolve(true))
      .once('error', () => resolve(false))
      .once('connect', () => socket.destroy());
  });

// --- the control plane

export interface LogEntry {
  readonly seq: number;
  readonly event: 'open' | 'close' | 'refused' | 'request' | 'response';
  readonly mode: string;
  readonly stream?: number;
  readonly peer_id?: string;
  /** Of the stream. */
  readonly node?: string;
  /** The request itself had a node. */
  readonly node_sent?: boolean;
  /** Short, such as `Listener`. */
  readonly type: string;
  readonly names?: readonly string[];
  readonly version?: string;
  readonly nonce?: string;
  readonly error_detail?: string;
  readonly error?: string;
}

/** go-control-plane behind the project's small front; `go/cmd/gocp`. */
export interface ControlPlane {
  readonly address: string;
  /** Of REST. */
  readonly restAddress: string;
  put(snapshot: string, node?: string): Promise<void>;
  /** Entries so far, of the xDS streams; those of one node where one is given. */
  log(node?: string): Promise<readonly LogEntry[]>;
  /** The load reports that were received, in proto JSON. */
  load(): Promise<unknown>;
  drop(): Promise<void>;
  kill(): Promise<void>;
  /** To its process: `SIGSTOP` makes it hang. */
  signal(signal: NodeJS.Signals): void;
  bootstrap(node: string, more?: object): object;
}

export interface ControlPlaneOptions {
  /** go-control-plane's ADS mode, its users' usual setting; here false by default, as clients that subscribe lazily need it. */
  readonly ads?: boolean;
  readonly flags?: readonly string[];
  /** To start again where another was. */
  readonly port?: number;
  /** The same for REST. */
  readonly restPort?: number;
}

export async function startControlPlane(snapshot: string, options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const [grpc, rest, admin] = [options.port ?? (await freePort()), options.restPort ?? (await freePort()), await freePort()];
  const addresses = Object.entries({ grpc, rest, admin }).flatMap(([flag, port]) => [`--${flag}`, `127.0.0.1:${port}`]);
  const running = startGo('gocp', [...addresses, `--ads=${options.ads ?? false}`, ...(options.flags ?? [])]);
  const ask = async (path: string, init: RequestInit = {}): Promise<unknown> => {
    const response = await fetch(`http://127.0.0.1:${admin}${path}`, init);
    const text = await response.text();
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`);
    return JSON.parse(text);
  };
  await listening('gocp', running, () => accepts(admin));
  const plane: ControlPlane = {
    address: `127.0.0.1:${grpc}`,
    restAddress: `127.0.0.1:${rest}`,
    put: async (body, node) => void (await ask(`/snapshot${node === undefined ? '' : `?node=${node}`}`, { method: 'PUT', body })),
    log: async (node) => {
      const entries = ((await ask('/log')) ?? []) as readonly (LogEntry & { readonly type?: string })[];
      const streams = new Set(entries.filter((entry) => node === undefined || entry.node === node).map((entry) => entry.stream));
      return entries.filter((entry) => streams.has(entry.stream)).map((entry) => ({ ...entry, type: shortType(entry.type ?? '') }));
    },
    load: () => ask('/load'),
    drop: async () => void (await ask('/drop', { method: 'POST' })),
    kill: running.kill,
    signal: (signal) => void running.child.kill(signal),
    bootstrap: (node, more = {}) => ({
      xds_servers: [{ server_uri: `127.0.0.1:${grpc}`, channel_creds: [{ type: 'insecure' }], server_features: ['xds_v3'] }],
      node: { id: node, cluster: 'inmesh-interop' },
      server_listener_resource_name_template: 'grpc/server?xds.resource.listening_address=%s',
      ...more,
    }),
  };
  await plane.put(snapshot);
  return plane;
}

/** The snapshot's text, with ports replaced (also in names, such as `outbound_15080`). */
export function snapshotText(name: string, ports: Readonly<Record<number, number>>): string {
  let text = readFileSync(new URL(`snapshots/${name}.yaml`, import.meta.url), 'utf8');
  for (const [from, to] of Object.entries(ports)) text = text.replaceAll(new RegExp(`(?<!\\d)${from}(?!\\d)`, 'g'), String(to));
  return text;
}

/** Replaces what must be there. */
export function edit(text: string, ...changes: readonly (readonly [from: string | RegExp, to: string])[]): string {
  return changes.reduce((current, [from, to]) => {
    const next = current.replaceAll(typeof from === 'string' ? from : new RegExp(from, 'g'), to);
    if (next === current) throw new Error(`the snapshot has no ${String(from)}`);
    return next;
  }, text);
}

// --- data planes

export async function startMesh(options: MeshOptions): Promise<Mesh> {
  const mesh = await createMesh({ logger: silentLogger, ...options });
  onTestFinished(() => mesh.close());
  return mesh;
}

/** Every resource that the mesh knows: `Type name version STATUS`. */
export function known(mesh: Mesh): string[] {
  const resources = mesh.describe().source?.resources ?? [];
  return resources.map(({ typeUrl, name, version, status }) => `${shortType(typeUrl)} ${name} ${version} ${status}`);
}

const shortType = (url: string): string => url.slice(url.lastIndexOf('.') + 1);

/** A plain HTTP server that answers its name and the request's headers. */
export async function startBackend(name: string): Promise<number> {
  const server = createHttpServer((request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ name, headers: request.headers }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** grpc-go with the Echo service. */
export async function startEchoServer(
  name: string,
  more: readonly string[] = [],
  port?: number,
): Promise<{ readonly port: number; readonly running: Running }> {
  const own = port ?? (await freePort());
  const running = startGo('grpcgo', [
    'server',
    ...(more.includes('--xds') ? [] : ['--name', name]),
    '--listen',
    `127.0.0.1:${own}`,
    ...more,
  ]);
  await listening('grpcgo', running, () => accepts(own));
  return { port: own, running };
}

export interface Envoy {
  readonly admin: string;
  readonly running: Running;
  /** Counter or gauge. */
  stat(name: string): Promise<number>;
}

export async function startEnvoy(
  plane: { readonly address: string },
  mode: 'sotw' | 'delta',
  node: string,
  more: readonly string[] = [],
): Promise<Envoy> {
  const admin = `127.0.0.1:${await freePort()}`;
  const script = fileURLToPath(new URL('envoy-bootstrap.mjs', import.meta.url));
  const made = startProcess(process.execPath, [script, '--mode', mode, '--cp', plane.address, '--admin', admin, '--node', node, ...more]);
  await made.exited;
  const file = join(scratch(), 'envoy.json');
  writeFileSync(file, made.output());
  const running = startProcess(peers.envoy ?? '', ['-c', file, '--concurrency', '1', '--disable-hot-restart', '-l', 'warning']);
  await listening('Envoy', running, async () => {
    const ready = await fetch(`http://${admin}/ready`).catch(() => undefined);
    return ready !== undefined && ready.status === 200;
  });
  const stat = async (name: string): Promise<number> => {
    const response = await fetch(`http://${admin}/stats?usedonly&filter=^${name.replaceAll('.', '\\.')}$`);
    return Number(/: (\d+)/.exec(await response.text())?.[1] ?? 0);
  };
  return { admin, running, stat };
}

// --- certificates

export interface Identity {
  readonly folder: string;
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

/** A certificate with its key, and the CA to trust, in the files that all the peers expect. */
export function identityFiles(
  ca: TestCa,
  spiffeId: string,
  trusted: TestCa = ca,
  more: { readonly ipAddresses?: readonly string[] } = {},
): Identity {
  const folder = scratch();
  const issued = ca.issue({ spiffeId, dnsNames: ['localhost'], ...more });
  const [cert, key, root] = [join(folder, 'cert.pem'), join(folder, 'key.pem'), join(folder, 'ca.pem')];
  writeFileSync(cert, issued.certificateChainPem);
  writeFileSync(key, issued.privateKeyPem);
  writeFileSync(root, trusted.certificatePem);
  return { folder, cert, key, ca: root };
}

/** `certificate_providers` of a bootstrap, with the instance that the snapshots name. */
export function providersOf(identity: Identity): object {
  const config = {
    certificate_file: identity.cert,
    private_key_file: identity.key,
    ca_certificate_file: identity.ca,
    refresh_interval: '1s',
  };
  return { certificate_providers: { default: { plugin_name: 'file_watcher', config } } };
}

// --- counting

/** Calls `one` `n` times, some at the same time; how often each answer came. */
export async function tally(n: number, one: () => Promise<string>, concurrency = 16): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  let left = n;
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      const answer = await one();
      counts[answer] = (counts[answer] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return counts;
}

/** Five standard deviations of the binomial: a fair draw leaves them about once in 1.7 million runs. */
export function expectShare(count: number | undefined, trials: number, probability: number, what = ''): void {
  const bound = 5 * Math.sqrt(trials * probability * (1 - probability));
  expect(
    Math.abs((count ?? 0) - trials * probability),
    `${what} ${count} of ${trials}, expected ${trials * probability} ± ${bound.toFixed(0)}`,
  ).toBeLessThanOrEqual(bound);
}

export interface Load {
  /** Ends it; every answer there was. */
  stop(): Promise<readonly string[]>;
}

/** Calls without a pause from several places, until it is stopped or the test ends. */
export function startLoad(one: () => Promise<string>, concurrency = 8): Load {
  const answers: string[] = [];
  let running = true;
  const workers = Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (running) {
        answers.push(await one());
        // A call that fails at once must not keep everything else from running.
        await new Promise((resolve) => setImmediate(resolve));
      }
    }),
  );
  const stop = async (): Promise<readonly string[]> => {
    running = false;
    await workers;
    return answers;
  };
  onTestFinished(() => void stop());
  return { stop };
}
