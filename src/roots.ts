/**
 * Which configuration a request gets: keeps one root per listener in use, resolves and compiles them when the source changes, and
 * finds the route tables for an authority. The naming rules themselves belong to the source (`ConfigSource.candidates`).
 */
import type { ListenerConfig } from './config/listener.ts';
import { KeySet } from './config/key-set.ts';
import type { Changes, ConfigSource, ResourceKey } from './config/resource.ts';
import { managersOf, refresh, resolve } from './config/resolve.ts';
import type { Snapshot } from './config/snapshot.ts';
import type { OutboundTarget } from './core/target.ts';
import type { Clusters } from './cluster/clusters.ts';
import { splitAuthority } from './matching/host-patterns.ts';
import { ClusterChanges } from './cluster-changes.ts';
import type { PlanDeps, RootPlan } from './plan.ts';
import { compile } from './plan.ts';
import type { RouteMatcher } from './routing/route-table.ts';

export interface Root {
  readonly name: string;
  status: 'waiting' | 'ready' | 'failed';
  /** Kept from the last complete configuration, also while a newer one is incomplete or broken. */
  plan: RootPlan | undefined;
  /** What the plan serves, with the endpoints of now. */
  snapshot: Snapshot | undefined;
  reason: string;
  missing: readonly ResourceKey[];
  /** True while the first configuration serves without clusters that are still awaited. */
  partial: boolean;
  /** True while an older snapshot serves because a newer one is incomplete. */
  old: boolean;
  /** Asked for by name, so never forgotten; others came with the hosts of calls. */
  pinned: boolean;
  /** Time of the clock when a call last began or ended to wait for it. */
  awaitedAt: number;
}

interface Live {
  readonly root: Root;
  readonly snapshot: Snapshot;
  readonly status: 'waiting' | 'ready';
}

export type Lookup =
  | { readonly status: 'ready'; readonly tables: readonly RouteMatcher<OutboundTarget>[]; readonly listener: string }
  | { readonly status: 'failed'; readonly reason: string }
  | { readonly status: 'waiting'; readonly asked: readonly string[] };

export interface RootsOptions {
  readonly asked?: Asked;
  /** Resources that are wanted whatever the roots need (layers of the runtime). */
  readonly always?: readonly ResourceKey[];
  /** Milliseconds that a call waits for a listener. */
  readonly startTimeoutMs?: number;
}

/**
 * Beyond this number, listeners that do not exist are forgotten, and such as no call waits for any more (an application that calls whatever
 * hosts it is given may meet any number, and in an outage of the control plane nobody says that one does not exist).
 */
const MAX_ROOTS = 1000;
const MAX_LOOKUPS = 10_000;
const MAX_ASKED = 1000;

/** Authorities that were asked about, the newest last; the value says whether routes were looked up for it. At most 1000. */
export class Asked implements Iterable<readonly [authority: string, lookedUp: boolean]> {
  readonly #entries = new Map<string, boolean>();

  add(authority: string, lookedUp: boolean): void {
    const before = this.#entries.get(authority) ?? false;
    this.#entries.delete(authority);
    this.#entries.set(authority, before || lookedUp);
    if (this.#entries.size <= MAX_ASKED) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      return;
    }
  }

  [Symbol.iterator](): Iterator<readonly [string, boolean]> {
    return this.#entries.entries();
  }
}

export class Roots {
  readonly #source: ConfigSource;
  readonly #clusters: Clusters;
  readonly #plan: PlanDeps;
  readonly #onChange: () => void;
  readonly #asked: Asked;
  readonly #roots = new Map<string, Root>();
  #lookups = new Map<string, Lookup>();
  readonly #changes: ClusterChanges;
  #wanted = new KeySet();
  readonly #always: readonly ResourceKey[];
  readonly #patienceMs: number;
  /** The listeners that the source had by itself when lookups were last forgotten. */
  #listed: readonly unknown[] = [];
  #complete = false;

