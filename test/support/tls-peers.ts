/** Plain TLS peers driven by `ClientSecurity` and `ServerSecurity`, as adapters do it, for tests that look at TLS alone. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { connect, TLSSocket } from 'node:tls';
import { onTestFinished } from 'vitest';
import type { PeerTls } from '../../src/core/call.ts';
import type { ClientSecurity, ServerSecurity } from '../../src/core/tls.ts';
import { peerTlsOf } from '../../src/security/identity.ts';

export interface TlsPeer {
  readonly port: number;
  /** Peers that were let in. */
  readonly accepted: PeerTls[];
  /** Connections that were refused after the handshake, with OpenSSL's or our reason. */
  readonly refused: string[];
}

/** Echoes what it gets, to peers that it lets in; `current` may change between connections. */
export async function startTlsPeer(current: () => ServerSecurity): Promise<TlsPeer> {
  const accepted: PeerTls[] = [];
  const refused: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((raw) => {
    sockets.add(raw);
    raw.on('error', () => undefined);
    const security = current();
    const secureContext = security.secureContext();
    if (secureContext === undefined) {
      refused.push(security.problem);
      raw.destroy();
      return;
    }
    const socket = new TLSSocket(raw, { isServer: true, secureContext, requestCert: security.verifiesClients, rejectUnauthorized: false });
    socket.on('error', () => undefined);
    socket.once('secure', () => {
      const certificate = socket.getPeerCertificate();
      const presented = certificate.raw !== undefined;
      const { ssl } = socket as unknown as { readonly ssl: { verifyError(): Error | null } };
      const problem = (presented && security.verifiesClients ? ssl.verifyError() : null) ?? security.verifyPeer(certificate);
      if (problem !== null && problem !== undefined) {
        refused.push(problem.message);
        socket.destroy();
        return;
      }
      accepted.push(peerTlsOf(socket, presented && security.verifiesClients));
      socket.pipe(socket);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, 'close');
  });
  return { port: (server.address() as AddressInfo).port, accepted, refused };
}

/** A verified connection, echo included (with TLS 1.3 a server refuses a client only after the client's handshake); rejects when refused. */
export async function openTls(security: ClientSecurity, port: number, session?: Buffer): Promise<TLSSocket> {
  const secureContext = security.secureContext();
  if (secureContext === undefined) throw new Error(security.problem);
  const socket = connect({
    host: '127.0.0.1',
    port,
    secureContext,
    rejectUnauthorized: security.verifiesChain,
    checkServerIdentity: (host, certificate) => security.verifyPeer(host, certificate),
    ...(security.serverName === undefined ? {} : { servername: security.serverName }),
    ...(session === undefined ? {} : { session }),
  });
  onTestFinished(() => void socket.destroy());
  await once(socket, 'secureConnect');
  await echo(socket, 'hello');
  return socket;
}

/** Resolves when the text came back; rejects when the connection ends instead. */
export function echo(socket: TLSSocket, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const onClose = (): void => reject(new Error('the connection was closed'));
    const onData = (data: Buffer): void => {
      socket.off('close', onClose).off('error', reject);
      if (data.toString() === text) resolve();
      else reject(new Error(`got ${JSON.stringify(data.toString())}`));
    };
    socket.once('close', onClose).once('error', reject).once('data', onData);
    socket.write(text);
  });
}

/** The certificate that the server showed. (On the client side `getPeerX509Certificate` answers once only.) */
export function serialOf(socket: TLSSocket): string {
  return socket.getPeerCertificate().serialNumber;
}
