/**
 * A TCP relay before the control plane, so that connections can go dead: open, and nothing read or written (`hang`), or cut without a word.
 * A gRPC server lets nobody do that to its sockets.
 */
import type { AddressInfo, Server, Socket } from 'node:net';
import { connect, createServer } from 'node:net';

interface Pair {
  readonly outer: Socket;
  readonly inner: Socket;
}

export class Relay {
  readonly #server: Server;
  /** By the port from which the relay itself is connected. */
  readonly #pairs = new Map<number, Pair>();
  readonly #sockets = new Set<Socket>();

  constructor(innerPort: number) {
    this.#server = createServer((outer) => {
      const inner = connect(innerPort, '127.0.0.1', () => {
        const port = inner.localPort ?? 0;
        this.#pairs.set(port, { outer, inner });
        inner.once('close', () => this.#pairs.delete(port));
      });
      for (const [socket, other] of [
        [outer, inner],
        [inner, outer],
      ] as const) {
        this.#sockets.add(socket);
        socket.setNoDelay(true);
        socket.on('error', () => other.destroy());
        socket.on('close', () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
    });
  }

  /** Resolves with the port. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => resolve((this.#server.address() as AddressInfo).port));
    });
  }

  /** Nothing is read or written any more; `peer` is how the control plane sees its client. */
  hang(peer: string): void {
    const pair = this.#pair(peer);
    if (pair === undefined) return;
    pair.outer.unpipe(pair.inner).pause();
    pair.inner.unpipe(pair.outer).pause();
  }

  /** Goes on after a `hang`. */
  revive(peer: string): void {
    const pair = this.#pair(peer);
    pair?.outer.pipe(pair.inner);
    pair?.inner.pipe(pair.outer);
  }

  cut(peer: string): void {
    this.#pair(peer)?.outer.resetAndDestroy();
  }

  close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  #pair(peer: string): Pair | undefined {
    return this.#pairs.get(Number(peer.slice(peer.lastIndexOf(':') + 1)));
  }
}
