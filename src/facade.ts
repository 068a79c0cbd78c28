/**
 * What an application holds: `Mesh`. Its getters load their adapter on first use, so that an application pays only for the libraries
 * that it calls through.
 */
import type { IncomingMessage, Server as HttpServer } from 'node:http';
import type { Server as HttpsServer } from 'node:https';
import type { ChannelOptions, Metadata, Server as GrpcServer, ServerCredentials, ServerInterceptor } from '@grpc/grpc-js';
import type { Dispatcher } from 'undici';
import type { Peer } from './core/call.ts';
import { MeshError } from './core/errors.ts';
import type { MeshDescription } from './describe.ts';
import { describe } from './describe.ts';
import { load } from './lazy.ts';
import type { MeshEngine } from './mesh.ts';

export interface FacadeOptions {
  /** How a failed call looks to HTTP callers. */
  readonly onFailure: 'response' | 'throw';
  /** Milliseconds that `ready()` waits unless told otherwise. */
  readonly startTimeoutMs: number;
}

/** The inbound and outbound sides for `@grpc/grpc-js`. */
export interface MeshGrpc {
  /**
   * Options for a generated stub or `grpc.Client`: its calls go through the mesh when the target is `xds:///name` or an included host.
   * `new Greeter('greeter:50051', credentials, mesh.grpc.channelOptions())`
   */
  channelOptions(options?: ChannelOptions): ChannelOptions & object;
  /** For `new grpc.Server({ interceptors: mesh.grpc.serverInterceptors() })`: the inbound stack of the bound address. */
  serverInterceptors(): ServerInterceptor[];
  /** For `server.bindAsync(address, mesh.grpc.serverCredentials(), …)`: TLS as the xDS server listener says; never weaker. */
  serverCredentials(): ServerCredentials;
  /**
   * Adds the client status discovery service (CSDS, gRFC A40) to a server of yours: every resource with its bytes, version, status and last
   * error, as `grpcdebug` and control planes read it. Private keys are overwritten; keep the port for operators all the same. Before `bindAsync`.
   */
  addAdminServices(server: GrpcServer): void;
  /** Who sent the call that a handler is serving: addresses, and the SPIFFE id its certificate proved (`peer.tls.uriSans[0]`). */
  peerOf(call: { readonly metadata: Metadata }): Peer | undefined;
}

/** The inbound side for `node:http`, and so for Express, Fastify, Koa and Hono. */
export interface MeshHttp {
  /** Runs the server's requests through the inbound stack of its bound address; returns the same server. */
  server<S extends HttpServer | HttpsServer>(server: S): S;
  /** Who sent a request: addresses, and the SPIFFE id its certificate proved (`peer.tls.uriSans[0]`). */
  peerOf(request: IncomingMessage): Peer | undefined;
}

/** A mesh in this process. Made by `createMesh()`. */
export class Mesh {
  readonly #engine: MeshEngine;
  readonly #options: FacadeOptions;
  #dispatcher: Dispatcher | undefined;
  #fetch: typeof globalThis.fetch | undefined;
  #grpc: MeshGrpc | undefined;
  #http: MeshHttp | undefined;

  constructor(engine: MeshEngine, options: FacadeOptions) {
    this.#engine = engine;
    this.#options = options;
  }

  /**
   * `fetch` through the mesh: calls to included hosts are routed, balanced, retried, encrypted and traced; all others go to the global
   * `fetch` untouched. Cheaper than the global one, since it sits on undici's own dispatch.
   */
  get fetch(): typeof globalThis.fetch {
    this.#fetch ??= load('./adapters/undici/index').createFetch(this.#engine, this.#adapterOptions());
    return this.#fetch;
  }

  /** For `fetch(url, { dispatcher })`, `undici.request(url, { dispatcher })` and `setGlobalDispatcher`; undici 6, 7 and 8. */
  get dispatcher(): Dispatcher {
    this.#dispatcher ??= load('./adapters/undici/index').createDispatcher(this.#engine, this.#adapterOptions());
    return this.#dispatcher;
  }

  /** Both sides of `@grpc/grpc-js`, which is loaded by the first use of this. */
  get grpc(): MeshGrpc {
    this.#grpc ??= load('./adapters/grpc/index').createGrpc(this.#engine, (request) =>
      load('./client-status').answerClientStatus(this.#engine.source, request),
    );
    return this.#grpc;
  }

  /** The inbound side of `node:http` and `node:https`. */
  get http(): MeshHttp {
    this.#http ??= load('./adapters/node-http/index').createHttp(this.#engine);
    return this.#http;
  }

  /**
   * Resolves when the first complete configuration is there: every host of `include` (or of `mesh.yaml`) has its routes, clusters and
   * endpoints. Rejects with `ERR_MESH_START_TIMEOUT` after `timeoutMs` (default: `startTimeout`), with `ERR_MESH_CONFIG` when nothing can work.
   * A server that starts to listen later waits for its own listener by itself (`describe().listeners`).
   */
  ready(timeoutMs: number = this.#options.startTimeoutMs): Promise<void> {
    return this.#engine.ready(timeoutMs);
  }

  /** Plain data about everything: resources with version and status, listeners, routes, clusters, endpoints, counters, unsupported fields. */
  describe(): MeshDescription {
    return describe(this.#engine);
  }

  /**
   * Takes no new inbound work, lets calls in flight end (at most `drainMs`, default 0), then closes connections, streams and timers.
   * Afterwards calls fail with `mesh_closed`.
   */
  async close(options: { readonly drainMs?: number } = {}): Promise<void> {
    const { drainMs = 0 } = options;
    if (!(drainMs >= 0)) throw new MeshError('ERR_MESH_OPTION', `drainMs must be a number of milliseconds, not ${String(drainMs)}`);
    await this.#engine.close(drainMs);
  }

  /** For `await using mesh = await createMesh()`: `close()` without time to drain. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #adapterOptions(): { readonly onFailure: 'response' | 'throw' } {
    return { onFailure: this.#options.onFailure };
  }
}
