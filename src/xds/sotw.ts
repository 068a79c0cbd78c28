/**
 * State of the world, one stream: nonces, ACK and NACK per response, full lists of names, the legacy wildcard
 * (gRFC A27, A46; Envoy ). No IO; deletion and data errors are the cache's business.
 */
import type { ResourceKind } from '../config/resource.ts';
import type { AnyMessage } from '../core/extension.ts';
import { RESOURCE_TYPE_URL, decodeWrappedResource } from '../proto/discovery.ts';
import type { DiscoveryRequest, DiscoveryResponse, WrappedResource } from '../proto/discovery.ts';
import { INVALID_ARGUMENT, Intake, NackMemory, reasonOf, ttlMilliseconds } from './intake.ts';
import type { Entry } from './intake.ts';
import { EVERYTHING, canonicalName, inCollection } from './names.ts';
import type { ResourceType } from './resource-type.ts';
import { NO_REQUESTS } from './session.ts';
import type { Receipt, Session, SessionOptions, Update } from './session.ts';

const NO_NAMES: ReadonlySet<string> = new Set();
const BARE = { name: undefined, version: undefined, ttlMs: undefined, aliases: [] } as const;

/** State of one type on this stream. */
class TypeState {
  readonly type: ResourceType;
  readonly wildcard: boolean;
  names: ReadonlySet<string> = NO_NAMES;
  /** Names of the last request; undefined before the first. */
  sent: readonly string[] | undefined = undefined;
  nonce = '';
  /** True while a response is taken in: its reply will carry the names. */
  receiving = false;
  /** Names that were given up meanwhile: the server must hear of it, or it would not send again what is wanted anew. */
  readonly dropped = new Set<string>();
  /** The answer that is owed for the last response. */
  owed: { readonly nack: string | undefined } | undefined = undefined;
  readonly memory = new NackMemory();

  constructor(type: ResourceType, wildcard: boolean) {
    this.type = type;
    this.wildcard = wildcard;
  }

  readonly wants = (name: string): boolean => this.wildcard || this.names.has(name) || inCollection(name, this.names);

  /** All resources of the type are taken, whether that was said by configuration or by the name that means it. */
  get whole(): boolean {
    return this.wildcard || this.names.has(EVERYTHING);
  }

  namesChanged(): boolean {
    return this.sent === undefined || this.sent.length !== this.names.size || !this.sent.every((name) => this.names.has(name));
  }
}

