/** `inmesh serve` as a process: what it prints on start, on saves good and bad, on a refusal; what is left of it after SIGINT. */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const FILE = 'version: 1\nservices:\n  a: { endpoints: ["127.0.0.1:1"], mtls: strict }\n';

class Program {
  readonly child: ChildProcess;
  output = '';
  readonly exit: Promise<number | null>;
  #wake: (() => void) | undefined;

  constructor(...args: readonly string[]) {
    this.child = spawn(process.execPath, ['--no-warnings', MAIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.output += chunk.toString();
        this.#wake?.();
      });
    }
    this.exit = new Promise((resolve) => this.child.on('close', resolve));
    onTestFinished(() => void this.child.kill('SIGKILL'));
  }

  async until(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.output);
      if (match !== null) return match;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

test('serve: start, reloads, errors, SIGINT', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'mesh.yaml');
  writeFileSync(file, FILE);
  const program = new Program('serve', file, '--port', '0');
  const [, port] = await program.until(/xDS {4}127\.0\.0\.1:(\d+)/);
  const [, bootstrap = ''] = await program.until(/app: GRPC_XDS_BOOTSTRAP=(\S+)/);
  await program.until(/ a: GRPC_XDS_BOOTSTRAP=/);
  await program.until(/Ctrl\+C/);
  expect(existsSync(bootstrap)).toBe(true);

  writeFileSync(file, FILE.replace('127.0.0.1:1', '127.0.0.1:2'));
  await program.until(/reloaded \S+mesh\.yaml in \d+\.\d ms: 1 endpoint list\n/);

  writeFileSync(file, FILE.replace('strict', 'strikt'));
  await program.until(
    /still serving the last good one\n\S+mesh\.yaml:3:42: services\.a\.mtls: "strikt" is not one of strict, off\n[\s\S]*> 3 \|[\s\S]*\^{6}\n {2}Did you mean "strict"\?/,
  );

  program.child.kill('SIGINT');
  expect(await program.exit).toBe(0);
  expect(program.output).toMatch(/stopped\n$/);
  expect(existsSync(dirname(bootstrap))).toBe(false);
  const refused = await new Promise((resolve) => {
    const socket = connect(Number(port), '127.0.0.1');
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code));
    socket.on('connect', () => resolve('connected'));
  });
  expect(refused).toBe('ECONNREFUSED');
});

test('serve: a file that is not there, and one that is wrong', async () => {
  const missing = new Program('serve', '/nonexistent/mesh.yaml', '--port', '0');
  expect(await missing.exit).toBe(1);
  expect(missing.output).toMatch(/cannot read \/nonexistent\/mesh\.yaml/);
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'bad.yaml'), 'version: 1\nhosts: []\n');
  const wrong = new Program('serve', join(folder, 'bad.yaml'), '--port', '0');
  expect(await wrong.exit).toBe(1);
  expect(wrong.output).toMatch(/bad\.yaml:2:1: hosts: unknown key "hosts"/);
});

test('serve: a snapshot, a view, a token, and a script that is changed while it runs', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const cluster = '{ "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: a }';
  const snapshot = path('snapshot.yaml', `resources: [${cluster}]\nnodes: { n: { resources: [] } }\n`);
  const script = path('script.yaml', 'misbehave: [{ do: duplicate }]\n');
  const view = `web-*=${path('web.yaml', FILE)}`;
  const program = new Program('serve', snapshot, '--port', '0', '--view', view, '--token', 't0p', '--misbehave', script, '--lrs');
  await program.until(/file {3}\S+snapshot\.yaml: 1 resource; 1 node with resources of their own\n {2}view {3}web-\*=\S+web\.yaml\n/);
  await program.until(/token {2}expected in "authorization"/);
  await program.until(/Ctrl\+C/);
  expect(program.output).not.toContain('t0p');
  writeFileSync(script, 'misbehave: [{ do: duplicate }, { do: silence }]\n');
  await program.until(/misbehaving anew: 2 steps of \S+script\.yaml\n/);
  writeFileSync(script, 'misbehave: [{ do: dance }]\n');
  await program.until(
    /script\.yaml is invalid; the last good one goes on\n\S+script\.yaml:1:19: misbehave\[0\]\.do: "dance" is not one of/,
  );
  writeFileSync(snapshot, `resources: [${cluster.replace('name: a', 'name: b')}]\n`);
  await program.until(/reloaded \S+snapshot\.yaml in \d+\.\d ms: 2 clusters\n/);
  program.child.kill('SIGINT');
  expect(await program.exit).toBe(0);
});
