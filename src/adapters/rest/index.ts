/** REST-JSON polling as a way to a control plane (Envoy X-100): which path a stream's method is, and the streams of one server. */
import type { Clock } from '../../core/clock.ts';
import type { Logger } from '../../core/log.ts';
import type { Random } from '../../core/random.ts';
import { GrpcStatus } from '../../core/status.ts';
import type { ClientSecurity } from '../../core/tls.ts';
import type { AdsStream, AdsStreamEvents, AdsTransport } from '../../core/transport.ts';
import { HttpPoster } from './http-post.ts';
import type { Poster } from './http-post.ts';
import { RestStream } from './rest-stream.ts';
import type { RestIdentity, RestStreamOptions } from './rest-stream.ts';

export type { Post, Poster, PostReply } from './http-post.ts';
export type { RestIdentity } from './rest-stream.ts';

export interface RestTransportOptions {
  /** A gRPC target: `host:port`, `ipv4:`, `ipv6:`, `dns:` or `unix:`; of several addresses the next is taken when one cannot be reached. */
  readonly uri: string;
  /** Undefined: in the clear. Belongs to the caller. */
  readonly security: ClientSecurity | undefined;
  /** Undefined: the requests say nothing about who sends them. Belongs to the caller. */
  readonly identity: RestIdentity | undefined;
  /** Milliseconds between polls, to which up to the same again is added. */
  readonly refreshDelayMs: number;
  /** Milliseconds for one exchange. */
  readonly requestTimeoutMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** True: once a server has answered, nothing here keeps the process alive. */
  readonly background: boolean;
  /** Instead of HTTP, for tests. */
  readonly poster?: Poster;
}

/** Noun of the method to the last part of the path (Envoy §1.1). */
const PATHS: ReadonlyMap<string, string> = new Map([
  ['StreamListeners', 'listeners'],
  ['StreamRoutes', 'routes'],
  ['StreamScopedRoutes', 'scoped-routes'],
  ['StreamClusters', 'clusters'],
  ['StreamEndpoints', 'endpoints'],
  ['StreamSecrets', 'secrets'],
  ['StreamRuntime', 'runtime'],
  ['StreamExtensionConfigs', 'extension_configs'],
]);

class RestTransport implements AdsTransport {
  readonly #options: Omit<RestStreamOptions, 'path'>;
  readonly #streams = new Set<RestStream>();

  constructor(options: RestTransportOptions) {
    const { uri, security, poster, ...rest } = options;
    const certified = (): boolean => security?.material()?.certificateChain !== undefined;
    this.#options = { ...rest, certified, poster: poster ?? new HttpPoster(uri, security) };
  }

  open(method: string, events: AdsStreamEvents): AdsStream {
    const noun = PATHS.get(method.slice(method.lastIndexOf('/') + 1));
    const stream: RestStream = new RestStream(
      { ...this.#options, path: `/v3/discovery:${noun ?? ''}` },
      {
        onConnected: () => events.onConnected(),
        onMessage: (bytes) => events.onMessage(bytes),
        onEnd: (code, details) => {
          this.#streams.delete(stream);
          events.onEnd(code, details);
        },
      },
    );
    this.#streams.add(stream);
    if (noun === undefined) stream.end(GrpcStatus.UNIMPLEMENTED, `${method} cannot be had over REST`);
    return stream;
  }

  close(): void {
    for (const stream of this.#streams) stream.end(GrpcStatus.CANCELLED, 'the transport is closed');
  }
}

/** A way to poll one control plane. Opens nothing by itself. */
export function createRestTransport(options: RestTransportOptions): AdsTransport {
  return new RestTransport(options);
}
