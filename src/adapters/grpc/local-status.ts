/** How a reply that the mesh gives itself looks to a gRPC application: a status with details `[flag] details: text`. */
import type { StatusObject } from '@grpc/grpc-js';
import { Metadata } from '@grpc/grpc-js';
import type { Failure } from '../../core/failure.ts';
import { describeFailure, FAILURES } from '../../core/failure.ts';
import type { Reply } from '../../core/reply.ts';
import { LocalBody } from '../../core/reply.ts';
import { GrpcStatus, grpcStatusName, httpToGrpcStatus } from '../../core/status.ts';

/** gRFC A54: an application must not take these for its server's answer. */
const RESTRICTED: ReadonlySet<number> = new Set([
  GrpcStatus.OK,
  GrpcStatus.INVALID_ARGUMENT,
  GrpcStatus.NOT_FOUND,
  GrpcStatus.ALREADY_EXISTS,
  GrpcStatus.FAILED_PRECONDITION,
  GrpcStatus.ABORTED,
  GrpcStatus.OUT_OF_RANGE,
  GrpcStatus.DATA_LOSS,
]);

export function statusOfFailure(failed: Failure, code: number = failed.kind.grpcStatus): StatusObject {
  const details = describeFailure(failed);
  // An injected fault is meant to look like the status it names.
  if (failed.kind !== FAILURES.faultAbort && RESTRICTED.has(code)) {
    return status(GrpcStatus.INTERNAL, `Invalid status from control plane: ${code} ${grpcStatusName(code)} ${details}`);
  }
  return status(code, details);
}

export function statusOfReply(reply: Reply): StatusObject {
  if (reply.failure !== undefined) return statusOfFailure(reply.failure, reply.grpcStatus ?? reply.failure.kind.grpcStatus);
  const text = reply.body instanceof LocalBody ? reply.body.text : '';
  return status(
    reply.grpcStatus ?? httpToGrpcStatus(reply.status),
    text === '' ? `the mesh answered with HTTP status ${reply.status}` : text,
  );
}

export function status(code: number, details: string): StatusObject {
  return { code, details, metadata: new Metadata() };
}
