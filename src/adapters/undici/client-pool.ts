/**
 * Connections of one endpoint for HTTP/1.1: undici clients of one connection each, the free ones on a stack. undici's own pool searches all
 * its clients twice per request, which at 50 connections costs as much as the rest of the mesh; the stack also keeps the warm ones in use.
 */
import type { Client as ClientType, Dispatcher } from 'undici';
import { Client } from './library.ts';

export class ClientPool {
  readonly #origin: string;
  readonly #options: ClientType.Options;
  readonly #all = new Set<ClientType>();
  readonly #free: ClientType[] = [];
  #closed = false;

  constructor(origin: string, options: ClientType.Options) {
    this.#origin = origin;
    this.#options = options;
  }

  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    const client = this.#free.pop() ?? this.#open();
    // False: it is busy, and says `drain` when it is not any more.
    if (client.dispatch(options, handler)) this.#free.push(client);
    return true;
  }

  /** Lets running requests end. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#free.length = 0;
    // Kept until they have closed, so that `destroy` still reaches them.
    await Promise.all([...this.#all].map((client) => client.close().catch(() => undefined)));
    this.#all.clear();
  }

  destroy(error: Error): void {
    for (const client of this.#all) void client.destroy(error).catch(() => undefined);
    this.#all.clear();
    this.#free.length = 0;
  }

  #open(): ClientType {
    const client = new Client(this.#origin, this.#options);
    this.#all.add(client);
    client.on('drain', () => {
      if (this.#all.has(client) && !this.#closed) this.#free.push(client);
    });
    // It may stay in a state that never connects again (nodejs/undici#3895); undici's pool drops it too.
    client.on('connectionError', () => this.#all.delete(client));
    client.on('disconnect', () => {
      const at = this.#free.indexOf(client);
      if (at < 0) return;
      this.#free.splice(at, 1);
      this.#all.delete(client);
      void client.close().catch(() => undefined);
    });
    return client;
  }
}
