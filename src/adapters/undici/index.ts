/** What the facade loads on the first HTTP call: the dispatcher and the fetch of one mesh, on one transport. */
import type { OutboundEngine } from '../../core/engine.ts';
import type { Transport } from '../../core/transport.ts';
import { createUndiciTransport } from './connection.ts';
import { MeshDispatcher } from './dispatcher.ts';
import { fetchOver } from './fetch.ts';

export interface UndiciAdapterOptions {
  readonly onFailure: 'response' | 'throw';
}

/** Fetch and dispatcher of one mesh share their connections. */
const dispatchers = new WeakMap<OutboundEngine, MeshDispatcher>();

export function createDispatcher(engine: OutboundEngine, options: UndiciAdapterOptions): MeshDispatcher {
  let dispatcher = dispatchers.get(engine);
  if (dispatcher === undefined) {
    const transport: Transport = createUndiciTransport({ clock: engine.clock });
    dispatchers.set(engine, (dispatcher = new MeshDispatcher(engine, { transport, onFailure: options.onFailure })));
  }
  return dispatcher;
}

export function createFetch(engine: OutboundEngine, options: UndiciAdapterOptions): typeof globalThis.fetch {
  return fetchOver(createDispatcher(engine, options));
}
