/** Runs a script in a Node process of its own, as an application would be: with flags and environment, until it ends by itself. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** File URL of a module under `src`, for `import` in scripts. */
export const src = (path: string): string => new URL(`../../src/${path}`, import.meta.url).href;

export interface Finished {
  /** Undefined: it had to be killed, since it did not end by itself. */
  readonly code: number | undefined;
  readonly out: string;
  readonly err: string;
  /** From the line `done` on standard output to the end, in milliseconds. */
  readonly lingeredMs: number;
}

export interface RunOptions {
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Further files beside the script, by name; the process starts in their folder. */
  readonly files?: Readonly<Record<string, string>>;
  readonly killAfterMs?: number;
}

/** A folder that goes with the test. */
export function folder(files: Readonly<Record<string, string>> = {}): string {
  const path = mkdtempSync(join(tmpdir(), 'inmesh-test-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
}

/** Nothing of the surrounding environment decides what a mesh does. */
function cleanEnvironment(): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && !/^(GRPC_XDS|INMESH|OTEL|NODE_OPTIONS|VITEST)/.test(name)) env[name] = value;
  }
  return env;
}

export function run(script: string, options: RunOptions = {}): Promise<Finished> {
  const cwd = folder({ ...options.files, 'app.mjs': script });
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...(options.flags ?? []), join(cwd, 'app.mjs')], {
    cwd,
    env: { ...cleanEnvironment(), ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, err, doneAt, killed] = ['', '', 0, false];
  child.stdout.on('data', (chunk: Buffer) => {
    out += String(chunk);
    if (doneAt === 0 && /^done$/m.test(out)) doneAt = performance.now();
  });
  child.stderr.on('data', (chunk: Buffer) => (err += String(chunk)));
  const timer = setTimeout(() => {
    killed = true;
    child.kill('SIGKILL');
  }, options.killAfterMs ?? 10_000);
  return new Promise((resolve) => {
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code: killed ? undefined : (code ?? -1), out, err, lingeredMs: doneAt === 0 ? 0 : performance.now() - doneAt });
    });
  });
}
