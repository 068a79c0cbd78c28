/**
 * The incremental dialect, one stream: subscriptions by difference, versions of single resources, explicit removals, aliases
 * (Envoy ). No IO; what removal means for a cached value is the cache's business.
 */
import type { ResourceKind } from '../config/resource.ts';
import type { DeltaDiscoveryRequest, DeltaDiscoveryResponse, WrappedResource } from '../proto/discovery.ts';
import { INVALID_ARGUMENT, Intake, NackMemory, ttlMilliseconds } from './intake.ts';
import { EVERYTHING, canonicalName, inCollection } from './names.ts';
import type { ResourceType } from './resource-type.ts';
import { NO_REQUESTS } from './session.ts';
import type { Receipt, Session, SessionOptions, Update } from './session.ts';

const NO_NAMES: ReadonlySet<string> = new Set();
const NO_VERSIONS: Readonly<Record<string, string>> = Object.freeze({});

/** State of one type on this stream. */
class TypeState {
  readonly type: ResourceType;
  readonly wildcard: boolean;
  /** Names that the server knows we want. */
  readonly names = new Set<string>();
  /** True once something was sent for this type. */
  opened = false;
  /** True once something was answered. */
  answered = false;
  /** The answer that is owed for the last response. */
  owed: { readonly nonce: string; readonly nack: string | undefined } | undefined = undefined;
  readonly memory = new NackMemory();
  /** Names that resources were asked for by, where they have another (Envoy X-40): a removal names the resource. */
  readonly aliases = new Map<string, ReadonlySet<string>>();

  constructor(type: ResourceType, wildcard: boolean) {
    this.type = type;
    this.wildcard = wildcard;
  }

  readonly wants = (name: string): boolean => this.wildcard || this.names.has(name) || inCollection(name, this.names);
}

