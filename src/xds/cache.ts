/**
 * What is known of every resource: value, error or waiting, with version and last error (for CSDS, gRFC A40). Decides when old data
 * is kept (gRFC A88) and when to give up waiting (gRFC A57). Knows servers by id only; asks for nothing itself.
 */
import type { Alarm, Clock, Timer } from '../core/clock.ts';
import { TYPE_URLS, describeResourceError } from '../config/resource.ts';
import type {
  ResourceCache,
  ResourceDescription,
  ResourceError,
  ResourceKind,
  ResourceState,
  ResourceTypes,
  UnsupportedField,
} from '../config/resource.ts';
import type { KnownResource, Outcome, Update } from './session.ts';

const WAITING: ResourceState<never> = Object.freeze({ status: 'waiting' });

/** What the cache needs to know of a control plane. */
export interface ServerTraits {
  readonly uri: string;
  /** Server feature `fail_on_data_errors` (gRFC A88): drop the cached value on deletion and on rejection. */
  readonly failOnDataErrors: boolean;
  /** Server feature `resource_timer_is_transient_error` (gRFC A88). */
  readonly timerIsTransient: boolean;
}

class Entry implements Alarm, KnownResource {
  readonly kind: ResourceKind;
  readonly name: string;
  readonly server: ServerTraits;
  readonly #expired: (entry: Entry) => void;
  /** Asked for by name; an entry that is not came by wildcard. */
  wanted: boolean;
  state: ResourceState<unknown> = WAITING;
  raw: Uint8Array | undefined = undefined;
  rejected: { readonly raw: Uint8Array; readonly errors: readonly ResourceError[] } | undefined = undefined;
  status: ResourceDescription['status'] = 'REQUESTED';
  version = '';
  error: string | undefined = undefined;
  updatedAt = 0;
  unsupported: readonly UnsupportedField[] = [];
  timer: Timer | undefined = undefined;

  constructor(kind: ResourceKind, name: string, server: ServerTraits, wanted: boolean, expired: (entry: Entry) => void) {
    this.kind = kind;
    this.name = name;
    this.server = server;
    this.wanted = wanted;
    this.#expired = expired;
  }

  get value(): unknown {
    return this.state.status === 'present' ? this.state.value : undefined;
  }

  onAlarm(): void {
    this.timer = undefined;
    this.#expired(this);
  }

  /** True when the state as others see it changed. */
  fail(status: ResourceDescription['status'], reason: string): boolean {
    this.status = status;
    this.error = reason;
    if (this.state.status === 'failed' && this.state.reason === reason) return false;
    this.state = { status: 'failed', reason };
    return true;
  }

  forget(): void {
    this.raw = undefined;
    this.version = '';
    this.unsupported = [];
  }
}

export class XdsCache implements ResourceCache {
  readonly #clock: Clock;
  readonly #expired: () => void;
  /** The server whose complete list of a wildcard type has come. */
  readonly #listed = new Map<ResourceKind, ServerTraits>();
  readonly #entries = new Map<ResourceKind, Map<string, Entry>>();

  /** `expired` is called when a does-not-exist timer has changed a state. */
  constructor(clock: Clock, expired: () => void) {
    this.#clock = clock;
    this.#expired = expired;
  }

