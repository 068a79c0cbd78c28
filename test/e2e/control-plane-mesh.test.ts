/**
 * The whole way of an edit: `mesh.yaml` on disk → control plane → xDS → a mesh in this process, at 200 requests/s, half of the saves
 * invalid. Every valid save is in force within 100 ms of the write, every invalid one is noticed and changes nothing, and no request is
 * lost. The same without a control plane.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ControlPlane } from '../../src/control-plane/control-plane.ts';
import { silentLogger } from '../../src/core/log.ts';
import type { Mesh } from '../../src/index.ts';
import { createMesh } from '../../src/index.ts';

async function backend(name: string): Promise<number> {
  const server = createServer((_request, response) => response.end(name));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  });
  return (server.address() as AddressInfo).port;
}

const SAVES = 40;
/** After an invalid save; no valid one follows before it was noticed. */
const GAP_MS = 40;
const RATE = 200;
const LIMIT_MS = 100;
/** A save that is not noticed at all must not hang the test. */
const GIVE_UP_MS = 3000;

/** `refused` is called for each invalid save that was noticed. */
type Start = (file: string, refused: () => void) => Promise<Mesh>;

const starts: readonly (readonly [string, Start])[] = [
  [
    'without a control plane',
    (file, refused) =>
      createMesh({ config: file, logger: { ...silentLogger, warn: (message) => void (message.includes('is invalid') && refused()) } }),
  ],
  [
    'over a control plane',
    async (file, refused) => {
      const plane = await ControlPlane.start({ file, onUpdate: (update) => void (!update.ok && refused()) });
      onTestFinished(() => plane.close());
      return createMesh({ bootstrap: plane.bootstrap('app', 'app'), include: ['shop'], logger: silentLogger });
    },
  ],
];

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function until(condition: () => boolean): Promise<boolean> {
  const end = performance.now() + GIVE_UP_MS;
  while (!condition()) {
    if (performance.now() > end) return false;
    await pause(1);
  }
  return true;
}

interface Call {
  /** When it began. */
  readonly at: number;
  /** Body of its reply, or what went wrong. */
  body: string | undefined;
}

/** Open loop: calls begin when their time has come, whatever became of the others; late ticks catch up. */
class Load {
  readonly calls: Call[] = [];
  readonly #running: Promise<void>[] = [];
  readonly #mesh: Mesh;
  readonly #start = performance.now();
  readonly #ticks = setInterval(() => this.#tick(), 1000 / RATE);
  #seconds = 0;

  constructor(mesh: Mesh) {
    this.#mesh = mesh;
  }

  /** Calls begun per second. */
  get rate(): number {
    return this.calls.length / this.#seconds;
  }

