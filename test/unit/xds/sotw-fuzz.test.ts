/**
 * Random scripts against a small model: every response of a subscribed type gets exactly one ACK or NACK, with the right version,
 * nonce and names, and the cache holds what the model says.
 */
import { expect, test } from 'vitest';
import { silentLogger } from '../../../src/core/log.ts';
import type { ResourceKind } from '../../../src/config/resource.ts';
import { FakeClock, settle } from '../../../src/testing/fake-clock.ts';
import { SeededRandom } from '../../../src/testing/seeded-random.ts';
import { XdsClient } from '../../../src/xds/client.ts';
import { FakeTransport, bootstrap, fakeTypes, plain, resource } from './fake-control-plane.ts';
import type { Any } from './fake-control-plane.ts';

const KINDS = ['cluster', 'endpoints'] as const;
const NAMES = ['a', 'b', 'c', 'd'];
const TEXTS = ['1', '2', 'bad 1', 'bad 2', 'mute', 'throw'];

interface ModelType {
  wanted: string[];
  version: string;
  values: Map<string, string>;
}

class Script {
  readonly #random: SeededRandom;
  readonly #clock = new FakeClock();
  readonly #transport = new FakeTransport();
  readonly #client: XdsClient;
  readonly #model = new Map<ResourceKind, ModelType>();
  /** Responses of this stream in order, with what their replies must be. */
  #due: { kind: ResourceKind; nonce: string; version: string; nacked: boolean }[] = [];
  #last: { kind: (typeof KINDS)[number]; entries: (readonly [string, string])[] } | undefined;
  #nonce = 0;
  /** For the negative control of the test itself. */
  replies = 0;
  nacks = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    this.#client = new XdsClient({
      bootstrap: bootstrap(),
      transport: () => this.#transport,
      types: Object.values(fakeTypes()),
      decode: { filters: [], lbPolicies: [] },
      clock: this.#clock,
      random: this.#random,
      log: silentLogger,
      wildcard: false,
      userAgentVersion: '1',
    });
    for (const kind of KINDS) this.#model.set(kind, { wanted: [], version: '', values: new Map() });
  }

  async run(steps: number): Promise<void> {
    this.#want();
    for (let step = 0; step < steps; step++) {
      const chance = this.#random.next();
      if (chance < 0.25) this.#want();
      else if (chance < 0.75) this.#respond(chance < 0.4);
      else if (chance < 0.85) await this.#clock.advance(Math.floor(this.#random.next() * 3000));
      else if (chance < 0.9) await this.#break();
      else this.#transport.streams.at(-1)?.connect();
      this.#checkCache();
    }
    await this.#clock.advance(20_000);
    this.#checkStream();
    await this.#client.close();
    expect(this.#clock.pending).toBe(0);
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#random.next() * list.length)] as T;
  }

  #want(): void {
    const keys: { kind: ResourceKind; name: string }[] = [];
    for (const kind of KINDS) {
      const model = this.#of(kind);
      model.wanted = NAMES.filter(() => this.#random.next() < 0.6);
      for (const name of model.values.keys()) if (!model.wanted.includes(name)) model.values.delete(name);
      for (const name of model.wanted) keys.push({ kind, name });
    }
    this.#client.want(keys);
  }

  #of(kind: ResourceKind): ModelType {
    const model = this.#model.get(kind);
    if (model === undefined) throw new Error(kind);
    return model;
  }

  #respond(again: boolean): void {
    const stream = this.#transport.streams.at(-1);
    if (stream === undefined || stream.ended) return;
    const kind = again && this.#last !== undefined ? this.#last.kind : this.#pick(KINDS);
    const entries =
      again && this.#last !== undefined
        ? this.#last.entries.toReversed()
        : Array.from({ length: Math.floor(this.#random.next() * 5) }, () => [this.#pick(NAMES), this.#pick(TEXTS)] as const);
    this.#last = { kind, entries };
    const nonce = `n${++this.#nonce}`;
    const version = again ? `v${this.#nonce - 1}` : `v${this.#nonce}`;
    const asked = stream.sent.some((request) => plain(request).type === kind);
    if (asked) this.#due.push({ kind, nonce, version, nacked: this.#applyToModel(kind, version, entries) });
    stream.respond(
      kind,
      version,
      nonce,
      entries.map(([name, text]): Any => resource(kind, name, text)),
    );
    expect(stream.paused, 'resumed').toBe(false);
  }

  /** True when the response must be NACKed. */
  #applyToModel(kind: ResourceKind, version: string, entries: readonly (readonly [string, string])[]): boolean {
    const model = this.#of(kind);
    const seen = new Set<string>();
    let bad = false;
    for (const [name, text] of entries) {
      if (text === 'mute') bad = true;
      else if (!model.wanted.includes(name)) continue;
      else if (seen.has(name)) bad = true;
      else {
        seen.add(name);
        if (text.startsWith('bad') || text === 'throw') bad = true;
        else model.values.set(name, text);
      }
    }
    if (!bad) model.version = version;
    return bad;
  }

  async #break(): Promise<void> {
    this.#transport.streams.at(-1)?.end(14, 'gone');
    this.#checkStream(true);
    this.#due = [];
    await this.#clock.advance(130_000);
    this.#transport.streams.at(-1)?.connect();
    await settle();
  }

  #checkCache(): void {
    for (const kind of KINDS) {
      const { values } = this.#of(kind);
      for (const name of NAMES) {
        const state = this.#client.get(kind, name);
        expect(state.status === 'present' ? state.value : undefined, `${kind} ${name}`).toBe(values.get(name));
      }
    }
  }

  /** All requests of the newest stream against all its responses. `cut`: it ended, so held-back NACKs may be missing. */
  #checkStream(cut = false): void {
    const stream = this.#transport.streams.at(-1);
    if (stream === undefined) return;
    const requests = stream.sent.map(plain);
    expect(requests.map((request) => request.node !== undefined)).toEqual(requests.map((_request, index) => index === 0));
    for (const kind of KINDS) {
      const ours = requests.filter((request) => request.type === kind);
      const due = this.#due.filter((entry) => entry.kind === kind);
      const order = ['', ...due.map(({ nonce }) => nonce)];
      let at = 0;
      for (const [index, request] of ours.entries()) {
        const nonce = request.nonce ?? '';
        if (nonce === order[at]) {
          // Not an answer: the first request, or a change of names.
          expect(request.nack).toBeUndefined();
          if (index > 0) expect(new Set(request.names)).not.toEqual(new Set(ours[index - 1]?.names));
          continue;
        }
        expect(nonce, 'one answer for each response, in order').toBe(order[++at]);
        this.replies++;
        const answered = due[at - 1];
        expect(request.nack !== undefined, `NACK of ${nonce}`).toBe(answered?.nacked);
        if (answered?.nacked === false) expect(request.version).toBe(answered.version);
        else this.nacks++;
      }
      if (!cut) {
        expect(at, 'every response was answered').toBe(due.length);
        if (ours.length > 0) expect(new Set(ours.at(-1)?.names)).toEqual(new Set(this.#of(kind).wanted));
        if (ours.length > 0) expect(ours.at(-1)?.version ?? '').toBe(this.#of(kind).version);
      } else expect(at).toBeGreaterThanOrEqual(due.length - 1);
    }
  }
}

test('random responses against a model', async () => {
  let replies = 0;
  let nacks = 0;
  for (let seed = 1; seed <= 150; seed++) {
    const script = new Script(seed);
    try {
      await script.run(50);
    } catch (error) {
      if (error instanceof Error) error.message = `seed ${seed}: ${error.message}`;
      throw error;
    }
    replies += script.replies;
    nacks += script.nacks;
  }
  // The scripts do what they are for.
  expect(replies).toBeGreaterThan(1000);
  expect(nacks).toBeGreaterThan(200);
  expect(replies - nacks).toBeGreaterThan(200);
});
