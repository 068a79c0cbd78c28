/**
 * State of the world, one stream: nonces, ACK and NACK per response, full lists of names, the legacy wildcard
 * (gRFC A27, A46; Envoy X-10 to X-20, X-50). No IO; deletion and data errors are the cache's business.
 */
import type { ResourceError, ResourceKind, UnsupportedField } from '../config/resource.ts';
import type { AnyMessage } from '../core/extension.ts';
import { RESOURCE_TYPE_URL, decodeWrappedResource } from '../proto/discovery.ts';
import type { DiscoveryRequest, DiscoveryResponse } from '../proto/discovery.ts';
import { canonicalName } from './names.ts';
import { peekName, sameBytes } from './peek-name.ts';
import type { DecodeContext, Decoded, ResourceType } from './resource-type.ts';
import type { Outcome, Receipt, Session, SessionOptions, Update } from './session.ts';

const INVALID_ARGUMENT = 3;
const NO_NAMES: ReadonlySet<string> = new Set();

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
  /** The answer that is owed for the last response. */
  owed: { readonly nack: string | undefined } | undefined = undefined;
  lastProblems = '';
  repeats = 0;
  /** Resources of the last response whose names could not be read. */
  nameless: readonly Nameless[] = [];

  constructor(type: ResourceType, wildcard: boolean) {
    this.type = type;
    this.wildcard = wildcard;
  }

  wants(name: string): boolean {
    return this.wildcard || this.names.has(name);
  }

  namesChanged(): boolean {
    return this.sent === undefined || this.sent.length !== this.names.size || !this.sent.every((name) => this.names.has(name));
  }
}

interface Nameless {
  readonly raw: Uint8Array;
  readonly reason: string;
}

/** Collects what one response says. */
class Intake {
  readonly outcomes: Outcome[] = [];
  readonly problems: string[] = [];
  readonly nameless: Nameless[] = [];
  readonly seen = new Set<string>();
  /** True when something had to be decoded: the response is not a mere repetition. */
  fresh = false;
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

  subscribe(kind: ResourceKind, names: ReadonlySet<string>): DiscoveryRequest | undefined {
    const state = this.#byKind.get(kind);
    if (state === undefined) return undefined;
    // A wildcard type never names anything, else the server would take the wildcard back (Envoy X-51).
    if (!state.wildcard) state.names = new Set(names);
    // An empty list in the first request would mean "everything".
    if (state.sent === undefined && state.names.size === 0 && !state.wildcard) return undefined;
    if (!state.namesChanged() || state.receiving) return undefined;
    // A NACK that is held back goes now: with its nonce, a request without an error would be read as an ACK (Envoy X-11).
    return this.reply(state.type.typeUrl) ?? this.#request(state, undefined);
  }

  reply(typeUrl: string): DiscoveryRequest | undefined {
    const state = this.#byUrl.get(typeUrl);
    if (state?.owed === undefined) return undefined;
    const { nack } = state.owed;
    state.owed = undefined;
    return this.#request(state, nack);
  }

  *receive(response: DiscoveryResponse): Generator<undefined, Receipt | undefined> {
    const state = this.#byUrl.get(response.typeUrl);
    // An answer to a type never asked for would have an empty list, which subscribes to everything (Envoy X-50).
    if (state?.sent === undefined) return undefined;
    state.nonce = response.nonce;
    state.receiving = true;
    const intake = new Intake();
    this.#current = { state, version: response.versionInfo, intake };
    for (const [index, entry] of response.resources.entries()) {
      yield* this.#take(state, entry, index, intake);
      yield undefined;
    }
    state.receiving = false;
    this.#current = undefined;
    state.nameless = intake.nameless;
    return this.#conclude(state, response, intake);
  }

  partial(): Update | undefined {
    const current = this.#current;
    if (current === undefined || current.state.type.kind !== 'endpoints' || current.intake.outcomes.length === 0) return undefined;
    const outcomes = current.intake.outcomes.splice(0);
    return { kind: 'endpoints', version: current.version, outcomes, present: NO_NAMES, complete: false, wildcard: current.state.wildcard };
  }

