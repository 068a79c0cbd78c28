/** envoy.config.cluster.v3.Cluster as a plain frozen type. */
import type { ConfigSourceConfig } from './config-source.ts';
import type { EndpointsConfig } from './endpoints.ts';
import type { UpstreamTlsConfig } from './tls.ts';

export interface ClusterConfig {
  readonly name: string;
  readonly discovery:
    /** `serviceName` is the name of the ClusterLoadAssignment to ask for, `waitMs` that of its `ResourceKey`. */
    | { readonly kind: 'eds'; readonly serviceName: string; readonly source?: ConfigSourceConfig; readonly waitMs?: number }
    | { readonly kind: 'static'; readonly endpoints: EndpointsConfig }
    /** The host that the call names is dialled (ORIGINAL_DST). */
    | { readonly kind: 'original-dst' }
    /** Valid, and of a kind that does not run inside a process: calls to it fail with the reason. */
    | { readonly kind: 'unavailable'; readonly reason: string };
  readonly lb: LbConfig;
  readonly thresholds: { readonly default: ThresholdsConfig; readonly high: ThresholdsConfig };
  readonly outlier: OutlierConfig | undefined;
  /** Undefined: plaintext, unless the application asked for TLS itself. */
  readonly tls: UpstreamTlsConfig | undefined;
  /** TLS by endpoint; the first that matches counts, `tls` where none does. Absent: `tls` for all. */
  readonly sockets?: readonly SocketMatchConfig[];
  readonly http2: boolean;
  /** Default 5000. */
  readonly connectTimeoutMs: number;
  readonly maxRequestsPerConnection: number | undefined;
  /** From `mesh.yaml`, code, or cluster metadata under the key `inmesh`; undefined: no breaker and no cost. */
  readonly breaker: BreakerConfig | undefined;
  /** `lrs_server: self`: report load to the server that sent the cluster. */
  readonly reportLoad: boolean;
  /** `lrs_report_endpoint_metrics`; absent: all named ones. */
  readonly loadMetrics?: readonly string[];
  /** Percent; default 50, 0 disables panic. */
  readonly panicThreshold: number;
  readonly localityWeighted: boolean;
}

/** Cluster.TransportSocketMatch. */
export interface SocketMatchConfig {
  readonly name: string;
  /** Keys and values that the endpoint's metadata `envoy.transport_socket_match` must have; empty: every endpoint. */
  readonly match: Readonly<Record<string, unknown>>;
  /** Undefined: plaintext. */
  readonly tls: UpstreamTlsConfig | undefined;
}

export interface LbConfig {
  /** Name of a policy in `balancing/registry.ts`. */
  readonly policy: string;
  /** Whatever the policy's factory parsed. */
  readonly config: unknown;
}

/** envoy.config.cluster.v3.CircuitBreakers.Thresholds with Envoy's defaults filled in (H-30). */
export interface ThresholdsConfig {
  readonly maxConnections: number;
  readonly maxPendingRequests: number;
  readonly maxRequests: number;
  readonly maxRetries: number;
  /** Replaces `maxRetries`: max(percent/100 · (active + pending), minConcurrency). */
  readonly retryBudget: { readonly percent: number; readonly minConcurrency: number } | undefined;
}

export const DEFAULT_THRESHOLDS: ThresholdsConfig = Object.freeze({
  maxConnections: 1024,
  maxPendingRequests: 1024,
  maxRequests: 1024,
  maxRetries: 3,
  retryBudget: undefined,
});

/** envoy.config.cluster.v3.OutlierDetection; milliseconds and percents, Envoy's defaults filled in (table 4.1). */
export interface OutlierConfig {
  readonly consecutive5xx: number;
  readonly enforcingConsecutive5xx: number;
  readonly consecutiveGatewayFailure: number;
  readonly enforcingConsecutiveGatewayFailure: number;
  readonly consecutiveLocalOriginFailure: number;
  readonly enforcingConsecutiveLocalOriginFailure: number;
  readonly splitExternalLocalOriginErrors: boolean;
  readonly intervalMs: number;
  readonly baseEjectionTimeMs: number;
  readonly maxEjectionTimeMs: number;
  readonly maxEjectionTimeJitterMs: number;
  readonly maxEjectionPercent: number;
  readonly alwaysEjectOneHost: boolean;
  readonly successRate:
    | { readonly minimumHosts: number; readonly requestVolume: number; readonly stdevFactor: number; readonly enforcing: number }
    | undefined;
  readonly failurePercentage:
    | { readonly threshold: number; readonly minimumHosts: number; readonly requestVolume: number; readonly enforcing: number }
    | undefined;
}

/** The opossum error-rate breaker of a cluster. */
export interface BreakerConfig {
  /** Open when more than this percentage of attempts failed; default 50. */
  readonly errorThresholdPercentage: number;
  /** Attempts in the window before it may open; default 20. */
  readonly volumeThreshold: number;
  /** Milliseconds until half-open; default 10 000, jittered by 20 %. */
  readonly resetTimeoutMs: number;
  /** Milliseconds of the rolling window; default 10 000. */
  readonly windowMs: number;
}

export const DEFAULT_BREAKER: BreakerConfig = Object.freeze({
  errorThresholdPercentage: 50,
  volumeThreshold: 20,
  resetTimeoutMs: 10_000,
  windowMs: 10_000,
});
