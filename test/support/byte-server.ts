/** gRPC servers that speak bytes, for peers whose messages a test writes itself: one method with a stream each way, and the port of a server. */
import type { MethodDefinition, Server } from '@grpc/grpc-js';
import { ServerCredentials } from '@grpc/grpc-js';

const same = (bytes: Buffer): Buffer => bytes;

/** `path`: `/package.Service/Method`. */
export function byteStream(path: string): MethodDefinition<Buffer, Buffer> {
  return {
    path,
    requestStream: true,
    responseStream: true,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
}

/** Listens on `address`; the port that it got. */
export function portOf(server: Server, address = '127.0.0.1:0', credentials = ServerCredentials.createInsecure()): Promise<number> {
  return new Promise((resolve, reject) =>
    server.bindAsync(address, credentials, (error, port) => (error === null ? resolve(port) : reject(error))),
  );
}
