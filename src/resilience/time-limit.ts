/**
 * Limits in time. A call: the route's timeout and stream duration for HTTP (Envoy §2.7), `max_stream_duration` for gRPC (gRFC A31),
 * always with the application's own deadline where that is sooner. An attempt: `per_try_timeout`, for HTTP only (gRFC A44 ignores it).
 * The limited thing is its own alarm, on a background timer, so that a limit costs no closure and keeps no process alive.
 */
import type { HttpManagerConfig } from '../config/listener.ts';
import type { ForwardActionConfig, MaxStreamDurationConfig, RetryPolicyConfig } from '../config/routes.ts';
import type { Attempt, OutboundCall } from '../core/call.ts';
import type { Failure } from '../core/failure.ts';
import { failure, FAILURES } from '../core/failure.ts';
import type { Layer, Step } from '../core/handler.ts';
import { stepLayer } from '../core/handler.ts';
import type { HeaderMap } from '../core/headers.ts';
import type { Reply } from '../core/reply.ts';
import { failureReply } from '../core/reply.ts';

/** Envoy's route timeout where the route sets none. */
export const DEFAULT_ROUTE_TIMEOUT_MS = 15_000;

const TIMEOUT_HEADER = 'x-envoy-upstream-rq-timeout-ms';
const PER_TRY_HEADER = 'x-envoy-upstream-rq-per-try-timeout-ms';

/** Milliseconds with the failure that the limit ends in; compiled once. */
interface Limit {
  readonly ms: number;
  readonly failure: Failure;
}

const responseLimit = (ms: number): Limit => ({ ms, failure: failure(FAILURES.responseTimeout, `no complete reply within ${ms} ms`) });
const durationLimit = (ms: number): Limit => ({
  ms,
  failure: failure(FAILURES.maxStreamDuration, `the call took longer than max_stream_duration, ${ms} ms`),
});
const PASSED = failure(FAILURES.deadlineExceeded, 'the deadline of the application has passed');

/** Undefined and 0 mean: no limit. */
const limitOf = (ms: number | undefined, make: (ms: number) => Limit): Limit | undefined =>
  ms === undefined || ms === 0 ? undefined : make(ms);
const sooner = (one: Limit | undefined, other: Limit | undefined): Limit | undefined =>
  one === undefined || (other !== undefined && other.ms < one.ms) ? other : one;

/** Takes a header that is meant for the proxy, that is for us; undefined when absent or not a number (Envoy ignores those). */
function takeMilliseconds(headers: HeaderMap, name: string): number | undefined {
  const text = headers.get(name);
  if (text === undefined) return undefined;
  headers.remove(name);
  return /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined;
}

const GRPC_TIMEOUT_UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** `grpc-timeout` as the gRPC protocol writes it (`250m`), in milliseconds. */
function grpcTimeout(headers: HeaderMap): number | undefined {
  const match = /^([0-9]{1,8})([HMSmun])$/.exec(headers.get('grpc-timeout') ?? '');
  return match === null ? undefined : Number(match[1]) * (GRPC_TIMEOUT_UNITS[match[2] ?? ''] ?? 1);
}

/** Sets the limit, or the application's own deadline where that is sooner. A reply: it has passed already. */
function limitCall(call: OutboundCall, limit: Limit | undefined): Reply | undefined {
  const clock = call.target?.clock;
  if (clock === undefined) return undefined;
  let { deadline } = call;
  if (limit !== undefined) {
    const start = call.startedAt > 0 ? call.startedAt : clock.now();
    if (start + limit.ms < deadline) {
      if (call.timer !== undefined) clock.clear(call.timer);
      call.deadline = start + limit.ms;
      call.timeLimit = limit.failure;
      call.timer = clock.set(call, limit.ms, true, start);
      return limit.ms > 0 ? undefined : failureReply(limit.failure);
    }
  }
  if (deadline === Number.POSITIVE_INFINITY || call.timer !== undefined) return undefined;
  deadline -= clock.now();
  if (deadline <= 0) return failureReply(PASSED);
  call.timeLimit = PASSED;
  call.timer = clock.set(call, deadline, true);
  return undefined;
}

class CallTimeLimit implements Step<OutboundCall> {
  /** Route timeout, and stream duration of the route or else the connection manager. */
  readonly #response: Limit | undefined;
  readonly #duration: Limit | undefined;
  readonly #http: Limit | undefined;
  readonly #grpc: Limit | undefined;
  readonly #onRoute: MaxStreamDurationConfig | undefined;
  readonly #readsGrpcTimeout: boolean;

