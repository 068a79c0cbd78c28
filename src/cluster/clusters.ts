/** Reconciles what the snapshots of all roots say about clusters with the clusters that run. Clusters are shared between roots by name. */
import type { ResolvedCluster, Snapshot } from '../config/snapshot.ts';
import type { ClusterDeps } from './cluster.ts';
import { MeshCluster } from './cluster.ts';

export class Clusters {
  readonly #deps: ClusterDeps;
  readonly #running = new Map<string, MeshCluster>();
  readonly #leaving = new Map<MeshCluster, Promise<void>>();

  constructor(deps: ClusterDeps) {
    this.#deps = deps;
  }

  get(name: string): MeshCluster | undefined {
    return this.#running.get(name);
  }

  values(): Iterable<MeshCluster> {
    return this.#running.values();
  }

  /**
   * New clusters are made, known ones updated in place, unnamed ones closed once their calls have ended. Where snapshots differ, the later
   * one counts; a cluster that one of them has is kept though another has it not.
   */
  reconcile(snapshots: Iterable<Snapshot>): void {
    const named = new Map<string, ResolvedCluster>();
    for (const snapshot of snapshots)
      for (const [name, resolved] of snapshot.clusters) if (resolved.ok || !named.has(name)) named.set(name, resolved);
    for (const [name, resolved] of named) if (resolved.ok) this.#update(name, resolved);
    for (const [name, cluster] of this.#running) {
      const resolved = named.get(name);
      if (resolved?.ok === true) continue;
      this.#running.delete(name);
      this.#leave(cluster);
    }
  }

  /** Lets running attempts end, then closes every cluster. */
  async close(): Promise<void> {
    for (const cluster of this.#running.values()) this.#leave(cluster);
    this.#running.clear();
    await Promise.all(this.#leaving.values());
  }

  /** Ends running attempts at once, also those of clusters that are no longer configured. */
  destroy(error: Error): void {
    for (const cluster of this.#running.values()) cluster.destroy(error);
    for (const cluster of this.#leaving.keys()) cluster.destroy(error);
  }

  #leave(cluster: MeshCluster): void {
    const left = cluster.close().finally(() => this.#leaving.delete(cluster));
    this.#leaving.set(cluster, left);
  }

  #update(name: string, resolved: Extract<ResolvedCluster, { ok: true }>): void {
    let cluster = this.#running.get(name);
    if (cluster === undefined) {
      cluster = new MeshCluster(resolved.config, this.#deps);
      this.#running.set(name, cluster);
    } else {
      cluster.configure(resolved.config);
    }
    cluster.assign(resolved.endpoints, resolved.note);
  }
}
