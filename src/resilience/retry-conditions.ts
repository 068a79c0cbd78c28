/**
 * `retry_on` as a predicate on a reply head: Envoy's conditions for HTTP calls, those of gRFC A44 for gRPC calls.
 * Whether a retry is still possible (limits, body, cancellation) is the business of `retry.ts`.
 */
import type { GrpcRetryCondition, HttpRetryCondition, RetryPolicyConfig } from '../config/routes.ts';
import type { Attempt, OutboundCall, RequestHead } from '../core/call.ts';
import type { FailureKind } from '../core/failure.ts';
import { FAILURES } from '../core/failure.ts';
import type { HeaderMap } from '../core/headers.ts';
import type { ReplyHead } from '../core/reply.ts';
import { GrpcStatus } from '../core/status.ts';
import { compileHeader, compileReplyHeader } from '../matching/header.ts';

export interface RetryJudge {
  /** Whether the policy names what this reply or failure is. */
  retriable(call: OutboundCall, attempt: Attempt, head: ReplyHead): boolean;
  /** True when a head whose status and gRPC status are not named is never retriable: its headers need not be read. */
  readonly statusOnly: boolean;
}

const GRPC_CONDITIONS: Readonly<Record<GrpcRetryCondition, number>> = {
  cancelled: GrpcStatus.CANCELLED,
  'deadline-exceeded': GrpcStatus.DEADLINE_EXCEEDED,
  internal: GrpcStatus.INTERNAL,
  'resource-exhausted': GrpcStatus.RESOURCE_EXHAUSTED,
  unavailable: GrpcStatus.UNAVAILABLE,
};

/** Circuit-breaker overflow is never retried (Envoy R-62), and neither is what a retry cannot mend. */
const NEVER: ReadonlySet<FailureKind> = new Set([
  FAILURES.upstreamOverflow,
  FAILURES.dropOverload,
  FAILURES.breakerOpen,
  FAILURES.noHealthyUpstream,
  FAILURES.filterFailed,
  FAILURES.meshClosed,
  FAILURES.draining,
]);

const isGrpcCondition = (condition: HttpRetryCondition | GrpcRetryCondition): condition is GrpcRetryCondition =>
  Object.hasOwn(GRPC_CONDITIONS, condition);

/** Statuses 0 to 999 that the policy retries, as a table: one load per reply. */
function statusTable(policy: RetryPolicyConfig): Uint8Array {
  const table = new Uint8Array(1000);
  const on = new Set(policy.on);
  if (on.has('5xx')) table.fill(1, 500, 600);
  if (on.has('gateway-error')) table.fill(1, 502, 505);
  if (on.has('retriable-4xx')) table[409] = 1;
  if (on.has('retriable-status-codes')) for (const status of policy.retriableStatusCodes) table[status] = 1;
  return table;
}

class Judge implements RetryJudge {
  readonly statusOnly: boolean;
  readonly #statuses: Uint8Array;
  /** Bit n: gRPC status n is retried. */
  readonly #grpcStatuses: number;
  readonly #resets: ReadonlySet<string>;
  readonly #rateLimited: boolean;
  readonly #replyHeaders: readonly ((headers: HeaderMap) => boolean)[];
  readonly #requestHeaders: readonly ((head: RequestHead) => boolean)[];

  constructor(policy: RetryPolicyConfig) {
    this.#statuses = statusTable(policy);
    this.#grpcStatuses = policy.on.filter(isGrpcCondition).reduce((bits, condition) => bits | (1 << GRPC_CONDITIONS[condition]), 0);
    this.#resets = new Set(policy.on);
    this.#rateLimited = policy.on.includes('envoy-ratelimited');
    this.#replyHeaders = policy.on.includes('retriable-headers')
      ? policy.retriableHeaders.map((matcher) => compileReplyHeader(matcher))
      : [];
    this.#requestHeaders = policy.retriableRequestHeaders.map((matcher) => compileHeader(matcher));
    this.statusOnly = !this.#rateLimited && this.#replyHeaders.length === 0;
  }

  retriable(call: OutboundCall, attempt: Attempt, head: ReplyHead): boolean {
    // An attempt that one of our own layers answered was not tried at all: there is nothing to try again.
    if (!attempt.started || (head.failure !== undefined && NEVER.has(head.failure.kind))) return false;
    if (call.head.protocol === 'grpc') return this.#names(head.failure?.kind.grpcStatus ?? head.grpcStatus);
    const retriable =
      head.failure === undefined ? this.#retriesReply(head) : head.failure.kind.retryOn.some((reset) => this.#resets.has(reset));
    return retriable && this.#retriesRequest(call.head);
  }

  #retriesReply(head: ReplyHead): boolean {
    const { status, headers } = head;
    const named = this.#statuses[status] === 1;
    if (!named && this.statusOnly && this.#grpcStatuses === 0) return false;
    // Such a reply says that an Envoy on the way limits the rate: only the condition of that name retries it.
    if (headers.has('x-envoy-ratelimited')) return this.#rateLimited;
    if (named) return true;
    for (const matches of this.#replyHeaders) if (matches(headers)) return true;
    return this.#grpcStatuses !== 0 && this.#names(head.grpcStatus ?? grpcStatusOf(headers));
  }

  #retriesRequest(head: RequestHead): boolean {
    return this.#requestHeaders.length === 0 || this.#requestHeaders.some((matches) => matches(head));
  }

  /** Undefined: the status is still to come in trailers, so the call is committed (gRFC A44, Envoy D11). */
  #names(grpcStatus: number | undefined): boolean {
    return grpcStatus !== undefined && grpcStatus <= GrpcStatus.UNAUTHENTICATED && (this.#grpcStatuses & (1 << grpcStatus)) !== 0;
  }
}

/** `grpc-status` of an HTTP reply that carries gRPC without a gRPC library (trailers-only). */
function grpcStatusOf(headers: HeaderMap): number | undefined {
  const text = headers.get('grpc-status');
  return text !== undefined && /^[0-9]{1,2}$/.test(text) ? Number(text) : undefined;
}

/** Throws `ConfigProblem` for a bad header matcher. */
export function retryJudge(policy: RetryPolicyConfig): RetryJudge {
  return new Judge(policy);
}
