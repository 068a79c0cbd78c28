/**
 * A reference control plane in memory that speaks both dialects as the protocol says (Envoy ), and holds its responses back until the
 * script delivers them. It keeps books on what was answered.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import type { AdsStream, AdsStreamEvents, AdsTransport } from '../../../src/core/transport.ts';
import {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
  DiscoveryRequestSchema,
  DiscoveryResponseSchema,
} from '../../../src/proto/gen/envoy/service/discovery/v3/discovery_pb.js';
import { KINDS, bytesOf } from './world.ts';
import type { FuzzedKind, Text } from './world.ts';

const FULL: ReadonlySet<FuzzedKind> = new Set(['listener', 'cluster']);

/** What goes wrong on the way: entries that no client can take. */
export type Damage = 'none' | 'twice' | 'junk' | 'wrong-type';

export interface Response {
  readonly kind: FuzzedKind;
  readonly nonce: string;
  readonly version: string;
  /** In order; names may repeat. */
  readonly entries: readonly (readonly [name: string, text: Text])[];
  readonly removed: readonly string[];
  /** LDS and CDS, state of the world, all entries readable. */
  readonly complete: boolean;
  readonly damage: Damage;
}

interface TypeBooks {
  names: Set<string>;
  asked: boolean;
  /** What the stream was sent last, by name; `gone`: told that it does not exist. */
  readonly sent: Map<string, Text | 'gone'>;
  /** Names that must be answered whatever was sent before. */
  readonly owed: Set<string>;
}

export class Stream implements AdsStream {
  readonly #server: FuzzServer;
  readonly events: AdsStreamEvents;
  readonly types = new Map<FuzzedKind, TypeBooks>();
  readonly queue: Response[] = [];
  /** Nonces of delivered responses that have no answer yet, with what the answer must be. */
  readonly due = new Map<string, { readonly kind: FuzzedKind; readonly nack: boolean }>();
  paused = false;
  ended = false;
  requests = 0;

  constructor(server: FuzzServer, events: AdsStreamEvents) {
    this.#server = server;
    this.events = events;
  }

  send(bytes: Uint8Array): void {
    if (this.ended) throw new Error('a request after the end');
    this.#server.receive(this, bytes);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  cancel(): void {
    this.end(1);
  }

  end(code: number): void {
    if (this.ended) return;
    this.ended = true;
    this.events.onEnd(code, 'cut');
  }

  books(kind: FuzzedKind): TypeBooks {
    let books = this.types.get(kind);
    if (books === undefined) {
      books = { names: new Set(), asked: false, sent: new Map(), owed: new Set() };
      this.types.set(kind, books);
    }
    return books;
  }
}

export class FuzzServer implements AdsTransport {
  readonly delta: boolean;
  readonly world = new Map<string, Text>();
  readonly streams: Stream[] = [];
  reachable = true;
  acks = 0;
  nacks = 0;
  #nonce = 0;
  #version = 0;

  constructor(delta: boolean) {
    this.delta = delta;
  }

  get stream(): Stream | undefined {
    const stream = this.streams.at(-1);
    return stream === undefined || stream.ended ? undefined : stream;
  }

  open(_method: string, events: AdsStreamEvents): AdsStream {
    const stream = new Stream(this, events);
    if (!this.reachable) {
      stream.ended = true;
      events.onEnd(14, 'refused');
      return stream;
    }
    this.streams.push(stream);
    return stream;
  }

  close(): void {
    for (const stream of this.streams) stream.ended = true;
  }

  /** A change of the world; what streams have to be told is queued. */
  set(kind: FuzzedKind, name: string, text: Text | undefined): void {
    const id = `${kind} ${name}`;
    if (text === undefined) this.world.delete(id);
    else this.world.set(id, text);
    this.#version++;
    if (this.stream !== undefined) this.#push(this.stream, kind);
  }

  receive(stream: Stream, bytes: Uint8Array): void {
    stream.requests++;
    if (this.delta) this.#receiveDelta(stream, bytes);
    else this.#receiveSotw(stream, bytes);
  }

