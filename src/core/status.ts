/**
 * gRPC and HTTP statuses and the two tables between them: HTTP to gRPC as in gRPC's `http-grpc-status-mapping`,
 * gRPC to HTTP as in Envoy's `grpcToHttpStatus`. They serve replies from upstream; a failure carries both codes itself.
 */

export const GrpcStatus = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const;

const GRPC_NAMES = Object.keys(GrpcStatus);

/** `UNAVAILABLE` for 14; the number itself for a code that gRPC does not define. */
export function grpcStatusName(code: number): string {
  return GRPC_NAMES[code] ?? String(code);
}

const HTTP_TO_GRPC = new Map<number, number>([
  [400, GrpcStatus.INTERNAL],
  [401, GrpcStatus.UNAUTHENTICATED],
  [403, GrpcStatus.PERMISSION_DENIED],
  [404, GrpcStatus.UNIMPLEMENTED],
  [429, GrpcStatus.UNAVAILABLE],
  [502, GrpcStatus.UNAVAILABLE],
  [503, GrpcStatus.UNAVAILABLE],
  [504, GrpcStatus.UNAVAILABLE],
]);

export function httpToGrpcStatus(status: number): number {
  return HTTP_TO_GRPC.get(status) ?? GrpcStatus.UNKNOWN;
}

const GRPC_TO_HTTP = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401] as const;

export function grpcToHttpStatus(code: number): number {
  return GRPC_TO_HTTP[code] ?? 500;
}
