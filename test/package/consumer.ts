/** An empty project with the packed package installed, and Node 22, 24 and 26 to run it with. */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const MAJORS = [22, 24, 26] as const;

const execute = promisify(execFile);
const env = { ...process.env, PATH: [dirname(process.execPath), process.env['PATH']].join(delimiter), NODE_OPTIONS: '' };

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

export async function run(file: string, args: readonly string[], cwd: string): Promise<Ran> {
  try {
    const { stdout, stderr } = await execute(file, args, { cwd, env, timeout: 50_000 });
    return { code: 0, out: stdout, error: stderr };
  } catch (error) {
    const { code, stdout = '', stderr = '', message } = error as { code?: unknown; stdout?: string; stderr?: string; message: string };
    return { code: typeof code === 'number' ? code : 1, out: stdout, error: stderr === '' ? message : stderr };
  }
}

async function npm(args: readonly string[], cwd: string): Promise<string> {
  const { code, out, error } = await run('npm', args, cwd);
  if (code !== 0) throw new Error(`npm ${args.join(' ')} failed:\n${out}${error}`);
  return out;
}

const INSTALL = ['install', '--no-audit', '--no-fund', '--prefer-offline', '--loglevel=error'];

/** Node of each major version: this process's own, the others from npm's package `node`, kept for the next time. */
async function nodes(): Promise<ReadonlyMap<number, string>> {
  const folder = join(root, 'node_modules/.cache/inmesh-nodes');
  const current = Number(process.versions.node.split('.')[0]);
  const found = new Map<number, string>();
  for (const major of MAJORS) found.set(major, major === current ? process.execPath : join(folder, `node_modules/node${major}/bin/node`));
  const missing = [...found].filter(([, path]) => !existsSync(path)).map(([major]) => `node${major}@npm:node@${major}`);
  if (missing.length > 0) {
    mkdirSync(folder, { recursive: true });
    // npm 11 and later run install scripts only of packages that are listed; `node` fetches its binary in one.
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, allowScripts: { node: true } }));
    await npm([...INSTALL, ...missing], folder);
  }
  return found;
}

export interface PackedFile {
  readonly path: string;
  readonly mode: number;
}

export interface Consumer {
  readonly folder: string;
  readonly files: readonly PackedFile[];
  readonly unpackedSize: number;
  readonly nodes: ReadonlyMap<number, string>;
  write(name: string, text: string): void;
  remove(): void;
}

interface Packed {
  readonly filename: string;
  readonly files: readonly PackedFile[];
  readonly unpackedSize: number;
}

async function pack(folder: string): Promise<Packed> {
  const listed = JSON.parse(await npm(['pack', '--json', '--ignore-scripts', '--loglevel=error', '--pack-destination', folder], root)) as
    | Packed[]
    | Record<string, Packed>;
  const [packed] = Object.values(listed);
  if (packed === undefined) throw new Error('npm pack made nothing');
  return packed;
}

export async function makeConsumer(): Promise<Consumer> {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-package-'));
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }));
  const install = async (): Promise<Packed> => {
    const packed = await pack(folder);
    await npm([...INSTALL, join(folder, packed.filename), '@types/node@24'], folder);
    return packed;
  };
  const [packed, found] = await Promise.all([install(), nodes()]);
  return {
    folder,
    files: packed.files,
    unpackedSize: packed.unpackedSize,
    nodes: found,
    write: (name, text) => writeFileSync(join(folder, name), text),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
