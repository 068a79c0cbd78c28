/** Channel credentials that tell which socket a connection got; whether the socket keeps the process alive is its owner's decision. */
import type { experimental } from '@grpc/grpc-js';
import { CallCredentials, ChannelCredentials } from '@grpc/grpc-js';
import type { Socket } from 'node:net';

type SecureConnector = experimental.SecureConnector;

export class SocketReporter extends ChannelCredentials {
  readonly #inner: ChannelCredentials;
  socket: Socket | undefined;

  constructor(inner: ChannelCredentials) {
    super();
    this.#inner = inner;
  }

  override _isSecure(): boolean {
    return this.#inner._isSecure();
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(...[target, options, calls]: Parameters<ChannelCredentials['_createSecureConnector']>): SecureConnector {
    const connector = this.#inner._createSecureConnector(target, options, calls ?? CallCredentials.createEmpty());
    return {
      connect: async (socket) => {
        const connected = await connector.connect(socket);
        this.socket = connected.socket;
        return connected;
      },
      waitForReady: () => connector.waitForReady(),
      getCallCredentials: () => connector.getCallCredentials(),
      destroy: () => connector.destroy(),
    };
  }
}
