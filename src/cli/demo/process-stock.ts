/** `stock`: a grpc-js server; fetches the price from `prices`. */
import type { sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import { Server, status } from '@grpc/grpc-js';
import type { WorkloadOrders } from './messages.ts';
import type { Tell } from './process-main.ts';
import type { CheckReply, CheckRequest } from './stock-api.ts';
import { STOCK } from './stock-api.ts';
import { workloadRole } from './workload.ts';

export function stockRole(tell: Tell): WorkloadOrders {
  return workloadRole(tell, {
    include: ['prices'],
    async serve(mesh) {
      const priceOf = async (sku: number): Promise<CheckReply> => {
        const reply = await mesh.fetch(`http://prices/price/${sku}`);
        const text = await reply.text();
        if (!reply.ok) throw new Error(`prices answered ${reply.status}: ${text}`);
        return JSON.parse(text) as CheckReply;
      };
      const server = new Server();
      server.addService(STOCK, {
        check({ request }: ServerUnaryCall<CheckRequest, CheckReply>, done: sendUnaryData<CheckReply>) {
          priceOf(request.sku).then(
            (reply) => done(null, reply),
            (error: unknown) => done({ code: status.UNAVAILABLE, details: String(error) }),
          );
        },
      });
      const port = await new Promise<number>((resolve, reject) => {
        server.bindAsync('127.0.0.1:0', mesh.grpc.serverCredentials(), (error, bound) => (error === null ? resolve(bound) : reject(error)));
      });
      return {
        port,
        close() {
          server.forceShutdown();
          return Promise.resolve();
        },
      };
    },
  });
}