export class DeltaSession implements Session {
  readonly #options: SessionOptions;
  readonly #byKind = new Map<ResourceKind, TypeState>();
  readonly #byUrl = new Map<string, TypeState>();
  #nodeSent = false;
  #current: { readonly state: TypeState; readonly version: string; readonly intake: Intake } | undefined = undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    for (const type of options.types) {
      const state = new TypeState(type, options.wildcard.has(type.kind));
      this.#byKind.set(type.kind, state);
      this.#byUrl.set(type.typeUrl, state);
    }
  }

  /** Sent at once, also while a response is taken in: it is no answer and carries no nonce (Envoy X-31). */
  subscribe(kind: ResourceKind, names: ReadonlySet<string>): readonly DeltaDiscoveryRequest[] {
    const state = this.#byKind.get(kind);
    if (state === undefined) return NO_REQUESTS;
    // A type that is subscribed whole names nothing: the legacy wildcard is a first request without names (Envoy ).
    if (state.wildcard) return state.opened ? NO_REQUESTS : [this.#request(state, [], [], undefined)];
    const added = [...names].filter((name) => !state.names.has(name));
    const removed = [...state.names].filter((name) => !names.has(name));
    if (added.length === 0 && removed.length === 0) return NO_REQUESTS;
    for (const name of added) state.names.add(name);
    for (const name of removed) state.names.delete(name);
    if (removed.length > 0)
      for (const [own, aliases] of state.aliases) if (![...aliases].some((name) => state.names.has(name))) state.aliases.delete(own);
    // Envoy X-53: as above.
    const everything = !state.opened && added.length === 1 && added[0] === EVERYTHING;
    return [this.#request(state, everything ? [] : added, removed, undefined)];
  }

  reply(typeUrl: string): readonly DeltaDiscoveryRequest[] {
    const state = this.#byUrl.get(typeUrl);
    if (state?.owed === undefined) return NO_REQUESTS;
    const { owed } = state;
    state.owed = undefined;
    return [this.#request(state, [], [], owed)];
  }

  *receive(response: DeltaDiscoveryResponse): Generator<undefined, Receipt | undefined> {
    const state = this.#byUrl.get(response.typeUrl);
    if (state?.opened !== true) return undefined;
    const { type, wants, memory } = state;
    const intake = new Intake({ session: this.#options, type, wants, nameless: memory.nameless });
    this.#current = { state, version: response.systemVersionInfo, intake };
    for (const [index, entry] of response.resources.entries()) {
      const aliases = entry.aliases.map(canonicalName).filter(wants);
      if (aliases.length > 0) state.aliases.set(canonicalName(entry.name), new Set(aliases));
      yield* take(entry, index, intake, wants);
      yield undefined;
    }
    for (const removed of response.removedResources) {
      const own = canonicalName(removed);
      const aliases = state.aliases.get(own) ?? NO_NAMES;
      state.aliases.delete(own);
      for (const name of [own, ...aliases]) {
        if (!wants(name) || intake.duplicate(name)) continue;
        intake.seen.add(name);
        intake.outcomes.push({ status: 'removed', name });
      }
    }
    for (const { resourceName, errorDetail } of response.resourceErrors) {
      const name = canonicalName(resourceName?.name ?? '');
      if (errorDetail === undefined || !wants(name)) continue;
      intake.seen.add(name);
      intake.outcomes.push({ status: 'failed', name, error: errorDetail });
    }
    this.#current = undefined;
    const { nack, repeats } = memory.conclude(type.typeUrl, intake);
    state.owed = { nonce: response.nonce, nack };
    const listed = state.wildcard || state.names.has(EVERYTHING);
    // With an unreadable entry nobody can say which names are absent.
    const first = listed && !state.answered && intake.nameless.length === 0;
    state.answered = true;
    return {
      update: { ...updateOf(state, response.systemVersionInfo, intake), present: intake.seen, listed, first },
      nack,
      repeats,
    };
  }

  partial(): Update | undefined {
    const current = this.#current;
    if (current === undefined || current.state.type.kind !== 'endpoints' || current.intake.outcomes.length === 0) return undefined;
    const update = updateOf(current.state, current.version, current.intake);
    return { ...update, outcomes: current.intake.outcomes.splice(0) };
  }

  #request(
    state: TypeState,
    resourceNamesSubscribe: readonly string[],
    resourceNamesUnsubscribe: readonly string[],
    answer: { readonly nonce: string; readonly nack: string | undefined } | undefined,
  ): DeltaDiscoveryRequest {
    const initialResourceVersions = state.opened ? NO_VERSIONS : this.#initialVersions(state);
    state.opened = true;
    const node = this.#nodeSent ? undefined : this.#options.node;
    this.#nodeSent = true;
    return {
      typeUrl: state.type.typeUrl,
      resourceNamesSubscribe,
      resourceNamesUnsubscribe,
      initialResourceVersions,
      responseNonce: answer?.nonce ?? '',
      errorDetail: answer?.nack === undefined ? undefined : { code: INVALID_ARGUMENT, message: answer.nack },
      node,
    };
  }

  /** What is awaited or was removed is left out, so that the server sends it (Envoy X-32). */
  #initialVersions(state: TypeState): Readonly<Record<string, string>> {
    const versions: Record<string, string> = Object.create(null);
    for (const [name, version] of this.#options.initialVersions(state.type.kind)) if (state.wants(name)) versions[name] = version;
    return versions;
  }
}

function* take(entry: WrappedResource, index: number, intake: Intake, wants: (name: string) => boolean): Generator<undefined, void> {
  const name = entry.name === '' ? undefined : canonicalName(entry.name);
  const aliases = entry.aliases.map(canonicalName);
  const envelope = { version: entry.version, ttlMs: ttlMilliseconds(entry.ttl) };
  if (entry.resource !== undefined) {
    yield* intake.take({ ...envelope, body: entry.resource, at: `resources[${index}]`, name, aliases });
    return;
  }
  // Without a body: a heartbeat, or an alias that leads nowhere, which is no error (Envoy X-40).
  if (name !== undefined && aliases.length === 0) {
    if (wants(name)) intake.heartbeat(name, envelope);
    return;
  }
  for (const alias of aliases) if (wants(alias)) intake.outcomes.push({ status: 'removed', name: alias });
}

function updateOf(state: TypeState, version: string, { outcomes }: Intake): Update {
  const { type, wildcard } = state;
  return { kind: type.kind, version, outcomes, present: NO_NAMES, complete: false, wildcard, listed: false };
}
