/** How many retries of a cluster may be under way: `max_retries`, or a share of its running requests (Envoy H-30, H-31). */
import type { ThresholdsConfig } from '../config/cluster.ts';
import type { Cluster } from '../core/endpoint.ts';

/** Where the limit stands, and the counter it is held against (`cluster.retries`). */
export interface RetryBudget {
  readonly cluster: Cluster;
  readonly thresholds: ThresholdsConfig;
}

function limitOf({ cluster, thresholds }: RetryBudget): number {
  const { retryBudget, maxRetries } = thresholds;
  if (retryBudget === undefined) return maxRetries;
  // `requests` counts attempts from admission on, so that those without a connection yet are in it already.
  return Math.max(Math.floor((retryBudget.percent / 100) * cluster.requests), retryBudget.minConcurrency);
}

/** Checks and counts in one synchronous step, so that the limit is never overshot. Whoever got true gives back with `endRetry`. */
export function beginRetry(budget: RetryBudget): boolean {
  if (!mayRetry(budget)) return false;
  budget.cluster.retries++;
  return true;
}

export function endRetry(budget: RetryBudget): void {
  budget.cluster.retries--;
}

export function mayRetry(budget: RetryBudget): boolean {
  return budget.cluster.retries < limitOf(budget);
}