  get<K extends ResourceKind>(kind: K, name: string): ResourceState<ResourceTypes[K]> {
    return (this.#find(kind, name)?.state ?? WAITING) as ResourceState<ResourceTypes[K]>;
  }

  known(kind: ResourceKind, name: string): KnownResource | undefined {
    return this.#find(kind, name);
  }

  /** A name is asked for from now on. True when it is known at once that it does not exist: a wildcard list without it is there. */
  add(kind: ResourceKind, name: string, server: ServerTraits): boolean {
    const entry = this.#find(kind, name);
    if (entry !== undefined) {
      entry.wanted = true;
      return false;
    }
    const created = this.#create(kind, name, server, true);
    return this.#listed.get(kind) === server && created.fail('DOES_NOT_EXIST', absentReason(created));
  }

  /** A name that can never come, for a reason known without asking. */
  addFailed(kind: ResourceKind, name: string, server: ServerTraits, reason: string): void {
    this.add(kind, name, server);
    this.#find(kind, name)?.fail('DOES_NOT_EXIST', reason);
  }

  /** A name is no longer asked for; with `keep` (wildcard) it stays while the server still has it. */
  remove(kind: ResourceKind, name: string, keep: boolean): void {
    const entry = this.#find(kind, name);
    if (entry === undefined) return;
    entry.wanted = false;
    if (!keep || (entry.status !== 'ACKED' && entry.status !== 'NACKED')) this.#delete(entry);
  }

  /** Names that have a value and that the server still has. */
  names(kind: ResourceKind): readonly string[] {
    const names: string[] = [];
    for (const entry of this.#of(kind).values())
      if (entry.state.status === 'present' && entry.status !== 'DOES_NOT_EXIST') names.push(entry.name);
    return names;
  }

  /**
   * The request was sent on a connected stream: starts the does-not-exist timer of every name of the type that is still waited for
   * (gRFC A57: 15 s; with `resource_timer_is_transient_error` 30 s).
   */
  requested(kind: ResourceKind, server: ServerTraits): void {
    for (const entry of this.#of(kind).values()) {
      if (entry.server !== server || entry.timer !== undefined || entry.state.status !== 'waiting') continue;
      entry.timer = this.#clock.set(entry, waitMs(server), true);
    }
  }

  /** The stream broke: nobody can say any more that a resource does not exist. */
  disconnected(server: ServerTraits): void {
    for (const entries of this.#entries.values()) for (const entry of entries.values()) if (entry.server === server) this.#stopTimer(entry);
  }

  /** Applies a whole response. True when any state changed as others see it. */
  apply(update: Update, server: ServerTraits): boolean {
    let changed = false;
    for (const outcome of update.outcomes) {
      let entry = this.#find(update.kind, outcome.name);
      // Unsubscribed while the response was taken in.
      if (entry === undefined && !update.wildcard) continue;
      entry ??= this.#create(update.kind, outcome.name, server, false);
      if (this.#applyOutcome(entry, outcome, update.version)) changed = true;
    }
    if (!update.complete) return changed;
    if (update.wildcard) this.#listed.set(update.kind, server);
    for (const entry of this.#of(update.kind).values()) {
      if (entry.server !== server || update.present.has(entry.name)) continue;
      if (this.#applyAbsence(entry, update.wildcard)) changed = true;
    }
    return changed;
  }

  describe(): { readonly resources: readonly ResourceDescription[]; readonly unsupported: readonly UnsupportedField[] } {
    const resources: ResourceDescription[] = [];
    const unsupported: UnsupportedField[] = [];
    for (const entries of this.#entries.values()) {
      for (const { kind, name, version, status, error, updatedAt, unsupported: fields } of entries.values()) {
        resources.push({ typeUrl: TYPE_URLS[kind], name, version, status, error, updatedAt });
        unsupported.push(...fields);
      }
    }
    return { resources, unsupported };
  }

  /** Stops all timers. The values stay readable. */
  close(): void {
    for (const entries of this.#entries.values()) for (const entry of entries.values()) this.#stopTimer(entry);
  }

  #applyOutcome(entry: Entry, outcome: Outcome, version: string): boolean {
    this.#stopTimer(entry);
    if (outcome.status === 'rejected') {
      entry.rejected = outcome;
      const reason = outcome.errors.map(describeResourceError).join('; ');
      if (entry.state.status === 'present' && !entry.server.failOnDataErrors) {
        entry.status = 'NACKED';
        entry.error = reason;
        return false;
      }
      entry.forget();
      return entry.fail('NACKED', reason);
    }
    entry.raw = outcome.raw;
    entry.rejected = undefined;
    entry.status = 'ACKED';
    entry.error = undefined;
    if (outcome.status === 'unchanged') {
      // Only the version is new; the value keeps its identity, so nobody needs to be told.
      if (entry.state.status === 'present' && entry.version !== version)
        entry.state = { status: 'present', value: entry.state.value, version };
      entry.version = version;
      return false;
    }
    entry.version = version;
    entry.updatedAt = this.#clock.wallTime();
    entry.unsupported = outcome.unsupported;
    entry.state = { status: 'present', value: outcome.value, version };
    return true;
  }

  /** A name that is not in a complete list (gRFC A88, which supersedes A53). */
  #applyAbsence(entry: Entry, wildcard: boolean): boolean {
    if (wildcard && !entry.wanted) {
      this.#delete(entry);
      return true;
    }
    if (entry.state.status === 'waiting') {
      // The response may have been sent before our request arrived: the timer decides. A wildcard list is complete in any case.
      if (!wildcard) return false;
      this.#stopTimer(entry);
      return entry.fail('DOES_NOT_EXIST', absentReason(entry));
    }
    if (entry.status === 'DOES_NOT_EXIST' || entry.status === 'TIMEOUT') return false;
    entry.rejected = undefined;
    const reason = `deleted by ${entry.server.uri}`;
    if (entry.state.status === 'present' && !entry.server.failOnDataErrors) {
      entry.status = 'DOES_NOT_EXIST';
      entry.error = `${reason}, its last value stays in use`;
      return false;
    }
    // With the bytes forgotten, the same resource is news when it comes back.
    entry.forget();
    return entry.fail('DOES_NOT_EXIST', reason);
  }

  #expire(entry: Entry): void {
    const { server, kind } = entry;
    const seconds = waitMs(server) / 1000;
    entry.fail(server.timerIsTransient ? 'TIMEOUT' : 'DOES_NOT_EXIST', `${server.uri} sent no ${kind} of this name within ${seconds} s`);
    this.#expired();
  }

  #of(kind: ResourceKind): Map<string, Entry> {
    let entries = this.#entries.get(kind);
    if (entries === undefined) this.#entries.set(kind, (entries = new Map<string, Entry>()));
    return entries;
  }

  #find(kind: ResourceKind, name: string): Entry | undefined {
    return this.#entries.get(kind)?.get(name);
  }

  #create(kind: ResourceKind, name: string, server: ServerTraits, wanted: boolean): Entry {
    const entry = new Entry(kind, name, server, wanted, (expired) => this.#expire(expired));
    this.#of(kind).set(name, entry);
    return entry;
  }

  #delete(entry: Entry): void {
    this.#stopTimer(entry);
    this.#of(entry.kind).delete(entry.name);
  }

  #stopTimer(entry: Entry): void {
    if (entry.timer === undefined) return;
    this.#clock.clear(entry.timer);
    entry.timer = undefined;
  }
}

function absentReason(entry: Entry): string {
  return `${entry.server.uri} has no ${entry.kind} of this name`;
}

function waitMs(server: ServerTraits): number {
  return server.timerIsTransient ? 30_000 : 15_000;
}
