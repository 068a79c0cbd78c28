/** One random run: a mesh on a fuzzed control plane, a model beside it that knows the rules of the cache and nothing else, and what must hold. */
import { expect } from 'vitest';
import { LB_POLICIES } from '../../../src/balancing/registry.ts';
import type { Changes, ConfigSource, ResourceKey } from '../../../src/config/resource.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { FILTERS } from '../../../src/filters/registry.ts';
import { hostPatterns } from '../../../src/matching/host-patterns.ts';
import { MeshEngine } from '../../../src/mesh.ts';
import type { TlsSupply } from '../../../src/mesh.ts';
import { Telemetry } from '../../../src/telemetry/telemetry.ts';
import { FakeClock, settle } from '../../../src/testing/fake-clock.ts';
import { SeededRandom } from '../../../src/testing/seeded-random.ts';
import { XdsClient } from '../../../src/xds/client.ts';
import { RESOURCE_TYPES } from '../../../src/xds/resource-types.ts';
import { SERVER, bootstrap } from '../../unit/xds/fake-control-plane.ts';
import { FuzzServer } from './server.ts';
import type { Damage, Response } from './server.ts';
import { KINDS, NAMES, textOf } from './world.ts';
import type { FuzzedKind, Text } from './world.ts';

const NO_TLS: TlsSupply = {
  client: () => {
    throw new Error('no TLS here');
  },
  server: () => {
    throw new Error('no TLS here');
  },
  close: () => undefined,
};

const idOf = ({ kind, name }: ResourceKey): string => `${kind} ${name}`;

