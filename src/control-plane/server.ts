/** The ADS service on a loopback socket (grpc-js): streams in, `SotwStream` in the middle, bytes out. One dialect per RPC method. */
import type { ServerDuplexStream, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import type { AdsRequest } from './messages.ts';
import { decodeRequest, encodeResponse } from './messages.ts';
import type { Nack } from './sotw-stream.ts';
import { SotwStream } from './sotw-stream.ts';
import type { InlineCertificates } from './encode/tls.ts';
import type { ResourceStore } from './store.ts';

const PATH = '/envoy.service.discovery.v3.AggregatedDiscoveryService';
const identity = (bytes: Buffer): Buffer => bytes;
const METHOD = {
  requestStream: true,
  responseStream: true,
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity,
};

type ByteStream = ServerDuplexStream<Buffer, Buffer>;

export interface AdsServerEvents {
  onNack(nack: Nack): void;
  onRequest(request: AdsRequest, nodeId: string): void;
  inline(nodeId: string): InlineCertificates | undefined;
}

export class AdsServer {
  readonly #store: ResourceStore;
  readonly #events: AdsServerEvents;
  readonly #server = new Server({ 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 });
  readonly #streams = new Map<ByteStream, SotwStream>();
  #paused = false;

  constructor(store: ResourceStore, events: AdsServerEvents) {
    this.#store = store;
    this.#events = events;
    const definition: ServiceDefinition = { streamAggregatedResources: { ...METHOD, path: `${PATH}/StreamAggregatedResources` } };
    const implementation: UntypedServiceImplementation = { streamAggregatedResources: (call: ByteStream) => this.#accept(call) };
    this.#server.addService(definition, implementation);
  }

  /** Port that was bound; 0 asks for any. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(`${host.includes(':') ? `[${host}]` : host}:${port}`, ServerCredentials.createInsecure(), (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
  }

  get streams(): number {
    return this.#streams.size;
  }

  /** Node ids of those connected. */
  get nodes(): readonly string[] {
    return [...this.#streams.values()].map((stream) => stream.nodeId);
  }

  /** Tells every stream of a changed store. */
  push(): void {
    for (const stream of this.#streams.values()) stream.update();
  }

  /** Ends every stream with UNAVAILABLE; clients come back. */
  dropStreams(): void {
    for (const call of this.#streams.keys())
      call.emit('error', Object.assign(new Error('dropped'), { code: status.UNAVAILABLE, details: 'dropped by the control plane' }));
    this.#streams.clear();
  }

  /** Streams stay open, but nothing is sent until `resume`. */
  pause(): void {
    this.#paused = true;
    for (const stream of this.#streams.values()) stream.pause();
  }

  resume(): void {
    this.#paused = false;
    for (const stream of this.#streams.values()) stream.resume();
  }

  close(): Promise<void> {
    this.#streams.clear();
    this.#server.forceShutdown();
    return Promise.resolve();
  }

  #accept(call: ByteStream): void {
    const stream = new SotwStream(this.#store, {
      send: (response) => void call.write(Buffer.from(encodeResponse(response))),
      onNack: (nack) => this.#events.onNack(nack),
      inline: (nodeId) => this.#events.inline(nodeId),
    });
    if (this.#paused) stream.pause();
    this.#streams.set(call, stream);
    const forget = (): void => void this.#streams.delete(call);
    call.on('data', (bytes: Buffer) => {
      try {
        const request = decodeRequest(bytes);
        stream.onRequest(request);
        this.#events.onRequest(request, stream.nodeId);
      } catch (error) {
        const details = error instanceof Error ? error.message : String(error);
        call.emit('error', Object.assign(new Error(details), { code: status.INVALID_ARGUMENT, details }));
      }
    });
    call.on('end', () => {
      forget();
      call.end();
    });
    call.on('cancelled', forget);
    call.on('error', forget);
    call.on('close', forget);
  }
}
