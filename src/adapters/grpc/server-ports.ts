/**
 * Connections of grpc-js servers, admitted by the filter chain of their bound address (gRFC A36, A29). grpc-js decides once, when it
 * binds, whether a port speaks TLS; xDS decides per connection and may change its mind. So a server with the mesh's credentials is a
 * plain HTTP/2 server to grpc-js, and what reaches it is what was admitted here: plaintext only where the chain is plaintext.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { constants } from 'node:http2';
import type { ServerHttp2Session } from 'node:http2';
import type { Server, Socket } from 'node:net';
import type { Alarm, Clock } from '../../core/clock.ts';
import type { Peer } from '../../core/call.ts';
import type { ConnectionFacts, InboundChain, InboundEngine, InboundListener } from '../../core/engine.ts';
import { MeshError } from '../../core/errors.ts';
import type { Addresses } from './peer.ts';
import { peerFrom, unmapped } from './peer.ts';
import { acceptTls, firstByteIsTls } from './server-tls.ts';

/** One admitted connection. Without a chain the mesh leaves it alone. */
export interface Admission {
  readonly listener: InboundListener;
  readonly chain: InboundChain | undefined;
  readonly peer: Peer;
}

/** Milliseconds between the two GOAWAYs of a connection of older rules: Envoy's `drain_timeout` of the connection manager. */
const RETIRE_MS = 5000;
/** No stream is refused yet. */
const LAST_STREAM = 2 ** 31 - 1;

/** A connection with a chain follows its listener: it takes over new rules, or goes when these would not have let it in as it is. */
class Connection implements Admission, Alarm {
  #retiring = false;
  readonly listener: InboundListener;
  readonly peer: Peer;
  readonly #facts: ConnectionFacts;
  chain: InboundChain | undefined;
  session: ServerHttp2Session | undefined = undefined;

  constructor(listener: InboundListener, chain: InboundChain | undefined, peer: Peer, facts: ConnectionFacts) {
    this.listener = listener;
    this.chain = chain;
    this.peer = peer;
    this.#facts = facts;
  }

  review(draining: boolean, clock: Clock): void {
    if (this.chain === undefined) return;
    const chain = this.listener.state === 'serving' && !draining ? this.listener.chain(this.#facts) : undefined;
    if (chain !== undefined && chain.security === this.chain.security) this.chain = chain;
    // gRFC A36: GOAWAY; calls that run may end. What was open and is to be secured takes no more.
    else if (chain === undefined || this.chain.security === undefined) this.session?.close();
    else this.#retire(clock);
  }

  /**
   * RFC 9113, 6.8: says that it is going, and goes when calls that were on their way meanwhile have come; they would fail otherwise
   * although nothing is wrong.
   */
  #retire(clock: Clock): void {
    const { session } = this;
    if (session === undefined || this.#retiring) return;
    this.#retiring = true;
    if (!session.destroyed && !session.closed) session.goaway(constants.NGHTTP2_NO_ERROR, LAST_STREAM);
    const timer = clock.set(this, RETIRE_MS, true);
    session.once('close', () => clock.clear(timer));
  }

  onAlarm(): void {
    this.session?.close();
  }
}

/** Published by Node when `listen` is called, before the port is open. */
const LISTEN = 'tracing:net.server.listen:asyncStart';

export class ServerPorts {
  readonly #engine: InboundEngine;
  readonly #admissions = new Map<string, Connection>();
  /** Servers of credentials that are not ours, to find the address that a connection's server is bound to. */
  #listening: WeakRef<Server>[] | undefined = undefined;

  constructor(engine: InboundEngine) {
    this.#engine = engine;
  }

  /** Called when grpc-js has made an HTTP/2 server with our credentials: it calls `listen` on it within the same turn. */
  capture(): void {
    const take = (message: unknown): void => {
      const server = serverOf(message);
      if (server.constructor.name !== 'Http2Server') return;
      unsubscribe(LISTEN, take);
      this.#adopt(server);
    };
    subscribe(LISTEN, take);
    // A connection injector never listens; its connections are not admitted, and the interceptor refuses their calls.
    queueMicrotask(() => void unsubscribe(LISTEN, take));
  }