export class Script {
  readonly server: FuzzServer;
  readonly #random: SeededRandom;
  readonly #clock = new FakeClock();
  readonly #client: XdsClient;
  readonly #engine: MeshEngine;
  readonly #failOnDataErrors: boolean;
  /** What the cache must hold, by kind and name: only what is wanted and has a value. */
  readonly #model = new Map<string, string>();
  #wanted = new Set<string>();
  #last: Response | undefined;
  steps = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    const delta = seed % 2 === 0;
    this.#failOnDataErrors = seed % 3 === 0;
    this.server = new FuzzServer(delta);
    const features = this.#failOnDataErrors ? ['fail_on_data_errors'] : [];
    this.#client = new XdsClient({
      bootstrap: bootstrap({ servers: [{ ...SERVER, features, protocol: delta ? 'delta' : 'sotw' }] }),
      transport: () => this.server,
      types: RESOURCE_TYPES,
      decode: { filters: FILTERS, lbPolicies: LB_POLICIES },
      clock: this.#clock,
      random: this.#random,
      log: silentLogger,
      wildcard: false,
      userAgentVersion: '1',
    });
    this.#engine = new MeshEngine({
      clock: this.#clock,
      random: this.#random,
      log: silentLogger,
      telemetry: new Telemetry({ clock: this.#clock, observers: [], tracer: () => undefined, bridge: () => undefined }),
      filters: FILTERS,
      lbPolicies: LB_POLICIES,
      breakers: {},
      attemptLayers: [],
      startTimeoutMs: 15_000,
    });
    this.#engine.attach(this.#watching(this.#client), hostPatterns([...NAMES.listener]), NO_TLS);
  }

  async run(steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) await this.#step();
    await this.#heal();
    await this.#engine.close(0);
    expect(this.#clock.pending, 'timers left').toBe(0);
  }

  /** The client as the mesh sees it, with its wants on record. */
  #watching(client: XdsClient): ConfigSource {
    const wanting = (keys: readonly ResourceKey[]): void => {
      this.#wanted = new Set(keys.map(idOf));
      for (const id of this.#model.keys()) if (!this.#wanted.has(id)) this.#model.delete(id);
      client.want(keys);
    };
    return new Proxy(client, {
      get: (target, property): unknown => {
        if (property === 'want') return wanting;
        if (property === 'onChange') return (listener: (changes?: Changes) => void) => target.onChange(listener);
        const value: unknown = Reflect.get(target, property, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  }

  async #step(): Promise<void> {
    this.steps++;
    const chance = this.#random.next();
    if (chance < 0.35) this.#edit();
    else if (chance < 0.75) this.#deliver();
    else if (chance < 0.8) this.#repeat();
    else if (chance < 0.86) this.server.stream?.events.onConnected();
    else if (chance < 0.92) await this.#clock.advance(Math.floor(this.#random.next() * 4000));
    else if (chance < 0.95) await this.#cut();
    else if (chance < 0.97) this.server.reachable = !this.server.reachable;
    else await this.#clock.advance(20_000);
    await settle();
    this.#check();
  }

  #pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.#random.next() * list.length)] as T;
  }

  #text(kind: FuzzedKind, good = this.#random.next() < 0.8): Text {
    const detail = {
      listener: () => this.#pick(NAMES.routes),
      routes: () => (this.#random.next() < 0.5 ? this.#pick(NAMES.cluster) : 'c0,c1'),
      cluster: () => String(1 + Math.floor(this.#random.next() * 3)),
      endpoints: () => String(1000 + Math.floor(this.#random.next() * 5)),
    }[kind]();
    return good ? `ok:${detail}` : `bad:${detail}`;
  }

  #edit(): void {
    const kind = this.#pick(KINDS);
    const name = this.#pick(NAMES[kind]);
    this.server.set(kind, name, this.#random.next() < 0.15 ? undefined : this.#text(kind));
  }

  #deliver(): void {
    const { stream } = this.server;
    const next = stream?.queue[0];
    if (stream === undefined || next === undefined) return;
    const nack = this.#applyToModel(next);
    this.server.deliver(stream, nack);
    this.#last = next;
  }

  #repeat(): void {
    if (this.#last === undefined) return;
    const damage: Damage = this.#pick(['none', 'twice', 'junk', 'wrong-type'] as const);
    this.server.repeat(this.#last, damage);
  }

  async #cut(): Promise<void> {
    this.server.stream?.end(14);
    await this.#clock.advance(Math.floor(this.#random.next() * 3000));
  }

  /** The rules of gRFC A46 and A88, by name and text. True when the response must be refused. */
  #applyToModel({ kind, entries, removed, complete, damage }: Response): boolean {
    const asked = this.server.stream?.books(kind).asked === true;
    if (!asked) return false;
    let bad = damage === 'junk' || damage === 'wrong-type';
    const seen = new Set<string>();
    for (const [name, text] of damage === 'twice' ? [...entries, ...entries.slice(0, 1)] : entries) {
      const id = `${kind} ${name}`;
      if (!this.#wanted.has(id)) continue;
      if (seen.has(name)) bad = true;
      else if (text.startsWith('ok:')) this.#model.set(id, text.slice(3));
      else {
        bad = true;
        if (this.#failOnDataErrors) this.#model.delete(id);
      }
      seen.add(name);
    }
    const gone = complete ? NAMES[kind].filter((name) => !seen.has(name)) : removed.filter((name) => !seen.has(name));
    // A name that was added and removed at once is refused.
    if (removed.some((name) => seen.has(name) && this.#wanted.has(`${kind} ${name}`))) bad = true;
    if (this.#failOnDataErrors) for (const name of gone) this.#model.delete(`${kind} ${name}`);
    return bad;
  }

  #check(): void {
    for (const kind of KINDS) {
      for (const name of NAMES[kind]) {
        const state = this.#client.get(kind, name);
        const found = state.status === 'present' ? textOf(kind, state.value) : undefined;
        expect(found, `${kind} ${name}`).toBe(this.#model.get(`${kind} ${name}`));
      }
    }
    this.#checkRoutes();
  }

  /** No route to a cluster that is not warm: it has endpoints, or a reason why there are none. */
  #checkRoutes(): void {
    for (const root of this.#engine.roots?.values() ?? []) {
      if (root.plan === undefined) continue;
      for (const [name, resolved] of root.snapshot?.clusters ?? []) {
        if (!resolved.ok) continue;
        expect(resolved.endpoints !== undefined || resolved.note !== '', `cluster ${name} is warm`).toBe(true);
        const running = this.#engine.clusters?.get(name);
        expect(running, `cluster ${name} runs`).toBeDefined();
        expect(running?.endpoints.length ?? 0, `cluster ${name} has its endpoints`).toBe(resolved.endpoints === undefined ? 0 : 1);
      }
    }
  }

  /** Everything is mended and delivered: the mesh must be what the world says. */
  async #heal(): Promise<void> {
    this.server.reachable = true;
    // What was repeated is older than what the server believes to have sent: a new stream makes it ask again.
    this.server.stream?.end(14);
    for (const kind of KINDS) for (const name of NAMES[kind]) this.server.set(kind, name, this.#text(kind, true));
    for (let round = 0; round < 60; round++) {
      await this.#clock.advance(round < 2 ? 130_000 : 700);
      this.server.stream?.events.onConnected();
      while ((this.server.stream?.queue.length ?? 0) > 0) {
        this.#deliver();
        await settle();
        this.#check();
      }
    }
    expect(this.server.stream?.due.size, 'responses without an answer').toBe(0);
    for (const name of NAMES.listener) {
      const root = [...(this.#engine.roots?.values() ?? [])].find((candidate) => candidate.name === name);
      expect(root?.status, `listener ${name}`).toBe('ready');
      const routes = this.server.world.get(`listener ${name}`)?.slice(3) ?? '';
      const clusters = this.server.world.get(`routes ${routes}`)?.slice(3).split(',') ?? [];
      expect([...(root?.snapshot?.clusters.keys() ?? [])].sort()).toEqual([...new Set(clusters)].sort());
      for (const cluster of clusters) {
        const running = this.#engine.clusters?.get(cluster);
        const world = [this.server.world.get(`cluster ${cluster}`), this.server.world.get(`endpoints ${cluster}`)];
        expect([`ok:${Number(running?.connectTimeoutMs) / 1000}`, `ok:${running?.endpoints[0]?.port}`], cluster).toEqual(world);
      }
    }
  }
}
