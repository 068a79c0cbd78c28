/**
 * The inbound side for `node:http` and `node:https`: puts the mesh between a server and its listeners, so that whatever runs on the server
 * (Express, Fastify, Koa, Hono, plain) works unmodified. Works on the one server instance that it is given (reference node.md §6).
 */
import type { IncomingMessage, Server as HttpServer } from 'node:http';
import { ServerResponse } from 'node:http';
import { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Peer } from '../../core/call.ts';
import type { InboundEngine, InboundListener } from '../../core/engine.ts';
import { failure, FAILURES } from '../../core/failure.ts';
import { failureReply } from '../../core/reply.ts';
import { Accepting, factsOf, peerOfSocket } from './accept.ts';
import { connectionOf, InboundConnection } from './connections.ts';
import type { RunApplication } from './exchange.ts';
import { InboundExchange } from './exchange.ts';
import { hasSeveralHosts } from './headers.ts';
import { writeLocal } from './response.ts';

type Emit = (event: string, ...values: unknown[]) => boolean;

class AttachedServer {
  readonly #engine: InboundEngine;
  readonly #server: HttpServer | HttpsServer;
  readonly #emit: Emit;
  readonly #run: RunApplication = (request, response) => void this.#emit('request', request, response);
  readonly #ownTls: boolean;
  readonly #connections = new Set<InboundConnection>();
  #listener: InboundListener | undefined;
  #stop: (() => void) | undefined;

  constructor(engine: InboundEngine, server: HttpServer | HttpsServer) {
    this.#engine = engine;
    this.#server = server;
    this.#ownTls = server instanceof HttpsServer;
    const emit = server.emit;
    this.#emit = (event, ...values) => (emit as Emit).call(server, event, ...values);
    (server as { emit: Emit }).emit = (event, ...values) =>
      this.#intercepts(event, values[0], values[1], values[2]) || this.#emit(event, ...values);
    if (server.listening) this.#onListening();
  }

