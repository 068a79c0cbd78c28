/**
 * Accepts connections: peeks at the first bytes where the listener speaks TLS, picks the filter chain, and terminates TLS with the
 * certificate current at that moment (reference node.md §6, §8). A connection that fits nothing is closed without a byte, and plaintext is
 * never taken where the chain asks for TLS.
 */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Peer } from '../../core/call.ts';
import type { Alarm, Clock, Timer } from '../../core/clock.ts';
import type { ConnectionFacts, InboundChain, InboundListener } from '../../core/engine.ts';
import type { ServerSecurity } from '../../core/tls.ts';
import { peerTlsOf } from '../../core/peer-identity.ts';
import type { ClientHello } from './client-hello.ts';
import { helloLength, MAX_HELLO, readClientHello } from './client-hello.ts';

/** Envoy's `listener_filters_timeout`: how long a connection may take to say what it is. */
const HELLO_TIMEOUT_MS = 15_000;
const TLS_HANDSHAKE = 0x16;

/** Facts of a connection without its bytes. IPv4 addresses of dual-stack sockets are shown as IPv4. */
export function factsOf(socket: Socket, hello: ClientHello | undefined): ConnectionFacts {
  return {
    localAddress: plain(socket.localAddress),
    localPort: socket.localPort ?? 0,
    remoteAddress: plain(socket.remoteAddress),
    remotePort: socket.remotePort ?? 0,
    transportProtocol: hello === undefined ? 'raw_buffer' : 'tls',
    serverName: hello?.serverName,
    applicationProtocols: hello?.applicationProtocols ?? [],
  };
}

function plain(address: string | undefined): string {
  if (address === undefined) return '';
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice(7) : address;
}

export interface AcceptEvents {
  /** The connection may carry requests. `peer.tls` is set when the mesh terminated TLS. */
  onAccepted(socket: Socket, facts: ConnectionFacts, chain: InboundChain, peer: Peer): void;
  /** A TLS connection for a chain that leaves TLS to the application (an `https.Server`). */
  onForeignTls(socket: Socket): void;
}

export interface AcceptOptions {
  readonly clock: Clock;
  readonly listener: InboundListener;
  /** True for an `https.Server`: TLS that no chain terminates is the application's. */
  readonly ownTls: boolean;
}

/** One connection on its way in. */
export class Accepting implements Alarm {
  readonly #socket: Socket;
  readonly #options: AcceptOptions;
  readonly #events: AcceptEvents;
  #timer: Timer | undefined;
  #tls: TLSSocket | undefined;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(socket: Socket, options: AcceptOptions, events: AcceptEvents) {
    this.#socket = socket;
    this.#options = options;
    this.#events = events;
  }

  start(): void {
    const { listener, ownTls, clock } = this.#options;
    if (listener.mode === 'plaintext' && !ownTls) return this.#plaintext();
    this.#timer = clock.set(this, HELLO_TIMEOUT_MS, true);
    this.#socket.on('error', this.#close);
    this.#socket.once('close', this.#close);
    // The far side went away without a word.
    this.#socket.once('end', this.#close);
    this.#socket.on('readable', this.#peek);
  }

  onAlarm(): void {
    this.#close();
  }

  readonly #close = (): void => {
    if (this.#timer !== undefined) this.#options.clock.clear(this.#timer);
    this.#tls?.destroy();
    this.#socket.destroy();
  };

  readonly #peek = (): void => {
    for (let chunk = this.#socket.read() as Buffer | null; chunk !== null; chunk = this.#socket.read() as Buffer | null) {
      this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    }
    const bytes = this.#bytes;
    if (bytes.length === 0) return;
    const secure = bytes[0] === TLS_HANDSHAKE;
    if (secure && bytes.length < helloLength(bytes) && bytes.length < MAX_HELLO) return;
    this.#socket.off('readable', this.#peek);
    this.#socket.unshift(bytes);
    if (secure) this.#secured(readClientHello(bytes));
    else this.#plaintext();
  };

  #release(): void {
    if (this.#timer !== undefined) this.#options.clock.clear(this.#timer);
    this.#socket.off('error', this.#close);
    this.#socket.off('close', this.#close);
    this.#socket.off('end', this.#close);
  }

  #plaintext(): void {
    const facts = factsOf(this.#socket, undefined);
    const chain = this.#options.listener.chain(facts);
    if (chain === undefined || chain.security !== undefined) return this.#close();
    this.#release();
    this.#events.onAccepted(this.#socket, facts, chain, peerOfSocket(this.#socket, facts));
  }

  #secured(hello: ClientHello): void {
    const facts = factsOf(this.#socket, hello);
    const chain = this.#options.listener.chain(facts);
    if (chain === undefined) return this.#close();
    if (chain.security !== undefined) return this.#handshake(chain.security, facts, chain);
    if (!this.#options.ownTls) return this.#close();
    this.#release();
    this.#events.onForeignTls(this.#socket);
  }

  #handshake(security: ServerSecurity, facts: ConnectionFacts, chain: InboundChain): void {
    const secureContext = security.secureContext();
    if (secureContext === undefined) return this.#close();
    const tls = (this.#tls = new TLSSocket(this.#socket, {
      isServer: true,
      secureContext,
      requestCert: security.verifiesClients,
      // The result is read below: without a `tls.Server` nobody else does.
      rejectUnauthorized: false,
      // The protocol spoken here is HTTP/1.1, whatever else the chain lists for the sake of matching.
      ALPNProtocols: ['http/1.1'],
    }));
    tls.on('error', this.#close);
    // The raw socket tells of nothing while TLS reads it: a peer that leaves before the handshake is over is seen here only.
    tls.once('end', this.#close);
    tls.once('close', this.#close);
    tls.once('secure', () => {
      const verified = verify(tls, security);
      if (verified === 'refused') return this.#close();
      this.#release();
      tls.off('error', this.#close);
      tls.off('end', this.#close);
      tls.off('close', this.#close);
      const peer: Peer = { ...peerOfSocket(this.#socket, facts), tls: peerTlsOf(tls, verified === 'verified') };
      this.#events.onAccepted(tls, facts, chain, peer);
    });
  }
}

export function peerOfSocket(_socket: Socket, facts: ConnectionFacts): Peer {
  const { remoteAddress, remotePort, localAddress, localPort } = facts;
  return { remoteAddress, remotePort, localAddress, localPort, tls: undefined };
}

/** What OpenSSL found about the client's chain; Node keeps it on an object that its types do not show. */
interface VerifiedHandle {
  readonly ssl?: { verifyError?(): Error | null | undefined } | null;
}

function verify(tls: TLSSocket, security: ServerSecurity): 'verified' | 'anonymous' | 'refused' {
  const certificate = tls.getPeerCertificate(true);
  const presented = (certificate as { raw?: Buffer }).raw !== undefined;
  if (presented && security.verifiesClients) {
    const { ssl } = tls as unknown as VerifiedHandle;
    // A runtime without this cannot tell good from bad certificates: refuse rather than guess.
    if (typeof ssl?.verifyError !== 'function' || ssl.verifyError()) return 'refused';
  }
  if (security.verifyPeer(certificate) !== undefined) return 'refused';
  return presented && security.verifiesClients ? 'verified' : 'anonymous';
}