  #receiveSotw(stream: Stream, bytes: Uint8Array): void {
    const request = fromBinary(DiscoveryRequestSchema, bytes);
    const kind = this.#check(stream, request.typeUrl, request.node !== undefined);
    const books = stream.books(kind);
    if (request.responseNonce !== '') this.#answered(stream, kind, request.responseNonce, request.errorDetail !== undefined, false);
    const names = new Set(request.resourceNames);
    for (const name of books.names) if (!names.has(name)) books.sent.delete(name);
    for (const name of names) if (!books.names.has(name)) books.owed.add(name);
    books.names = names;
    books.asked = true;
    this.#push(stream, kind);
  }

  #receiveDelta(stream: Stream, bytes: Uint8Array): void {
    const request = fromBinary(DeltaDiscoveryRequestSchema, bytes);
    const kind = this.#check(stream, request.typeUrl, request.node !== undefined);
    const books = stream.books(kind);
    if (request.responseNonce !== '') this.#answered(stream, kind, request.responseNonce, request.errorDetail !== undefined, true);
    else if (request.errorDetail !== undefined) throw new Error('a NACK without a nonce');
    if (!books.asked) {
      for (const [name, version] of Object.entries(request.initialResourceVersions)) books.sent.set(name, version as Text);
    } else if (Object.keys(request.initialResourceVersions).length > 0) throw new Error('versions after the first request of a type');
    books.asked = true;
    for (const name of request.resourceNamesUnsubscribe) {
      books.names.delete(name);
      books.sent.delete(name);
      books.owed.delete(name);
    }
    for (const name of request.resourceNamesSubscribe) {
      books.names.add(name);
      if (!books.sent.has(name)) books.owed.add(name);
    }
    this.#push(stream, kind);
  }

  #check(stream: Stream, typeUrl: string, node: boolean): FuzzedKind {
    if (node !== (stream.requests === 1)) throw new Error('the node belongs into the first request, and only there');
    const kind = KINDS.find((candidate) => TYPE_URLS[candidate] === typeUrl);
    if (kind === undefined) throw new Error(`a request for ${typeUrl}`);
    return kind;
  }

  /** Exactly one ACK or NACK for each response, and the right one. `only`: a nonce stands in nothing but answers. */
  #answered(stream: Stream, kind: FuzzedKind, nonce: string, nack: boolean, only: boolean): void {
    const due = stream.due.get(nonce);
    if (due === undefined) {
      // State of the world: a change of names repeats the nonce, but never an error.
      if (only || nack) throw new Error(`a second answer to ${nonce}`);
      return;
    }
    if (due.kind !== kind) throw new Error(`the answer to ${nonce} is for another type`);
    if (due.nack !== nack) throw new Error(`${nonce} was ${nack ? 'refused' : 'accepted'}, it should not have been`);
    stream.due.delete(nonce);
    if (nack) this.nacks++;
    else this.acks++;
  }

  /** Queues what this stream must be told of a type. */
  #push(stream: Stream, kind: FuzzedKind): void {
    const books = stream.books(kind);
    if (!books.asked || books.names.size === 0) return;
    const entries: [string, Text][] = [];
    const removed: string[] = [];
    let news = false;
    for (const name of books.names) {
      const text = this.world.get(`${kind} ${name}`);
      const sent = books.sent.get(name);
      const owed = books.owed.delete(name);
      const changed = text === undefined ? sent !== 'gone' && sent !== undefined : sent !== text;
      if (changed || owed) news = true;
      if (text === undefined) {
        if (this.delta ? changed || owed : changed) removed.push(name);
        books.sent.set(name, 'gone');
      } else {
        if (changed || owed || (!this.delta && FULL.has(kind))) entries.push([name, text]);
        books.sent.set(name, text);
      }
    }
    if (!news) return;
    if (!this.delta && !FULL.has(kind) && entries.length === 0) return;
    this.#enqueue(stream, { kind, entries, removed: this.delta ? removed : [], complete: !this.delta && FULL.has(kind), damage: 'none' });
  }

  #enqueue(stream: Stream, response: Omit<Response, 'nonce' | 'version'>): void {
    stream.queue.push({ ...response, nonce: `n${++this.#nonce}`, version: `v${this.#version}` });
  }

  /** Sends something again that was sent before, with a new nonce, or damaged. */
  repeat(response: Response, damage: Damage): void {
    if (this.stream === undefined) return;
    const readable = damage !== 'junk' && damage !== 'wrong-type';
    this.#enqueue(this.stream, { ...response, damage, complete: !this.delta && FULL.has(response.kind) && readable });
  }

  /** Delivers the oldest response in the queue. `nack`: what the client has to think of it. */
  deliver(stream: Stream, nack: boolean): Response | undefined {
    if (stream.paused) throw new Error('the last response has not been taken in');
    const response = stream.queue.shift();
    if (response === undefined) return undefined;
    stream.due.set(response.nonce, { kind: response.kind, nack });
    stream.events.onMessage(this.delta ? encodeDelta(response) : encodeSotw(response));
    return response;
  }
}

function entriesOf(
  response: Response,
): readonly { readonly name: string; readonly text: string; readonly any: { typeUrl: string; value: Uint8Array } }[] {
  const { kind, entries, damage } = response;
  const all = entries.map(([name, text]) => ({ name, text, any: bytesOf(kind, name, text) }));
  const [first] = all;
  if (damage === 'twice' && first !== undefined) all.push(first);
  if (damage === 'junk')
    all.push({ name: '', text: 'bad:junk', any: { typeUrl: TYPE_URLS[kind], value: Uint8Array.of(0xff, 0xff, 0xff) } });
  if (damage === 'wrong-type')
    all.push({ name: '', text: 'bad:type', any: { typeUrl: 'type.googleapis.com/some.Thing', value: new Uint8Array() } });
  return all;
}

const packed = (any: { typeUrl: string; value: Uint8Array }) => ({ $typeName: 'google.protobuf.Any' as const, ...any });

function encodeSotw(response: Response): Uint8Array {
  return toBinary(
    DiscoveryResponseSchema,
    create(DiscoveryResponseSchema, {
      typeUrl: TYPE_URLS[response.kind],
      versionInfo: response.version,
      nonce: response.nonce,
      resources: entriesOf(response).map(({ any }) => packed(any)),
    }),
  );
}

function encodeDelta(response: Response): Uint8Array {
  return toBinary(
    DeltaDiscoveryResponseSchema,
    create(DeltaDiscoveryResponseSchema, {
      typeUrl: TYPE_URLS[response.kind],
      nonce: response.nonce,
      removedResources: [...response.removed],
      resources: entriesOf(response).map(({ name, text, any }) => ({
        $typeName: 'envoy.service.discovery.v3.Resource' as const,
        name,
        version: text,
        aliases: [],
        resource: packed(any),
      })),
    }),
  );
}
