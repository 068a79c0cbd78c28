/**
 * Server credentials that take TLS from the xDS server listener of the bound address. They bring the inbound stack with them, so that
 * a server that is bound with them cannot be without it.
 */
import type { ServerInterceptor } from '@grpc/grpc-js';
import { ServerCredentials } from '@grpc/grpc-js';
import type { ServerPorts } from './server-ports.ts';

export class MeshServerCredentials extends ServerCredentials {
  readonly #ports: ServerPorts;
  readonly #interceptor: ServerInterceptor;

  constructor(ports: ServerPorts, interceptor: ServerInterceptor) {
    super(null);
    this.#ports = ports;
    this.#interceptor = interceptor;
  }

  /** To grpc-js the port is plain HTTP/2; `server-ports.ts` does the TLS in front of it. */
  override _isSecure(): boolean {
    return false;
  }

  override _equals(other: ServerCredentials): boolean {
    return other instanceof MeshServerCredentials && other.#ports === this.#ports;
  }

  /** grpc-js asks for these right after it made the HTTP/2 server, and right before it calls `listen`. */
  override _getInterceptors(): ServerInterceptor[] {
    this.#ports.capture();
    return [this.#interceptor];
  }
}
