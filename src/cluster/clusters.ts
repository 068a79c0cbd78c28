/**
 * Reconciles what the snapshots of all roots say about clusters with the clusters that live. Clusters are shared between roots by name, and
 * made when something first needs them: of ten thousand that are configured, a process calls a few.
 */
import type { ClusterConfig } from '../config/cluster.ts';
import type { ResolvedCluster, Snapshot } from '../config/snapshot.ts';
import type { ClusterDeps } from './cluster.ts';
import { MeshCluster } from './cluster.ts';

type Configured = Extract<ResolvedCluster, { ok: true }>;

const NONE: ReadonlyMap<string, ResolvedCluster> = new Map();

export class Clusters {
  readonly #deps: ClusterDeps;
  /** What is configured now. With one root that is the map of its snapshot itself, else one of our own. */
  #configured = NONE;
  #merged: Map<string, ResolvedCluster> | undefined;
  readonly #living = new Map<string, MeshCluster>();
  readonly #leaving = new Map<MeshCluster, Promise<void>>();
  /** Parts of TLS configurations whose sources were opened. */
  readonly #opened = new WeakSet<object>();

  constructor(deps: ClusterDeps) {
    this.#deps = deps;
  }

  /** The cluster of this name, made if it is configured and was not needed before. */
  get(name: string): MeshCluster | undefined {
    const living = this.#living.get(name);
    if (living !== undefined) return living;
    const resolved = this.#configured.get(name);
    if (resolved?.ok !== true) return undefined;
    const made = this.#make(resolved);
    this.#living.set(name, made);
    return made;
  }

  /** Only a cluster that was needed before. */
  living(name: string): MeshCluster | undefined {
    return this.#living.get(name);
  }

  /** The clusters that were needed so far and are configured. */
  values(): Iterable<MeshCluster> {
    return this.#living.values();
  }

  /** The names of all that are configured. */
  names(): readonly string[] {
    return Array.from(this.#configured).flatMap(([name, resolved]) => (resolved.ok ? [name] : []));
  }

  /** Shows every configured cluster; one that nobody needed yet is made for that moment only. */
  look<T>(show: (cluster: MeshCluster) => T): readonly T[] {
    const shown: T[] = [];
    for (const [name, resolved] of this.#configured) {
      const living = this.#living.get(name);
      if (living !== undefined) {
        shown.push(show(living));
      } else if (resolved.ok) {
        const made = this.#make(resolved);
        shown.push(show(made));
        void made.close();
      }
    }
    return shown;
  }

  /**
   * Known clusters are updated in place, unnamed ones closed once their calls have ended. Where snapshots differ, the later one counts; a
   * cluster that one of them has is kept though another has it not.
   */
  reconcile(snapshots: readonly Snapshot[]): void {
    const [only] = snapshots;
    this.#merged = snapshots.length === 1 ? undefined : merge(snapshots);
    this.#configured = this.#merged ?? only?.clusters ?? NONE;
    for (const resolved of this.#configured.values()) {
      if (!resolved.ok) continue;
      this.#open(resolved.config.tls);
      for (const { tls } of resolved.config.sockets ?? []) this.#open(tls);
    }
    for (const [name, cluster] of this.#living) {
      const resolved = this.#configured.get(name);
      if (resolved?.ok === true) {
        update(cluster, resolved);
        continue;
      }
      this.#living.delete(name);
      this.#leave(cluster);
    }
  }

  /** One cluster is as it says now, in every snapshot that has it; all others are as they were. */
  update(name: string, resolved: Configured): void {
    this.#merged?.set(name, resolved);
    const living = this.#living.get(name);
    if (living !== undefined) update(living, resolved);
  }

  /** Lets running attempts end, then closes every cluster. */
  async close(): Promise<void> {
    for (const cluster of this.#living.values()) this.#leave(cluster);
    this.#living.clear();
    this.#configured = NONE;
    this.#merged = undefined;
    await Promise.all(this.#leaving.values());
  }

  /** Ends running attempts at once, also those of clusters that are no longer configured. */
  destroy(error: Error): void {
    for (const cluster of this.#living.values()) cluster.destroy(error);
    for (const cluster of this.#leaving.keys()) cluster.destroy(error);
  }

  #make(resolved: Configured): MeshCluster {
    const cluster = new MeshCluster(resolved.config, this.#deps);
    cluster.assign(resolved.endpoints, resolved.note);
    return cluster;
  }

  /** Files are read and watched, and what is wrong with them is said, when the configuration comes: not with the first call. */
  #open(tls: ClusterConfig['tls']): void {
    if (tls === undefined) return;
    const parts = [tls.identity ?? tls, tls.roots ?? tls];
    if (parts.every((part) => this.#opened.has(part))) return;
    for (const part of parts) this.#opened.add(part);
    this.#deps.security(tls);
  }

  #leave(cluster: MeshCluster): void {
    const left = cluster.close().finally(() => this.#leaving.delete(cluster));
    this.#leaving.set(cluster, left);
  }
}

function update(cluster: MeshCluster, resolved: Configured): void {
  cluster.configure(resolved.config);
  cluster.assign(resolved.endpoints, resolved.note);
}

function merge(snapshots: readonly Snapshot[]): Map<string, ResolvedCluster> {
  const merged = new Map<string, ResolvedCluster>();
  for (const { clusters } of snapshots)
    for (const [name, resolved] of clusters) if (resolved.ok || !merged.has(name)) merged.set(name, resolved);
  return merged;
}
