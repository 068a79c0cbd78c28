/**
 * One POST to a REST control plane on a connection of its own: with TLS where that is asked for, and then nothing is written before the
 * peer is verified. Time limits are the caller's (`signal`); statuses are not judged here.
 */
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { ConnectionOptions } from 'node:tls';
import type { ClientSecurity } from '../../core/tls.ts';

/** 100 000 endpoints have about 30 MB of JSON. */
const MAX_BYTES = 256 * 1024 * 1024;

export interface Post {
  readonly path: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: string;
  readonly signal: AbortSignal;
  /** The connection does not keep the process alive. */
  readonly background: boolean;
}

export interface PostReply {
  readonly status: number;
  readonly body: Buffer;
}

/** How a request gets to the server; rejects with an `Error` that says why it did not. */
export interface Poster {
  /** For people, without a path: `http://127.0.0.1:8080`. */
  readonly base: string;
  post(post: Post): Promise<PostReply>;
}

type Address = { readonly host: string; readonly port: number } | { readonly path: string };

export class HttpPoster implements Poster {
  readonly #addresses: readonly Address[];
  readonly #security: ClientSecurity | undefined;
  /** The one in use: the next when it fails. */
  #index = 0;

  /** `uri` is a gRPC target, as the bootstrap's reader makes it of a cluster. */
  constructor(uri: string, security: ClientSecurity | undefined) {
    this.#addresses = addressesOf(uri, security === undefined ? 80 : 443);
    this.#security = security;
  }

  get base(): string {
    return `${this.#security === undefined ? 'http' : 'https'}://${authorityOf(this.#address)}`;
  }

  async post(post: Post): Promise<PostReply> {
    let socket: Socket;
    try {
      socket = await this.#connect(post);
    } catch (error) {
      this.#index = (this.#index + 1) % this.#addresses.length;
      throw error;
    }
    return exchange(socket, authorityOf(this.#address), post);
  }

  get #address(): Address {
    return this.#addresses[this.#index] as Address;
  }

  async #connect({ signal, background }: Post): Promise<Socket> {
    signal.throwIfAborted();
    const security = this.#security;
    const secureContext = security?.secureContext();
    if (security !== undefined && secureContext === undefined) throw new Error(`no certificates: ${security.problem}`);
    const socket = connect(this.#address);
    if (background) socket.unref();
    await opened(socket, 'connect', signal);
    if (security === undefined || secureContext === undefined) return socket;
    const host = 'host' in this.#address ? this.#address.host : 'localhost';
    const options: ConnectionOptions = {
      socket,
      secureContext,
      ALPNProtocols: ['http/1.1'],
      rejectUnauthorized: security.verifiesChain,
      checkServerIdentity: (_host, certificate) => security.verifyPeer(host, certificate),
    };
    // Only a DNS name: Node 26 throws for an IP address, and without a name nothing is to be sent.
    if (security.serverName !== undefined) options.servername = security.serverName;
    const tls = connectTls(options);
    await opened(tls, 'secureConnect', signal);
    // With an unverified chain Node skips checkServerIdentity, the SAN matchers still hold.
    const refused = security.verifiesChain
      ? tls.authorized
        ? undefined
        : tls.authorizationError
      : security.verifyPeer(host, tls.getPeerCertificate(true));
    if (refused !== undefined) {
      tls.destroy();
      throw refused;
    }
    return tls;
  }
}

/** Resolves when `event` comes; else the socket is gone. */
function opened(socket: Socket, event: 'connect' | 'secureConnect', signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (error?: Error): void => {
      signal.removeEventListener('abort', onAbort);
      socket.removeListener('close', onClose);
      if (error === undefined) return resolve();
      socket.destroy();
      reject(error);
    };
    const onAbort = (): void => settle(signal.reason as Error);
    const onClose = (): void => settle(new Error('the peer closed the connection'));
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once(event, () => settle());
    socket.once('close', onClose);
    // Stays: a socket without a listener for errors would end the process.
    socket.on('error', settle);
  });
}

function exchange(socket: Socket, authority: string, { path, headers, body, signal }: Post): Promise<PostReply> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ method: 'POST', path, setHost: false, createConnection: () => socket, signal });
    request.setHeader('host', authority);
    request.setHeader('content-type', 'application/json');
    request.setHeader('accept', 'application/json');
    for (const [name, value] of headers) request.appendHeader(name, value);
    request.on('error', (error) => reject(signal.aborted ? (signal.reason as Error) : error));
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('error', (error) => reject(signal.aborted ? (signal.reason as Error) : error));
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        chunks.push(chunk);
        if (size > MAX_BYTES) request.destroy(new Error(`the answer has more than ${MAX_BYTES / 1024 / 1024} MB`));
      });
      response.on('end', () => {
        socket.destroy();
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) });
      });
    });
    request.end(body);
  });
}

function addressesOf(uri: string, defaultPort: number): readonly Address[] {
  const unix = /^unix:(?:\/\/)?(.+)$/.exec(uri)?.[1];
  if (unix !== undefined) return [{ path: unix }];
  const list = uri.replace(/^(?:ipv4|ipv6|dns):(?:\/\/[^/]*\/)?/, '');
  return list.split(',').map((text) => {
    const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(text);
    const host = match?.[1] ?? match?.[2];
    if (host === undefined) throw new TypeError(`"${uri}" is no address of a REST control plane`);
    return { host, port: match?.[3] === undefined ? defaultPort : Number(match[3]) };
  });
}

function authorityOf(address: Address): string {
  if ('path' in address) return 'localhost';
  return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}