  constructor(action: ForwardActionConfig, managerMs: number | undefined) {
    const onRoute = action.maxStreamDuration;
    this.#onRoute = onRoute;
    this.#readsGrpcTimeout = onRoute?.grpcTimeoutHeaderMaxMs !== undefined;
    // A route that says max_stream_duration has no timeout beside it (Envoy §2.7).
    this.#response = onRoute === undefined ? limitOf(action.timeoutMs ?? DEFAULT_ROUTE_TIMEOUT_MS, responseLimit) : undefined;
    this.#duration = limitOf(onRoute?.maxStreamDurationMs ?? managerMs, durationLimit);
    this.#http = sooner(this.#response, this.#duration);
    // gRFC A31: grpc_timeout_header_max, else max_stream_duration, else the connection manager's; 0 is no limit.
    this.#grpc = limitOf(onRoute?.grpcTimeoutHeaderMaxMs ?? onRoute?.maxStreamDurationMs ?? managerMs, durationLimit);
  }

  enter(call: OutboundCall): Reply | undefined {
    return limitCall(call, call.head.protocol === 'grpc' ? this.#grpc : this.#httpLimit(call));
  }

  #httpLimit(call: OutboundCall): Limit | undefined {
    const { head } = call;
    if (head.maySteer === false && !this.#readsGrpcTimeout) return this.#http;
    const { headers } = head;
    call.perTryTimeoutMs = takeMilliseconds(headers, PER_TRY_HEADER) ?? -1;
    const asked = takeMilliseconds(headers, TIMEOUT_HEADER);
    const duration = this.#readsGrpcTimeout ? this.#grpcHeaderLimit(headers) : this.#duration;
    if (asked === undefined && duration === this.#duration) return this.#http;
    return sooner(asked === undefined ? this.#response : limitOf(asked, responseLimit), duration);
  }

  /** gRPC over an HTTP library: `grpc-timeout`, capped and reduced as the route says (Envoy §2.7). */
  #grpcHeaderLimit(headers: HeaderMap): Limit | undefined {
    const asked = grpcTimeout(headers);
    if (asked === undefined) return this.#duration;
    const { grpcTimeoutHeaderMaxMs: max = 0, grpcTimeoutHeaderOffsetMs: offset = 0 } = this.#onRoute ?? {};
    const capped = max === 0 ? asked : Math.min(asked, max);
    return durationLimit(Math.max(0, capped - offset));
  }
}

class AttemptTimeLimit implements Step<Attempt> {
  readonly #configured: Limit | undefined;

  constructor(ms: number) {
    this.#configured = limitOf(ms, perTryLimit);
  }

  enter(attempt: Attempt): Reply | undefined {
    const { call } = attempt;
    if (call.head.protocol === 'grpc') return undefined;
    const limit = call.perTryTimeoutMs < 0 ? this.#configured : limitOf(call.perTryTimeoutMs, perTryLimit);
    // A limit that the whole call has anyway is no limit of the attempt (Envoy §2.7).
    if (limit === undefined || limit.ms >= call.deadline - call.startedAt) return undefined;
    attempt.timeLimit = limit.failure;
    attempt.timer = call.target?.clock.set(attempt, limit.ms, true);
    return undefined;
  }
}

const perTryLimit = (ms: number): Limit => ({ ms, failure: failure(FAILURES.perTryTimeout, `the attempt had no reply within ${ms} ms`) });

/** The limit of whole calls. Always present: a request may bring its own limit in a header, a gRPC call its deadline. */
export function callTimeLimit(action: ForwardActionConfig, manager: Pick<HttpManagerConfig, 'maxStreamDurationMs'>): Layer<OutboundCall> {
  return stepLayer('time-limit', new CallTimeLimit(action, manager.maxStreamDurationMs));
}

/** The limit of single attempts, connecting included, until the head is accepted; only beside a retry policy, whose engine ends it then. */
export function attemptTimeLimit(_action: ForwardActionConfig, retry: RetryPolicyConfig | undefined): Layer<Attempt> | undefined {
  return retry === undefined ? undefined : stepLayer('per-try-time-limit', new AttemptTimeLimit(retry.perTryTimeoutMs));
}