export class SotwSession implements Session {
  readonly #options: SessionOptions;
  readonly #byKind = new Map<ResourceKind, TypeState>();
  readonly #byUrl = new Map<string, TypeState>();
  #nodeSent = false;
  /** The response that is being taken in. */
  #current: { readonly state: TypeState; readonly version: string; readonly intake: Intake } | undefined = undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    for (const type of options.types) {
      const state = new TypeState(type, options.wildcard.has(type.kind));
      this.#byKind.set(type.kind, state);
      this.#byUrl.set(type.typeUrl, state);
    }
  }

  subscribe(kind: ResourceKind, names: ReadonlySet<string>): readonly DiscoveryRequest[] {
    const state = this.#byKind.get(kind);
    if (state === undefined) return NO_REQUESTS;
    // A wildcard type never names anything, else the server would take the wildcard back (Envoy X-51).
    if (!state.wildcard) state.names = new Set(names);
    // An empty list in the first request would mean "everything".
    if (state.sent === undefined && state.names.size === 0 && !state.wildcard) return NO_REQUESTS;
    if (!state.namesChanged()) return NO_REQUESTS;
    if (state.receiving) {
      for (const name of state.sent ?? []) if (!state.names.has(name)) state.dropped.add(name);
      return NO_REQUESTS;
    }
    // A NACK that is held back goes now: with its nonce, a request without an error would be read as an ACK (Envoy X-11).
    return state.owed === undefined ? [this.#request(state, state.names, undefined)] : this.reply(state.type.typeUrl);
  }

  reply(typeUrl: string): readonly DiscoveryRequest[] {
    const state = this.#byUrl.get(typeUrl);
    if (state?.owed === undefined) return NO_REQUESTS;
    const { nack } = state.owed;
    const { names, dropped } = state;
    state.owed = undefined;
    const anew = [...dropped].some((name) => names.has(name));
    const without = anew ? new Set([...names].filter((name) => !dropped.has(name))) : names;
    dropped.clear();
    const answer = this.#request(state, without, nack);
    return anew ? [answer, this.#request(state, names, nack)] : [answer];
  }

  *receive(response: DiscoveryResponse): Generator<undefined, Receipt | undefined> {
    const state = this.#byUrl.get(response.typeUrl);
    // An answer to a type never asked for would have an empty list, which subscribes to everything (Envoy X-50).
    if (state?.sent === undefined) return undefined;
    state.nonce = response.nonce;
    state.receiving = true;
    const { type, wants, memory } = state;
    const intake = new Intake({ session: this.#options, type, wants, nameless: memory.nameless });
    this.#current = { state, version: response.versionInfo, intake };
    for (const [index, entry] of response.resources.entries()) {
      yield* this.#take(entry, index, intake);
      yield undefined;
    }
    for (const { resourceName, errorDetail } of response.resourceErrors) {
      const name = canonicalName(resourceName?.name ?? '');
      if (errorDetail === undefined || !wants(name)) continue;
      intake.seen.add(name);
      intake.outcomes.push({ status: 'failed', name, error: errorDetail });
    }
    state.receiving = false;
    this.#current = undefined;
    return this.#conclude(state, response, intake);
  }

  partial(): Update | undefined {
    const current = this.#current;
    if (current === undefined || current.state.type.kind !== 'endpoints' || current.intake.outcomes.length === 0) return undefined;
    const outcomes = current.intake.outcomes.splice(0);
    const { wildcard } = current.state;
    return { kind: 'endpoints', version: current.version, outcomes, present: NO_NAMES, complete: false, wildcard, listed: false };
  }

  #conclude(state: TypeState, response: DiscoveryResponse, intake: Intake): Receipt {
    const { kind, typeUrl, fullState } = state.type;
    const { nack, repeats } = state.memory.conclude(typeUrl, intake);
    if (nack === undefined) this.#options.versions.set(typeUrl, response.versionInfo);
    state.owed = { nack };
    // With an unreadable entry nobody can say which names are absent.
    const complete = fullState && intake.nameless.length === 0;
    const { outcomes, seen: present } = intake;
    const { whole: wildcard } = state;
    return {
      update: { kind, version: response.versionInfo, outcomes, present, complete, wildcard, listed: complete && wildcard },
      nack,
      repeats,
    };
  }

  /** One entry of a response, perhaps in a wrapper. */
  *#take(entry: AnyMessage, index: number, intake: Intake): Generator<undefined, void> {
    const at = `resources[${index}]`;
    if (entry.typeUrl !== RESOURCE_TYPE_URL) {
      yield* intake.take({ ...BARE, body: entry, at });
      return;
    }
    let wrapped: WrappedResource;
    try {
      wrapped = decodeWrappedResource(entry.value);
    } catch (error) {
      intake.unnamed(entry.value, `${at}: not an envoy.service.discovery.v3.Resource: ${reasonOf(error)}`);
      return;
    }
    const name = wrapped.name === '' ? undefined : canonicalName(wrapped.name);
    const version = wrapped.version === '' ? undefined : wrapped.version;
    const ttlMs = ttlMilliseconds(wrapped.ttl);
    // In this dialect the version of a resource is that of its response, so it cannot be compared.
    if (wrapped.resource === undefined) {
      if (name !== undefined) intake.heartbeat(name, { version: undefined, ttlMs });
      return;
    }
    const inner: Entry = { body: wrapped.resource, at, name, aliases: wrapped.aliases, version, ttlMs };
    yield* intake.take({ ...inner, version: undefined });
  }

  #request(state: TypeState, names: ReadonlySet<string>, nack: string | undefined): DiscoveryRequest {
    state.sent = [...names];
    // The legacy wildcard: servers of all ages know what an empty list means (Envoy X-50).
    const resourceNames = state.sent.length === 1 && names.has(EVERYTHING) ? [] : state.sent;
    const node = this.#nodeSent ? undefined : this.#options.node;
    this.#nodeSent = true;
    return {
      typeUrl: state.type.typeUrl,
      versionInfo: this.#options.versions.get(state.type.typeUrl) ?? '',
      resourceNames,
      responseNonce: state.nonce,
      errorDetail: nack === undefined ? undefined : { code: INVALID_ARGUMENT, message: nack },
      node,
    };
  }
}
