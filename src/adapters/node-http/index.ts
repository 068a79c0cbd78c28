/** What the facade loads for `mesh.http`. */
import type { Server as HttpServer } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { InboundEngine } from '../../core/engine.ts';
import { attachHttpServer } from './server.ts';

export { peerOf } from './server.ts';

export interface HttpInbound {
  server<S extends HttpServer | HttpsServer>(server: S): S;
}

export function createHttp(engine: InboundEngine): HttpInbound {
  return {
    server: (server) => {
      attachHttpServer(engine, server);
      return server;
    },
  };
}
