/**
 * One ADS stream, state of the world, server side: what was asked, what was sent, what to send now (xDS protocol; gRFC A27). Sends only
 * what is asked for and differs from what this stream was sent before. No IO.
 */
import type { ResourceKind } from '../config/resource.ts';
import { TYPE_URLS } from '../config/resource.ts';
import type { AnyMessage } from '../core/extension.ts';
import type { InlineCertificates } from './encode/tls.ts';
import type { AdsRequest, AdsResponse } from './messages.ts';
import { kindOfUrl } from './store.ts';
import type { ResourceStore } from './store.ts';

/** Make before break: what is referred to comes before what refers to it. */
const PUSH_ORDER: readonly ResourceKind[] = ['cluster', 'endpoints', 'listener', 'routes', 'secret'];
/** LDS and CDS responses are complete: what is absent is gone. */
const FULL_STATE: ReadonlySet<ResourceKind> = new Set(['listener', 'cluster']);

export interface Nack {
  readonly nodeId: string;
  readonly typeUrl: string;
  /** Version of the response that was refused. */
  readonly version: string;
  readonly message: string;
}

export interface SotwStreamEvents {
  send(response: AdsResponse): void;
  onNack(nack: Nack): void;
  /** Inline certificates for a node, where the control plane works that way. */
  inline(nodeId: string): InlineCertificates | undefined;
}

class TypeState {
  names = new Set<string>();
  wildcard = false;
  /** Some request of this stream named resources: from then on, no names means none (Envoy X-14). */
  named = false;
  nonce = '';
  /** Version of the last response, for NACK records. */
  version = '';
  readonly sent = new Map<string, AnyMessage>();
}

export class SotwStream {
  readonly #store: ResourceStore;
  readonly #events: SotwStreamEvents;
  readonly #types = new Map<ResourceKind, TypeState>();
  #nodeId = '';
  #nonce = 0;
  #paused = false;

  constructor(store: ResourceStore, events: SotwStreamEvents) {
    this.#store = store;
    this.#events = events;
  }

  get nodeId(): string {
    return this.#nodeId;
  }

  onRequest(request: AdsRequest): void {
    if (request.node !== undefined && request.node.id !== '') this.#nodeId = request.node.id;
    const kind = kindOfUrl(request.typeUrl);
    if (kind === undefined) return;
    let state = this.#types.get(kind);
    const first = state === undefined;
    state ??= new TypeState();
    this.#types.set(kind, state);
    if (request.errorDetail !== undefined) {
      this.#events.onNack({ nodeId: this.#nodeId, typeUrl: request.typeUrl, version: state.version, message: request.errorDetail.message });
    }
    // An answer to an older response: a newer one is on its way, and the answer to that will carry the names.
    if (!first && request.responseNonce !== state.nonce) return;
    const added = subscribe(state, kind, request.resourceNames);
    if (!this.#paused) this.#push(kind, state, first || added, NOTHING);
  }

  /** The store has changed: sends what this stream must know, in an order that leaves no reference dangling. */
  update(): void {
    if (this.#paused) return;
    const cluster = this.#types.get('cluster');
    const kept = cluster === undefined ? NOTHING : this.#removed('cluster', cluster);
    for (const kind of PUSH_ORDER) {
      const state = this.#types.get(kind);
      if (state !== undefined) this.#push(kind, state, false, kind === 'cluster' ? kept : NOTHING);
    }
    // Clusters go last, after the routes that led to them.
    if (cluster !== undefined && kept.size > 0) this.#push('cluster', cluster, false, NOTHING);
  }

  /** Holds back all responses until `resume`. */
  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    for (const [kind, state] of this.#types) if (state.nonce === '') this.#push(kind, state, true, NOTHING);
    this.update();
  }

  #removed(kind: ResourceKind, state: TypeState): ReadonlyMap<string, AnyMessage> {
    const removed = new Map<string, AnyMessage>();
    for (const [name, packed] of state.sent) {
      if (wants(state, name) && this.#store.get(kind, name, this.#inline()) === undefined) removed.set(name, packed);
    }
    return removed;
  }

  /** `asked`: the client waits for an answer about names that it had not asked for before. `kept`: what is sent although it is gone. */
  #push(kind: ResourceKind, state: TypeState, asked: boolean, kept: ReadonlyMap<string, AnyMessage>): void {
    const full = FULL_STATE.has(kind);
    const current = new Map<string, AnyMessage>(kept);
    let changed = false;
    for (const name of state.wildcard ? [...this.#store.names(kind), ...state.names] : state.names) {
      const packed = this.#store.get(kind, name, this.#inline());
      if (packed === undefined) continue;
      current.set(name, packed);
      if (state.sent.get(name) !== packed) changed = true;
    }
    if (full) for (const name of state.sent.keys()) if (wants(state, name) && !current.has(name)) changed = true;
    // A complete response also answers "it does not exist"; other types stay silent then, and the client's timer decides.
    if (!changed && !(asked && full)) return;
    const resources = [...current].filter(([name, packed]) => full || state.sent.get(name) !== packed);
    if (full) state.sent.clear();
    for (const [name, packed] of current) state.sent.set(name, packed);
    state.nonce = String(++this.#nonce);
    state.version = this.#store.version(kind);
    this.#events.send({
      typeUrl: TYPE_URLS[kind],
      versionInfo: state.version,
      nonce: state.nonce,
      resources: resources.map(([, packed]) => packed),
    });
  }

  #inline(): InlineCertificates | undefined {
    return this.#events.inline(this.#nodeId);
  }
}

const NOTHING: ReadonlyMap<string, AnyMessage> = new Map();

function wants(state: TypeState, name: string): boolean {
  return state.wildcard || state.names.has(name);
}

/** True when there is something new to answer. Names that are dropped are forgotten, so that asking again is answered again. */
function subscribe(state: TypeState, kind: ResourceKind, names: readonly string[]): boolean {
  const wildcardBefore = state.wildcard;
  const before = state.names;
  if (names.length > 0) state.named = true;
  // The legacy wildcard: no names ever, and only for LDS and CDS (Envoy X-14).
  state.wildcard = FULL_STATE.has(kind) && (names.includes('*') || (names.length === 0 && !state.named));
  state.names = new Set(names.filter((name) => name !== '*'));
  for (const name of state.sent.keys()) if (!wants(state, name)) state.sent.delete(name);
  if (state.wildcard !== wildcardBefore) return state.wildcard;
  for (const name of state.names) if (!before.has(name)) return true;
  return false;
}
