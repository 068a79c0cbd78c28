/**
 * One stream, state of the world, server side: what was asked, what was sent, what to send now (xDS protocol; gRFC A27). Sends only
 * what is asked for and differs from what this stream was sent before. No IO.
 */
import { TYPE_URLS } from '../config/resource.ts';
import { canonicalName, inCollection } from '../xds/names.ts';
import type { Served } from './catalogue.ts';
import type { AdsRequest, AdsResponse } from './messages.ts';
import { wrap } from './messages.ts';
import type { Audience, ServerStream, StreamEvents } from './stream.ts';
import { FULL_STATE, Holds, inPushOrder, wrapped } from './stream.ts';

export interface SotwStreamEvents extends StreamEvents {
  send(response: AdsResponse): void;
}

const NOTHING: ReadonlyMap<string, Served> = new Map();
const NO_TYPES: ReadonlySet<string> = new Set();

class TypeState {
  names = new Set<string>();
  wildcard = false;
  /** Some request of this stream named resources: from then on, no names means none (Envoy X-51). */
  named = false;
  nonce = '';
  /** Version of the last response, for NACK records. */
  version = '';
  /** Names of the last request for a type of which all resources are sent anyway. */
  ignored: ReadonlySet<string> = NO_TYPES;
  /** Names that an asked one stands for, with that. */
  readonly via = new Map<string, string>();
  /** By the name that was asked for. */
  readonly sent = new Map<string, Served>();
  /** The client waits for an answer about names that it had not asked for before. */
  asked = false;
}

export class SotwStream implements ServerStream {
  readonly #events: SotwStreamEvents;
  readonly #types = new Map<string, TypeState>();
  #audience: Audience;
  #nodeId = '';
  #nonce = 0;
  readonly #held = new Holds();

  constructor(events: SotwStreamEvents) {
    this.#events = events;
    this.#audience = events.audience(undefined);
  }

  get nodeId(): string {
    return this.#nodeId;
  }

  onRequest(request: AdsRequest): void {
    const { typeUrl, node } = request;
    if (node !== undefined && node.id !== '' && node.id !== this.#nodeId) {
      this.#nodeId = node.id;
      this.#audience = this.#events.audience(node);
    }
    let state = this.#types.get(typeUrl);
    const first = state === undefined;
    state ??= new TypeState();
    this.#types.set(typeUrl, state);
    if (request.errorDetail !== undefined) {
      this.#events.onNack({ nodeId: this.#nodeId, typeUrl, version: state.version, message: request.errorDetail.message });
    }
    // An answer to an older response: a newer one is on its way, and the answer to that will carry the names (Envoy X-13).
    if (!first && request.responseNonce !== state.nonce) return;
    const whole = this.#audience.catalogue().whole?.(typeUrl) === true;
    const added = subscribe(state, typeUrl, whole ? ['*'] : request.resourceNames);
    // Everything again: a client that names resources has dropped the others.
    const named = whole && request.resourceNames.some((name) => !state.ignored.has(name));
    if (whole) state.ignored = new Set(request.resourceNames);
    if (first || added || named) state.asked = true;
    this.#push(typeUrl, state, NOTHING);
  }

  update(repeat: ReadonlySet<string> = NO_TYPES): void {
    const cluster = this.#types.get(TYPE_URLS.cluster);
    const kept = cluster === undefined ? NOTHING : this.#removed(TYPE_URLS.cluster, cluster);
    for (const [typeUrl, state] of inPushOrder(this.#types)) {
      this.#push(
        typeUrl,
        state,
        typeUrl === TYPE_URLS.cluster ? kept : NOTHING,
        repeat.has(typeUrl) && (typeUrl !== TYPE_URLS.cluster || kept.size === 0),
      );
    }
    // Clusters go last, after the routes that led to them.
    if (cluster !== undefined && kept.size > 0) this.#push(TYPE_URLS.cluster, cluster, NOTHING);
  }

