/**
 * A control plane as a model of what servers do, in both dialects: it sends what a stream was not sent yet, after a while, one response at a
 * time; streams may be killed, and the whole plane may be away. Time is simulated.
 */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import type { ResourceKind } from '../../../src/config/resource.ts';
import type { Clock } from '../../../src/core/clock.ts';
import type { Random } from '../../../src/core/random.ts';
import type { AdsStream, AdsStreamEvents, AdsTransport } from '../../../src/core/transport.ts';
import {
  DeltaDiscoveryRequestSchema,
  DeltaDiscoveryResponseSchema,
  DiscoveryRequestSchema,
  DiscoveryResponseSchema,
} from '../../../src/proto/gen/envoy/service/discovery/v3/discovery_pb.js';
import { resource } from './fake-control-plane.ts';

export const KINDS = ['listener', 'cluster', 'routes', 'endpoints'] as const;
export type Kind = (typeof KINDS)[number];

export function kindOf(typeUrl: string): Kind {
  const kind = KINDS.find((candidate) => TYPE_URLS[candidate] === typeUrl);
  if (kind === undefined) throw new Error(`not in the model: ${typeUrl}`);
  return kind;
}

interface Held {
  readonly version: number;
  readonly text: string;
}

export class ModelPlane implements AdsTransport {
  readonly clock: Clock;
  readonly random: Random;
  readonly streams = new Set<ModelStream>();
  readonly #data = new Map<Kind, Map<string, Held>>(KINDS.map((kind) => [kind, new Map()]));
  version = 1;
  up = true;
  /** Called while a response is perhaps still being taken in. */
  meanwhile: () => void = () => undefined;

  constructor(clock: Clock, random: Random) {
    this.clock = clock;
    this.random = random;
  }

  of(kind: Kind): Map<string, Held> {
    return this.#data.get(kind) ?? new Map();
  }

  set(kind: Kind, name: string, text: string): void {
    this.of(kind).set(name, { version: ++this.version, text });
    for (const stream of this.streams) stream.wake();
  }

  remove(kind: Kind, name: string): void {
    if (!this.of(kind).delete(name)) return;
    this.version++;
    for (const stream of this.streams) stream.wake();
  }

  kill(): void {
    const streams = Array.from(this.streams);
    for (const stream of streams) stream.end(14);
  }

  open(method: string, events: AdsStreamEvents): AdsStream {
    const stream = method.includes('/Delta') ? new DeltaStream(this, events) : new SotwStream(this, events);
    this.streams.add(stream);
    if (this.up) this.clock.set({ onAlarm: () => stream.connect() }, 1 + this.random.next() * 5);
    else if (this.random.next() < 0.5) stream.end(14);
    else this.clock.set({ onAlarm: () => stream.end(14) }, 1);
    return stream;
  }

  close(): void {
    const streams = Array.from(this.streams);
    for (const stream of streams) stream.end(1);
  }
}

abstract class ModelStream implements AdsStream {
  readonly plane: ModelPlane;
  readonly #events: AdsStreamEvents;
  #nonces = 0;
  #paused = false;
  #connected = false;
  #woken = false;
  protected ended = false;

  constructor(plane: ModelPlane, events: AdsStreamEvents) {
    this.plane = plane;
    this.#events = events;
  }

  protected abstract take(request: Uint8Array): void;
  /** The next response, if there is something to say. */
  protected abstract next(nonce: string): Uint8Array | undefined;

  connect(): void {
    if (this.ended) return;
    this.#connected = true;
    this.#events.onConnected();
    this.wake();
  }

  send(request: Uint8Array): void {
    if (this.ended) throw new Error('send after the end');
    this.take(request);
    this.wake();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.wake();
  }

  cancel(): void {
    this.end(1);
  }

  end(code: number): void {
    if (this.ended) return;
    this.ended = true;
    this.plane.streams.delete(this);
    this.#events.onEnd(code, 'ended by the model');
  }