  constructor(source: ConfigSource, clusters: Clusters, plan: PlanDeps, onChange: () => void, options: RootsOptions = {}) {
    const { asked = new Asked(), always = [], startTimeoutMs = 15_000 } = options;
    this.#always = always;
    this.#patienceMs = startTimeoutMs;
    this.#source = source;
    this.#clusters = clusters;
    this.#plan = plan;
    this.#onChange = onChange;
    this.#asked = asked;
    this.#changes = new ClusterChanges({ source, clusters, demands: plan.demands });
  }

  values(): Iterable<Root> {
    return this.#roots.values();
  }

  /** Starts to follow a listener; a source that answers at once has it ready on return. */
  demand(name: string, pinned = true): Root {
    const known = this.#roots.get(name);
    if (known !== undefined) {
      known.pinned ||= pinned;
      known.awaitedAt = this.#now();
      return known;
    }
    if (this.#roots.size >= MAX_ROOTS) this.#forget();
    const root: Root = {
      name,
      status: 'waiting',
      plan: undefined,
      snapshot: undefined,
      reason: '',
      missing: [],
      partial: false,
      old: false,
      pinned,
      awaitedAt: this.#now(),
    };
    this.#roots.set(name, root);
    this.sync();
    return root;
  }

  /** The route tables for an authority; remembered until something changes. */
  lookup(authority: string): Lookup {
    let found = this.#lookups.get(authority);
    if (found === undefined) {
      this.#asked.add(authority, true);
      found = this.#find(authority, (name) => this.demand(name, false));
      if (this.#lookups.size >= MAX_LOOKUPS) this.#lookups.clear();
      // Who waits looks again, so that what it waits for is not forgotten.
      if (found.status !== 'waiting') this.#lookups.set(authority, found);
    }
    return found;
  }

  /** What `lookup` would say, of what was asked for already. */
  explain(authority: string): Lookup {
    return this.#find(authority, (name) => this.#roots.get(name));
  }

  /** What the listeners of an authority wait for, beside themselves. */
  awaited(authority: string): readonly string[] {
    const names = [...this.#source.candidates(authority), ...this.#socketListeners(authority)];
    const missing = names.flatMap((name) => this.#roots.get(name)?.missing ?? []);
    return missing.flatMap(({ kind, name }) => (kind === 'listener' ? [] : [`${kind} "${name}"`]));
  }

  /** Brings in what changed (undefined: anything may have). One synchronous step: no caller sees half of it. */
  sync(changes?: Changes): void {
    const change = changes === undefined ? 'walk' : this.#changes.apply(changes, this.#roots.values());
    if (change === 'walk') this.#walk();
    else if (change === 'swapped') this.#swapped();
  }

  /** Resolves every root again; swaps in what is complete. */
  #walk(): void {
    let changed = this.#relisted();
    const used = new KeySet(this.#always);
    const complete: Live[] = [];
    const kept: Live[] = [];
    const partial: Live[] = [];
    for (const root of this.#roots.values()) {
      const demand = this.#plan.demands?.of(root.name);
      const resolution = resolve(root.name, this.#source, demand, root.snapshot);
      for (const key of resolution.used) used.add(key);
      const before = root.status;
      root.missing = resolution.status === 'waiting' ? resolution.missing : [];
      root.old = false;
      if (resolution.status === 'complete') {
        complete.push({ root, snapshot: resolution.snapshot, status: 'ready' });
        continue;
      }
      if (resolution.status === 'failed') {
        // The last good configuration goes only when the source says that the listener is gone.
        if (root.plan !== undefined || root.reason !== resolution.reason) changed = true;
        root.status = 'failed';
        root.reason = resolution.reason;
        root.plan = undefined;
        root.snapshot = undefined;
        root.partial = false;
      } else if ((root.snapshot === undefined || root.partial) && resolution.partial !== undefined) {
        partial.push({ root, snapshot: resolution.partial, status: 'waiting' });
      } else if (root.snapshot === undefined) {
        root.status = 'waiting';
      } else {
        const refreshed = refresh(root.snapshot, this.#source, demand);
        for (const key of refreshed.used) used.add(key);
        root.old = true;
        kept.push({ root, snapshot: refreshed.snapshot, status: root.partial ? 'waiting' : 'ready' });
      }
      changed ||= before !== root.status;
    }
    // Clusters first, so that no route leads to one that does not run. What is kept comes before what is new: a shared cluster is as new.
    const live = [...kept, ...partial, ...complete];
    this.#clusters.reconcile(live.map(({ snapshot }) => snapshot));
    for (const { root, snapshot, status } of live) {
      const plan = compile(snapshot, root.plan, this.#plan);
      changed ||= plan !== root.plan || root.status !== status;
      root.plan = plan;
      root.snapshot = snapshot;
      root.partial = status === 'waiting';
      root.status = status;
      root.reason = '';
      this.#plan.demands?.settle(root.name, snapshot);
    }
    this.#changes.index(live.map(({ snapshot }) => snapshot));
    if (!used.equals(this.#wanted)) {
      this.#wanted = used;
      this.#source.want([...used]);
    }
    if (changed) this.#swapped();
  }

  #swapped(): void {
    this.#lookups = new Map();
    this.#onChange();
  }

  /** Whether the source has other listeners by itself than before: they may serve hosts whose look-up is remembered. */
  #relisted(): boolean {
    const listed = this.#source.listeners().map((name): unknown => {
      const state = this.#source.get('listener', name);
      return state.status === 'present' ? state.value : name;
    });
    // They are listed, too: a server on such an address is not served.
    for (const { host, port } of this.#source.refusedInbound?.() ?? []) listed.push(`refused ${host} ${port}`);
    const complete = this.#source.allListed?.() ?? true;
    const same = listed.length === this.#listed.length && listed.every((value, index) => value === this.#listed[index]);
    if (same && complete === this.#complete) return false;
    this.#listed = listed;
    this.#complete = complete;
    return true;
  }

  /** Half of the room, the oldest first; a host that is called again is asked for again. */
  #forget(): void {
    const since = this.#now() - this.#patienceMs;
    for (const status of ['failed', 'waiting'] as const) {
      for (const [name, root] of this.#roots) {
        if (this.#roots.size <= MAX_ROOTS / 2) return;
        if (root.status !== status || root.pinned || root.plan !== undefined) continue;
        if (status === 'failed' || root.awaitedAt < since) this.#roots.delete(name);
      }
    }
  }

  #now(): number {
    return this.#plan.deps.clock.now();
  }

  #find(authority: string, rootOf: (name: string) => Root | undefined): Lookup {
    const asked = [...this.#source.candidates(authority), ...this.#socketListeners(authority)];
    const reasons: string[] = [];
    let waiting = false;
    for (const name of asked) {
      const root = rootOf(name);
      if (root === undefined) continue;
      if (root.plan !== undefined) {
        const tables = tablesOf(root.plan);
        if (tables.length > 0) return { status: 'ready', tables, listener: name };
        reasons.push(problemOf(root.plan));
      } else if (root.status === 'failed') {
        reasons.push(root.reason);
      } else {
        waiting = true;
      }
    }
    if (waiting) return { status: 'waiting', asked };
    return { status: 'failed', reason: reasons.length === 0 ? `no listener is configured for "${authority}"` : reasons.join('; ') };
  }

  /** The sidecar view: outbound socket listeners on the request's port (Envoy and Istio: `0.0.0.0_80`). */
  #socketListeners(authority: string): readonly string[] {
    const port = Number(splitAuthority(authority).port || '80');
    return this.#source.listeners().filter((name) => {
      const state = this.#source.get('listener', name);
      return state.status === 'present' && isOutboundSocket(state.value, port);
    });
  }
}

function isOutboundSocket(listener: ListenerConfig, port: number): boolean {
  return listener.api === undefined && listener.address?.port === port && listener.direction !== 'inbound';
}

function tablesOf(plan: RootPlan): readonly RouteMatcher<OutboundTarget>[] {
  return managersOf(plan.snapshot.listener).flatMap((manager) => {
    const routed = plan.outbound(manager);
    return routed?.ok === true ? [routed.table] : [];
  });
}

function problemOf(plan: RootPlan): string {
  for (const manager of managersOf(plan.snapshot.listener)) {
    const routed = plan.outbound(manager);
    if (routed?.ok === false) return routed.reason;
  }
  return `listener "${plan.snapshot.root}" has no HTTP routes`;
}
