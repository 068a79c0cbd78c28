/**
 * The connections of one attached server: each keeps its filter chain, its peer and how many requests it carries, so that a listener update
 * can let go those whose rules have changed (gRFC A36: connections of replaced filter chains are drained).
 */
import type { Socket } from 'node:net';
import type { Peer } from '../../core/call.ts';
import type { ConnectionFacts, InboundChain, InboundListener } from '../../core/engine.ts';

const CONNECTION = Symbol('inmesh.connection');

type Tracked = Socket & { [CONNECTION]?: InboundConnection };

/** The mesh's view of a socket; undefined for one that the mesh left alone. */
export function connectionOf(socket: Socket | null | undefined): InboundConnection | undefined {
  return (socket as Tracked | null | undefined)?.[CONNECTION];
}

export class InboundConnection {
  readonly socket: Socket;
  readonly listener: InboundListener;
  readonly facts: ConnectionFacts;
  readonly peer: Peer;
  readonly encrypted: boolean;
  chain: InboundChain;
  /** Requests in flight. */
  active = 0;
  /** True: the connection ends with the request it is carrying. */
  leaving = false;

  constructor(socket: Socket, listener: InboundListener, facts: ConnectionFacts, chain: InboundChain, peer: Peer) {
    this.socket = socket;
    this.listener = listener;
    this.facts = facts;
    this.chain = chain;
    this.peer = peer;
    this.encrypted = 'encrypted' in socket;
    (socket as Tracked)[CONNECTION] = this;
  }

  /** A request has ended. */
  finished(): void {
    this.active--;
    if (this.leaving && this.active === 0) this.socket.end();
  }

  /** Takes no further request; an idle connection closes now. */
  leave(): void {
    this.leaving = true;
    if (this.active === 0) this.socket.destroy();
  }

  /** The listener has changed: stay if the same rules of admission hold, else go. */
  review(): void {
    const chain = this.listener.state === 'serving' ? this.listener.chain(this.facts) : undefined;
    if (chain === undefined || chain.security !== this.chain.security) this.leave();
    else this.chain = chain;
  }
}
