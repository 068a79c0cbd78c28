/**
 * Drives the session of one stream: bytes in, cache updated as a whole, replies out, waits (flow control, held-back NACKs) in between.
 * Ends with its stream; `server-link.ts` opens the next one.
 */
import type { Alarm, Clock, Timer } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import { GrpcStatus } from '../core/status.ts';
import type { AdsStream, AdsStreamEvents, AdsTransport } from '../core/transport.ts';
import type { ResourceKey, ResourceKind } from '../config/resource.ts';
import type { ResourceOwner, ServerTraits, XdsCache } from './cache.ts';
import type { Dialect } from './dialects.ts';
import type { Receipt, Session, SessionOptions, XdsRequest, XdsResponse } from './session.ts';

const NO_NAMES: ReadonlySet<string> = new Set();

/** Work on a response for so long, then let the event loop have a turn; the budget of a task is 8 ms with what follows: partial results are applied at its end. */
const SLICE_MS = 2.5;

/**
 * Pause before the same NACK is sent again. Servers that compare only versions send a rejected response again at once, for ever
 * (go-control-plane: thousands a second); they also send nothing new until the NACK is there, so the pause stays short.
 */
const NACK_PAUSE_MS = 200;
const NACK_PAUSE_MAX_MS = 5_000;

export interface StreamOptions {
  readonly server: ServerTraits;
  readonly dialect: Dialect;
  /** Path of the RPC. */
  readonly method: string;
  readonly session: SessionOptions;
  readonly cache: XdsCache;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** The names subscribed to now. */
  readonly names: ReadonlyMap<ResourceKind, ReadonlySet<string>>;
  /** Called when a response has changed the cache. */
  readonly changed: (keys: readonly ResourceKey[]) => void;
  /** Who answers for a name that came without being asked for. */
  readonly owner: (name: string) => ResourceOwner | undefined;
  /** A response is about to be applied: this server is heard again (gRFC A71). */
  readonly responded: () => void;
  readonly connected: () => void;
  /** Exactly once. */
  readonly ended: (run: StreamRun, code: number, details: string) => void;
}

/** A NACK that waits. */
class HeldReply implements Alarm {
  readonly #run: StreamRun;
  readonly typeUrl: string;
  readonly timer: Timer;
  constructor(run: StreamRun, typeUrl: string, clock: Clock, delayMs: number) {
    this.#run = run;
    this.typeUrl = typeUrl;
    this.timer = clock.set(this, delayMs, true);
  }
  onAlarm(): void {
    this.#run.release(this.typeUrl);
  }
}

