/** envoy.config.route.v3.RouteConfiguration as plain frozen types. */
import type { ConfigSourceConfig } from './config-source.ts';
import type { FractionConfig, HeaderMatcherConfig, QueryParameterMatcherConfig, StringMatcherConfig } from './matchers.ts';

export interface RouteConfiguration {
  readonly name: string;
  readonly virtualHosts: readonly VirtualHostConfig[];
  readonly headers: HeaderMutationConfig;
  /** Outer levels are evaluated last and win unless this is set (Envoy R-100). */
  readonly mostSpecificHeaderMutationsWins: boolean;
  readonly ignorePortInHostMatching: boolean;
  readonly maxDirectResponseBytes: number;
  /** More virtual hosts are to be had by the name of a host (VHDS, Envoy X-90). */
  readonly vhds?: VhdsConfig;
}

export interface VhdsConfig {
  /** Undefined: the aggregated stream. */
  readonly source: ConfigSourceConfig | undefined;
  /** `typed_per_filter_config` of the route configuration, for the virtual hosts that come. */
  readonly inherited: FilterOverrides;
}

export interface VirtualHostConfig {
  readonly name: string;
  /** Lower case. */
  readonly domains: readonly string[];
  readonly routes: readonly RouteEntryConfig[];
  readonly headers: HeaderMutationConfig;
  readonly retry: RetryPolicyConfig | undefined;
  readonly filterOverrides: FilterOverrides;
  readonly requireTls: 'none' | 'external-only' | 'all';
  readonly includeAttemptCount: boolean;
}

/** By configured filter name; the most specific level wins whole (gRFC A39). */
export type FilterOverrides = Readonly<Record<string, FilterOverride>>;

export interface FilterOverride {
  readonly disabled: boolean;
  /** Parsed by the filter's factory; undefined when only `disabled` was given. */
  readonly config: unknown;
  /** Type of the message; where a filter of another kind has the name (ECDS may change it), `config` is not for it. Absent: of the filter's. */
  readonly typeUrl?: string;
}

export interface RouteEntryConfig {
  /** Empty when the resource names none. */
  readonly name: string;
  readonly match: RouteMatchConfig;
  readonly action: RouteActionConfig;
  readonly headers: HeaderMutationConfig;
  readonly filterOverrides: FilterOverrides;
}

export interface RouteMatchConfig {
  readonly path:
    | { readonly kind: 'prefix' | 'exact' | 'separated-prefix'; readonly value: string; readonly caseSensitive: boolean }
    | { readonly kind: 'regex'; readonly value: string };
  readonly headers: readonly HeaderMatcherConfig[];
  readonly query: readonly QueryParameterMatcherConfig[];
  readonly fraction: RuntimeFractionConfig | undefined;
  /** True: only requests that are gRPC by content type (Envoy R-24). */
  readonly grpc: boolean;
}

/** envoy.config.core.v3.RuntimeFractionalPercent. */
export interface RuntimeFractionConfig extends FractionConfig {
  /** A runtime value that replaces the fraction while it is set; HTTP calls only (gRPC knows no runtime, gRFC A28). */
  readonly runtimeKey?: string;
}

export type RouteActionConfig =
  | ForwardActionConfig
  | { readonly kind: 'direct-response'; readonly status: number; readonly body: string }
  | RedirectActionConfig
  /** `non_forwarding_action`: serve it here. Only meaningful inbound. */
  | { readonly kind: 'serve' }
  /** An action that we know and cannot do: valid configuration, a call that meets it fails (gRFC A28). */
  | { readonly kind: 'unsupported'; readonly reason: string };

export interface RedirectActionConfig {
  readonly kind: 'redirect';
  readonly status: 301 | 302 | 303 | 307 | 308;
  readonly scheme: string | undefined;
  readonly httpsRedirect: boolean;
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly path:
    | { readonly kind: 'full'; readonly value: string }
    | { readonly kind: 'prefix'; readonly value: string }
    | { readonly kind: 'regex'; readonly pattern: string; readonly substitution: string }
    | undefined;
  readonly stripQuery: boolean;
}

