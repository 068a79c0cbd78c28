/**
 * The front of the adapter: an undici dispatcher. Calls to included hosts become exchanges of the mesh, all others go to the dispatcher that
 * was there before, untouched. Serves handlers of both generations (reference node.md §4.1), so fetch of Node 22 to 26 and undici 6 to 8.
 */
import type { Dispatcher as DispatcherType } from 'undici';
import type { OutboundEngine } from '../../core/engine.ts';
import { MeshError } from '../../core/errors.ts';
import type { Transport } from '../../core/transport.ts';
import type { ExchangeOwner } from './exchange.ts';
import { Exchange, specimens } from './exchange.ts';
import type { HandlerV2 } from './handler-v2.ts';
import { V2Handler } from './handler-v2.ts';
import { addMethods, createAgent, Dispatcher } from './library.ts';
import type { WireHandler, WireOptions } from './wire.ts';

export interface MeshDispatcherOptions {
  /** The dispatcher for hosts outside the mesh. Default: the global one, or the one that was global when the mesh took its place. */
  readonly previous?: DispatcherType | undefined;
  readonly transport: Transport;
  /** How a failure of the mesh is shown: as the response that a sidecar would give, or as a `MeshError` with `failure`. */
  readonly onFailure: 'response' | 'throw';
}

interface Origin {
  readonly text: string;
  readonly scheme: string;
  readonly authority: string;
  readonly included: boolean;
  readonly epoch: number;
}

/** Origins remembered; beyond this the memory starts anew (a crawler may meet any number). */
const MAX_ORIGINS = 1000;

/** Where Node's and npm's undici keep the global dispatcher: handlers of the first generation (Node 22, 24), of the second (Node 26, undici 8). */
const FIRST_SLOT = Symbol.for('undici.globalDispatcher.1');
const SECOND_SLOT = Symbol.for('undici.globalDispatcher.2');

function globalDispatcher(slot: symbol): DispatcherType | undefined {
  return (globalThis as Record<symbol, unknown>)[slot] as DispatcherType | undefined;
}

export class MeshDispatcher extends Dispatcher implements ExchangeOwner {
  readonly engine: OutboundEngine;
  readonly transport: Transport;
  readonly onFailure: 'response' | 'throw';
  readonly #previous: DispatcherType | undefined;
  readonly #before: readonly [first: DispatcherType | undefined, second: DispatcherType | undefined];
  #agent: DispatcherType | undefined;
  /** Only held. */
  readonly specimens: readonly object[];
  readonly #origins = new Map<string, Origin>();
  /** The origin of the call before: most applications call few. */
  #last: Origin = { text: '', scheme: '', authority: '', included: false, epoch: -1 };

  constructor(engine: OutboundEngine, options: MeshDispatcherOptions) {
    super();
    this.engine = engine;
    this.transport = options.transport;
    this.onFailure = options.onFailure;
    this.#previous = options.previous;
    this.specimens = specimens(this);
    this.#before = [globalDispatcher(FIRST_SLOT), globalDispatcher(SECOND_SLOT)];
  }

  override dispatch(options: DispatcherType.DispatchOptions, handler: DispatcherType.DispatchHandler): boolean {
    const { origin } = options;
    const known = origin === undefined ? undefined : this.#origin(typeof origin === 'string' ? origin : origin.origin);
    if (known === undefined || !known.included) return this.#pass(options, handler);
    const wire = options as unknown as WireOptions;
    const app =
      typeof handler.onRequestStart === 'function' ? new V2Handler(handler as unknown as HandlerV2) : (handler as unknown as WireHandler);
    if (wire.upgrade || wire.method === 'CONNECT') {
      app.onError(
        new MeshError(
          'ERR_MESH_UNSUPPORTED',
          `${wire.upgrade ? 'Upgrades (WebSocket)' : 'CONNECT requests'} to ${known.authority} cannot go through the mesh`,
          {
            cure: 'Leave the host out of `include`, or use a dispatcher of its own for this request',
          },
        ),
      );
      return false;
    }
    new Exchange(this, app, wire, known.scheme, known.authority).start();
    return true;
  }

  /** Whether calls to this origin (`http://host:port`) go through the mesh. */
  serves(origin: string): boolean {
    return this.#origin(origin)?.included === true;
  }

  /** Closes nothing but the agent of our own: connections belong to the mesh (`mesh.close`), the previous dispatcher to its owner. */
  override close(callback?: unknown): Promise<void> {
    const closed = this.#agent === undefined ? Promise.resolve() : this.#agent.close();
    this.#agent = undefined;
    if (typeof callback === 'function') void closed.then(() => (callback as () => void)());
    return closed;
  }

  override destroy(error?: unknown, callback?: unknown): Promise<void> {
    return this.close(typeof error === 'function' ? error : callback);
  }

  #origin(text: string): Origin | undefined {
    const { epoch } = this.engine;
    const last = this.#last;
    if (last.text === text && last.epoch === epoch) return last;
    const seen = this.#origins.get(text);
    if (seen !== undefined && seen.epoch === epoch) return (this.#last = seen);
    if (!URL.canParse(text)) return undefined;
    const { host, protocol } = new URL(text);
    const included = (protocol === 'http:' || protocol === 'https:') && this.engine.includes(host);
    const origin: Origin = { text, scheme: protocol.slice(0, -1), authority: host, included, epoch };
    if (this.#origins.size >= MAX_ORIGINS) this.#origins.clear();
    this.#origins.set(text, origin);
    return (this.#last = origin);
  }

  /** A call that is none of the mesh's. */
  #pass(options: DispatcherType.DispatchOptions, handler: DispatcherType.DispatchHandler): boolean {
    if (typeof handler.onRequestStart !== 'function') return this.#outside(0).dispatch(options, handler);
    const second = this.#known(1);
    if (second !== undefined) return second.dispatch(options, handler);
    // Only a dispatcher of the first generation is there, and Node 22's takes no other handlers.
    return this.#outside(0).dispatch(options, new V2Handler(handler as unknown as HandlerV2) as unknown as DispatcherType.DispatchHandler);
  }

  #known(generation: 0 | 1): DispatcherType | undefined {
    if (this.#previous !== undefined) return generation === 0 ? this.#previous : undefined;
    const now = globalDispatcher(generation === 0 ? FIRST_SLOT : SECOND_SLOT);
    return now !== undefined && now !== this ? now : this.#before[generation];
  }

  #outside(generation: 0 | 1): DispatcherType {
    return this.#known(generation) ?? (this.#agent ??= createAgent());
  }
}

addMethods(MeshDispatcher);
