/** Gets programs that this project did not write and keeps them in `node_modules/.cache/inmesh-interop`; which ones, and what for, is said elsewhere. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const cache = fileURLToPath(new URL('../../node_modules/.cache/inmesh-interop', import.meta.url));

/** Not to be had here, as opposed to broken. */
export class Unavailable extends Error {}

export const say = (line: string): void => void process.stdout.write(`interop: ${line}\n`);

export interface Run {
  readonly ok: boolean;
  readonly output: string;
}

export function run(command: string, args: readonly string[], cwd: string, env: Readonly<Record<string, string>> = {}): Run {
  const { status, error, stdout, stderr } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    env: { ...process.env, ...env },
  });
  if (error !== undefined)
    return { ok: false, output: 'code' in error && error.code === 'ENOENT' ? `there is no ${command}` : error.message };
  return { ok: status === 0, output: status === 0 ? stdout : stderr.trim() || stdout.trim() };
}

export function need(what: string, { ok, output }: Run): string {
  // The last line tells the reason for both go and pip.
  if (!ok) throw new Unavailable(`${what}: ${output.split('\n').findLast((line) => line.trim() !== '') ?? 'no reason given'}`);
  return output;
}

/** Of the Go sources in a folder, and of the platform. */
export function hashOf(folder: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort()) {
    if (/\.(go|mod|sum)$/.test(name)) hash.update(`${name}\n`).update(readFileSync(join(folder, name)));
  }
  return hash.update(`${process.platform} ${process.arch}`).digest('hex').slice(0, 16);
}

/**
 * Folder `PREFIX-HASH` of the cache, made by `fill` in one step, so that an interrupted run leaves no half of it. Those of other hashes go.
 */
export function settle(prefix: string, hash: string, fill: (scratch: string) => void): string {
  const name = `${prefix}-${hash}`;
  for (const other of existsSync(cache) ? readdirSync(cache) : []) {
    if (other.length === name.length && other.startsWith(`${prefix}-`) && other !== name)
      rmSync(join(cache, other), { recursive: true, force: true });
  }
  const folder = join(cache, name);
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

/** The path that `get` gives, if `proof` runs; undefined, with the reason on stdout, where it cannot be had. */
export function attempt(programs: string, get: () => string, proof: (path: string) => Run): string | undefined {
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