  /** From now on the bound addresses of all servers are known, for interceptors that are used without our credentials. */
  watch(): void {
    if (this.#listening !== undefined) return;
    const listening: WeakRef<Server>[] = [];
    this.#listening = listening;
    subscribe(LISTEN, (message) => void listening.push(new WeakRef(serverOf(message))));
  }

  admission(connection: Addresses): Admission | undefined {
    return this.#admissions.get(keyOf(connection));
  }

  /** The listener of a connection that came to a server without our credentials. */
  listenerOf(connection: Addresses): InboundListener {
    const port = connection.localPort ?? 0;
    for (const reference of this.#listening ?? []) {
      const address = reference.deref()?.address();
      if (address !== null && typeof address === 'object' && address.port === port) return this.#engine.listen(address.address, port);
    }
    return this.#engine.listen(unmapped(connection.localAddress ?? ''), port);
  }

  #adopt(server: Server): void {
    const handlers = server.listeners('connection');
    if (handlers.length === 0) {
      throw new MeshError('ERR_MESH_UNSUPPORTED', 'this version of Node or @grpc/grpc-js binds servers in a way that inmesh does not know');
    }
    server.removeAllListeners('connection');
    const pass = (socket: Socket): void => {
      for (const handler of handlers) Reflect.apply(handler, server, [socket]);
    };
    server.on('connection', (socket) => this.#accept(server, socket, pass));
    server.on('session', (session: ServerHttp2Session) => {
      const connection = this.#admissions.get(keyOf(session.socket));
      if (connection !== undefined) connection.session = session;
    });
    // gRFC A36: the listener is asked for as soon as the port is known, not by the first caller, who would be turned away.
    server.once('listening', () => {
      const listener = this.#listenerOf(server);
      const stop = listener?.onChange(() => this.#review(listener));
      if (stop !== undefined) server.once('close', stop);
    });
  }

  #review(listener: InboundListener): void {
    for (const connection of this.#admissions.values()) {
      if (connection.listener === listener) connection.review(this.#engine.draining, this.#engine.clock);
    }
  }

  #listenerOf(server: Server): InboundListener | undefined {
    const bound = server.address();
    return bound === null || typeof bound === 'string' ? undefined : this.#engine.listen(bound.address, bound.port);
  }

  #accept(server: Server, socket: Socket, pass: (socket: Socket) => void): void {
    socket.on('error', () => socket.destroy());
    const listener = this.#listenerOf(server);
    if (listener?.state === 'passthrough') {
      this.#admit(socket, new Connection(listener, undefined, peerFrom(socket, undefined), factsOf(socket, false)));
      pass(socket);
    } else if (listener?.state !== 'serving' || this.#engine.draining) {
      // gRFC A36: while not serving, close without a byte.
      socket.destroy();
    } else if (listener.mode === 'mixed') {
      firstByteIsTls(socket, this.#engine.clock, (tls) => this.#choose(socket, listener, tls, pass));
    } else {
      this.#choose(socket, listener, listener.mode === 'tls', pass);
    }
  }

  #choose(socket: Socket, listener: InboundListener, tls: boolean, pass: (socket: Socket) => void): void {
    const facts = factsOf(socket, tls);
    const chain = listener.chain(facts);
    // A chain says itself whether it is TLS; bytes of the other kind end the connection.
    if (chain === undefined || (chain.security !== undefined) !== tls) {
      socket.destroy();
    } else if (chain.security === undefined) {
      this.#admit(socket, new Connection(listener, chain, peerFrom(socket, undefined), facts));
      pass(socket);
    } else {
      acceptTls(socket, chain.security, this.#engine.clock, (secured, identity) => {
        const connection = new Connection(listener, chain, peerFrom(secured, identity), facts);
        this.#admit(secured, connection);
        pass(secured);
        // The listener may have changed during the handshake.
        connection.review(this.#engine.draining, this.#engine.clock);
      });
    }
  }

  #admit(socket: Socket, connection: Connection): void {
    const key = keyOf(socket);
    this.#admissions.set(key, connection);
    socket.once('close', () => this.#admissions.delete(key));
  }
}

function keyOf(connection: Addresses): string {
  return `${connection.remoteAddress} ${connection.remotePort} ${connection.localAddress} ${connection.localPort}`;
}

export function factsOf(connection: Addresses, tls: boolean): ConnectionFacts {
  return {
    localAddress: unmapped(connection.localAddress ?? ''),
    localPort: connection.localPort ?? 0,
    remoteAddress: unmapped(connection.remoteAddress ?? ''),
    remotePort: connection.remotePort ?? 0,
    transportProtocol: tls ? 'tls' : 'raw_buffer',
    // gRFC A36 does not match on these; the chain is chosen before the handshake.
    serverName: undefined,
    applicationProtocols: [],
  };
}

function serverOf(message: unknown): Server {
  return (message as { readonly server: Server }).server;
}
