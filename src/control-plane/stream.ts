/** What the two dialects of a stream share: who asks, in which order types go out, and which types are complete lists. */
import { TYPE_URLS } from '../config/resource.ts';
import type { WrappedResource } from '../proto/discovery.ts';
import type { Catalogue, Receiver, Served } from './catalogue.ts';
import { versionOf } from './catalogue.ts';
import { durationOf } from './messages.ts';
import type { RequestNode } from './messages.ts';

export interface Nack {
  readonly nodeId: string;
  readonly typeUrl: string;
  /** Version of the response that was refused. */
  readonly version: string;
  readonly message: string;
}

/** What a node is served. */
export interface Audience {
  readonly receiver: Receiver;
  /** Now; another object after a change. */
  catalogue(): Catalogue;
  /** Before the last change; undefined: there was none. */
  previous?(): Catalogue | undefined;
}

/** One stream, as the server that owns it sees it. */
export interface ServerStream {
  /** Empty until the node has said it. */
  readonly nodeId: string;
  /**
   * What is served has changed: sends what this stream must know, in an order that leaves no reference dangling. `repeat`: these types are
   * sent even if nothing is to be said.
   */
  update(repeat?: ReadonlySet<string>): void;
  /** Refreshes what has a time to live (Envoy X-71). */
  heartbeat(): void;
  /** Holds back responses of a type, or all of them, until `resume`. */
  pause(typeUrl?: string): void;
  resume(typeUrl?: string): void;
}

/** Types whose responses are held back. */
export class Holds {
  readonly #types = new Set<string | undefined>();

  has(typeUrl: string): boolean {
    return this.#types.has(undefined) || this.#types.has(typeUrl);
  }

  hold(typeUrl: string | undefined): void {
    this.#types.add(typeUrl);
  }

  /** Whether it was held. */
  release(typeUrl: string | undefined): boolean {
    return this.#types.delete(typeUrl);
  }
}

export interface StreamEvents {
  onNack(nack: Nack): void;
  /** Asked when the stream begins, and again when a node names itself. */
  audience(node: RequestNode | undefined): Audience;
}

/** Make before break: what is referred to comes before what refers to it (Envoy X-82). */
const ORDER: readonly string[] = [
  TYPE_URLS.cluster,
  TYPE_URLS.endpoints,
  TYPE_URLS.listener,
  TYPE_URLS['scoped-routes'],
  TYPE_URLS.routes,
  TYPE_URLS['virtual-host'],
  TYPE_URLS.secret,
];

/** These types in the order in which they are pushed; those that are not known come last. */
export function inPushOrder<V>(types: ReadonlyMap<string, V>): readonly (readonly [typeUrl: string, state: V])[] {
  const rank = (url: string): number => (ORDER.includes(url) ? ORDER.indexOf(url) : ORDER.length);
  return [...types].sort(([a], [b]) => rank(a) - rank(b));
}

/** LDS, CDS and in practice SRDS: responses are complete, what is absent is gone; no names mean all of them (Envoy ). */
export const FULL_STATE: ReadonlySet<string> = new Set([TYPE_URLS.listener, TYPE_URLS.cluster, TYPE_URLS['scoped-routes']]);

/** A resource in its wrapper; `beat`: without its body, for those that have it (Envoy X-71). */
export function wrapped(served: Served, beat = false): WrappedResource {
  return {
    name: served.name,
    version: versionOf(served),
    aliases: served.aliases,
    ...(beat ? {} : { resource: served.body }),
    ...(served.ttlMs === undefined ? {} : { ttl: durationOf(served.ttlMs) }),
  };
}
