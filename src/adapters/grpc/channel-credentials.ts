/**
 * Channel credentials of one cluster's transport socket: every new connection takes the context that is current then, so a rotation
 * reaches new connections and leaves old ones alone (gRFC A29). They never connect without TLS.
 */
import type { ChannelOptions } from '@grpc/grpc-js';
import { CallCredentials, ChannelCredentials } from '@grpc/grpc-js';
import type { experimental } from '@grpc/grpc-js';
import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { connect } from 'node:tls';
import type { ClientSecurity } from '../../core/tls.ts';
import { offeredProtocols } from '../../core/tls.ts';

type SecureConnector = experimental.SecureConnector;
type ConnectorTarget = Parameters<ChannelCredentials['_createSecureConnector']>[0];

/** Told of handshakes that failed, so that a call can say why. */
export interface HandshakeWatcher {
  onHandshakeFailure(error: Error): void;
}

export class ClusterCredentials extends ChannelCredentials {
  readonly #security: ClientSecurity;
  /** What the SAN check is told when the configuration names no server name. */
  readonly #hostname: string;
  readonly #watcher: HandshakeWatcher;

  constructor(security: ClientSecurity, hostname: string, watcher: HandshakeWatcher) {
    super();
    this.#security = security;
    this.#hostname = hostname;
    this.#watcher = watcher;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(_target: ConnectorTarget, _options: ChannelOptions, calls?: CallCredentials): SecureConnector {
    const credentials = calls ?? CallCredentials.createEmpty();
    return {
      connect: (socket) => this.#connect(socket),
      waitForReady: () => Promise.resolve(),
      getCallCredentials: () => credentials,
      destroy: () => undefined,
    };
  }

  async #connect(socket: Socket): Promise<{ socket: Socket; secure: boolean }> {
    try {
      return { socket: await this.#handshake(socket), secure: true };
    } catch (error) {
      socket.destroy();
      const cause = error instanceof Error ? error : new Error(String(error));
      this.#watcher.onHandshakeFailure(cause);
      throw cause;
    }
  }

  #handshake(socket: Socket): Promise<Socket> {
    const security = this.#security;
    const secureContext = security.secureContext();
    if (secureContext === undefined) return Promise.reject(new Error(`no certificates: ${security.problem}`));
    // Nothing but HTTP/2, whatever else the cluster says.
    const offered = offeredProtocols(
      security.alpn.filter((name) => name === 'istio'),
      true,
    );
    const options: ConnectionOptions = {
      socket,
      secureContext,
      ALPNProtocols: [...offered],
      rejectUnauthorized: security.verifiesChain,
      checkServerIdentity: (_host, certificate) => security.verifyPeer(this.#hostname, certificate),
    };
    // Only a DNS name: Node 26 throws for an IP address, and without a name nothing is to be sent.
    if (security.serverName !== undefined) options.servername = security.serverName;
    return new Promise((resolve, reject) => {
      const tls = connect(options);
      const onClose = (): void => reject(new Error('the peer closed the connection during the TLS handshake'));
      tls.once('error', reject);
      tls.once('close', onClose);
      tls.once('secureConnect', () => {
        tls.removeListener('error', reject);
        tls.removeListener('close', onClose);
        // With an unverified chain Node skips checkServerIdentity, the SAN matchers still hold.
        const refused = security.verifiesChain ? undefined : security.verifyPeer(this.#hostname, tls.getPeerCertificate(true));
        if (refused !== undefined || (security.verifiesChain && !tls.authorized)) {
          reject(refused ?? tls.authorizationError ?? new Error('the certificate of the peer is not trusted'));
          tls.destroy();
        } else if (typeof tls.alpnProtocol !== 'string' || !offered.includes(tls.alpnProtocol)) {
          reject(new Error('the peer does not speak HTTP/2 (no ALPN "h2")'));
          tls.destroy();
        } else {
          resolve(tls);
        }
      });
    });
  }
}
