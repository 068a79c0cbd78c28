/**
 * A control plane in memory that can be killed, fall silent and come back: the streams of `inmesh serve` (no IO, both dialects) behind a
 * transport on simulated time. What it is told to serve is pushed; the network takes no time.
 */
import { TYPE_URLS } from '../../../../src/config/resource.ts';
import type { ResourceKind } from '../../../../src/config/resource.ts';
import type { Clock, Timer } from '../../../../src/core/clock.ts';
import type { AdsStreamEvents } from '../../../../src/core/transport.ts';
import type { Catalogue, Served } from '../../../../src/control-plane/catalogue.ts';
import { DeltaStream } from '../../../../src/control-plane/delta-stream.ts';
import { decodeDeltaRequest, decodeRequest, encodeDeltaResponse, encodeResponse } from '../../../../src/control-plane/messages.ts';
import { SotwStream } from '../../../../src/control-plane/sotw-stream.ts';
import type { Audience, Nack, ServerStream } from '../../../../src/control-plane/stream.ts';
import { jsonToAny } from '../../../../src/proto/any.ts';
import { FakeStream, FakeTransport } from '../fake-control-plane.ts';

export type Json = Readonly<Record<string, unknown>>;

const UNAVAILABLE = 14;
export const REFUSED = { code: UNAVAILABLE, details: 'connect ECONNREFUSED' } as const;

/** The same text is the same resource, so that servers know what has not changed. */
const served = new Map<string, Served>();

function servedOf(resource: Json): Served {
  const text = JSON.stringify(resource);
  let found = served.get(text);
  if (found === undefined) {
    const name = String(resource['name'] ?? resource['cluster_name']);
    found = { name, body: jsonToAny(resource), aliases: [], ttlMs: undefined, version: undefined };
    served.set(text, found);
  }
  return found;
}

class Content implements Catalogue {
  readonly versioned = false;
  readonly #version: string;
  readonly #byType = new Map<string, Map<string, Served>>();

  constructor(resources: readonly Json[], version: string) {
    this.#version = version;
    for (const resource of resources) {
      const one = servedOf(resource);
      const { typeUrl } = one.body;
      const names = this.#byType.get(typeUrl) ?? new Map<string, Served>();
      this.#byType.set(typeUrl, names.set(one.name, one));
    }
  }

  version(): string {
    return this.#version;
  }