  /** True: the mesh took the event. */
  #intercepts(event: string, first: unknown, second: unknown, third: unknown): boolean {
    switch (event) {
      case 'request':
      case 'checkContinue':
      case 'checkExpectation':
        return this.#onRequest(event, first as IncomingMessage, second as ServerResponse);
      case 'connection':
        return this.#onConnection(first as Socket);
      case 'secureConnection':
        this.#onOwnTls(first as TLSSocket);
        return false;
      case 'upgrade':
      case 'connect':
        return this.#onUpgrade(event, first as IncomingMessage, second as Socket, third);
      case 'listening':
        this.#onListening();
        return false;
      case 'close':
        this.#stop?.();
        this.#stop = undefined;
        this.#listener = undefined;
        return false;
      default:
        return false;
    }
  }

  #onListening(): void {
    const address = this.#server.address();
    // Unix sockets are nobody's filter chain.
    if (address === null || typeof address === 'string') return;
    this.#stop?.();
    const listener = (this.#listener = this.#engine.listen(address.address, address.port));
    this.#stop = listener.onChange(() => this.#review());
  }

  #review(): void {
    for (const connection of this.#connections) this.#reviewOne(connection);
  }

  #reviewOne(connection: InboundConnection): void {
    if (this.#engine.draining) connection.leave();
    else connection.review(this.#engine.clock);
  }

  #onConnection(socket: Socket): boolean {
    const listener = this.#listener;
    if (listener === undefined || connectionOf(socket) !== undefined) return false;
    if (listener.state === 'passthrough') return false;
    if (listener.state !== 'serving' || this.#engine.draining) {
      socket.destroy();
      return true;
    }
    new Accepting(
      socket,
      { clock: this.#engine.clock, listener, ownTls: this.#ownTls },
      {
        onAccepted: (accepted, facts, chain, peer) => {
          const connection = new InboundConnection(accepted, listener, facts, chain, peer);
          this.#track(connection);
          // The listener may have changed during the handshake; a request may have come with the end of it.
          if (peer.tls !== undefined) this.#reviewOne(connection);
          if (!accepted.destroyed) this.#emit(this.#ownTls ? 'secureConnection' : 'connection', accepted);
        },
        onForeignTls: (raw) => void this.#emit('connection', raw),
      },
    ).start();
    return true;
  }

  /** An `https.Server` has finished its own handshake: the mesh checks what the application did not leave to it. */
  #onOwnTls(socket: TLSSocket): void {
    const listener = this.#listener;
    if (listener === undefined || listener.state === 'passthrough' || connectionOf(socket) !== undefined) return;
    const name = (socket as { servername?: string | false }).servername;
    const facts = factsOf(socket, { serverName: typeof name === 'string' ? name : undefined, applicationProtocols: [] });
    const chain = listener.chain(facts);
    // The certificate was the application's business, so it proves nothing to the mesh.
    if (chain === undefined || chain.security !== undefined) socket.destroy();
    else this.#track(new InboundConnection(socket, listener, facts, chain, peerOfSocket(socket, facts)));
  }

  #track(connection: InboundConnection): void {
    this.#connections.add(connection);
    connection.socket.once('close', () => this.#connections.delete(connection));
  }

  #onRequest(event: string, request: IncomingMessage, response: ServerResponse): boolean {
    const connection = this.#admitted(request);
    if (connection === 'untouched') return false;
    if (connection === undefined || this.#engine.draining || hasSeveralHosts(request)) {
      this.#refuse(connection, request, response);
      return true;
    }
    const run = event === 'request' ? this.#run : (req: IncomingMessage, res: ServerResponse): void => void this.#emit(event, req, res);
    new InboundExchange(this.#engine, connection, request, response, run).start();
    return true;
  }

  /** Undefined: the connection came while the mesh let everything through, and now there are rules. */
  #admitted(request: IncomingMessage): InboundConnection | 'untouched' | undefined {
    const connection = connectionOf(request.socket);
    if (connection !== undefined) return connection;
    const listener = this.#listener;
    return listener === undefined || listener.state === 'passthrough' ? 'untouched' : undefined;
  }

  #refuse(connection: InboundConnection | undefined, request: IncomingMessage, response: ServerResponse): void {
    response.shouldKeepAlive = false;
    if (connection !== undefined && !this.#engine.draining) {
      response.writeHead(400, { 'content-type': 'text/plain' });
      response.end('a request must have one Host header');
      return;
    }
    const why = this.#engine.draining ? 'the server is shutting down' : 'this connection is older than the rules of the mesh';
    writeLocal(response, failureReply(failure(FAILURES.draining, why)));
    request.resume();
  }

  /** Upgrades run through the same stack: a WebSocket must not get past an authorization filter. */
  #onUpgrade(event: string, request: IncomingMessage, socket: Socket, head: unknown): boolean {
    const connection = this.#admitted(request);
    if (connection === 'untouched') return false;
    if (connection === undefined || this.#engine.draining || hasSeveralHosts(request)) {
      socket.destroy();
      return true;
    }
    // A response of its own, for the case that the mesh answers; detached as soon as the application takes the socket.
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket);
    response.once('finish', () => socket.end());
    socket.once('close', () => response.emit('close'));
    new InboundExchange(this.#engine, connection, request, response, () => {
      response.detachSocket(socket);
      this.#emit(event, request, socket, head);
    }).start();
    return true;
  }
}

const ATTACHED = new WeakMap<HttpServer | HttpsServer, AttachedServer>();

/** Runs all requests of `server` through the inbound stack of the address it listens on. Idempotent. */
export function attachHttpServer(engine: InboundEngine, server: HttpServer | HttpsServer): void {
  if (!ATTACHED.has(server)) ATTACHED.set(server, new AttachedServer(engine, server));
}

/** Who sent a request, by address and by certificate; undefined where the mesh does not serve the connection. */
export function peerOf(request: IncomingMessage): Peer | undefined {
  return connectionOf(request.socket)?.peer;
}
