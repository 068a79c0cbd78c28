/**
 * Puts the client status discovery service (CSDS, `envoy.service.status.v3`, gRFC A40) on an application's own gRPC server. Bytes in, bytes
 * out: what the answers hold is decided in `client-status.ts`.
 */
import type { Server, ServerDuplexStream, ServiceDefinition, UntypedServiceImplementation, sendUnaryData } from '@grpc/grpc-js';
import { status } from '@grpc/grpc-js';

/** Bytes of the response, or why there is none (`INVALID_ARGUMENT`). */
export type StatusAnswer = (request: Uint8Array) => Uint8Array | { readonly refused: string };

const SERVICE = '/envoy.service.status.v3.ClientStatusDiscoveryService/';
const identity = (bytes: Buffer): Buffer => bytes;
const BYTES = {
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity,
};
const DEFINITION: ServiceDefinition = {
  FetchClientStatus: { ...BYTES, path: `${SERVICE}FetchClientStatus`, requestStream: false, responseStream: false },
  StreamClientStatus: { ...BYTES, path: `${SERVICE}StreamClientStatus`, requestStream: true, responseStream: true },
};

/** Throws what grpc-js throws when the server has the service already. */
export function addClientStatus(server: Server, answer: StatusAnswer): void {
  const implementation: UntypedServiceImplementation = {
    FetchClientStatus: (call: { readonly request: Buffer }, reply: sendUnaryData<Buffer>): void => {
      const answered = answer(call.request);
      if ('refused' in answered) reply({ code: status.INVALID_ARGUMENT, details: answered.refused });
      else reply(null, Buffer.from(answered));
    },
    StreamClientStatus: (call: ServerDuplexStream<Buffer, Buffer>): void => {
      call.on('data', (request: Buffer) => {
        const answered = answer(request);
        if ('refused' in answered) call.emit('error', { code: status.INVALID_ARGUMENT, details: answered.refused });
        else call.write(Buffer.from(answered));
      });
      call.on('end', () => {
        call.end();
      });
    },
  };
  server.addService(DEFINITION, implementation);
}
