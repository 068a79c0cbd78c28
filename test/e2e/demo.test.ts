/** `inmesh demo` as a user runs it, but without a terminal: what it measures, what its exit code means, and that nothing is left behind. */
import type { ChildProcess } from 'node:child_process';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { meshFile } from '../../src/cli/demo/mesh-file.ts';
import { Screen, screenOptions } from '../../src/cli/demo/screen.ts';
import { binomialBound, percentile, within } from '../../src/cli/demo/statistics.ts';
import { loadMeshYaml } from '../../src/sources/mesh-yaml/load.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

interface Run {
  readonly child: ChildProcess;
  /** The run's own temporary folder; its path is on the command line of every process of the demo. */
  readonly folder: string;
  readonly out: () => string;
  readonly err: () => string;
  readonly ended: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
}

function start(args: readonly string[] = []): Run {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-demo-test-'));
  const { NO_COLOR: _, ...env } = process.env;
  const child = spawn(process.execPath, [MAIN, 'demo', ...args], { env: { ...env, TMPDIR: folder }, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text));
  onTestFinished(() => {
    child.kill('SIGKILL');
    for (const { pid } of processesOf(folder)) process.kill(pid, 'SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    child,
    folder,
    out: () => out,
    err: () => err,
    ended: new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal }))),
  };
}

function processesOf(folder: string): readonly { readonly pid: number; readonly args: string }[] {
  const table = execFileSync('ps', ['-A', '-o', 'pid=,args='], { encoding: 'utf8', maxBuffer: 1 << 24 });
  return table
    .split('\n')
    .filter((line) => line.includes(folder))
    .map((line) => ({ pid: Number.parseInt(line, 10), args: line.trim() }));
}

async function untilSaid(run: Run, text: string): Promise<void> {
  const said = expect.poll(() => run.out(), { timeout: 20_000, interval: 20 }).toContain(text);
  const early = run.ended.then(({ code }) => {
    if (!run.out().includes(text)) throw new Error(`ended with ${String(code)}: ${run.err()}`);
  });
  await Promise.race([said, early]);
}

function expectNothingLeft({ folder }: Run): void {
  expect(processesOf(folder)).toEqual([]);
  expect(readdirSync(folder)).toEqual([]);
}

const MINUTE = 60_000;

describe('inmesh demo', () => {
  test('shows everything, holds, and leaves nothing', { timeout: MINUTE }, async () => {
    const startedAt = performance.now();
    const run = start();
    const { code } = await run.ended;
    const seconds = (performance.now() - startedAt) / 1000;
    expect({ code, err: run.err(), out: run.out() }).toMatchObject({ code: 0, err: '' });

    const lines = run.out().split('\n');
    expect(run.out().includes('\r') || run.out().includes('\u001b')).toBe(false);
    expect(lines.filter((line) => line.length > 80)).toEqual([]);
    expect(run.out()).not.toContain('FAILED');
    const row = (title: string): string =>
      lines
        .find((line) => line.startsWith(`   ok ${title} `))
        ?.slice(6 + title.length)
        .trim() ?? `no row "${title}"`;

    const [, share, calls] = /^([\d.]+) % of (\d+) calls to v2$/.exec(row('90/10 split')) ?? [];
    expect(Number(calls)).toBeGreaterThan(400);
    expect(within(Number(share) / 100, binomialBound(Number(calls), 0.1))).toBe(true);
    expect(row('live canary shift')).toMatch(/^[\d.]+ %, then all to v2 within \d+ ms; 0 errors$/);
    expect(row('failing endpoint')).toMatch(/^[1-9]\d* failed attempts, 0 errors seen; ejected in \d+ ms$/);
    expect(row('mTLS switched on live')).toMatch(/^0 errors in \d{3,} calls; plaintext refused by 6\/6$/);
    expect(row('one trace')).toMatch(/^fetch > gRPC > fetch: 7 spans in 4 processes$/);
    expect(row('control plane killed')).toMatch(/^SIGKILL; \d{3,} calls, 0 errors$/);
    expect(row('the whole run')).toMatch(/^\d{4} calls, 0 errors; p50 [\d.]+ ms, p99 [\d.]+ ms$/);
    expect(row('nothing left')).toBe('7 processes ended, 0 killed; 0 files left');
    expectNothingLeft(run);
    expect(seconds).toBeLessThan(35);
  });

  test('Ctrl+C while it starts ends everything', { timeout: MINUTE }, async () => {
    const run = start();
    await untilSaid(run, 'users');
    await expect.poll(() => processesOf(run.folder).length, { timeout: 10_000, interval: 50 }).toBe(8);
    run.child.kill('SIGINT');
    expect(await run.ended).toEqual({ code: 130, signal: null });
    expect(run.err()).toBe('inmesh demo: interrupted; all processes ended\n');
    expectNothingLeft(run);
  });

  test('a service that is lost fails it: exit code 1, the reason, nothing left', { timeout: MINUTE }, async () => {
    const run = start();
    await untilSaid(run, '90/10 split');
    const stock = processesOf(run.folder).find(({ args }) => args.endsWith(' stock'));
    expect(stock).toBeDefined();
    process.kill(stock?.pid ?? 0, 'SIGKILL');
    expect(await run.ended).toEqual({ code: 1, signal: null });
    expect(run.err()).toContain('stock ended with SIGKILL');
    expectNothingLeft(run);
  });

  test('killed itself, its processes end and take the folder with them', { timeout: MINUTE }, async () => {
    const run = start();
    await untilSaid(run, '90/10 split');
    run.child.kill('SIGKILL');
    await run.ended;
    await expect.poll(() => processesOf(run.folder), { timeout: 10_000, interval: 50 }).toEqual([]);
    expect(readdirSync(run.folder)).toEqual([]);
  });

  test('it takes no arguments', async () => {
    const run = start(['--fast']);
    expect(await run.ended).toEqual({ code: 2, signal: null });
    expect(run.err()).toContain('--fast');
    expectNothingLeft(run);
  });
});

