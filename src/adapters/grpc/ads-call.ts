/**
 * One call of an ADS method as an `AdsStream`: what is sent before the call can begin waits, the end comes once and with a reason. Which
 * connection it is on, and what it says about its caller, is decided in `ads-stream.ts`.
 */
import type { Client, ClientDuplexStream, Metadata, StatusObject } from '@grpc/grpc-js';
import { connectivityState } from '@grpc/grpc-js';
import { GrpcStatus } from '../../core/status.ts';
import type { AdsStream, AdsStreamEvents } from '../../core/transport.ts';

export class GrpcAdsStream implements AdsStream {
  readonly #events: AdsStreamEvents;
  /** Sent before there was a call: its metadata is still being collected. */
  readonly #early: Uint8Array[] = [];
  #client: Client | undefined;
  #call: ClientDuplexStream<Uint8Array, Buffer> | undefined;
  #release: (() => void) | undefined;
  #onEnd: (code: number, details: string, connected: boolean) => string = (_code, details) => details;
  #paused = false;
  #connected = false;
  #ended = false;

  constructor(events: AdsStreamEvents) {
    this.#events = events;
  }

  get ended(): boolean {
    return this.#ended;
  }

  begin(
    client: Client,
    method: string,
    metadata: Metadata,
    onFirst: () => void,
    onEnd: (code: number, details: string, connected: boolean) => string,
  ): void {
    this.#client = client;
    this.#onEnd = onEnd;
    this.#release = onFirst;
    const call = client.makeBidiStreamRequest(method, toBuffer, identity, metadata);
    this.#call = call;
    call.once('data', onFirst);
    call.on('data', (bytes: Buffer) => {
      this.#markConnected();
      if (!this.#ended) this.#events.onMessage(bytes);
    });
    if (this.#paused) call.pause();
    // A failed call emits 'error' beside 'status'; the status says it all.
    call.on('error', () => undefined);
    call.on('status', ({ code, details }: StatusObject) => this.end(code, details));
    for (const bytes of this.#early.splice(0)) call.write(bytes);
    queueMicrotask(() => this.#watch());
  }

  send(bytes: Uint8Array): void {
    if (this.#ended) return;
    if (this.#call === undefined) this.#early.push(bytes);
    else this.#call.write(bytes);
  }

  pause(): void {
    this.#paused = true;
    this.#call?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#call?.resume();
  }

  cancel(): void {
    this.#call?.cancel();
    // A paused stream would keep its status to itself.
    this.#call?.resume();
    queueMicrotask(() => this.end(GrpcStatus.CANCELLED, 'cancelled'));
  }

  finish(): void {
    if (this.#call === undefined) this.cancel();
    else if (!this.#ended) this.#call.end();
  }

  unref(): void {
    this.#release?.();
  }

  end(code: number, details: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#events.onEnd(code, this.#onEnd(code, details, this.#connected));
  }

  #watch(): void {
    const client = this.#client;
    if (client === undefined || this.#connected || this.#ended) return;
    const channel = client.getChannel();
    const state = channel.getConnectivityState(false);
    if (state === connectivityState.READY) this.#markConnected();
    else if (state !== connectivityState.SHUTDOWN) channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, () => this.#watch());
  }

  #markConnected(): void {
    if (this.#connected || this.#ended) return;
    this.#connected = true;
    this.#events.onConnected();
  }
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function identity(bytes: Buffer): Buffer {
  return bytes;
}
