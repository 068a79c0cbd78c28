/**
 * The connections of one attached server: each keeps its filter chain, its peer and how many requests it carries, so that a listener update
 * can let go those whose rules have changed (gRFC A36: connections of replaced filter chains are drained).
 */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Alarm, Clock } from '../../core/clock.ts';
import type { Peer } from '../../core/call.ts';
import type { ConnectionFacts, InboundChain, InboundListener } from '../../core/engine.ts';

const CONNECTION = Symbol('inmesh.connection');

type Tracked = Socket & { [CONNECTION]?: InboundConnection };

/** The mesh's view of a socket; undefined for one that the mesh left alone. */
export function connectionOf(socket: Socket | null | undefined): InboundConnection | undefined {
  return (socket as Tracked | null | undefined)?.[CONNECTION];
}

/**
 * Milliseconds that a connection of older rules may stay idle before it is closed. To close it at once would meet requests that are on
 * their way: they would fail although nothing is wrong (Envoy's `drain_timeout` of the connection manager is as long).
 */
export const RETIRE_MS = 5000;

export class InboundConnection implements Alarm {
  readonly socket: Socket;
  readonly listener: InboundListener;
  readonly facts: ConnectionFacts;
  readonly peer: Peer;
  readonly encrypted: boolean;
  chain: InboundChain;
  /** Requests in flight. */
  active = 0;
  /** True: the next response says that it is the last one. */
  leaving = false;
  /** True: it also ends where a response could not say so any more. */
  #due = false;
  /** Of the newest request in flight. */
  #response: ServerResponse | undefined;

  constructor(socket: Socket, listener: InboundListener, facts: ConnectionFacts, chain: InboundChain, peer: Peer) {
    this.socket = socket;
    this.listener = listener;
    this.facts = facts;
    this.chain = chain;
    this.peer = peer;
    this.encrypted = 'encrypted' in socket;
    (socket as Tracked)[CONNECTION] = this;
  }

  /** A request has come. */
  started(response: ServerResponse): void {
    this.active++;
    this.#response = response;
    if (this.leaving) response.shouldKeepAlive = false;
  }

  /** A request has ended. */
  finished(): void {
    this.active--;
    if (this.active > 0) return;
    this.#response = undefined;
    if (this.#due) this.socket.end();
  }

  /** Takes no further request; an idle connection closes now. */
  leave(): void {
    this.#goodbye();
    this.onAlarm();
  }

  /** Ends with the next response, which says so (RFC 9112, 9.6), or when none has come for `RETIRE_MS`. */
  retire(clock: Clock): void {
    if (this.leaving) return;
    this.#goodbye();
    const timer = clock.set(this, RETIRE_MS, true);
    this.socket.once('close', () => clock.clear(timer));
  }

  onAlarm(): void {
    this.#due = true;
    if (this.active === 0) this.socket.destroy();
  }

  /**
   * The listener has changed: stay if the same rules of admission hold, retire if they are others, go if nobody is admitted any more or
   * if what was open is to be secured.
   */
  review(clock: Clock): void {
    const chain = this.listener.state === 'serving' ? this.listener.chain(this.facts) : undefined;
    if (chain !== undefined && chain.security === this.chain.security) this.chain = chain;
    else if (chain === undefined || this.chain.security === undefined) this.leave();
    else this.retire(clock);
  }

  #goodbye(): void {
    this.leaving = true;
    if (this.#response?.headersSent === false) this.#response.shouldKeepAlive = false;
  }
}
