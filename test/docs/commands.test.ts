/** Every command in a `sh` block runs and says what its page promises; every example is among them or has a test of its own. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ControlPlane } from '../../src/control-plane/control-plane.ts';
import { commands, page, PAGES, root } from './pages.ts';

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly error: string;
}

/** Runs a command line in a shell of its own process group; `stopAt` interrupts it when it has printed that. */
function run(command: string, env: Readonly<Record<string, string>> = {}, stopAt?: string): Promise<Ran> {
  const path = [dirname(process.execPath), join(root, 'node_modules/.bin'), process.env['PATH']].join(delimiter);
  const child = spawn(command, {
    shell: '/bin/sh',
    cwd: root,
    detached: true,
    env: { ...process.env, ...env, PATH: path, NODE_OPTIONS: '' },
  });
  const group = -(child.pid ?? 0);
  const end = (signal: NodeJS.Signals): void => {
    try {
      process.kill(group, signal);
    } catch {
      // It has ended.
    }
  };
  onTestFinished(() => end('SIGKILL'));
  return new Promise((resolve, reject) => {
    let out = '';
    let error = '';
    let interrupted = false;
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (interrupted || stopAt === undefined || !out.includes(stopAt)) return;
      interrupted = true;
      end('SIGINT');
    });
    child.stderr.on('data', (chunk: Buffer) => void (error += chunk.toString()));
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, error }));
  });
}

/** What the commands print. A command that is not here only has to succeed, so a new one should be added. */
const PRINTS: Readonly<Record<string, readonly RegExp[]>> = {
  'node examples/fetch-yaml/main.mjs': [
    /200 calls: v1 \d+, v2 \d+, failed 0; the servers saw \d+ requests, [1-9]\d* of them retries/,
    /^ana gets v2$/m,
    /^\/elsewhere: 404, NR route_not_found: no route for GET reviews\/elsewhere in listener "reviews"$/m,
  ],
  'node examples/express-service/main.mjs': [
    /GET \/hello\/ana: 200 ana: hello, trace 00-0af7651916cd43dd8448eb211c80319c-/,
    /GET \/hello\/nobody: 403/,
    /GET \/admin: 403/,
    /POST \/hello\/ana: 403/,
  ],
  'node examples/grpc/main.mjs': [/20 calls, all answered: 10 by 18831, 10 by 18832/, /stream: 1 2 3/, /reset: PERMISSION_DENIED/],
  'INMESH_CONFIG=examples/register/mesh.yaml node --import inmesh/register examples/register/app.mjs': [
    /a host outside the mesh: users server: GET \/direct/,
    /http:\/\/users\/old\/7: 200 users server: GET \/users\/7/,
  ],
  'INMESH_DISABLE=1 node --import inmesh/register examples/register/app.mjs': [
    /a host outside the mesh: users server: GET \/direct/,
    /fetch failed \(no mesh/,
  ],
  'npx inmesh serve examples/go-control-plane/mesh.yaml --port 0': [
    /xDS +127\.0\.0\.1:\d+/,
    /GRPC_XDS_BOOTSTRAP=\S+bootstrap-app\.json/,
    /stopped/,
  ],
  'npx inmesh xds check --help': [/Usage: inmesh xds check FILE/],
  'npx inmesh xds check examples/xds-check/resources.yaml --unsupported': [
    /accepted Cluster reviews/,
    /without effect: Cluster preconnect_policy \(1\)/,
    /1 file, 2 resources: 2 accepted, 0 rejected/,
  ],
  'npx inmesh serve --help': [/Usage: inmesh serve/, /Example:\n/],
};

describe('commands of the pages', () => {
  test('every expectation belongs to a command, and every command has one', () => {
    expect([...commands().keys()].toSorted()).toEqual(Object.keys(PRINTS).toSorted());
  });

  test.each([...commands()])('%s (%s)', async (command) => {
    const { code, out, error } = await run(command, {}, command.includes('inmesh serve') ? 'Ctrl+C ends it' : undefined);
    for (const expected of PRINTS[command] ?? []) expect(out).toMatch(expected);
    expect(error.split('\n').filter((line) => line !== '' && !line.startsWith('npm warn'))).toEqual([]);
    // What is interrupted as from a terminal says that it has stopped, and leaves nothing behind; the shell around it dies of the signal.
    const left = /GRPC_XDS_BOOTSTRAP=(\S+)/.exec(out)?.[1];
    if (left === undefined) expect(code).toBe(0);
    else expect(existsSync(dirname(left))).toBe(false);
  });

  test('commands for reading name scripts and files that exist', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
      readonly scripts: Readonly<Record<string, string>>;
    };
    const wrong: string[] = [];
    for (const { path, text } of PAGES) {
      for (const [, name] of text.matchAll(/npm run (?:--silent )?([\w:]+)/g))
        if (name !== undefined && scripts[name] === undefined) wrong.push(`${path}: npm run ${name}`);
    }
    expect(wrong).toEqual([]);
    const benches = readFileSync(join(root, 'test/bench/main.ts'), 'utf8');
    for (const [, name] of page('README.md').text.matchAll(/npm run bench -- ([\w-]+)/g))
      expect(benches).toMatch(new RegExp(`^ {2}'?${name}'?: async`, 'm'));
  });
});