export class StreamRun implements AdsStreamEvents, Alarm {
  readonly #options: StreamOptions;
  readonly #session: Session;
  readonly #held = new Map<string, HeldReply>();
  #stream: AdsStream | undefined;
  #intake: Generator<undefined, Receipt | undefined> | undefined;
  #response: XdsResponse | undefined;
  #slice: Timer | undefined;
  #ended = false;
  connected = false;
  /** Ended by `leave`. */
  left = false;
  /** Responses taken in; a stream with at least one was a good one. */
  responses = 0;

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#session = options.dialect.session(options.session);
  }

  open(transport: AdsTransport): void {
    const stream = transport.open(this.#options.method, this);
    // A transport may find out at once that it cannot.
    if (this.#ended) return;
    this.#stream = stream;
    for (const { kind } of this.#options.session.types) this.subscribe(kind);
  }

  /** The names of a type may have changed. */
  subscribe(kind: ResourceKind): void {
    for (const request of this.#session.subscribe(kind, this.#options.names.get(kind) ?? NO_NAMES)) this.#send(request);
  }

  /** Ends the stream, which is no failure: the next one is to begin otherwise. */
  leave(): void {
    this.left = true;
    this.cancel();
  }

  cancel(): void {
    this.#stream?.cancel();
    this.onEnd(GrpcStatus.CANCELLED, 'cancelled');
  }

  onConnected(): void {
    if (this.connected || this.#ended) return;
    this.connected = true;
    this.#options.connected();
    for (const { kind } of this.#options.session.types) this.#options.cache.requested(kind, this.#options.server);
  }

  onMessage(bytes: Uint8Array): void {
    if (this.#ended) return;
    this.onConnected();
    let response: XdsResponse;
    try {
      response = this.#options.dialect.decode(bytes);
    } catch (error) {
      this.#options.log.warn('the control plane sent something that is no discovery response', {
        server: this.#options.server.uri,
        error: String(error),
      });
      this.cancel();
      return;
    }
    // Every response is answered once, also the one before this.
    this.release(response.typeUrl);
    this.responses++;
    // gRPC's flow control: nothing is read while a response is applied (grpc.md §3.5).
    this.#stream?.pause();
    this.#response = response;
    this.#intake = this.#session.receive(response);
    this.onAlarm();
  }

  onEnd(code: number, details: string): void {
    if (this.#ended) return;
    this.#ended = true;
    const { clock, cache, server, ended } = this.#options;
    // A response taken in halfway is dropped: its version was not accepted, so the next stream brings it again.
    this.#intake = undefined;
    if (this.#slice !== undefined) clock.clear(this.#slice);
    for (const { timer } of this.#held.values()) clock.clear(timer);
    this.#held.clear();
    this.connected = false;
    for (const { kind } of this.#options.session.types) cache.disconnected(server, kind);
    ended(this, code, details);
  }

  /** Goes on taking the response in, for one slice of time. */
  onAlarm(): void {
    this.#slice = undefined;
    const { clock } = this.#options;
    const until = clock.now() + SLICE_MS;
    for (;;) {
      const step = this.#intake?.next();
      if (step === undefined) return;
      if (step.done === true) {
        this.#intake = undefined;
        this.#apply(step.value);
        return;
      }
      if (clock.now() >= until) {
        this.#slice = clock.set(this, 0, true);
        this.#applyPartly();
        return;
      }
    }
  }

  /** Sends the reply that is owed for a type, if one is. */
  release(typeUrl: string): void {
    const held = this.#held.get(typeUrl);
    if (held !== undefined) {
      this.#options.clock.clear(held.timer);
      this.#held.delete(typeUrl);
    }
    for (const reply of this.#session.reply(typeUrl)) this.#send(reply);
  }

  #applyPartly(): void {
    const update = this.#session.partial();
    if (update !== undefined) this.#store(update);
  }

  #apply(receipt: Receipt | undefined): void {
    const { server, log, clock } = this.#options;
    const response = this.#response;
    if (response === undefined) return;
    this.#response = undefined;
    const { typeUrl } = response;
    const version = 'versionInfo' in response ? response.versionInfo : response.systemVersionInfo;
    if (receipt === undefined) {
      log.warn('the control plane sent a type that was not asked for; ignored', { server: server.uri, typeUrl });
      this.#stream?.resume();
      return;
    }
    const { update, nack, repeats } = receipt;
    const changes = this.#store(update, false);
    if (nack !== undefined && repeats === 0) log.warn('configuration rejected', { server: server.uri, version, error: nack });
    else if (nack === undefined)
      log.debug('configuration accepted', { server: server.uri, typeUrl, version, resources: response.resources.length });
    if (repeats === 0) this.release(typeUrl);
    else this.#held.set(typeUrl, new HeldReply(this, typeUrl, clock, this.#nackPauseMs(repeats)));
    if (changes.length > 0) this.#options.changed(changes);
    this.#stream?.resume();
  }

  #store(update: Receipt['update'], tell = true): readonly ResourceKey[] {
    const { cache, server, owner, responded, changed } = this.#options;
    responded();
    const changes = cache.apply(update, server, owner);
    if (tell && changes.length > 0) changed(changes);
    return changes;
  }

  #nackPauseMs(repeats: number): number {
    return Math.min(NACK_PAUSE_MAX_MS, NACK_PAUSE_MS * 1.6 ** (repeats - 1)) * (0.8 + 0.4 * this.#options.random.next());
  }

  #send(request: XdsRequest): void {
    this.#stream?.send(this.#options.dialect.encode(request));
    if (!this.connected) return;
    const { session, cache, server } = this.#options;
    const type = session.types.find(({ typeUrl }) => typeUrl === request.typeUrl);
    if (type === undefined) return;
    // A mere answer asks for nothing new: of a hundred thousand names none is looked at.
    if ('resourceNamesSubscribe' in request && request.responseNonce !== '' && !session.wildcard.has(type.kind)) return;
    cache.requested(type.kind, server);
  }
}
