/** What the facade loads for `mesh.http`. */
import type { IncomingMessage, Server as HttpServer } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { Peer } from '../../core/call.ts';
import type { InboundEngine } from '../../core/engine.ts';
import { attachHttpServer, peerOf } from './server.ts';

export { peerOf } from './server.ts';

export interface HttpInbound {
  server<S extends HttpServer | HttpsServer>(server: S): S;
  peerOf(request: IncomingMessage): Peer | undefined;
}

export function createHttp(engine: InboundEngine): HttpInbound {
  return {
    server: (server) => {
      attachHttpServer(engine, server);
      return server;
    },
    peerOf,
  };
}
