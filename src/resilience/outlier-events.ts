/** What the end of an attempt says about its endpoint, in the words of Envoy's outlier detection (H-1, H-2). */
import type { Attempt } from '../core/call.ts';
import type { FailureKind } from '../core/failure.ts';
import { FAILURES } from '../core/failure.ts';
import { grpcToHttpStatus } from '../core/status.ts';

/** Failures on our side of the exchange with the status that stands for them: 503 without a connection or after a reset, 504 for time. */
const LOCAL_ORIGIN: ReadonlyMap<FailureKind, number> = new Map([
  [FAILURES.connectionFailure, 503],
  [FAILURES.tlsFailure, 503],
  [FAILURES.refusedStream, 503],
  [FAILURES.resetBeforeRequest, 503],
  [FAILURES.resetBeforeResponse, 503],
  [FAILURES.resetAfterResponse, 503],
  [FAILURES.protocolError, 503],
  [FAILURES.perTryTimeout, 504],
  [FAILURES.responseTimeout, 504],
  // The deadline of a gRPC call is all the time limit it has (gRFC A31).
  [FAILURES.deadlineExceeded, 504],
]);

/** The status of a local-origin failure; undefined for an attempt that has no failure, or one that says nothing about the endpoint. */
export function localOriginStatus(attempt: Attempt): number | undefined {
  return attempt.failure === undefined ? undefined : LOCAL_ORIGIN.get(attempt.failure.kind);
}

/** The HTTP status that the upstream's reply counts as: gRPC statuses are mapped. Undefined: there was no reply to count. */
export function replyStatus(attempt: Attempt): number | undefined {
  if (attempt.failure !== undefined) return undefined;
  if (attempt.grpcStatus !== undefined) return grpcToHttpStatus(attempt.grpcStatus);
  return attempt.status === 0 ? undefined : attempt.status;
}
