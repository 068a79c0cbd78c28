/**
 * The back of the adapter: one undici pool per endpoint, made on first use. The pool's origin is the authority that calls come with, not the
 * endpoint's address, so undici writes the right host header by itself and an unchanged request needs no options of its own.
 */
import type { Client as ClientType, Dispatcher, Pool as PoolType } from 'undici';
import type { Attempt } from '../../core/call.ts';
import type { Clock } from '../../core/clock.ts';
import type { Endpoint } from '../../core/endpoint.ts';
import { failure, FAILURES } from '../../core/failure.ts';
import type { Reply } from '../../core/reply.ts';
import { failureReply } from '../../core/reply.ts';
import type { ClientSecurity } from '../../core/tls.ts';
import type { Connection, Transport } from '../../core/transport.ts';
import { ClientPool } from './client-pool.ts';
import { Connector } from './connect.ts';
import { createPool } from './library.ts';
import { WireReply } from './wire-reply.ts';
import type { WireHandler, WireOptions } from './wire.ts';

/** A request that can say itself in undici's terms; implemented by `exchange.ts`. */
export interface WireRequest {
  readonly authority: string;
  wireOptions(poolAuthority: string): WireOptions;
}

export interface UndiciTransportOptions {
  readonly clock: Clock;
}

/** HTTP/2: one connection per endpoint, as many streams as the peer allows (undici asks it); what exceeds that waits. */
const HTTP2 = { allowH2: true, connections: 1, pipelining: 10_000 };

interface OpenPool {
  readonly authority: string;
  readonly pool: ClientPool | PoolType;
}

export class UndiciConnection implements Connection {
  readonly #endpoint: Endpoint;
  readonly #clock: Clock;
  readonly #secure: boolean;
  #security: ClientSecurity | undefined;
  #main: OpenPool | undefined;
  /** Only with `secure`: a server that proved to be one host must not get calls for another. */
  #others: Map<string, OpenPool> | undefined;
  /** Pools that finish what they do. */
  readonly #retired = new Set<ClientPool | PoolType>();
  readonly #closing = new Set<Promise<void>>();
  #closed = false;

  constructor(endpoint: Endpoint, secure: boolean, clock: Clock) {
    this.#endpoint = endpoint;
    this.#secure = secure;
    this.#clock = clock;
    this.#security = endpoint.security;
  }

  /** The direct way: undici calls `handler`, which is the request's own. */
  dispatch(request: WireRequest, handler: WireHandler): void {
    if (this.#closed) return handler.onError(new Error('the connection to the endpoint is closed'));
    const { authority, pool } = this.#pool(request.authority);
    pool.dispatch(request.wireOptions(authority) as Dispatcher.DispatchOptions, handler as unknown as Dispatcher.DispatchHandler);
  }

  send(attempt: Attempt): Promise<Reply> {
    const { head } = attempt.call;
    if (!('wireOptions' in head)) {
      const failed = failure(FAILURES.filterFailed, 'the undici transport got a call that another adapter made');
      attempt.end(failed.kind.httpStatus, undefined, failed);
      return Promise.resolve(failureReply(failed));
    }
    return new Promise((resolve) => {
      const exchange = new WireReply(attempt, resolve);
      if (attempt.cancelled !== undefined) exchange.cancel(attempt.cancelled);
      else this.dispatch(head as unknown as WireRequest, exchange);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#retire();
    await Promise.all(this.#closing);
  }

  destroy(error: Error): void {
    this.#closed = true;
    this.#retire();
    for (const pool of this.#retired) void pool.destroy(error);
  }

  #pool(authority: string): OpenPool {
    const { security } = this.#endpoint;
    // The cluster's transport socket was exchanged: old connections finish what they do and take nothing new.
    if (security !== this.#security) {
      this.#retire();
      this.#security = security;
    }
    const main = (this.#main ??= this.#open(authority));
    if (!this.#secure || main.authority === authority) return main;
    this.#others ??= new Map();
    let other = this.#others.get(authority);
    if (other === undefined) this.#others.set(authority, (other = this.#open(authority)));
    return other;
  }

  #open(authority: string): OpenPool {
    const { cluster, address } = this.#endpoint;
    const security = this.#security;
    const encrypted = security !== undefined || this.#secure;
    const connector = new Connector(
      this.#endpoint,
      this.#clock,
      security,
      security === undefined && this.#secure ? hostnameOf(authority) : undefined,
    );
    const perConnection = cluster.maxRequestsPerConnection;
    // undici closes after one request more than it is told, and takes 0 as no limit: one request per connection is no keep-alive.
    const limit = perConnection === undefined ? {} : perConnection <= 1 ? { pipelining: 0 } : { maxRequestsPerClient: perConnection - 1 };
    const options = {
      connect: (_options: unknown, done: (error: Error | null, socket: null) => void) => connector.open(done as never),
      ...(cluster.http2 ? HTTP2 : limit),
    };
    // The scheme matters to HTTP/2 only (`:scheme`); with HTTP/1.1 it would only make undici compare server names.
    const scheme = encrypted && cluster.http2 ? 'https' : 'http';
    const known = URL.canParse(`${scheme}://${authority}`) && new URL(`${scheme}://${authority}`).host === authority;
    const origin = `${scheme}://${known ? authority : address}`;
    const pool = cluster.http2
      ? createPool(origin, options as unknown as PoolType.Options)
      : new ClientPool(origin, options as unknown as ClientType.Options);
    return { authority: known ? authority : '', pool };
  }

  #retire(): void {
    const retired = [...(this.#main === undefined ? [] : [this.#main]), ...(this.#others?.values() ?? [])];
    this.#main = undefined;
    this.#others = undefined;
    for (const { pool } of retired) {
      this.#retired.add(pool);
      const closing = pool
        .close()
        .catch(() => undefined)
        .then(() => {
          this.#retired.delete(pool);
          this.#closing.delete(closing);
        });
      this.#closing.add(closing);
    }
  }
}

/** `authority` without its port; IPv6 without brackets. */
function hostnameOf(authority: string): string {
  const host = authority.replace(/:\d+$/, '');
  return host.startsWith('[') ? host.slice(1, -1) : host;
}

/** Connections through undici. Closed by whoever owns the endpoints (`Connection.close`). */
export function createUndiciTransport(options: UndiciTransportOptions): Transport {
  const { clock } = options;
  return { name: 'undici', connect: (endpoint, secure) => new UndiciConnection(endpoint, secure, clock) };
}
