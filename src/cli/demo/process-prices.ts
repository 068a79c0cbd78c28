/** `prices`: plain `node:http`, in two versions; can be told to fail. Its name says which version it is: `prices-v2a`. */
import { createServer } from 'node:http';
import type { WorkloadOrders } from './messages.ts';
import type { Tell } from './process-main.ts';
import { listenHttp, workloadRole } from './workload.ts';

export function pricesRole(tell: Tell): WorkloadOrders {
  let failing = false;
  return workloadRole(
    tell,
    {
      include: [],
      serve(mesh, tally, name) {
        const version = /v\d/.exec(name)?.[0] ?? name;
        const server = createServer((_request, response) => {
          if (failing) {
            tally.failed++;
            response.writeHead(503).end('out of order');
            return;
          }
          response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ version, price: 42 }));
        });
        return listenHttp(mesh.http.server(server));
      },
    },
    (to) => {
      failing = to;
    },
  );
}
