/**
 * What every process of the demo runs: takes orders from its parent over IPC and plays one role. Ends when told to, and by itself when the
 * parent is gone, whatever became of that.
 */
import { rmSync } from 'node:fs';
import { basename } from 'node:path';
import type { ControlPlaneOrders, FromProcess, Order, RoleName, WorkloadOrders } from './messages.ts';

/** Prefix of the one folder that a demo makes. */
export const HOME_PREFIX = 'inmesh-demo-';

export type Tell = (message: FromProcess) => void;

const tell: Tell = (message) => {
  // A parent that is gone reads nothing; `disconnect` ends this process.
  if (process.connected) process.send?.(message, undefined, {}, () => undefined);
};

async function play(role: RoleName): Promise<ControlPlaneOrders | WorkloadOrders> {
  switch (role) {
    case 'control-plane':
      return (await import('./process-control-plane.ts')).controlPlaneRole(tell);
    case 'web':
      return (await import('./process-web.ts')).webRole(tell);
    case 'cart':
      return (await import('./process-cart.ts')).cartRole(tell);
    case 'stock':
      return (await import('./process-stock.ts')).stockRole(tell);
    case 'prices':
      return (await import('./process-prices.ts')).pricesRole(tell);
  }
}

async function obey(role: ReturnType<typeof play>, order: Order): Promise<void> {
  try {
    const handler = ((await role) as unknown as Readonly<Record<string, (argument: unknown) => Promise<unknown>>>)[order.kind];
    if (handler === undefined) throw new TypeError(`unknown order ${order.kind}`);
    tell({ kind: 'answer', id: order.id, value: (await handler(order.argument)) ?? null });
  } catch (error) {
    tell({ kind: 'refusal', id: order.id, reason: error instanceof Error ? error.message : String(error) });
  }
  // With the channel closed and everything of the role closed, nothing keeps the process alive.
  if (order.kind === 'close') {
    process.removeListener('disconnect', abandon);
    process.disconnect();
  }
}

/** The parent died without a word: leave nothing behind. */
function abandon(): void {
  const home = process.argv[3] ?? '';
  if (basename(home).startsWith(HOME_PREFIX)) rmSync(home, { recursive: true, force: true });
  process.exit(1);
}

if (process.send !== undefined && process.argv[2] !== undefined) {
  const role = play(process.argv[2] as RoleName);
  role.catch(() => undefined);
  process.on('message', (order: Order) => void obey(role, order));
  process.on('disconnect', abandon);
  // Ctrl+C reaches the whole process group; the parent ends the others in order.
  process.on('SIGINT', () => undefined);
}