export interface ForwardActionConfig {
  readonly kind: 'forward';
  readonly cluster:
    | { readonly kind: 'cluster'; readonly name: string }
    | { readonly kind: 'cluster-header'; readonly header: string }
    /** Only entries with a weight above 0; `total` is their sum (Envoy R-31). */
    | {
        readonly kind: 'weighted';
        readonly clusters: readonly WeightedClusterConfig[];
        readonly total: number;
        /** The weight of a cluster is the runtime value `PREFIX.CLUSTER` while that is set; entries of weight 0 are there as well. HTTP only. */
        readonly runtimeKeyPrefix?: string;
      };
  readonly clusterNotFoundStatus: 404 | 500 | 503;
  /** Undefined: not set, so HTTP calls have 15 s (Envoy) and gRPC calls no limit (gRFC A31). 0: no limit. */
  readonly timeoutMs: number | undefined;
  readonly maxStreamDuration: MaxStreamDurationConfig | undefined;
  readonly retry: RetryPolicyConfig | undefined;
  readonly pathRewrite:
    | { readonly kind: 'prefix'; readonly value: string }
    | { readonly kind: 'regex'; readonly pattern: string; readonly substitution: string }
    | undefined;
  readonly hostRewrite:
    | { readonly kind: 'literal'; readonly value: string }
    | { readonly kind: 'header'; readonly name: string }
    /** The chosen endpoint's hostname. */
    | { readonly kind: 'auto' }
    | { readonly kind: 'path-regex'; readonly pattern: string; readonly substitution: string }
    | undefined;
  readonly appendXForwardedHost: boolean;
  readonly priority: 'default' | 'high';
  readonly hashPolicies: readonly HashPolicyConfig[];
}

export interface WeightedClusterConfig {
  readonly name: string;
  readonly weight: number;
  readonly headers: HeaderMutationConfig;
  readonly filterOverrides: FilterOverrides;
  readonly hostRewriteLiteral: string | undefined;
}

/** RouteAction.max_stream_duration; milliseconds, 0 = no limit (gRFC A31, Envoy §2.7). */
export interface MaxStreamDurationConfig {
  readonly maxStreamDurationMs: number | undefined;
  readonly grpcTimeoutHeaderMaxMs: number | undefined;
  readonly grpcTimeoutHeaderOffsetMs: number | undefined;
}

export type HttpRetryCondition =
  | '5xx'
  | 'gateway-error'
  | 'reset'
  | 'reset-before-request'
  | 'connect-failure'
  | 'refused-stream'
  | 'retriable-4xx'
  | 'retriable-status-codes'
  | 'retriable-headers'
  | 'envoy-ratelimited';
export type GrpcRetryCondition = 'cancelled' | 'deadline-exceeded' | 'internal' | 'resource-exhausted' | 'unavailable';

export interface RetryPolicyConfig {
  readonly on: readonly (HttpRetryCondition | GrpcRetryCondition)[];
  readonly numRetries: number;
  /** 0: none. */
  readonly perTryTimeoutMs: number;
  readonly baseIntervalMs: number;
  readonly maxIntervalMs: number;
  readonly retriableStatusCodes: readonly number[];
  readonly retriableHeaders: readonly HeaderMatcherConfig[];
  readonly retriableRequestHeaders: readonly HeaderMatcherConfig[];
  /** `envoy.retry_host_predicates.previous_hosts`: avoid endpoints that were tried. */
  readonly avoidPreviousHosts: boolean;
  readonly hostSelectionMaxAttempts: number;
  readonly rateLimitedBackOff:
    | {
        readonly headers: readonly { readonly name: string; readonly format: 'seconds' | 'unix-timestamp' }[];
        readonly maxIntervalMs: number;
      }
    | undefined;
}

export interface HeaderValueConfig {
  readonly name: string;
  readonly value: string;
  readonly action: 'append' | 'add-if-absent' | 'overwrite' | 'overwrite-if-exists';
  readonly keepEmpty: boolean;
}

export interface HeaderMutationConfig {
  readonly requestAdd: readonly HeaderValueConfig[];
  readonly requestRemove: readonly string[];
  readonly responseAdd: readonly HeaderValueConfig[];
  readonly responseRemove: readonly string[];
}

export const NO_HEADER_MUTATION: HeaderMutationConfig = Object.freeze({
  requestAdd: [],
  requestRemove: [],
  responseAdd: [],
  responseRemove: [],
});

export interface HashPolicyConfig {
  readonly kind: 'header' | 'query' | 'cookie' | 'source-ip' | 'channel-id';
  readonly name: string;
  readonly rewrite: { readonly pattern: string; readonly substitution: string } | undefined;
  readonly terminal: boolean;
}

export type { FractionConfig, HeaderMatcherConfig, QueryParameterMatcherConfig, StringMatcherConfig };
