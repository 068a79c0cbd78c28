/**
 * The xDS services on a socket (grpc-js): streams in, `SotwStream` or `DeltaStream` in the middle, bytes out. One dialect per RPC method, one
 * type or all of them (Envoy X-1).
 */
import type { Metadata, ServerDuplexStream, ServiceDefinition, UntypedHandleCall, UntypedServiceImplementation } from '@grpc/grpc-js';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import { DeltaStream } from './delta-stream.ts';
import type { AdsRequest, AdsResponse, DeltaRequest, DeltaResponse, Dialect, RequestNode } from './messages.ts';
import { decodeDeltaRequest, decodeRequest, encodeDeltaResponse, encodeResponse } from './messages.ts';
import type { StreamMethod } from './services.ts';
import { STREAM_METHODS } from './services.ts';
import { SotwStream } from './sotw-stream.ts';
import type { Audience, Nack, ServerStream } from './stream.ts';

const identity = (bytes: Buffer): Buffer => bytes;
const METHOD = {
  requestStream: true,
  responseStream: true,
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity,
};

export type ByteStream = ServerDuplexStream<Buffer, Buffer>;

/** A gRPC status that ends a call. */
export interface Refusal {
  readonly code: number;
  readonly details: string;
}

export interface AdsServerEvents {
  onNack(nack: Nack): void;
  onRequest(request: AdsRequest | DeltaRequest, nodeId: string): void;
  audience(node: RequestNode | undefined): Audience;
  /** Undefined: the call is let in. */
  admit(metadata: Metadata): Refusal | undefined;
}

interface Open {
  readonly stream: ServerStream;
  end(refusal: Refusal): void;
}

export class AdsServer {
  readonly #events: AdsServerEvents;
  readonly #server = new Server({ 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 });
  readonly #open = new Map<ByteStream, Open>();
  #paused = false;

  constructor(events: AdsServerEvents) {
    this.#events = events;
    for (const method of STREAM_METHODS) this.serve(method.path, (call) => this.#accept(call, method));
  }

  /** Adds an RPC of streamed bytes; only before `listen`. */
  serve(path: string, handler: (call: ByteStream) => void): void {
    const definition: ServiceDefinition = { method: { ...METHOD, path } };
    const handle = (call: ByteStream): void => {
      const refusal = this.#events.admit(call.metadata);
      if (refusal === undefined) handler(call);
      else endWith(call, refusal);
    };
    const implementation: UntypedServiceImplementation = { method: handle as UntypedHandleCall };
    this.#server.addService(definition, implementation);
  }

  /** Port that was bound; 0 asks for any. */
  listen(host: string, port: number, credentials = ServerCredentials.createInsecure()): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.bindAsync(`${host.includes(':') ? `[${host}]` : host}:${port}`, credentials, (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
  }

  get streams(): number {
    return this.#open.size;
  }

  /** Node ids of those connected, one for each stream. */
  get nodes(): readonly string[] {
    return [...this.#open.values()].map(({ stream }) => stream.nodeId);
  }

  /** Tells every stream that what is served has changed. */
  push(): void {
    for (const { stream } of this.#open.values()) stream.update();
  }

  /** Refreshes on every stream what has a time to live. */
  heartbeat(): void {
    for (const { stream } of this.#open.values()) stream.heartbeat();
  }

  /** Ends every stream with UNAVAILABLE; clients come back. */
  dropStreams(): void {
    for (const { end } of this.#open.values()) end({ code: status.UNAVAILABLE, details: 'dropped by the control plane' });
    this.#open.clear();
  }

  /** Streams stay open, but nothing is sent until `resume`. */
  pause(): void {
    this.#paused = true;
    for (const { stream } of this.#open.values()) stream.pause();
  }

  resume(): void {
    this.#paused = false;
    for (const { stream } of this.#open.values()) stream.resume();
  }

  close(): Promise<void> {
    this.#open.clear();
    this.#server.forceShutdown();
    return Promise.resolve();
  }

  #accept(call: ByteStream, { dialect, typeUrl }: StreamMethod): void {
    const { stream, take } = this.#streamOf(call, dialect);
    if (this.#paused) stream.pause();
    this.#open.set(call, { stream, end: (refusal) => endWith(call, refusal) });
    const forget = (): void => void this.#open.delete(call);
    call.on('data', (bytes: Buffer) => {
      try {
        const request = take(bytes, typeUrl);
        this.#events.onRequest(request, stream.nodeId);
      } catch (error) {
        endWith(call, { code: status.INVALID_ARGUMENT, details: error instanceof Error ? error.message : String(error) });
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

  #streamOf(call: ByteStream, dialect: Dialect): Taking {
    const write = (bytes: Uint8Array): void => void call.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    const events = { onNack: (nack: Nack) => this.#events.onNack(nack), audience: (node?: RequestNode) => this.#events.audience(node) };
    if (dialect === 'delta') {
      const stream = new DeltaStream({ ...events, send: (response: DeltaResponse) => write(encodeDeltaResponse(response)) });
      return {
        stream,
        take(bytes, typeUrl) {
          const request = typed(decodeDeltaRequest(bytes), typeUrl);
          stream.onRequest(request);
          return request;
        },
      };
    }
    const stream = new SotwStream({ ...events, send: (response: AdsResponse) => write(encodeResponse(response)) });
    return {
      stream,
      take(bytes, typeUrl) {
        const request = typed(decodeRequest(bytes), typeUrl);
        stream.onRequest(request);
        return request;
      },
    };
  }
}

interface Taking {
  readonly stream: ServerStream;
  /** Throws on bytes that are no request, or not one for this stream. */
  take(bytes: Buffer, typeUrl: string | undefined): AdsRequest | DeltaRequest;
}

/** On a stream for one type, the request need not name it. */
function typed<R extends AdsRequest | DeltaRequest>(request: R, typeUrl: string | undefined): R {
  if (typeUrl === undefined) {
    if (request.typeUrl === '') throw new TypeError('type_url is needed on an aggregated stream');
    return request;
  }
  if (request.typeUrl === '') return { ...request, typeUrl };
  if (request.typeUrl !== typeUrl) throw new TypeError(`type_url is "${request.typeUrl}" on a stream for "${typeUrl}"`);
  return request;
}

export function endWith(call: ByteStream, { code, details }: Refusal): void {
  call.emit('error', Object.assign(new Error(details), { code, details }));
}