  wake(): void {
    if (this.#woken || this.ended || !this.#connected) return;
    this.#woken = true;
    const { clock, random } = this.plane;
    clock.set({ onAlarm: () => this.#say() }, random.next() * 20);
  }

  #say(): void {
    this.#woken = false;
    if (this.ended || this.#paused) return;
    const message = this.next(`n${++this.#nonces}`);
    if (message === undefined) return;
    this.#events.onMessage(message);
    if (this.plane.random.next() < 0.2) this.plane.meanwhile();
    this.wake();
  }
}

interface SotwType {
  names: readonly string[];
  /** Names were sent once: from then on an empty list means nothing (Envoy X-51). */
  named: boolean;
  readonly returned: Map<string, number>;
  nonce: string;
  answered: boolean;
}

class SotwStream extends ModelStream {
  readonly #types = new Map<Kind, SotwType>();

  protected take(bytes: Uint8Array): void {
    const request = fromBinary(DiscoveryRequestSchema, bytes);
    const kind = kindOf(request.typeUrl);
    const type = this.#types.get(kind) ?? { names: [], named: false, returned: new Map(), nonce: '', answered: true };
    this.#types.set(kind, type);
    if (request.responseNonce !== type.nonce) return;
    type.answered = true;
    type.names = request.resourceNames;
    type.named ||= request.resourceNames.length > 0;
    for (const name of type.returned.keys()) if (type.named && !type.names.includes(name)) type.returned.delete(name);
  }

  protected next(nonce: string): Uint8Array | undefined {
    for (const [kind, type] of this.#types) {
      if (!type.answered) continue;
      const data = this.plane.of(kind);
      const wanted = [...data].filter(([name]) => !type.named || type.names.includes(name));
      const news = wanted.filter(([name, { version }]) => type.returned.get(name) !== version);
      const gone = [...type.returned.keys()].filter((name) => !data.has(name));
      for (const name of gone) type.returned.delete(name);
      const whole = kind === 'listener' || kind === 'cluster';
      const first = type.nonce === '' && (whole || wanted.length > 0);
      if (news.length === 0 && !first && !(whole && gone.length > 0)) continue;
      const sent = whole || this.plane.random.next() < 0.5 ? wanted : news;
      for (const [name, { version }] of sent) type.returned.set(name, version);
      type.nonce = nonce;
      type.answered = false;
      return toBinary(
        DiscoveryResponseSchema,
        create(DiscoveryResponseSchema, {
          typeUrl: TYPE_URLS[kind],
          versionInfo: `${this.plane.version}`,
          nonce,
          resources: sent.map(([name, { text }]) => body(kind, name, text)),
        }),
      );
    }
    return undefined;
  }
}

interface DeltaType {
  readonly names: Set<string>;
  readonly whole: boolean;
  /** Versions that the client has. */
  readonly known: Map<string, string>;
  /** Names that must be answered (Envoy X-35). */
  readonly owed: Set<string>;
  answered: boolean;
}

class DeltaStream extends ModelStream {
  readonly #types = new Map<Kind, DeltaType>();

  protected take(bytes: Uint8Array): void {
    const request = fromBinary(DeltaDiscoveryRequestSchema, bytes);
    const kind = kindOf(request.typeUrl);
    const before = this.#types.get(kind);
    const type: DeltaType = before ?? {
      names: new Set(),
      whole: request.resourceNamesSubscribe.length === 0,
      known: new Map(Object.entries(request.initialResourceVersions)),
      owed: new Set(),
      answered: false,
    };
    this.#types.set(kind, type);
    for (const name of request.resourceNamesSubscribe) {
      type.names.add(name);
      if (before === undefined && type.known.has(name)) continue;
      type.owed.add(name);
      type.known.delete(name);
    }
    for (const name of request.resourceNamesUnsubscribe) for (const of of [type.names, type.owed, type.known]) of.delete(name);
  }

  protected next(nonce: string): Uint8Array | undefined {
    for (const [kind, type] of this.#types) {
      const data = this.plane.of(kind);
      const news = [...data].filter(([name, { version }]) => (type.whole || type.names.has(name)) && type.known.get(name) !== `${version}`);
      const removed = [...new Set([...type.known.keys(), ...type.owed])].filter((name) => !data.has(name));
      if (news.length === 0 && removed.length === 0 && (type.answered || !type.whole)) continue;
      type.answered = true;
      type.owed.clear();
      for (const name of removed) type.known.delete(name);
      for (const [name, { version }] of news) type.known.set(name, `${version}`);
      return toBinary(
        DeltaDiscoveryResponseSchema,
        create(DeltaDiscoveryResponseSchema, {
          typeUrl: TYPE_URLS[kind],
          nonce,
          resources: news.map(([name, { version, text }]) => ({
            $typeName: 'envoy.service.discovery.v3.Resource' as const,
            name,
            version: `${version}`,
            aliases: [],
            resource: body(kind, name, text),
          })),
          removedResources: removed,
        }),
      );
    }
    return undefined;
  }
}

function body(kind: ResourceKind, name: string, text: string) {
  return { $typeName: 'google.protobuf.Any' as const, ...resource(kind, name, text) };
}
