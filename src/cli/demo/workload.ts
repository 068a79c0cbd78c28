/** What the services of the demo have in common: a mesh by bootstrap, counters, spans, and the orders that all of them take. */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Attempt, Call } from '../../core/call.ts';
import type { Clock } from '../../core/clock.ts';
import { sleep } from '../../core/clock.ts';
import { MeshError } from '../../core/errors.ts';
import type { Logger } from '../../core/log.ts';
import { silentLogger } from '../../core/log.ts';
import type { Observer } from '../../core/observer.ts';
import { RealClock } from '../../core/real-clock.ts';
import type { Mesh } from '../../facade.ts';
import { createMesh } from '../../index.ts';
import type { Report, WorkloadOrders } from './messages.ts';
import type { Tell } from './process-main.ts';
import { SpanRecorder } from './spans.ts';

/** Counts what the demo shows at its end: who called, over what, and how often it was tried again. */
class Tally implements Observer {
  requests = 0;
  failed = 0;
  plaintext = 0;
  retries = 0;
  readonly verified: Record<string, number> = {};

  onCallStart(call: Call): void {
    if (call.direction !== 'inbound') return;
    this.requests++;
    const { tls } = call.peer;
    if (tls === undefined) this.plaintext++;
    else if (tls.authenticated) this.verified[tls.uriSans[0] ?? ''] = (this.verified[tls.uriSans[0] ?? ''] ?? 0) + 1;
  }

  onAttemptStart(attempt: Attempt): void {
    if (attempt.number > 1) this.retries++;
  }
}

/** What a role is made of once its mesh runs. */
export interface Shop {
  readonly mesh: Mesh;
  readonly clock: Clock;
  readonly tally: Tally;
  /** The port that it listens on. */
  readonly port: number;
  close(): Promise<void>;
}

export interface ServerSide {
  readonly port: number;
  /** Ends when the last exchange has. */
  close(): Promise<void>;
}

/** Hosts that a role calls through the mesh, and the server that it runs. */
export interface Trade {
  readonly include: readonly string[];
  serve(mesh: Mesh, tally: Tally, name: string): Promise<ServerSide>;
}

export function workloadRole(tell: Tell, trade: Trade, fail: (failing: boolean) => void = () => undefined): WorkloadOrders {
  let opening: Promise<Shop> | undefined;
  let shop: Shop | undefined;
  const running = (): Shop => {
    if (shop === undefined) throw new MeshError('ERR_MESH_OPTION', 'the process was not told to open');
    return shop;
  };
  return {
    async open({ bootstrap, name }) {
      shop = await (opening = openShop(tell, trade, bootstrap, name));
      return { port: shop.port };
    },
    async ready() {
      const { mesh, clock } = running();
      await mesh.ready();
      // That is the outbound side; the inbound one is there when the listener of the server is.
      for (
        let now = mesh.describe();
        now.state === 'running' && now.listeners.some(({ status }) => status !== 'ready');
        now = mesh.describe()
      ) {
        await sleep(clock, 10);
      }
      return null;
    },
    report: () => Promise.resolve(reportOf(running())),
    fail(failing) {
      fail(failing);
      return Promise.resolve(null);
    },
    async close() {
      await (await opening)?.close();
      return null;
    },
  };
}

async function openShop(tell: Tell, trade: Trade, bootstrap: object, name: string): Promise<Shop> {
  const clock: Clock = new RealClock();
  const tally = new Tally();
  const say = (text: string, fields?: object): void => tell({ kind: 'log', text: `${name}: ${text} ${JSON.stringify(fields ?? {})}` });
  const logger: Logger = { ...silentLogger, warn: say, error: say };
  const spans = new SpanRecorder(name, clock, (span) => tell({ kind: 'span', span }));
  const mesh = await createMesh({ bootstrap, include: trade.include, observers: [tally, spans], logger, clock });
  const server = await trade.serve(mesh, tally, name);
  return {
    mesh,
    clock,
    tally,
    port: server.port,
    async close() {
      await mesh.close({ drainMs: 500 });
      await server.close();
    },
  };
}

function reportOf({ mesh, tally }: Shop): Report {
  const { source, clusters } = mesh.describe();
  return {
    requests: tally.requests,
    failed: tally.failed,
    plaintext: tally.plaintext,
    verified: tally.verified,
    retries: tally.retries,
    connected: source?.connected ?? false,
    clusters: clusters.map(({ name, tls, tlsProblem, endpoints }) => ({
      name,
      tls: tls && tlsProblem === '',
      ejected: endpoints.filter(({ ejected }) => ejected).map(({ address }) => address),
    })),
  };
}

/** Listens on any port of loopback. */
export async function listenHttp(server: Server): Promise<ServerSide> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
