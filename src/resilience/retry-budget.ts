/**
 * How many retries of a cluster may be under way: `max_retries`, or a share of its running requests (Envoy H-30, H-31). A gRPC call knows
 * no `max_retries` (gRFC A32 takes `max_requests` alone), whose default of 3 would starve it; a budget is always asked for, so it counts.
 */
import type { ThresholdsConfig } from '../config/cluster.ts';
import type { OutboundCall } from '../core/call.ts';
import type { Cluster } from '../core/endpoint.ts';

/** Where the limit stands, and the counter it is held against (`cluster.retries`). */
export interface RetryBudget {
  readonly cluster: Cluster;
  readonly thresholds: ThresholdsConfig;
}

function limitOf({ cluster, thresholds }: RetryBudget, call: OutboundCall): number {
  const { retryBudget, maxRetries } = thresholds;
  if (retryBudget === undefined) return call.head.protocol === 'grpc' ? Number.POSITIVE_INFINITY : maxRetries;
  // `requests` counts attempts from admission on, so that those without a connection yet are in it already.
  return Math.max(Math.floor((retryBudget.percent / 100) * cluster.requests), retryBudget.minConcurrency);
}

/** Checks and counts in one synchronous step, so that the limit is never overshot. Whoever got true gives back with `endRetry`. */
export function beginRetry(budget: RetryBudget, call: OutboundCall): boolean {
  if (!mayRetry(budget, call)) return false;
  budget.cluster.retries++;
  return true;
}

export function endRetry(budget: RetryBudget): void {
  budget.cluster.retries--;
}

export function mayRetry(budget: RetryBudget, call: OutboundCall): boolean {
  return budget.cluster.retries < limitOf(budget, call);
}