  heartbeat(): void {
    for (const [typeUrl, state] of this.#types) {
      const mortal = [...state.sent.values()].some(({ ttlMs }) => ttlMs !== undefined);
      if (!mortal || this.#held.has(typeUrl)) continue;
      // A complete list stays complete: what needs no refreshing is sent as it is.
      const due = [...state.sent.values()].filter(({ ttlMs }) => ttlMs !== undefined || FULL_STATE.has(typeUrl));
      this.#send(typeUrl, state, new Set(due), true);
    }
  }

  pause(typeUrl?: string): void {
    this.#held.hold(typeUrl);
  }

  resume(typeUrl?: string): void {
    if (this.#held.release(typeUrl)) this.update();
  }

  #removed(typeUrl: string, state: TypeState): ReadonlyMap<string, Served> {
    const removed = new Map<string, Served>();
    for (const [name, served] of state.sent) if (wants(state, name) && this.#get(typeUrl, name) === undefined) removed.set(name, served);
    return removed;
  }

  /** `kept`: what is sent although it is gone. */
  #push(typeUrl: string, state: TypeState, kept: ReadonlyMap<string, Served>, repeat = false): void {
    if (this.#held.has(typeUrl)) return;
    const { asked } = state;
    state.asked = false;
    const catalogue = this.#audience.catalogue();
    const renewed = catalogue.versioned && state.nonce !== '' && state.version !== catalogue.version(typeUrl);
    const full = FULL_STATE.has(typeUrl);
    const current = new Map<string, Served>(kept);
    let changed = renewed;
    for (const name of this.#wanted(typeUrl, state)) {
      const served = this.#get(typeUrl, name);
      if (served === undefined) continue;
      current.set(name, served);
      if (state.sent.get(name) !== served) changed = true;
    }
    if (full) for (const name of state.sent.keys()) if (wants(state, name) && !current.has(name)) changed = true;
    // A complete response also answers "it does not exist"; other types stay silent then, and the client's timer decides.
    if (!changed && !repeat && !(asked && full)) return;
    const resources = new Set<Served>();
    for (const [name, served] of current) if (full || renewed || repeat || state.sent.get(name) !== served) resources.add(served);
    if (full) state.sent.clear();
    for (const [name, served] of current) state.sent.set(name, served);
    this.#send(typeUrl, state, resources, false);
  }

  #send(typeUrl: string, state: TypeState, resources: ReadonlySet<Served>, beat: boolean): void {
    state.nonce = String(++this.#nonce);
    state.version = this.#audience.catalogue().version(typeUrl);
    this.#events.send({
      typeUrl,
      versionInfo: state.version,
      nonce: state.nonce,
      resources: [...resources].map((served) => (served.ttlMs === undefined ? served.body : wrap(wrapped(served, beat)))),
      names: [...resources].map(({ name }) => name),
    });
  }

  *#wanted(typeUrl: string, state: TypeState): Generator<string> {
    const catalogue = this.#audience.catalogue();
    const collections = [...state.names].some((name) => name.endsWith('*') || name.includes('*?'));
    if (state.wildcard || collections) {
      for (const name of catalogue.names(typeUrl)) if (state.wildcard || inCollection(name, state.names)) yield name;
    }
    for (const asked of state.names) {
      for (const name of catalogue.expand?.(typeUrl, asked) ?? [asked]) {
        if (name !== asked) state.via.set(name, asked);
        yield name;
      }
    }
  }

  #get(typeUrl: string, name: string): Served | undefined {
    return this.#audience.catalogue().get(typeUrl, name, this.#audience.receiver);
  }
}

function wants(state: TypeState, name: string): boolean {
  return state.wildcard || state.names.has(name) || state.names.has(state.via.get(name) ?? '') || inCollection(name, state.names);
}

/** True when there is something new to answer. Names that are dropped are forgotten, so that asking again is answered again. */
function subscribe(state: TypeState, typeUrl: string, names: readonly string[]): boolean {
  const wildcardBefore = state.wildcard;
  const before = state.names;
  if (names.length > 0) state.named = true;
  // The legacy wildcard: no names ever, and only for types that are complete lists (Envoy X-50).
  state.wildcard = names.includes('*') || (FULL_STATE.has(typeUrl) && names.length === 0 && !state.named);
  state.names = new Set(names.filter((name) => name !== '*').map(canonicalName));
  for (const name of state.sent.keys()) if (!wants(state, name)) state.sent.delete(name);
  if (state.wildcard !== wildcardBefore) return state.wildcard;
  for (const name of state.names) if (!before.has(name)) return true;
  return false;
}
