/**
 * One stream, incremental dialect, server side: subscriptions by difference, versions of single resources, explicit removals
 * (Envoy ). Sends what differs from what the client is known to have. No IO.
 */
import { TYPE_URLS } from '../config/resource.ts';
import type { WrappedResource } from '../proto/discovery.ts';
import { canonicalName, inCollection, isCollection } from '../xds/names.ts';
import type { Catalogue, Served } from './catalogue.ts';
import { versionOf } from './catalogue.ts';
import type { DeltaRequest, DeltaResponse } from './messages.ts';
import type { Audience, ServerStream, StreamEvents } from './stream.ts';
import { FULL_STATE, Holds, inPushOrder, wrapped } from './stream.ts';

export interface DeltaStreamEvents extends StreamEvents {
  send(response: DeltaResponse): void;
}

class TypeState {
  /** Names asked for one by one: own names, aliases, and `xdstp:` collections. */
  readonly names = new Set<string>();
  wildcard = false;
  /** Versions of what the client has, by the resource's own name. */
  readonly known = new Map<string, string>();
  /** Subscribed names of which the client was told that there is no such resource. */
  readonly absent = new Set<string>();
  /** Under which name an alias was answered, so that a removal can name the resource. */
  readonly resolved = new Map<string, string>();
  /** Who asks for everything, or for a collection, is answered even if that is nothing. */
  unanswered = false;
  /** Versions of the responses that are not answered yet, for NACK records. */
  readonly pending = new Map<string, string>();
  /** Names that must be answered whatever the client has (Envoy X-35); held back while paused. */
  readonly owed = new Set<string>();

  /** As if nothing had been asked for or sent. */
  forget(): void {
    this.wildcard = false;
    for (const part of [this.names, this.known, this.absent, this.resolved, this.owed]) part.clear();
  }
}

/** Responses that a client may leave unanswered before the oldest is forgotten. */
const MOST_PENDING = 1000;

interface Gone {
  readonly removed: ReadonlySet<string>;
  readonly unresolved: readonly WrappedResource[];
}
const NOTHING_GONE: Gone = { removed: new Set(), unresolved: [] };

export class DeltaStream implements ServerStream {
  readonly #events: DeltaStreamEvents;
  readonly #types = new Map<string, TypeState>();
  #audience: Audience;
  #nodeId = '';
  #nonce = 0;
  readonly #held = new Holds();

  constructor(events: DeltaStreamEvents) {
    this.#events = events;
    this.#audience = events.audience(undefined);
  }

  get nodeId(): string {
    return this.#nodeId;
  }