describe('examples', () => {
  const folders = readdirSync(join(root, 'examples'));

  test.each(folders)('%s has a page, a command, and imports the package by its name', (folder) => {
    const { text } = page(`examples/${folder}/README.md`);
    expect(text).toMatch(/^# /);
    expect(text).toContain(`examples/${folder}/`);
    expect(page('README.md').text).toContain(`examples/${folder}/README.md`);
    const sources = readdirSync(join(root, 'examples', folder))
      .filter((name) => name.endsWith('.mjs'))
      .map((name) => readFileSync(join(root, 'examples', folder, name), 'utf8'));
    // What is for the command line has files of data only.
    expect(sources.length).toBe(folder === 'xds-check' ? 0 : 1);
    for (const source of sources) expect(source).not.toMatch(/from '\.\.\//);
    const ran = [...commands().keys()].some(
      (command) =>
        command.includes(`node examples/${folder}/`) || / examples\/([\w-]+)\/(?:app\.mjs|resources\.yaml)/.exec(command)?.[1] === folder,
    );
    expect(ran || folder === 'go-control-plane').toBe(true);
  });

  test('go-control-plane, against the development control plane', async () => {
    const plane = await ControlPlane.start({ file: join(root, 'examples/go-control-plane/mesh.yaml'), watch: false });
    onTestFinished(() => plane.close());
    const folder = mkdtempSync(join(tmpdir(), 'inmesh-docs-'));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const bootstrap = join(folder, 'bootstrap.json');
    const own = readFileSync(join(root, 'examples/go-control-plane/bootstrap.json'), 'utf8');
    expect(own).toContain('127.0.0.1:18000');
    writeFileSync(bootstrap, own.replace('127.0.0.1:18000', plane.address));
    const { code, out, error } = await run('node examples/go-control-plane/main.mjs', { GRPC_XDS_BOOTSTRAP: bootstrap });
    expect(error).toBe('');
    expect(code).toBe(0);
    expect(out).toMatch(/Listener web\.local, RouteConfiguration web/);
    const [, v1, v2] = /200 calls: v1 (\d+), v2 (\d+)/.exec(out) ?? [];
    // Binomial(200, 0.1): mean 20, standard deviation 4.24; five of them on both sides.
    expect(Number(v1) + Number(v2)).toBe(200);
    expect(Math.abs(Number(v2) - 20)).toBeLessThanOrEqual(21);
    expect(out).toMatch(/x-version: v2 gets v2/);
    expect(plane.nacks).toEqual([]);
  });
});
