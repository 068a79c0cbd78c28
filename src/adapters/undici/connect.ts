/**
 * Opens connections to one endpoint: plain TCP, or TLS by the cluster's transport socket, with the certificates current at that moment
 * (so a rotation counts from the next connection on). Says exactly which phase failed; never falls back to plaintext.
 */
import type { Socket } from 'node:net';
import { connect as connectTcp, isIP } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { checkServerIdentity, connect as connectTls } from 'node:tls';
import type { Alarm, Clock, Timer } from '../../core/clock.ts';
import type { Endpoint } from '../../core/endpoint.ts';
import { failure, FAILURES } from '../../core/failure.ts';
import type { ClientSecurity } from '../../core/tls.ts';
import { offeredProtocols } from '../../core/tls.ts';
import { ConnectFailure } from './wire-errors.ts';

export type Connected = (error: Error | null, socket: Socket | null) => void;

/** Kept per endpoint: resumption saves a third of a handshake (reference node.md §8), and ends with the certificates it began with. */
interface Session {
  readonly generation: number;
  readonly ticket: Buffer;
}

export class Connector {
  readonly #endpoint: Endpoint;
  readonly #clock: Clock;
  readonly #security: ClientSecurity | undefined;
  /** The host to verify with the system's roots where the application asked for TLS and the cluster says nothing; else undefined. */
  readonly #secureHost: string | undefined;
  #session: Session | undefined;

  constructor(endpoint: Endpoint, clock: Clock, security: ClientSecurity | undefined, secureHost: string | undefined) {
    this.#endpoint = endpoint;
    this.#clock = clock;
    this.#security = security;
    this.#secureHost = secureHost;
  }

  open(done: Connected): void {
    const { host, port, address, cluster } = this.#endpoint;
    const security = this.#security;
    const opening = new Opening(address, cluster.connectTimeoutMs, this.#clock, done);
    if (security === undefined && this.#secureHost === undefined) {
      const socket = connectTcp({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 });
      // undici's switch to HTTP/2 with prior knowledge.
      if (cluster.http2) (socket as Socket & { alpnProtocol?: string }).alpnProtocol = 'h2';
      socket.once('connect', () => opening.succeed());
      opening.watch(socket);
      return;
    }
    const tls = security === undefined ? this.#openWithSystemRoots(host, port) : this.#openSecured(security, opening);
    if (tls === undefined) return;
    tls.setNoDelay(true);
    tls.setKeepAlive(true, 60_000);
    tls.once('connect', () => (opening.reached = true));
    tls.once('secureConnect', () => {
      const problem =
        security === undefined || security.verifiesChain
          ? undefined
          : security.verifyPeer(security.serverName ?? host, tls.getPeerCertificate(true));
      if (problem !== undefined) return void tls.destroy(problem);
      // The cluster decides on the protocol, as in Envoy; a server that says HTTP/1.1 outright is believed.
      if (tls.alpnProtocol !== 'http/1.1')
        (tls as { alpnProtocol: string | false | null }).alpnProtocol = cluster.http2 ? 'h2' : 'http/1.1';
      opening.succeed();
    });
    opening.watch(tls);
  }

  #openSecured(security: ClientSecurity, opening: Opening): TLSSocket | undefined {
    const { host, port, address, cluster } = this.#endpoint;
    const context = security.secureContext();
    if (context === undefined) {
      opening.refuse(new ConnectFailure(failure(FAILURES.tlsNotReady, `cluster ${cluster.name}: ${security.problem}`)));
      return undefined;
    }
    const { generation } = security;
    const { hostname } = this.#endpoint;
    const serverName = security.autoHostSni === true && hostname !== '' ? hostname : security.serverName;
    const session = this.#session?.generation === generation ? this.#session.ticket : undefined;
    const tls = connectTls({
      host,
      port,
      secureContext: context,
      rejectUnauthorized: security.verifiesChain,
      checkServerIdentity: (_name, certificate) => security.verifyPeer(serverName ?? address, certificate),
      ALPNProtocols: [...offeredProtocols(security.alpn, cluster.http2)],
      ...(serverName === undefined || isIP(serverName) !== 0 ? {} : { servername: serverName }),
      ...(session === undefined ? {} : { session }),
    });
    // A resumed session is not checked again, so only verified ones are kept, and only while the configuration stays.
    tls.on('session', (ticket: Buffer) => {
      if (tls.authorized) this.#session = { generation, ticket };
    });
    return tls;
  }

  #openWithSystemRoots(host: string, port: number): TLSSocket {
    const name = this.#secureHost as string;
    return connectTls({
      host,
      port,
      checkServerIdentity: (_name, certificate) => checkServerIdentity(name, certificate),
      ALPNProtocols: [this.#endpoint.cluster.http2 ? 'h2' : 'http/1.1'],
      ...(isIP(name) === 0 ? { servername: name } : {}),
    });
  }
}

/** One connection being opened: succeeds, fails or runs out of time, once. */
class Opening implements Alarm {
  /** True once TCP stands: what fails afterwards is TLS. */
  reached = false;
  readonly #address: string;
  readonly #timeoutMs: number;
  readonly #clock: Clock;
  readonly #timer: Timer;
  #done: Connected | undefined;
  #socket: Socket | undefined;

  constructor(address: string, timeoutMs: number, clock: Clock, done: Connected) {
    this.#address = address;
    this.#timeoutMs = timeoutMs;
    this.#clock = clock;
    this.#done = done;
    this.#timer = clock.set(this, timeoutMs, true);
  }

  watch(socket: Socket): void {
    this.#socket = socket;
    // Stays for good: undici adds its own listener once the socket is in use.
    socket.on('error', (error) => this.#fail(error));
    socket.once('close', () => this.#fail(new Error('the connection was closed while it was being opened')));
  }

  succeed(): void {
    const done = this.#take();
    if (done !== undefined && this.#socket !== undefined) done(null, this.#socket);
  }

  /** Fails without a socket, after the caller has returned. */
  refuse(error: ConnectFailure): void {
    const done = this.#take();
    if (done !== undefined) queueMicrotask(() => done(error, null));
  }

  onAlarm(): void {
    const message = `${this.#address}: no connection within ${this.#timeoutMs} ms`;
    const done = this.#take();
    this.#socket?.destroy();
    done?.(new ConnectFailure(failure(FAILURES.connectionFailure, message)), null);
  }

  #fail(error: Error): void {
    const kind = this.reached ? FAILURES.tlsFailure : FAILURES.connectionFailure;
    const done = this.#take();
    if (done === undefined) return;
    this.#socket?.destroy();
    done(new ConnectFailure(failure(kind, `${this.#address}: ${error.message}`, error)), null);
  }

  #take(): Connected | undefined {
    const done = this.#done;
    this.#done = undefined;
    if (done !== undefined) this.#clock.clear(this.#timer);
    return done;
  }
}
