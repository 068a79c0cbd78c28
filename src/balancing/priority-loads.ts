/** How much of the traffic each priority gets (Envoy 3.2, L-10, L-11): plain integer arithmetic, with truncating division as in Envoy. */

/** Hosts of one priority, by number (or by weight where `weighted_priority_health` counts weights). */
export interface PriorityCounts {
  readonly total: number;
  readonly healthy: number;
  readonly degraded: number;
  /** Not yet checked by active health checking: leave the denominators, may get panic traffic (L-2). */
  readonly excluded: number;
}

/** Percentages by priority; healthy and degraded together make 100 unless there is no host at all. */
export interface PriorityLoads {
  readonly healthy: readonly number[];
  readonly degraded: readonly number[];
  /** In panic all hosts of the priority are used, whatever their health (L-13). */
  readonly panic: readonly boolean[];
}

export function priorityLoads(levels: readonly PriorityCounts[], factor: number, threshold: number): PriorityLoads {
  const availability = (usable: number, level: PriorityCounts): number => {
    const considered = level.total - level.excluded;
    return considered <= 0 ? 0 : Math.min(100, Math.floor((factor * usable) / considered));
  };
  const healthyShare = levels.map((level) => availability(level.healthy, level));
  const degradedShare = levels.map((level) => availability(level.degraded, level));
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
  const norm = Math.min(100, sum(healthyShare) + sum(degradedShare));

  const panic = levels.map((level) => {
    const considered = level.total - level.excluded;
    const usable = considered <= 0 ? 0 : ((level.healthy + level.degraded) * 100) / considered;
    return norm !== 100 && usable < threshold;
  });
  if (levels.length > 0 && panic.every(Boolean)) return { healthy: shareByHosts(levels), degraded: levels.map(() => 0), panic };
  // Panic is switched off and nobody is healthy: the first priority gets it all, and finds no host (L-10).
  if (norm === 0) return { healthy: levels.map((_, priority) => (priority === 0 ? 100 : 0)), degraded: levels.map(() => 0), panic };

  let left = 100;
  const take = (share: number): number => {
    const load = Math.min(left, Math.floor((share * 100) / norm));
    left -= load;
    return load;
  };
  const healthy = healthyShare.map(take);
  const degraded = degradedShare.map(take);
  if (healthyShare.some((share) => share > 0)) giveFirst(healthy, healthyShare, left);
  else giveFirst(degraded, degradedShare, left);
  return { healthy, degraded, panic };
}

/** Total panic: by number of hosts, the excluded ones included (L-11). */
function shareByHosts(levels: readonly PriorityCounts[]): number[] {
  const total = levels.reduce((hosts, level) => hosts + level.total, 0);
  if (total === 0) return levels.map(() => 0);
  const loads = levels.map((level) => Math.floor((100 * level.total) / total));
  const hosts = levels.map((level) => level.total);
  giveFirst(loads, hosts, 100 - loads.reduce((given, load) => given + load, 0));
  return loads;
}

/** What integer division left over goes to the first priority that counts. */
function giveFirst(loads: number[], shares: readonly number[], left: number): void {
  const first = shares.findIndex((share) => share > 0);
  if (first >= 0) loads[first] = (loads[first] ?? 0) + left;
}
