/** OutlierDetection and CircuitBreakers with Envoy's defaults filled in (gRPC rules 31 and 34; Envoy §4.1, H-30, H-31). */
import { DEFAULT_THRESHOLDS } from '../../config/cluster.ts';
import type { OutlierConfig, ThresholdsConfig } from '../../config/cluster.ts';
import { ConfigProblem } from '../../config/resource.ts';
import type { CircuitBreakers, CircuitBreakers_Thresholds } from '../../proto/gen/envoy/config/cluster/v3/circuit_breaker_pb.js';
import type { OutlierDetection } from '../../proto/gen/envoy/config/cluster/v3/outlier_detection_pb.js';
import { milliseconds, percentage } from './values.ts';

const DEFAULT_MAX_EJECTION_MS = 300_000;

/** gRPC rule 31: `enforcing_success_rate` 0 turns the algorithm off, unset means 100. */
function successRate(message: OutlierDetection, path: string): OutlierConfig['successRate'] {
  const enforcing = percentage(message.enforcingSuccessRate, 100, `${path}.enforcing_success_rate`);
  if (enforcing === 0) return undefined;
  return {
    minimumHosts: message.successRateMinimumHosts ?? 5,
    requestVolume: message.successRateRequestVolume ?? 100,
    stdevFactor: message.successRateStdevFactor ?? 1900,
    enforcing,
  };
}

/** Off unless `enforcing_failure_percentage` is above 0. */
function failurePercentage(message: OutlierDetection, path: string): OutlierConfig['failurePercentage'] {
  const enforcing = percentage(message.enforcingFailurePercentage, 0, `${path}.enforcing_failure_percentage`);
  const threshold = percentage(message.failurePercentageThreshold, 85, `${path}.failure_percentage_threshold`);
  if (enforcing === 0) return undefined;
  return {
    threshold,
    minimumHosts: message.failurePercentageMinimumHosts ?? 5,
    requestVolume: message.failurePercentageRequestVolume ?? 50,
    enforcing,
  };
}

export function outlierDetection(message: OutlierDetection | undefined, path: string): OutlierConfig | undefined {
  if (message === undefined) return undefined;
  const baseEjectionTimeMs = milliseconds(message.baseEjectionTime, `${path}.base_ejection_time`) ?? 30_000;
  return {
    consecutive5xx: message.consecutive5xx ?? 5,
    enforcingConsecutive5xx: percentage(message.enforcingConsecutive5xx, 100, `${path}.enforcing_consecutive_5xx`),
    consecutiveGatewayFailure: message.consecutiveGatewayFailure ?? 5,
    enforcingConsecutiveGatewayFailure: percentage(
      message.enforcingConsecutiveGatewayFailure,
      0,
      `${path}.enforcing_consecutive_gateway_failure`,
    ),
    consecutiveLocalOriginFailure: message.consecutiveLocalOriginFailure ?? 5,
    enforcingConsecutiveLocalOriginFailure: percentage(
      message.enforcingConsecutiveLocalOriginFailure,
      100,
      `${path}.enforcing_consecutive_local_origin_failure`,
    ),
    splitExternalLocalOriginErrors: message.splitExternalLocalOriginErrors,
    intervalMs: milliseconds(message.interval, `${path}.interval`) ?? 10_000,
    baseEjectionTimeMs,
    maxEjectionTimeMs:
      milliseconds(message.maxEjectionTime, `${path}.max_ejection_time`) ?? Math.max(DEFAULT_MAX_EJECTION_MS, baseEjectionTimeMs),
    maxEjectionTimeJitterMs: milliseconds(message.maxEjectionTimeJitter, `${path}.max_ejection_time_jitter`) ?? 0,
    maxEjectionPercent: percentage(message.maxEjectionPercent, 10, `${path}.max_ejection_percent`),
    alwaysEjectOneHost: message.alwaysEjectOneHost ?? false,
    successRate: successRate(message, path),
    failurePercentage: failurePercentage(message, path),
  };
}

function limits(entry: CircuitBreakers_Thresholds | undefined): ThresholdsConfig {
  if (entry === undefined) return DEFAULT_THRESHOLDS;
  const budget = entry.retryBudget;
  return {
    maxConnections: entry.maxConnections ?? DEFAULT_THRESHOLDS.maxConnections,
    maxPendingRequests: entry.maxPendingRequests ?? DEFAULT_THRESHOLDS.maxPendingRequests,
    maxRequests: entry.maxRequests ?? DEFAULT_THRESHOLDS.maxRequests,
    maxRetries: entry.maxRetries ?? DEFAULT_THRESHOLDS.maxRetries,
    retryBudget: budget && { percent: budget.budgetPercent?.value ?? 20, minConcurrency: budget.minRetryConcurrency ?? 3 },
  };
}

/** The first entry of each priority counts. */
export function thresholds(
  message: CircuitBreakers | undefined,
  path: string,
): { readonly default: ThresholdsConfig; readonly high: ThresholdsConfig } {
  for (const [i, entry] of (message?.perHostThresholds ?? []).entries()) {
    if (entry.maxConnections === 0) throw new ConfigProblem(`${path}.per_host_thresholds[${i}].max_connections`, 'must not be 0'); // gRFC A105
  }
  const list = message?.thresholds ?? [];
  const first = (priority: number): CircuitBreakers_Thresholds | undefined =>
    list.find((entry: { readonly priority: number }) => entry.priority === priority);
  return { default: limits(first(0)), high: limits(first(1)) };
}
