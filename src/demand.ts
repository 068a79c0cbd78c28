/**
 * What calls have asked for by themselves, root by root: clusters, routes of scopes, virtual hosts (Envoy ). Remembered
 * while it is used, bounded, forgotten when idle. Resolving and compiling it belongs to `roots.ts` and `plan.ts`.
 */
import type { ConfigSourceConfig } from './config/config-source.ts';
import type { Demand, DemandedCluster, DemandedHost } from './config/demand.ts';
import { clustersOfHost } from './config/on-demand.ts';
import type { ResourceState } from './config/resource.ts';
import type { VirtualHostConfig } from './config/routes.ts';
import type { Snapshot } from './config/snapshot.ts';
import { baseOf, belongsTo } from './config/vhds.ts';
import type { Alarm, Clock, Timer } from './core/clock.ts';

/** Names that are remembered at most: the application chooses many of them. */
export const MAX_DEMANDED = 1000;
/** Milliseconds after which a name that no call uses is given up. Envoy never gives one up. */
export const IDLE_MS = 600_000;
const SWEEPS = 4;

class Entry implements DemandedCluster, DemandedHost {
  readonly kind: 'clusters' | 'hosts';
  readonly root: string;
  readonly name: string;
  readonly source: ConfigSourceConfig | undefined;
  readonly byHeader: boolean;
  readonly routeConfig: string;
  settled = false;
  /** What `useOf` said last, and when that was last different. */
  use: number | undefined = undefined;
  usedAt: number;

  constructor(kind: Entry['kind'], root: string, wanted: Omit<DemandedHost & DemandedCluster, 'settled'>, now: number) {
    this.kind = kind;
    this.root = root;
    this.name = wanted.name;
    this.source = wanted.source;
    this.byHeader = wanted.byHeader;
    this.routeConfig = wanted.routeConfig;
    this.usedAt = now;
  }
}

class RootDemand implements Demand {
  readonly lazy: boolean;
  readonly clusters = new Map<string, Entry>();
  readonly hosts = new Map<string, Entry>();
  readonly scopes = new Map<string, { settled: boolean }>();

  constructor(lazy: boolean) {
    this.lazy = lazy;
  }
}

export interface DemandsOptions {
  readonly clock: Clock;
  /** Subscription on demand, for all roots. */
  readonly lazy: boolean;
  /** Differs from the last time when the cluster was used meanwhile; NaN while it is. Undefined: it is not there. */
  readonly useOf: (clusterName: string) => number | undefined;
  /** What the source knows of a virtual host. */
  readonly hostOf: (name: string, source: ConfigSourceConfig | undefined) => ResourceState<VirtualHostConfig>;
  /** The demand of a root has changed, by a call or by forgetting. */
  readonly changed: () => void;
}

export class Demands implements Alarm {
  readonly #options: DemandsOptions;
  readonly #roots = new Map<string, RootDemand>();
  readonly #none: RootDemand;
  /** Hosts that the source has not answered for yet. */
  readonly #unanswered = new Set<Entry>();
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

  /** A call needs this cluster. Asked for already: without effect but for its age. True: the source may have answered at once. */
  cluster(root: string, wanted: Omit<DemandedCluster, 'settled'>): boolean {
    return this.#want('clusters', root, { ...wanted, routeConfig: '' });
  }

  /** A call needs this virtual host. */
  host(root: string, wanted: Omit<DemandedHost, 'settled'>): boolean {
    return this.#want('hosts', root, { ...wanted, byHeader: false });
  }

  /** What is known of a virtual host; undefined: no call has asked for it. */
  hostState(root: string, { name, source }: Omit<DemandedHost, 'settled'>): ResourceState<VirtualHostConfig> | undefined {
    return this.#roots.get(root)?.hosts.has(name) === true ? this.#options.hostOf(name, source) : undefined;
  }

