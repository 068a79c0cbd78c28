/**
 * TLS of one accepted connection with the context that is current then, so that a rotation reaches new handshakes only (gRFC A29).
 * The client's certificate is asked for and verified as the chain says; whatever fails closes the connection.
 */
import type { Socket } from 'node:net';
import type { PeerCertificate } from 'node:tls';
import { TLSSocket } from 'node:tls';
import type { PeerTls } from '../../core/call.ts';
import type { Alarm, Clock } from '../../core/clock.ts';
import type { ServerSecurity } from '../../core/tls.ts';
import { peerTls } from './peer.ts';

/** How long a client may take for its first byte or its handshake. */
const HANDSHAKE_LIMIT_MS = 15_000;

/** First byte of a TLS record with a ClientHello (RFC 8446 §5.1). */
const HANDSHAKE_RECORD = 0x16;

class HandshakeLimit implements Alarm {
  readonly #socket: Socket;
  constructor(socket: Socket) {
    this.#socket = socket;
  }
  onAlarm(): void {
    this.#socket.destroy();
  }
}

/** What Node's own types leave out of a server-side `TLSSocket`. Node's TLS server sets the first two for connections of its own. */
interface Handshaken {
  authorized: boolean;
  /** While it is true, an HTTP/2 session waits for an event that only clients get. */
  secureConnecting: boolean;
  readonly ssl: { verifyError(): Error | null } | null;
}

/** Looks at the first byte and puts it back. A connection that has none, for too long or for ever, is closed. */
export function firstByteIsTls(socket: Socket, clock: Clock, then: (tls: boolean) => void): void {
  const limit = clock.set(new HandshakeLimit(socket), HANDSHAKE_LIMIT_MS, true);
  const close = (): void => {
    clock.clear(limit);
    socket.destroy();
  };
  // The server's sockets may be half open: nobody else would close this one.
  socket.once('end', close);
  socket.once('close', close);
  const look = (): void => {
    const first = socket.read(1) as Buffer | null;
    if (first === null) {
      if (!socket.destroyed && !socket.readableEnded) socket.once('readable', look);
      return;
    }
    clock.clear(limit);
    socket.off('end', close);
    socket.off('close', close);
    socket.unshift(first);
    then(first[0] === HANDSHAKE_RECORD);
  };
  look();
}

export function acceptTls(
  raw: Socket,
  security: ServerSecurity,
  clock: Clock,
  admit: (socket: TLSSocket, identity: PeerTls) => void,
): void {
  const secureContext = security.secureContext();
  if (secureContext === undefined) {
    raw.destroy();
    return;
  }
  const socket = new TLSSocket(raw, {
    isServer: true,
    secureContext,
    requestCert: security.verifiesClients,
    // Judged below: Node judges only connections of its own TLS servers.
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
  });
  const limit = clock.set(new HandshakeLimit(socket), HANDSHAKE_LIMIT_MS, true);
  socket.on('error', () => socket.destroy());
  socket.once('close', () => {
    clock.clear(limit);
    raw.destroy();
  });
  socket.once('secure', () => {
    clock.clear(limit);
    let identity: PeerTls | undefined;
    try {
      identity = verified(socket, security);
    } catch {
      // A strange certificate must neither be let in nor bring the process down.
      identity = undefined;
    }
    if (identity === undefined || socket.alpnProtocol !== 'h2') {
      socket.destroy();
      return;
    }
    (socket as unknown as Handshaken).secureConnecting = false;
    admit(socket, identity);
  });
}

/** Who the client is, or undefined when it must not be served. */
function verified(socket: TLSSocket, security: ServerSecurity): PeerTls | undefined {
  const handshaken = socket as unknown as Handshaken;
  // Before anything else is asked: in newer Node 24 and 26, getPeerX509Certificate takes the chain away (nodejs/node#65579).
  const certificate: PeerCertificate = socket.getPeerCertificate(true);
  const x509 = socket.getPeerX509Certificate();
  if (x509 === undefined) return security.requireClientCertificate ? undefined : peerTls(undefined, false, '');
  if (!security.verifiesClients) return security.requireClientCertificate ? undefined : peerTls(undefined, false, '');
  if (handshaken.ssl === null || handshaken.ssl.verifyError() !== null) return undefined;
  if (security.verifyPeer(certificate) !== undefined) return undefined;
  // What grpc-js's `getAuthContext` goes by.
  handshaken.authorized = true;
  // Undefined for an empty subject, whatever the types say.
  return peerTls(certificate, true, x509.subject as string | undefined);
}
