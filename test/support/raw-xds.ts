/**
 * A client of a control plane that knows nothing of inmesh's own: plain grpc-js and generated messages, any method, exact requests. Takes
 * responses in the order in which they come.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ChannelCredentials, ClientDuplexStream } from '@grpc/grpc-js';
import { Client, Metadata, credentials as grpcCredentials } from '@grpc/grpc-js';
import { onTestFinished } from 'vitest';
import {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
  DiscoveryRequestSchema,
  DiscoveryResponseSchema,
} from '../../src/proto/gen/envoy/service/discovery/v3/discovery_pb.js';
import type { DeltaDiscoveryResponse, DiscoveryResponse } from '../../src/proto/gen/envoy/service/discovery/v3/discovery_pb.js';

export const SOTW_ADS = '/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources';
export const DELTA_ADS = '/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources';

export interface RawOptions {
  /** Default: plaintext. */
  readonly credentials?: ChannelCredentials;
  readonly metadata?: Readonly<Record<string, string>>;
}

const same = (bytes: Buffer): Buffer => bytes;

export interface Ended {
  readonly code: number;
  readonly details: string;
}

/** Bytes in both directions. Closed with its test. */
export class RawStream {
  /** How the stream ended. */
  readonly ended: Promise<Ended>;
  readonly #client: Client;
  readonly #stream: ClientDuplexStream<Buffer, Buffer>;
  readonly #queue: Buffer[] = [];
  #wake: (() => void) | undefined;

  constructor(address: string, path: string, options: RawOptions = {}) {
    this.#client = new Client(address, options.credentials ?? grpcCredentials.createInsecure(), {
      'grpc.max_receive_message_length': -1,
      'grpc.use_local_subchannel_pool': 1,
    });
    const metadata = new Metadata();
    for (const [key, value] of Object.entries(options.metadata ?? {})) metadata.set(key, value);
    this.#stream = this.#client.makeBidiStreamRequest(path, same, same, metadata);
    this.#stream.on('data', (bytes: Buffer) => {
      this.#queue.push(bytes);
      this.#wake?.();
    });
    this.ended = new Promise((resolve) => {
      this.#stream.on('error', () => undefined);
      this.#stream.on('status', ({ code, details }: Ended) => resolve({ code, details }));
    });
    onTestFinished(() => this.close());
  }

  write(bytes: Uint8Array): void {
    this.#stream.write(Buffer.from(bytes));
  }

  async next(): Promise<Buffer> {
    for (;;) {
      const found = this.#queue.shift();
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Whether nothing comes for so long. */
  async silentFor(ms: number): Promise<boolean> {
    await new Promise((resolve) => setTimeout(resolve, ms));
    return this.#queue.length === 0;
  }

  close(): void {
    this.#stream.cancel();
    this.#client.close();
  }
}

export class RawSotw {
  readonly stream: RawStream;

  constructor(address: string, path = SOTW_ADS, options: RawOptions = {}) {
    this.stream = new RawStream(address, path, options);
  }

  send(request: MessageInitShape<typeof DiscoveryRequestSchema>): void {
    this.stream.write(toBinary(DiscoveryRequestSchema, create(DiscoveryRequestSchema, request)));
  }

  async next(): Promise<DiscoveryResponse> {
    return fromBinary(DiscoveryResponseSchema, await this.stream.next());
  }
}

export class RawDelta {
  readonly stream: RawStream;

  constructor(address: string, path = DELTA_ADS, options: RawOptions = {}) {
    this.stream = new RawStream(address, path, options);
  }

  send(request: MessageInitShape<typeof DeltaDiscoveryRequestSchema>): void {
    this.stream.write(toBinary(DeltaDiscoveryRequestSchema, create(DeltaDiscoveryRequestSchema, request)));
  }

  async next(): Promise<DeltaDiscoveryResponse> {
    return fromBinary(DeltaDiscoveryResponseSchema, await this.stream.next());
  }
}