  #conclude(state: TypeState, response: DiscoveryResponse, intake: Intake): Receipt {
    const { kind, typeUrl } = state.type;
    const nack = intake.problems.length === 0 ? undefined : nackText(typeUrl, intake.problems);
    if (nack === undefined) this.#options.versions.set(typeUrl, response.versionInfo);
    // Servers send the resources of a response in any order (go-control-plane walks a map).
    const problems = intake.problems.toSorted().join();
    state.repeats = nack !== undefined && !intake.fresh && problems === state.lastProblems ? state.repeats + 1 : 0;
    state.lastProblems = problems;
    state.owed = { nack };
    return {
      update: {
        kind,
        version: response.versionInfo,
        outcomes: intake.outcomes,
        present: intake.seen,
        // With an unreadable entry nobody can say which names are absent.
        complete: state.type.fullState && intake.nameless.length === 0,
        wildcard: state.wildcard,
      },
      nack,
      repeats: state.repeats,
    };
  }

  /** One entry of a response. */
  *#take(state: TypeState, wrapped: AnyMessage, index: number, intake: Intake): Generator<undefined, void> {
    const { kind, typeUrl } = state.type;
    let entry: AnyMessage | undefined = wrapped;
    let hint: string | undefined;
    if (wrapped.typeUrl === RESOURCE_TYPE_URL) {
      try {
        const inner = decodeWrappedResource(wrapped.value);
        entry = inner.resource;
        if (inner.name !== '') hint = canonicalName(inner.name);
      } catch (error) {
        this.#unnamed(wrapped.value, `resources[${index}]: not an envoy.service.discovery.v3.Resource: ${reasonOf(error)}`, intake);
        return;
      }
      if (entry === undefined) {
        // A heartbeat (Envoy X-71): the resource is there and has not changed.
        if (hint !== undefined) intake.seen.add(hint);
        return;
      }
    }
    const raw = entry.value;
    const peeked = peekName(raw);
    if (peeked !== undefined) hint = canonicalName(peeked);
    if (entry.typeUrl !== typeUrl) {
      // Envoy X-20.
      this.#unnamed(raw, `resources[${index}]: type is "${entry.typeUrl}", expected "${typeUrl}"`, intake);
      return;
    }
    if (hint !== undefined) {
      // Nobody asked for it: dropped unread (Envoy X-18), which also spares the work.
      if (!state.wants(hint)) return;
      if (this.#repeated(kind, hint, raw, intake)) return;
    } else {
      const before = state.nameless.find((known) => sameBytes(known.raw, raw));
      if (before !== undefined) {
        this.#unnamed(raw, before.reason, intake);
        return;
      }
    }
    intake.fresh = true;
    const unsupported: UnsupportedField[] = [];
    const decoded = yield* this.#decode(
      state.type,
      raw,
      unsupported,
      hint === undefined ? undefined : this.#options.known(kind, hint)?.value,
    );
    const name = canonicalName(decoded.name) || hint || '';
    if (name === '') {
      const reasons = decoded.ok
        ? ['has no name']
        : decoded.errors.map((error) => (error.field === '' ? error.reason : `${error.field}: ${error.reason}`));
      this.#unnamed(raw, `resources[${index}]: ${reasons.join(', ')}`, intake);
      return;
    }
    if (!state.wants(name)) return;
    if (hint === undefined && this.#duplicate(name, intake)) return;
    intake.seen.add(name);
    if (decoded.ok) intake.outcomes.push({ status: 'accepted', name, raw, value: decoded.value, unsupported });
    else this.#reject(name, raw, decoded.errors, intake);
  }

  /** Handles a resource that is in the response twice, or whose bytes are known, good or bad. */
  #repeated(kind: ResourceKind, name: string, raw: Uint8Array, intake: Intake): boolean {
    if (this.#duplicate(name, intake)) return true;
    const known = this.#options.known(kind, name);
    if (known?.raw !== undefined && sameBytes(known.raw, raw)) {
      intake.seen.add(name);
      intake.outcomes.push({ status: 'unchanged', name, raw });
      return true;
    }
    if (known?.rejected !== undefined && sameBytes(known.rejected.raw, raw)) {
      intake.seen.add(name);
      this.#reject(name, raw, known.rejected.errors, intake);
      return true;
    }
    return false;
  }

  /** The first of several with one name is applied, the others are errors (Envoy X-20; gRPC C++). */
  #duplicate(name: string, intake: Intake): boolean {
    if (!intake.seen.has(name)) return false;
    intake.problems.push(problemText(name, '', 'is more than once in the response'));
    return true;
  }

  #reject(name: string, raw: Uint8Array, errors: readonly ResourceError[], intake: Intake): void {
    intake.outcomes.push({ status: 'rejected', name, raw, errors });
    for (const error of errors) intake.problems.push(problemText(name, error.field, error.reason));
  }

  #unnamed(raw: Uint8Array, reason: string, intake: Intake): void {
    intake.nameless.push({ raw, reason });
    intake.problems.push(reason);
  }

  /** A decoder must not throw; one that does costs its own resource, never the stream (grpc-go recovers likewise). */
  *#decode(
    type: ResourceType,
    raw: Uint8Array,
    unsupported: UnsupportedField[],
    previous: unknown,
  ): Generator<undefined, Decoded<unknown>> {
    const context: DecodeContext = {
      ...this.#options.context,
      unsupported: (kind, field, resource) => {
        if (!unsupported.some((entry) => entry.field === field && entry.resource === resource)) unsupported.push({ kind, field, resource });
      },
    };
    try {
      return type.decodeInSteps === undefined ? type.decode(raw, context) : yield* type.decodeInSteps(raw, context, previous as never);
    } catch (error) {
      return { ok: false, name: '', errors: [{ kind: type.kind, name: '', field: '', reason: `cannot be decoded: ${reasonOf(error)}` }] };
    }
  }

  #request(state: TypeState, nack: string | undefined): DiscoveryRequest {
    const resourceNames = [...state.names];
    state.sent = resourceNames;
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

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function problemText(name: string, field: string, reason: string): string {
  return `resource "${name}"${field === '' ? '' : ` at ${field}`}: ${reason}`;
}

function nackText(typeUrl: string, problems: readonly string[]): string {
  return `${typeUrl.slice(typeUrl.lastIndexOf('.') + 1)} response rejected: ${problems.join(';\n')}`;
}