  /** Whether the source has answered for hosts since the last time: one that does not exist changes no plan, but calls wait for it. */
  answered(): boolean {
    let answered = false;
    for (const entry of this.#unanswered) {
      if (this.#options.hostOf(entry.name, entry.source).status === 'waiting') continue;
      this.#unanswered.delete(entry);
      answered = true;
    }
    return answered;
  }

  /** A call needs the routes of this scope. There are as many as the control plane names, so they are kept until it names them no more. */
  scope(root: string, name: string): boolean {
    if (this.#closed) return false;
    const { scopes } = this.#root(root);
    if (scopes.has(name)) return false;
    scopes.set(name, { settled: false });
    this.#options.changed();
    return true;
  }

  /** Notes what is there: from now on updates wait for it. Scopes and hosts that the configuration has no place for are forgotten. */
  settle(root: string, snapshot: Snapshot): void {
    const demand = this.#roots.get(root);
    if (demand === undefined) return;
    for (const entry of demand.clusters.values()) if (snapshot.clusters.get(entry.name)?.ok === true) entry.settled = true;
    const scopes = [...(snapshot.scopes?.values() ?? [])].flatMap((resolved) => (resolved.ok ? resolved.scopes : []));
    if (demand.scopes.size > 0) {
      const there = new Map(scopes.map(({ scope, routes }) => [scope.name, routes]));
      for (const [name, scope] of demand.scopes) {
        if (there.get(name)?.ok === true) scope.settled = true;
        else if (!there.has(name)) demand.scopes.delete(name);
      }
    }
    if (demand.hosts.size === 0) return;
    const routes = [...snapshot.routes.values(), ...scopes.flatMap((scope) => scope.routes ?? [])];
    const configs = routes.flatMap((resolved) => (resolved.ok ? [baseOf(resolved.config)] : []));
    for (const entry of demand.hosts.values()) {
      if (!configs.some((config) => belongsTo(entry, config))) this.#forget(entry);
      else if (this.#options.hostOf(entry.name, entry.source).status === 'present') entry.settled = true;
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

  #want(kind: Entry['kind'], root: string, wanted: Omit<DemandedHost & DemandedCluster, 'settled'>): boolean {
    if (this.#closed) return false;
    const now = this.#options.clock.now();
    const known = this.#root(root)[kind].get(wanted.name);
    if (known !== undefined) {
      known.usedAt = now;
      return false;
    }
    if (this.#count >= MAX_DEMANDED) this.#makeRoom();
    const entry = new Entry(kind, root, wanted, now);
    this.#root(root)[kind].set(wanted.name, entry);
    this.#count++;
    if (kind === 'hosts') this.#unanswered.add(entry);
    this.#arm();
    this.#options.changed();
    this.answered();
    return true;
  }

  *#entries(): Iterable<Entry> {
    for (const { clusters, hosts } of this.#roots.values()) {
      yield* clusters.values();
      yield* hosts.values();
    }
  }

  /** Calls leave no mark of their own: a target that is in use costs them nothing. */
  #look(entry: Entry): void {
    const use = entry.kind === 'clusters' ? this.#options.useOf(entry.name) : this.#useOfHost(entry);
    if (use === entry.use) return;
    entry.use = use;
    entry.usedAt = this.#options.clock.now();
  }

  /** A virtual host is used when one of the clusters is that its routes lead to. */
  #useOfHost(entry: Entry): number | undefined {
    const state = this.#options.hostOf(entry.name, entry.source);
    if (state.status !== 'present') return undefined;
    let use: number | undefined;
    for (const name of clustersOfHost(state.value)) {
      const own = this.#options.useOf(name);
      if (own !== undefined) use = (use ?? 0) + own;
    }
    return use;
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
    if (demand?.[entry.kind].delete(entry.name) !== true) return;
    this.#count--;
    this.#unanswered.delete(entry);
    if (demand.clusters.size + demand.hosts.size + demand.scopes.size === 0) this.#roots.delete(entry.root);
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
