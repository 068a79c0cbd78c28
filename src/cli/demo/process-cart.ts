/** `cart`: plain `node:http`; asks `stock` over gRPC. */
import { createServer } from 'node:http';
import type { ServiceError } from '@grpc/grpc-js';
import { credentials, makeClientConstructor } from '@grpc/grpc-js';
import type { WorkloadOrders } from './messages.ts';
import type { Tell } from './process-main.ts';
import type { CheckReply, CheckRequest } from './stock-api.ts';
import { STOCK } from './stock-api.ts';
import { listenHttp, workloadRole } from './workload.ts';

type Check = (
  request: CheckRequest,
  options: { readonly deadline: number },
  done: (error: ServiceError | null, reply?: CheckReply) => void,
) => void;

export function cartRole(tell: Tell): WorkloadOrders {
  return workloadRole(tell, {
    include: ['stock'],
    async serve(mesh) {
      const Stock = makeClientConstructor(STOCK, 'Stock');
      // Insecure to grpc-js: the cluster's transport socket decides, and may do so while the stub is in use.
      const stub = new Stock('xds:///stock', credentials.createInsecure(), mesh.grpc.channelOptions());
      const check = (stub as unknown as { readonly check: Check }).check.bind(stub);
      const server = createServer((_request, response) => {
        check({ sku: 7 }, { deadline: Number.POSITIVE_INFINITY }, (error, reply) => {
          response.writeHead(error === null ? 200 : 502, { 'content-type': 'application/json' });
          response.end(error === null ? JSON.stringify(reply) : error.message);
        });
      });
      const side = await listenHttp(mesh.http.server(server));
      return {
        port: side.port,
        async close() {
          stub.close();
          await side.close();
        },
      };
    },
  });
}