  names(typeUrl: string): readonly string[] {
    return [...(this.#byType.get(typeUrl)?.keys() ?? [])];
  }

  get(typeUrl: string, name: string): Served | undefined {
    return this.#byType.get(typeUrl)?.get(name);
  }
}

/** As grpc-js pings: `intervalMs` after the last thing that was read, and the connection counts as lost without an answer in `timeoutMs`. */
export interface KeepAlive {
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

/** The far side of one stream. Requests and responses pass in microtasks, as over a network: never from within a call. */
export class PlaneStream extends FakeStream {
  /** Nothing comes back any more, and nothing says so. */
  hung = false;
  readonly #plane: MemoryPlane;
  readonly #server: ServerStream & { receive(bytes: Uint8Array): void };
  readonly #inbox: Uint8Array[] = [];
  readonly #outbox: Uint8Array[] = [];
  #scheduled = false;
  #ping: Timer | undefined;

  constructor(plane: MemoryPlane, events: AdsStreamEvents, method: string) {
    super(events, method);
    this.#plane = plane;
    const to = (bytes: Uint8Array): void => {
      this.#outbox.push(bytes);
      this.schedule();
    };
    const audience = (): Audience => plane.audience;
    const onNack = (nack: Nack): void => void plane.nacks.push(nack);
    if (method.includes('/Delta')) {
      const server = new DeltaStream({ send: (response) => to(encodeDeltaResponse(response)), audience, onNack });
      this.#server = Object.assign(server, { receive: (bytes: Uint8Array) => server.onRequest(decodeDeltaRequest(bytes)) });
    } else {
      const server = new SotwStream({ send: (response) => to(encodeResponse(response)), audience, onNack });
      this.#server = Object.assign(server, { receive: (bytes: Uint8Array) => server.onRequest(decodeRequest(bytes)) });
    }
    this.schedule();
    this.#await();
  }

  override send(bytes: Uint8Array): void {
    super.send(bytes);
    this.#inbox.push(bytes);
    this.schedule();
  }

  override resume(): void {
    super.resume();
    this.schedule();
  }

  override end(code: number, details = ''): void {
    if (this.#ping !== undefined) this.#plane.clock.clear(this.#ping);
    this.#ping = undefined;
    super.end(code, details);
  }

  update(): void {
    this.#server.update();
  }

  /** Says nothing of a type until `release`; the others go on. */
  hold(kind: ResourceKind): void {
    this.#server.pause(TYPE_URLS[kind]);
  }

  release(kind: ResourceKind): void {
    this.#server.resume(TYPE_URLS[kind]);
  }

  schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#pass();
    });
  }

  #pass(): void {
    const plane = this.#plane;
    if (this.ended || this.hung || plane.mode === 'unreachable') return;
    this.events.onConnected();
    this.#await();
    if (plane.mode === 'silent') return;
    for (const bytes of this.#inbox.splice(0)) this.#server.receive(bytes);
    while (this.#outbox.length > 0 && !this.paused && !this.ended) this.events.onMessage(this.#outbox.shift() as Uint8Array);
  }

  /** Something was read: the wait for the next ping begins anew. A stream that is not hung answers every ping. */
  #await(): void {
    const { clock, keepAlive } = this.#plane;
    if (this.#ping !== undefined) clock.clear(this.#ping);
    if (keepAlive === undefined) return;
    const lost = (): void => {
      this.#ping = undefined;
      if (this.hung) this.end(UNAVAILABLE, 'Connection dropped');
      else this.#await();
    };
    this.#ping = clock.set({ onAlarm: lost }, keepAlive.intervalMs + keepAlive.timeoutMs);
  }
}

export class MemoryPlane extends FakeTransport {
  readonly clock: Clock;
  readonly keepAlive: KeepAlive | undefined;
  /** When a stream was asked for. */
  readonly opened: number[] = [];
  readonly nacks: Nack[] = [];
  /** `unreachable`: connections do not come to stand, and nobody refuses them. `silent`: they stand, and requests are not answered. */
  mode: 'serving' | 'silent' | 'unreachable' = 'serving';
  /** Told of each stream that was asked for; for tests that must not hold on to streams. */
  onOpen: ((events: AdsStreamEvents) => void) | undefined;
  #content = new Content([], '0');
  readonly audience: Audience = {
    receiver: { material: undefined as never, secret: () => undefined },
    catalogue: () => this.#content,
  };

  constructor(clock: Clock, keepAlive: KeepAlive | undefined) {
    super();
    this.clock = clock;
    this.keepAlive = keepAlive;
    this.refuse = REFUSED;
  }

  /** Answers what was asked while it was silent. */
  wake(): void {
    this.mode = 'serving';
    for (const stream of this.streams) if (stream instanceof PlaneStream) stream.schedule();
  }

  /** Runs from now on, as a new process if it was killed. */
  serve(resources: readonly Json[], version: string): void {
    this.#content = new Content(resources, version);
    this.refuse = undefined;
    this.mode = 'serving';
    for (const stream of this.streams) {
      if (stream.ended || !(stream instanceof PlaneStream)) continue;
      stream.update();
      stream.schedule();
    }
  }

  /** Streams end, and new ones are refused. */
  kill(): void {
    this.refuse = REFUSED;
    for (const stream of this.streams) stream.end(UNAVAILABLE, 'killed');
  }

  /** The stream of now goes silent without an end: the machine behind it has lost its power. New ones work. */
  hang(): void {
    this.current.hung = true;
  }

  get current(): PlaneStream {
    return this.stream as PlaneStream;
  }

  override open(method: string, events: AdsStreamEvents): FakeStream {
    this.opened.push(this.clock.now());
    this.onOpen?.(events);
    const stream = new PlaneStream(this, events, method);
    this.streams.splice(0, this.streams.length, ...this.streams.filter(({ ended }) => !ended), stream);
    if (this.refuse !== undefined) stream.end(this.refuse.code, this.refuse.details);
    return stream;
  }
}