  async stop(): Promise<void> {
    clearInterval(this.#ticks);
    this.#seconds ||= (performance.now() - this.#start) / 1000;
    await Promise.all(this.#running);
  }

  #tick(): void {
    const due = ((performance.now() - this.#start) / 1000) * RATE;
    while (this.calls.length < due) this.#running.push(this.#call());
  }

  async #call(): Promise<void> {
    const call: Call = { at: performance.now(), body: undefined };
    this.calls.push(call);
    try {
      const response = await this.#mesh.fetch('http://shop/');
      const body = await response.text();
      call.body = response.status === 200 ? body : `status ${response.status}: ${body}`;
    } catch (error) {
      call.body = String(error);
    }
  }
}

interface Measurement {
  /** Write to swap of each valid save, ms, sorted. */
  readonly swaps: readonly number[];
  readonly rate: number;
  /** Bodies of the calls that no endpoint of ours has answered. */
  readonly lost: readonly string[];
  readonly calls: number;
  /** Invalid saves that were. */
  readonly noticed: number;
}

interface Rig {
  readonly mesh: Mesh;
  refused(): number;
  /** Writes a valid file that sends everything to this endpoint. */
  save(version: 0 | 1): void;
  /** Another text each time, since the same twice is no news. */
  saveInvalid(): void;
}

/** Begins with endpoint 0 in force, and ends with it. */
async function measure({ mesh, refused, save, saveInvalid }: Rig): Promise<Measurement> {
  const load = new Load(mesh);
  onTestFinished(() => load.stop());
  let noticed = 0;
  const swaps: number[] = [];
  let version: 0 | 1 = 0;
  for (let number = 1; number <= SAVES; number++) {
    if (number % 2 === 1) {
      const known = refused();
      saveInvalid();
      if (await until(() => refused() > known)) noticed++;
      await pause(GAP_MS);
      continue;
    }
    version = version === 0 ? 1 : 0;
    const body = `v${version}`;
    const first = load.calls.length;
    const written = performance.now();
    save(version);
    const since = (): Call[] => load.calls.slice(first);
    const swapped = await until(() => since().some((call) => call.body === body));
    // Begun before the swap: the last request that still saw the old version.
    const last = Math.max(
      0,
      ...since()
        .filter((call) => call.body !== body && call.body !== undefined)
        .map((call) => call.at - written),
    );
    swaps.push(swapped ? last : Number.POSITIVE_INFINITY);
  }
  await load.stop();
  return {
    swaps: swaps.toSorted((a, b) => a - b),
    rate: load.rate,
    lost: load.calls.map(({ body }) => body ?? 'nothing').filter((body) => body !== 'v0' && body !== 'v1'),
    calls: load.calls.length,
    noticed,
  };
}

const share = (swaps: readonly number[]): number => swaps.filter((ms) => ms < LIMIT_MS).length / swaps.length;
const median = (swaps: readonly number[]): number => swaps[swaps.length >> 1] ?? Number.POSITIVE_INFINITY;

test.each(starts)('saves at 200 requests/s, %s', { timeout: 60_000 }, async (_name, start) => {
  const ports = [await backend('v0'), await backend('v1')];
  const yaml = (version: string): string => `version: 1
services:
  shop:
    endpoints: [${ports.map((port, index) => `{ address: "127.0.0.1:${port}", labels: { v: "${index}" } }`).join(', ')}]
    routes: [{ to: { labels: { v: "${version}" } } }]
`;
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'mesh.yaml');
  writeFileSync(file, yaml('0'));
  let refused = 0;
  const mesh = await start(file, () => refused++);
  onTestFinished(() => mesh.close({ drainMs: 0 }));
  await mesh.ready();
  // The first call loads the adapter and opens the connection; that is not what is measured here.
  expect(await (await mesh.fetch('http://shop/')).text()).toBe('v0');

  let saved = 0;
  const rig: Rig = {
    mesh,
    refused: () => refused,
    save: (version) => writeFileSync(file, yaml(String(version))),
    // No endpoint has that label.
    saveInvalid: () => writeFileSync(file, yaml(`no such ${++saved}`)),
  };
  const measurements: Measurement[] = [await measure(rig)];
  const fast = ({ swaps, rate }: Measurement): boolean => rate > 150 && share(swaps) >= 0.9 && median(swaps) < LIMIT_MS / 2;
  // A machine that is busy with something else gets a second chance to be fast, not one to lose nothing.
  if (!measurements.every(fast)) measurements.push(await measure(rig));

  for (const { lost, noticed, swaps, calls } of measurements) {
    expect(lost).toEqual([]);
    expect(noticed, 'invalid saves that were noticed').toBe(SAVES / 2);
    expect(swaps).toHaveLength(SAVES / 2);
    expect(swaps.at(-1), 'every valid save came into force').toBeLessThan(Number.POSITIVE_INFINITY);
    expect(calls).toBeGreaterThan(SAVES);
  }
  const best = measurements.find(fast) ?? measurements.at(-1);
  expect(best?.rate, 'calls per second').toBeGreaterThan(150);
  expect(
    share(best?.swaps ?? []),
    `share of the saves within ${LIMIT_MS} ms: ${best?.swaps.map(Math.round).join(' ')}`,
  ).toBeGreaterThanOrEqual(0.9);
  expect(median(best?.swaps ?? []), 'median of write to swap, ms').toBeLessThan(LIMIT_MS / 2);
});