  onRequest(request: DeltaRequest): void {
    const { typeUrl, node, responseNonce, errorDetail } = request;
    if (node !== undefined && node.id !== '' && node.id !== this.#nodeId) {
      this.#nodeId = node.id;
      this.#audience = this.#events.audience(node);
    }
    const known = this.#types.get(typeUrl);
    const state = known ?? new TypeState();
    this.#types.set(typeUrl, state);
    if (errorDetail !== undefined) {
      this.#events.onNack({
        nodeId: this.#nodeId,
        typeUrl,
        version: state.pending.get(responseNonce) ?? '',
        message: errorDetail.message,
      });
    }
    state.pending.delete(responseNonce);
    if (known === undefined) this.#open(state, request);
    // A nonce, stale or not, says nothing about subscriptions (Envoy X-31).
    if (this.#audience.catalogue().whole?.(typeUrl) === true) {
      state.wildcard = true;
      state.unanswered ||= known === undefined;
      // Everything again: a client that names resources has dropped the others.
      if (known !== undefined && request.resourceNamesSubscribe.length > 0) state.known.clear();
    } else {
      if (request.resourceNamesSubscribe.length > 0 && this.#audience.catalogue().forgets?.(typeUrl) === true) state.forget();
      this.#unsubscribe(state, request.resourceNamesUnsubscribe.map(canonicalName));
      this.#subscribe(state, request.resourceNamesSubscribe.map(canonicalName), known === undefined);
    }
    this.#push(typeUrl, state, 'all');
  }

  /** Removals are always told, so that nothing needs repeating here. */
  update(): void {
    const types = inPushOrder(this.#types);
    for (const [typeUrl, state] of types) this.#push(typeUrl, state, 'added');
    // What is gone goes after what led to it, the leaves last.
    for (const [typeUrl, state] of types.toReversed()) this.#push(typeUrl, state, 'all');
  }

  heartbeat(): void {
    for (const [typeUrl, state] of this.#types) {
      if (this.#held.has(typeUrl)) continue;
      const due = new Set<Served>();
      for (const served of this.#wanted(this.#audience.catalogue(), typeUrl, state).values()) {
        if (served.ttlMs !== undefined && state.known.get(served.name) === versionOf(served)) due.add(served);
      }
      if (due.size > 0)
        this.#send(
          typeUrl,
          state,
          [...due].map((served) => wrapped(served, true)),
          [],
        );
    }
  }

  pause(typeUrl?: string): void {
    this.#held.hold(typeUrl);
  }

  resume(typeUrl?: string): void {
    if (this.#held.release(typeUrl)) this.update();
  }

  /** The first request for a type on this stream. */
  #open(state: TypeState, { typeUrl, initialResourceVersions, resourceNamesSubscribe }: DeltaRequest): void {
    for (const [name, version] of Object.entries(initialResourceVersions)) state.known.set(canonicalName(name), version);
    // The legacy wildcard (Envoy X-50). It stays when names are added later, until `*` is unsubscribed.
    state.wildcard = FULL_STATE.has(typeUrl) && resourceNamesSubscribe.length === 0;
    state.unanswered = state.wildcard;
  }

  #unsubscribe(state: TypeState, names: readonly string[]): void {
    for (const name of names) {
      if (name === '*') state.wildcard = false;
      else if (!state.names.delete(name)) continue;
      state.absent.delete(name);
      // Still in the wildcard: the client does not know whether it may keep it, so it must be told (Envoy X-36).
      if (name !== '*' && state.wildcard) state.owed.add(name);
      else state.owed.delete(name);
    }
    if (names.length > 0) for (const name of state.known.keys()) if (!this.#wants(state, name)) state.known.delete(name);
    for (const alias of state.resolved.keys()) if (!state.names.has(alias)) state.resolved.delete(alias);
  }

  #subscribe(state: TypeState, names: readonly string[], first: boolean): void {
    for (const name of names) {
      if (isCollection(name)) state.unanswered = true;
      // What a client that comes back has is in its versions; else every name is answered, whatever it may have (Envoy X-35).
      else if (!(first && state.known.has(name))) state.owed.add(name);
      if (name === '*') state.wildcard = true;
      else state.names.add(name);
    }
  }

  #wants(state: TypeState, name: string): boolean {
    if (state.wildcard || state.names.has(name) || inCollection(name, state.names)) return true;
    for (const [alias, own] of state.resolved) if (own === name && state.names.has(alias)) return true;
    return false;
  }

  /** `added`: nothing is removed yet. */
  #push(typeUrl: string, state: TypeState, part: 'added' | 'all'): void {
    if (this.#held.has(typeUrl)) return;
    const wanted = this.#wanted(this.#audience.catalogue(), typeUrl, state);
    const resources = new Set<Served>();
    for (const served of wanted.values()) if (state.known.get(served.name) !== versionOf(served)) resources.add(served);
    for (const name of state.owed) {
      const served = wanted.get(name);
      if (served === undefined) continue;
      resources.add(served);
      state.owed.delete(name);
    }
    for (const name of state.absent) if (wanted.has(name)) state.absent.delete(name);
    const gone = part === 'all' ? this.#gone(typeUrl, state, wanted) : NOTHING_GONE;
    if (resources.size === 0 && gone === NOTHING_GONE && !(part === 'all' && state.unanswered)) return;
    state.unanswered = false;
    for (const served of resources) state.known.set(served.name, versionOf(served));
    this.#send(typeUrl, state, [...[...resources].map((served) => wrapped(served)), ...gone.unresolved], [...gone.removed]);
  }

  #gone(typeUrl: string, state: TypeState, wanted: ReadonlyMap<string, Served>): Gone {
    const removed = new Set<string>();
    const unresolved: WrappedResource[] = [];
    for (const name of [...state.owed, ...state.names]) {
      if (wanted.has(name) || isCollection(name) || (state.absent.has(name) && !state.owed.has(name))) continue;
      const own = state.resolved.get(name);
      // An alias that leads nowhere is answered by its name and no body: a removal would name a resource (Envoy X-40).
      if (typeUrl === TYPE_URLS['virtual-host'] && own === undefined && !state.known.has(name)) {
        unresolved.push({ name, version: '', aliases: [name] });
      } else removed.add(own ?? name);
      state.owed.delete(name);
      if (state.names.has(name)) state.absent.add(name);
      state.resolved.delete(name);
    }
    const present = new Set([...wanted.values()].map(({ name }) => name));
    for (const name of state.known.keys()) if (!present.has(name)) removed.add(name);
    for (const name of removed) state.known.delete(name);
    return removed.size === 0 && unresolved.length === 0 ? NOTHING_GONE : { removed, unresolved };
  }

  /** What the client should have now, by the names that it is asked for by and by its own. */
  #wanted(catalogue: Catalogue, typeUrl: string, state: TypeState): ReadonlyMap<string, Served> {
    const wanted = new Map<string, Served>();
    const take = (name: string): void => {
      const served = catalogue.get(typeUrl, name, this.#audience.receiver);
      if (served === undefined) return;
      wanted.set(name, served);
      if (served.name !== name) {
        wanted.set(served.name, served);
        state.resolved.set(name, served.name);
      }
    };
    const collections = [...state.names].filter(isCollection);
    if (state.wildcard || collections.length > 0) {
      for (const name of catalogue.names(typeUrl)) if (state.wildcard || inCollection(name, state.names)) take(name);
    }
    for (const name of state.names) take(name);
    return wanted;
  }

  #send(typeUrl: string, state: TypeState, resources: readonly WrappedResource[], removedResources: readonly string[]): void {
    const nonce = String(++this.#nonce);
    const systemVersionInfo = this.#audience.catalogue().version(typeUrl);
    state.pending.set(nonce, systemVersionInfo);
    const [oldest] = state.pending.keys();
    if (state.pending.size > MOST_PENDING && oldest !== undefined) state.pending.delete(oldest);
    this.#events.send({ typeUrl, systemVersionInfo, nonce, resources, removedResources });
  }
}