describe('its parts', () => {
  test.each(['off', 'accept', 'use', 'strict'] as const)('mesh.yaml with mTLS %s is valid', (mtls) => {
    const names = ['web', 'cart', 'stock', 'prices-v1', 'prices-v2a'] as const;
    const ports = names.map((name, index) => ({
      name,
      role: name.startsWith('prices') ? ('prices' as const) : (name as 'web' | 'cart' | 'stock'),
      port: 20_000 + index,
    }));
    const loaded = loadMeshYaml(meshFile({ ports, split: [90, 10], mtls }), 'mesh.yaml', {
      certificates: { kind: 'provider', instance: 'inmesh' },
    });
    expect(loaded).toMatchObject({ ok: true });
  });

  test('the bound of a split lets chance through, and nothing else', () => {
    const bound = binomialBound(600, 0.1);
    expect(bound.low).toBeCloseTo(0.051, 3);
    expect(bound.high).toBeCloseTo(0.149, 3);
    expect([0.1, 0.06, 0.14].every((share) => within(share, bound))).toBe(true);
    expect([0, 0.04, 0.16, 0.5].some((share) => within(share, bound))).toBe(false);
    expect(percentile([3, 1, 2, 4], 0.5)).toBe(2);
    expect(percentile([3, 1, 2, 4], 0.99)).toBe(4);
  });

  test.each([
    { what: 'a terminal', stream: { isTTY: true, columns: 80 }, env: {}, live: true, colour: true, unicode: true },
    { what: 'a pipe', stream: {}, env: {}, live: false, colour: false, unicode: false },
    { what: 'NO_COLOR', stream: { isTTY: true, columns: 100 }, env: { NO_COLOR: '1' }, live: true, colour: false, unicode: true },
    { what: 'a dumb terminal', stream: { isTTY: true, columns: 80 }, env: { TERM: 'dumb' }, live: false, colour: false, unicode: false },
    { what: 'a narrow terminal', stream: { isTTY: true, columns: 60 }, env: {}, live: false, colour: true, unicode: true },
    {
      what: 'a terminal without UTF-8',
      stream: { isTTY: true, columns: 80 },
      env: { LANG: 'C' },
      live: true,
      colour: true,
      unicode: false,
    },
  ])('the screen on $what', ({ stream, env, live, colour, unicode }) => {
    let written = '';
    const screen = new Screen(screenOptions(stream, env, (text) => (written += text)));
    screen.live('10 calls');
    screen.live('20 calls');
    screen.line(screen.paint('good', 'done') + screen.bar(0.5, 2));
    expect(written.includes('20 calls')).toBe(live);
    expect(written.includes('\r')).toBe(live);
    expect(written.includes('\u001b[32m')).toBe(colour);
    expect(/[\u2580-\u259f]/.test(written)).toBe(unicode);
    expect(written.endsWith('\n')).toBe(true);
    if (!live && !colour) expect(written).toBe('done#=\n');
  });
});
