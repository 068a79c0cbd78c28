/** The gRPC API of `stock`, without a proto file: messages are JSON. */
import type { ServiceDefinition } from '@grpc/grpc-js';

export interface CheckRequest {
  readonly sku: number;
}

export interface CheckReply {
  /** Version of `prices` that answered. */
  readonly version: string;
  readonly price: number;
}

const encode = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const decode = (bytes: Buffer): unknown => JSON.parse(bytes.toString());

export const STOCK = {
  check: {
    path: '/demo.Stock/Check',
    requestStream: false,
    responseStream: false,
    requestSerialize: encode,
    requestDeserialize: decode,
    responseSerialize: encode,
    responseDeserialize: decode,
  },
} satisfies ServiceDefinition;
