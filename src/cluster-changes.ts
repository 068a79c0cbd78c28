/**
 * A change of clusters or endpoints brought into the roots that have them, at a cost that does not depend on how many others there are.
 * Whatever could change what is asked for, or which plan may be served, is left to the whole walk (`roots.ts`).
 */
import type { ClusterConfig } from './config/cluster.ts';
import { resolveCluster } from './config/resolve.ts';
import type { ConfigSource, ResourceKey } from './config/resource.ts';
import type { ResolvedCluster, Snapshot } from './config/snapshot.ts';
import type { Clusters } from './cluster/clusters.ts';
import type { Demands } from './demand.ts';
import { sameForStacks } from './plan.ts';
import type { Root } from './roots.ts';

type Served = Extract<ResolvedCluster, { ok: true }>;

/** Names of clusters, and whether the cluster itself changed, not only its endpoints. */
type Affected = ReadonlyMap<string, boolean>;

interface Step {
  readonly root: Root;
  readonly snapshot: Snapshot;
  readonly name: string;
  readonly before: ResolvedCluster;
  readonly now: Served;
}

/** `walk`: the whole walk has to be done. `swapped`: plans changed. `done`: at most endpoints did. */
export type ClusterChange = 'walk' | 'swapped' | 'done';

export interface ClusterChangesOptions {
  readonly source: ConfigSource;
  readonly clusters: Clusters;
  readonly demands: Demands | undefined;
}

export class ClusterChanges {
  readonly #options: ClusterChangesOptions;
  /** The clusters of an assignment, where it has not the name of its only cluster. */
  readonly #byAssignment = new Map<string, string[]>();

  constructor(options: ClusterChangesOptions) {
    this.#options = options;
  }

  /** After a whole walk. */
  index(snapshots: Iterable<Snapshot>): void {
    this.#byAssignment.clear();
    for (const { clusters } of snapshots) {
      for (const [name, resolved] of clusters) {
        const config = resolved.ok ? resolved.config : resolved.waiting === true ? this.#present(name) : undefined;
        if (config?.discovery.kind !== 'eds' || config.discovery.serviceName === name) continue;
        const { serviceName } = config.discovery;
        const names = this.#byAssignment.get(serviceName);
        if (names === undefined) this.#byAssignment.set(serviceName, [name]);
        else if (!names.includes(name)) names.push(name);
      }
    }
  }

  apply(changes: readonly ResourceKey[], roots: Iterable<Root>): ClusterChange {
    const affected = this.#affected(changes);
    const steps = affected && this.#steps(affected, roots);
    if (steps === undefined) return 'walk';
    const { clusters } = this.#options;
    const stacks = new Map<Root, Set<string>>();
    const arrived = new Map<Root, Set<string>>();
    for (const { root, snapshot, name, before, now } of steps) {
      snapshot.clusters.set(name, now);
      clusters.update(name, now);
      if (!sameForStacks(before, now)) noted(stacks, root).add(name);
      if (!before.ok && now.config.discovery.kind === 'eds') noted(arrived, root).add(now.config.discovery.serviceName);
    }
    for (const [root, names] of stacks) root.plan = root.plan?.with(names);
    for (const [root, names] of arrived) {
      root.missing = root.missing.filter((key) => !names.has(key.name) || this.#awaited(key));
      if (root.missing.length > 0 || root.snapshot === undefined) continue;
      // The first configuration is complete.
      root.partial = false;
      root.status = 'ready';
      this.#options.demands?.settle(root.name, root.snapshot);
    }
    return stacks.size === 0 ? 'done' : 'swapped';
  }

  #affected(changes: readonly ResourceKey[]): Affected | undefined {
    const affected = new Map<string, boolean>();
    for (const { kind, name } of changes) {
      // Snapshots have names as they were written, changes have them in their canonical form: only `xdstp:` names can differ.
      if ((kind !== 'cluster' && kind !== 'endpoints') || name.startsWith('xdstp:')) return undefined;
      if (kind === 'cluster') affected.set(name, true);
      else for (const cluster of [name, ...(this.#byAssignment.get(name) ?? [])]) if (!affected.has(cluster)) affected.set(cluster, false);
    }
    return affected;
  }

  /** What has to be done; undefined where only the whole walk can say. */
  #steps(affected: Affected, roots: Iterable<Root>): readonly Step[] | undefined {
    const steps: Step[] = [];
    const resolved = new Map<string, ResolvedCluster | undefined>();
    for (const root of roots) {
      const { snapshot, missing, old } = root;
      if (snapshot === undefined) {
        // One that waits for more than its listener may wait for one of these.
        if (missing.some(({ kind }) => kind !== 'listener')) return undefined;
        continue;
      }
      // What the new one waits for is not in the old one.
      if (old) return undefined;
      const demanded = this.#options.demands?.of(root.name).clusters;
      for (const name of demanded?.keys() ?? []) if (!snapshot.clusters.has(name)) return undefined;
      for (const name of affected.size <= snapshot.clusters.size ? affected.keys() : snapshot.clusters.keys()) {
        const configured = affected.get(name);
        const before = snapshot.clusters.get(name);
        if (configured === undefined || before === undefined) continue;
        if (demanded?.get(name)?.source !== undefined) return undefined;
        if (!resolved.has(name)) resolved.set(name, resolveCluster(name, this.#options.source));
        const now = resolved.get(name);
        if (now === undefined && isWaiting(before) && !configured) continue;
        if (now?.ok !== true || !sameKeys(before, now, configured)) return undefined;
        if (!sameServed(before, now)) steps.push({ root, snapshot, name, before, now });
      }
    }
    return steps;
  }

  #present(name: string): ClusterConfig | undefined {
    const state = this.#options.source.get('cluster', name);
    return state.status === 'present' ? state.value : undefined;
  }

  #awaited({ kind, name, source }: ResourceKey): boolean {
    return this.#options.source.get(kind, name, source).status === 'waiting';
  }
}

function noted(map: Map<Root, Set<string>>, root: Root): Set<string> {
  let names = map.get(root);
  if (names === undefined) map.set(root, (names = new Set<string>()));
  return names;
}

function isWaiting(resolved: ResolvedCluster): boolean {
  return !resolved.ok && resolved.waiting === true;
}

function sameServed(before: ResolvedCluster, now: Served): boolean {
  return before.ok && before.config === now.config && before.endpoints === now.endpoints && before.note === now.note;
}

/** Whether the cluster takes the same resources as before. */
function sameKeys(before: ResolvedCluster, { config }: Served, configured: boolean): boolean {
  if (!before.ok) return isWaiting(before) && !configured;
  if (before.config === config) return true;
  if (before.config.tls !== config.tls || before.config.sockets !== config.sockets) return false;
  const [a, b] = [before.config.discovery, config.discovery];
  if (a.kind !== 'eds' || b.kind !== 'eds') return a.kind === b.kind;
  return a.serviceName === b.serviceName && a.source?.id === b.source?.id;
}
