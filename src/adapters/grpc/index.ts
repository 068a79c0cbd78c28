/** The gRPC adapter of one mesh: channels for generated stubs, interceptors and credentials for servers. */
import type { ChannelOptions, ClientOptions, Metadata, Server, ServerCredentials, ServerInterceptor } from '@grpc/grpc-js';
import type { Peer } from '../../core/call.ts';
import type { InboundEngine, OutboundEngine } from '../../core/engine.ts';
import { channelFactory } from './channel.ts';
import type { StatusAnswer } from './csds.ts';
import { addClientStatus } from './csds.ts';
import { peerOf } from './peer.ts';
import { ServerPorts } from './server-ports.ts';
import { MeshServerCredentials } from './server-credentials.ts';
import { serverInterceptor } from './server-interceptor.ts';

export { peerOf } from './peer.ts';
export { createGrpcTransport } from './transport.ts';

export interface GrpcSides {
  channelOptions(options?: ChannelOptions): ClientOptions;
  serverInterceptors(): ServerInterceptor[];
  serverCredentials(): ServerCredentials;
  addAdminServices(server: Server): void;
  peerOf(call: { readonly metadata: Metadata }): Peer | undefined;
}

export function createGrpc(engine: OutboundEngine & InboundEngine, clientStatus: StatusAnswer): GrpcSides {
  const factory = channelFactory(engine);
  const ports = new ServerPorts(engine);
  return {
    channelOptions: (options = {}) => ({ ...options, channelFactoryOverride: factory }),
    serverInterceptors: () => {
      ports.watch();
      return [serverInterceptor(engine, ports, false)];
    },
    serverCredentials: () => new MeshServerCredentials(ports, serverInterceptor(engine, ports, true)),
    addAdminServices: (server) => {
      addClientStatus(server, clientStatus);
    },
    peerOf,
  };
}
