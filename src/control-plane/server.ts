/**
 * The xDS services on a socket (grpc-js): streams in, `SotwStream` or `DeltaStream` in the middle, bytes out. One dialect per RPC method, one
 * type or all of them (Envoy X-1).
 */
import type { Metadata, ServiceDefinition, UntypedHandleCall, UntypedServiceImplementation } from '@grpc/grpc-js';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import { DeltaStream } from './delta-stream.ts';
import type { AdsRequest, AdsResponse, DeltaRequest, DeltaResponse, Dialect, RequestNode } from './messages.ts';
import { decodeDeltaRequest, decodeRequest, encodeDeltaResponse, encodeResponse } from './messages.ts';
import type { Conduct, Port } from './misbehave/conduct.ts';
import type { Misbehaviour } from './misbehave/misbehaviour.ts';
import type { ByteStream, Refusal } from './refusal.ts';
import { endWith } from './refusal.ts';
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

export interface AdsServerEvents {
  onNack(nack: Nack): void;
  onRequest(request: AdsRequest | DeltaRequest, nodeId: string): void;
  /** `peer`: SPIFFE id of the client certificate, where there is one. */
  audience(node: RequestNode | undefined, peer: string | undefined): Audience;
  /** Throws what a request is refused for; before anything else is done with it. */
  check(request: AdsRequest | DeltaRequest, nodeId: string): void;
  /** Of the aggregated streams of a node only the newest lives. */
  readonly single: boolean;
  /** Undefined: the call is let in. */
  admit(metadata: Metadata): Refusal | undefined;
  /** Stands between a stream and the wire; undefined: nothing does. */
  conduct(port: Port): Led | undefined;
  /** The connection of a call, by its peer's address: goes dead, comes back, is cut. */
  readonly connections: { hang(peer: string): void; revive(peer: string): void; cut(peer: string): void };
}

type Led = ReturnType<Misbehaviour['open']>;

interface Open {
  readonly stream: ServerStream;
  readonly aggregated: boolean;
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
    const led = this.#events.conduct(this.#portOf(call));
    const { stream, take } = this.#streamOf(call, dialect, led?.conduct);
    if (this.#paused) stream.pause();
    this.#open.set(call, { stream, aggregated: typeUrl === undefined, end: (refusal) => endWith(call, refusal) });
    const forget = (): void => {
      led?.close();
      this.#open.delete(call);
    };
    call.on('data', (bytes: Buffer) => {
      try {
        const unnamed = stream.nodeId === '';
        this.#events.onRequest(take(bytes, typeUrl), stream.nodeId);
        if (unnamed && typeUrl === undefined && this.#events.single) this.#endOthers(call, stream.nodeId);
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
    led?.begin(stream);
  }

  /** As Istio's agent ends them: with OK, as if they were done. */
  #endOthers(newest: ByteStream, nodeId: string): void {
    for (const [call, { stream, aggregated }] of this.#open) {
      if (call === newest || !aggregated || stream.nodeId !== nodeId) continue;
      this.#open.delete(call);
      call.end();
    }
  }

  #portOf(call: ByteStream): Port {
    const { connections } = this.#events;
    return {
      write: (bytes) => void call.write(bytes),
      end: (refusal) => endWith(call, refusal),
      hang: () => connections.hang(call.getPeer()),
      revive: () => connections.revive(call.getPeer()),
      cut: () => connections.cut(call.getPeer()),
    };
  }

  #streamOf(call: ByteStream, dialect: Dialect, conduct: Conduct | undefined): Taking {
    const peer = spiffeIdOf(call);
    const events = {
      onNack: (nack: Nack) => this.#events.onNack(nack),
      audience(this: void, node: RequestNode | undefined): Audience {
        const audience = served(node);
        return conduct === undefined ? audience : conduct.audience(audience);
      },
    };
    const served = (node: RequestNode | undefined): Audience => this.#events.audience(node, peer);
    const write = (bytes: Uint8Array): void => void call.write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    if (dialect === 'delta') {
      const send = (response: DeltaResponse): void =>
        conduct === undefined ? write(encodeDeltaResponse(response)) : conduct.send(response);
      const stream = new DeltaStream({ ...events, send });
      const check = (request: DeltaRequest): void => this.#events.check(request, stream.nodeId);
      return { stream, take: taking(decodeDeltaRequest, conduct, check, (request) => stream.onRequest(request)) };
    }
    const send = (response: AdsResponse): void => (conduct === undefined ? write(encodeResponse(response)) : conduct.send(response));
    const stream = new SotwStream({ ...events, send });
    const check = (request: AdsRequest): void => this.#events.check(request, stream.nodeId);
    return { stream, take: taking(decodeRequest, conduct, check, (request) => stream.onRequest(request)) };
  }
}

interface Taking {
  readonly stream: ServerStream;
  /** Throws on bytes that are no request, or not one for this stream. */
  take(bytes: Buffer, typeUrl: string | undefined): AdsRequest | DeltaRequest;
}

function taking<R extends AdsRequest | DeltaRequest>(
  decode: (bytes: Buffer) => R,
  conduct: Conduct | undefined,
  check: (request: R) => void,
  take: (request: R) => void,
): Taking['take'] {
  return (bytes, typeUrl) => {
    const request = typed(decode(bytes), typeUrl);
    check(request);
    if (conduct === undefined) {
      take(request);
      return request;
    }
    take({ ...request, responseNonce: conduct.nonceOf(request.typeUrl, request.responseNonce) });
    conduct.onRequest(request.typeUrl, request.errorDetail !== undefined);
    return request;
  };
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

/** The first URI SAN of the client certificate. */
function spiffeIdOf(call: ByteStream): string | undefined {
  const names = call.getAuthContext()?.sslPeerCertificate?.subjectaltname ?? '';
  return /(?:^|, )URI:(spiffe:[^,]+)/.exec(names)?.[1];
}
