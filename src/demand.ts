/**
 * What calls have asked for by themselves (clusters on demand, Envoy X-95), root by root: remembered while it is used, bounded, forgotten
 * when idle. Resolving and compiling it belongs to `roots.ts` and `plan.ts`.
 */
import type { Demand, DemandedCluster } from './config/demand.ts';
import type { ConfigSourceConfig } from './config/config-source.ts';
import type { Snapshot } from './config/snapshot.ts';
import type { Alarm, Clock, Timer } from './core/clock.ts';

/** Names that are remembered at most: the application chooses some of them (`cluster_header`). */
export const MAX_DEMANDED = 1000;
/** Milliseconds after which a name that no call uses is given up. Envoy never gives one up. */
export const IDLE_MS = 600_000;
const SWEEPS = 4;

/** Differs from the last time when the cluster was used meanwhile; NaN while it is. Undefined: it is not there. */
export type UseOf = (clusterName: string) => number | undefined;

class Entry implements DemandedCluster {
  readonly root: string;
  readonly name: string;
  readonly source: ConfigSourceConfig | undefined;
  readonly byHeader: boolean;
  settled = false;
  /** What `UseOf` said last, and when that was last different. */
  use: number | undefined = undefined;
  usedAt: number;

  constructor(root: string, name: string, source: ConfigSourceConfig | undefined, byHeader: boolean, now: number) {
    this.root = root;
    this.name = name;
    this.source = source;
    this.byHeader = byHeader;
    this.usedAt = now;
  }
}

class RootDemand implements Demand {
  readonly lazy: boolean;
  readonly clusters = new Map<string, Entry>();
  readonly scopes = new Map<string, { settled: boolean }>();

  constructor(lazy: boolean) {
    this.lazy = lazy;
  }
}

export interface DemandsOptions {
  readonly clock: Clock;
  /** Subscription on demand, for all roots. */
  readonly lazy: boolean;
  readonly useOf: UseOf;
  /** The demand of a root has changed, by a call or by forgetting. */
  readonly changed: () => void;
}

export class Demands implements Alarm {
  readonly #options: DemandsOptions;
  readonly #roots = new Map<string, RootDemand>();
  readonly #none: RootDemand;
  #count = 0;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: DemandsOptions) {
    this.#options = options;
    this.#none = new RootDemand(options.lazy);
  }

  of(root: string): Demand {
    return this.#roots.get(root) ?? this.#none;
  }

  /** A call needs this cluster. Asked for already: without effect but for its age. */
  cluster(root: string, name: string, source: ConfigSourceConfig | undefined, byHeader: boolean): void {
    if (this.#closed) return;
    const now = this.#options.clock.now();
    const demand = this.#root(root);
    const known = demand.clusters.get(name);
    if (known !== undefined) {
      known.usedAt = now;
      return;
    }
    if (this.#count >= MAX_DEMANDED) this.#makeRoom();
    demand.clusters.set(name, new Entry(root, name, source, byHeader, now));
    this.#count++;
    this.#arm();
    this.#options.changed();
  }

  /** A call needs the routes of this scope. There are as many as the control plane names, so they are kept until it names them no more. */
  scope(root: string, name: string): void {
    if (this.#closed) return;
    const { scopes } = this.#root(root);
    if (scopes.has(name)) return;
    scopes.set(name, { settled: false });
    this.#options.changed();
  }

  /** Notes what is there: from now on updates wait for it. Scopes that are gone are forgotten. */
  settle(root: string, snapshot: Snapshot): void {
    const demand = this.#roots.get(root);
    if (demand === undefined) return;
    for (const entry of demand.clusters.values())
      if (!entry.settled && snapshot.clusters.get(entry.name)?.ok === true) entry.settled = true;
    if (demand.scopes.size === 0) return;
    const there = new Map(
      [...(snapshot.scopes?.values() ?? [])].flatMap((resolved) =>
        resolved.ok ? resolved.scopes.map(({ scope, routes }) => [scope.name, routes] as const) : [],
      ),
    );
    for (const [name, scope] of demand.scopes) {
      if (there.get(name)?.ok === true) scope.settled = true;
      else if (!there.has(name)) demand.scopes.delete(name);
    }
  }

  onAlarm(): void {
    this.#timer = undefined;
    const limit = this.#options.clock.now() - IDLE_MS;
    let forgotten = false;
    for (const entry of this.#entries()) {
      this.#look(entry);
      if (entry.usedAt > limit) continue;
      this.#forget(entry);
      forgotten = true;
    }
    if (this.#count > 0) this.#arm();
    if (forgotten) this.#options.changed();
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== undefined) this.#options.clock.clear(this.#timer);
    this.#timer = undefined;
  }

  *#entries(): Iterable<Entry> {
    for (const { clusters } of this.#roots.values()) yield* clusters.values();
  }

  /** Calls leave no mark of their own: a target that is in use costs them nothing. */
  #look(entry: Entry): void {
    const use = this.#options.useOf(entry.name);
    if (use === entry.use) return;
    entry.use = use;
    entry.usedAt = this.#options.clock.now();
  }

  /** Gives up one name: rather one that does not exist, then the one that was not used for longest. */
  #makeRoom(): void {
    let victim: Entry | undefined;
    for (const entry of this.#entries()) {
      this.#look(entry);
      if (victim === undefined || (entry.settled === victim.settled ? entry.usedAt < victim.usedAt : victim.settled)) victim = entry;
    }
    if (victim !== undefined) this.#forget(victim);
  }

  #forget(entry: Entry): void {
    const demand = this.#roots.get(entry.root);
    if (demand?.clusters.delete(entry.name) !== true) return;
    this.#count--;
    if (demand.clusters.size + demand.scopes.size === 0) this.#roots.delete(entry.root);
  }

  #root(name: string): RootDemand {
    let demand = this.#roots.get(name);
    if (demand === undefined) this.#roots.set(name, (demand = new RootDemand(this.#options.lazy)));
    return demand;
  }

  #arm(): void {
    this.#timer ??= this.#options.clock.set(this, IDLE_MS / SWEEPS, true);
  }
}
