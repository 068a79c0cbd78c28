/** What an adapter brings besides its front: a way to reach an endpoint. */
import type { Attempt } from './call.ts';
import type { Endpoint } from './endpoint.ts';
import type { Reply } from './reply.ts';

/** The one thing the mesh needs to know of a request body: may it be sent again? Asked before every retry. */
export interface RequestBody {
  readonly replayable: boolean;
}

export interface Transport {
  readonly name: string;
  /**
   * A lazy connection or pool to one endpoint; opens nothing before the first `send`. `secure`: the application asked for TLS
   * and the cluster has no transport socket, so TLS with the system's roots and the authority as server name.
   */
  connect(endpoint: Endpoint, secure: boolean): Connection;
}

export interface Connection {
  /** Resolves with the reply head or with a failure as a value; ends the attempt when the exchange ends. Never rejects. */
  send(attempt: Attempt): Promise<Reply>;
  /** Lets running exchanges end, then closes. */
  close(): Promise<void>;
  /** Ends running exchanges at once with `error`: what is left when the time for `close` is over. */
  destroy?(error: Error): void;
}

/** Bytes in both directions with flow control: what `xds/client.ts` needs of a stream; made by `adapters/grpc/ads-stream.ts`. */
export interface AdsTransport {
  /** Opens one bidirectional stream for `method`, e.g. `/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources`. */
  open(method: string, events: AdsStreamEvents): AdsStream;
  close(): void;
}

export interface AdsStreamEvents {
  /** Once, when the connection to the server stands: what was sent is on its way. At the latest before the first message. */
  onConnected(): void;
  onMessage(bytes: Uint8Array): void;
  /** Exactly once, also after `cancel`. `code` is a gRPC status. */
  onEnd(code: number, details: string): void;
}

export interface AdsStream {
  send(bytes: Uint8Array): void;
  /** Flow control: no message is delivered between `pause` and `resume`. */
  pause(): void;
  resume(): void;
  cancel(): void;
  /** Half-closes after what was sent; the far side ends the stream then. Absent: `cancel` is the only end. */
  finish?(): void;
  /** Once connected, does not keep the process alive any more. */
  unref?(): void;
}
