/** `web`: where users come in. Plain `node:http`; fetches the basket from `cart`. */
import { createServer } from 'node:http';
import type { WorkloadOrders } from './messages.ts';
import type { Tell } from './process-main.ts';
import { listenHttp, workloadRole } from './workload.ts';

export function webRole(tell: Tell): WorkloadOrders {
  return workloadRole(tell, {
    include: ['cart'],
    serve(mesh) {
      const server = createServer((_request, response) => {
        mesh.fetch('http://cart/basket/7').then(
          async (reply) => {
            response.writeHead(reply.ok ? 200 : 502, { 'content-type': 'application/json' });
            response.end(await reply.text());
          },
          (error: unknown) => response.writeHead(502).end(String(error)),
        );
      });
      return listenHttp(mesh.http.server(server));
    },
  });
}
