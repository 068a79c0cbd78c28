/** How a call of the control plane is ended from this side. */
import type { ServerDuplexStream } from '@grpc/grpc-js';

export type ByteStream = ServerDuplexStream<Buffer, Buffer>;

/** A gRPC status that ends a call. */
export interface Refusal {
  readonly code: number;
  readonly details: string;
}

export function endWith(call: ByteStream, { code, details }: Refusal): void {
  call.emit('error', Object.assign(new Error(details), { code, details }));
}
