/**
 * The catalogue of failures: every way in which the mesh itself fails a call, as values with Envoy's response flag and details,
 * the HTTP and the gRPC status. `docs/reference/failures.md` is compared with it by a test.
 * Retry columns follow Envoy's `retry_state_impl.cc` (any reset but overflow counts for `reset`, `5xx`, `gateway-error`).
 */

/** Whether bytes of the request can have been seen by an upstream. Only `no` makes a retry of any request safe. */
export type Reached = 'no' | 'maybe' | 'yes';

/** Kinds of reset that `retry_on` can name (envoy.config.route.v3.RetryPolicy.retry_on). */
export type ResetCondition = 'connect-failure' | 'refused-stream' | 'reset' | 'reset-before-request' | '5xx' | 'gateway-error';

export interface FailureKind {
  /** Envoy's RESPONSE_CODE_DETAILS text, or our own key where Envoy composes one. */
  readonly details: string;
  /** Envoy's short response flag; empty where Envoy has none. */
  readonly flag: string;
  readonly httpStatus: number;
  readonly grpcStatus: number;
  readonly reached: Reached;
  readonly retryOn: readonly ResetCondition[];
}

/** One occurrence: the kind, a sentence for people, and what caused it. */
export interface Failure {
  readonly kind: FailureKind;
  readonly message: string;
  readonly cause: unknown;
}

const RESET: readonly ResetCondition[] = ['reset', '5xx', 'gateway-error'];
const RESET_BEFORE: readonly ResetCondition[] = ['reset', 'reset-before-request', '5xx', 'gateway-error'];

const kind = (
  details: string,
  flag: string,
  httpStatus: number,
  grpcStatus: number,
  reached: Reached,
  retryOn: readonly ResetCondition[] = [],
): FailureKind => Object.freeze({ details, flag, httpStatus, grpcStatus, reached, retryOn });

export const FAILURES = Object.freeze({
  routeNotFound: kind('route_not_found', 'NR', 404, 14, 'no'),
  clusterNotFound: kind('cluster_not_found', 'NC', 503, 14, 'no'),
  noHealthyUpstream: kind('no_healthy_upstream', 'UH', 503, 14, 'no'),
  upstreamOverflow: kind('upstream_overflow', 'UO', 503, 14, 'no'),
  dropOverload: kind('drop_overload', 'DO', 503, 14, 'no'),
  breakerOpen: kind('breaker_open', 'UO', 503, 14, 'no'),
  connectionFailure: kind('upstream_connection_failure', 'UF', 503, 14, 'no', ['connect-failure', ...RESET_BEFORE]),
  resetBeforeRequest: kind('upstream_reset_before_request', 'UC', 503, 14, 'no', RESET_BEFORE),
  resetBeforeResponse: kind('upstream_reset_before_response_started', 'UC', 503, 14, 'maybe', RESET),
  refusedStream: kind('upstream_refused_stream', 'UR', 503, 14, 'no', ['refused-stream', ...RESET_BEFORE]),
  resetAfterResponse: kind('upstream_reset_after_response_started', 'UC', 503, 14, 'yes'),
  perTryTimeout: kind('upstream_per_try_timeout', 'UT', 504, 4, 'maybe', RESET),
  responseTimeout: kind('response_timeout', 'UT', 504, 4, 'maybe'),
  maxStreamDuration: kind('upstream_max_stream_duration_reached', 'UMSDR', 504, 4, 'maybe'),
  protocolError: kind('upstream_protocol_error', 'UPE', 502, 14, 'maybe', RESET),
  tlsFailure: kind('upstream_tls_failure', 'UF', 503, 14, 'no', ['connect-failure', ...RESET_BEFORE]),
  tlsNotReady: kind('upstream_tls_not_ready', 'UF', 503, 14, 'no'),
  faultAbort: kind('fault_filter_abort', 'FI', 503, 14, 'no'),
  localRateLimited: kind('local_rate_limited', 'RL', 429, 14, 'no'),
  rbacDenied: kind('rbac_access_denied', '', 403, 7, 'no'),
  filterConfigMissing: kind('filter_config_missing', 'NFCF', 500, 14, 'no'),
  filterFailed: kind('filter_failed', '', 500, 13, 'no'),
  remoteDisconnect: kind('downstream_remote_disconnect', 'DC', 499, 1, 'maybe'),
  deadlineExceeded: kind('downstream_deadline_exceeded', 'DT', 504, 4, 'maybe'),
  startTimeout: kind('configuration_timeout', 'NC', 503, 14, 'no'),
  configurationError: kind('configuration_error', 'NC', 503, 14, 'no'),
  meshClosed: kind('mesh_closed', 'SI', 503, 14, 'no'),
  draining: kind('draining', 'SI', 503, 14, 'no'),
});

/** Bits of `Call.flags`: what happened on the way, beside the final failure. */
export const CallFlag = { retryLimitExceeded: 1, retryOverflow: 2, breakerRejected: 4 } as const;

export function failure(kindOf: FailureKind, message: string, cause?: unknown): Failure {
  return { kind: kindOf, message, cause };
}

/** `[UH] no_healthy_upstream: cluster "reviews" has no endpoint that may be used`. */
export function describeFailure(f: Failure): string {
  const flag = f.kind.flag === '' ? '' : `[${f.kind.flag}] `;
  return `${flag}${f.kind.details}: ${f.message}`;
}
