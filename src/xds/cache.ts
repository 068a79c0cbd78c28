/**
 * What is known of every resource of one source. Decides when old data is kept (gRFC A88), when to give up waiting (gRFC A57) and when a
 * value has outlived its time (Envoy X-70). Knows servers by their traits only; asks for nothing itself.
 */
import type { Clock } from '../core/clock.ts';
import { describeResourceError } from '../config/resource.ts';
import type { ResourceCache, ResourceKey, ResourceKind, ResourceState, ResourceTypes } from '../config/resource.ts';
import { GrpcStatus, grpcStatusName } from '../core/status.ts';
import { Entry, EntryAlarm, WAITING, absentReason, stopTimer } from './cache-entry.ts';
import type { CurrentResource, ResourceOwner, ServerTraits } from './cache-entry.ts';
import { tellCollections } from './collections.ts';
import { FieldLists } from './field-lists.ts';
import { EVERYTHING, isCollection, inCollection } from './names.ts';
import type { KnownResource, Outcome, Update } from './session.ts';

export type { ResourceOwner, ServerTraits } from './cache-entry.ts';

/** A value from the last-good file. */
export interface SavedResource {
  /** Undefined: a list, whose members have the bytes. */
  readonly raw: Uint8Array | undefined;
  readonly value: unknown;
  readonly version: string;
}

export interface CacheOptions {
  readonly clock: Clock;
  /** Called when a timer has changed states. */
  readonly expired: (keys: readonly ResourceKey[]) => void;
  /** Milliseconds to wait for a resource; 0: without end. Default: 15 000, or 30 000 with `resource_timer_is_transient_error`. */
  readonly waitMs?: number | undefined;
}

export class XdsCache implements ResourceCache {
  readonly #options: CacheOptions;
  /** The server whose complete list of a wildcard type has come. */
  readonly #listed = new Map<ResourceKind, ServerTraits>();
  readonly #entries = new Map<ResourceKind, Map<string, Entry>>();
  readonly #unsupported = new FieldLists();
  #saved: ((kind: ResourceKind, name: string) => SavedResource | undefined) | undefined;

  constructor(options: CacheOptions) {
    this.#options = options;
  }

  get<K extends ResourceKind>(kind: K, name: string): ResourceState<ResourceTypes[K]> {
    return (this.#find(kind, name)?.state ?? WAITING) as ResourceState<ResourceTypes[K]>;
  }

  known(kind: ResourceKind, name: string): KnownResource | undefined {
    return this.#find(kind, name);
  }

  /** Everything that has a value, with its bytes. */
  *present(): Generator<CurrentResource> {
    for (const entries of this.#entries.values()) for (const { current } of entries.values()) if (current !== undefined) yield current;
  }

  entries(): Iterable<Entry> {
    return [...this.#entries.values()].flatMap((entries) => [...entries.values()]);
  }

  /** A name is asked for from now on. True when something is known of it at once: its absence from a wildcard list, or a saved value. */
  add(kind: ResourceKind, name: string, owner: ResourceOwner, waitMs?: number): boolean {
    const entry = this.#find(kind, name);
    if (entry !== undefined) {
      entry.wanted = true;
      return false;
    }
    const created = this.#create(kind, name, owner, true);
    created.waitMs = waitMs;
    if (this.#listed.get(kind) === owner.server) return created.fail('DOES_NOT_EXIST', absentReason(created));
    return this.#restore(created);
  }

  /** A name that can never come, for a reason known without asking. */
  addFailed(kind: ResourceKind, name: string, owner: ResourceOwner, reason: string): void {
    this.add(kind, name, owner);
    this.#find(kind, name)?.fail('DOES_NOT_EXIST', reason);
  }

  /** A name is no longer asked for; with `keep` (wildcard) it stays while the server still has it. */
  remove(kind: ResourceKind, name: string, keep: boolean): void {
    const entry = this.#find(kind, name);
    if (entry === undefined) return;
    entry.wanted = false;
    if (keep && (entry.status === 'ACKED' || entry.status === 'NACKED')) return;
    this.#delete(entry);
    if (keep || !isCollection(name)) return;
    // Nobody tells any more what becomes of the members that came with a collection only.
    const own = new Set([name]);
    for (const member of this.#of(kind).values()) if (!member.wanted && inCollection(member.name, own)) this.#delete(member);
  }

  /** Names that have a value. Those that the server deleted come last: while they are wanted, they stay in use (gRFC A88). */
  names(kind: ResourceKind): readonly string[] {
    const [names, kept]: [string[], string[]] = [[], []];
    for (const { name, state, status } of this.#of(kind).values())
      if (state.status === 'present' && !isCollection(name)) (status === 'DOES_NOT_EXIST' ? kept : names).push(name);
    return [...names, ...kept];
  }

  /** Of those that have no value. */
  refusals(kind: ResourceKind): readonly { readonly raw: Uint8Array }[] {
    const entries = [...this.#of(kind).values()];
    return entries.flatMap(({ state, rejected }) => (state.status === 'failed' && rejected !== undefined ? rejected : []));
  }

  /** Whether the complete list of a wildcard type has come. */
  listed(kind: ResourceKind): boolean {
    return this.#listed.has(kind);
  }

  /** Whether the owner answers for a name without a value, or for a list that has not come: what makes it fall back (gRFC A71). */
  lacks(owner: ResourceOwner, lists: ReadonlySet<ResourceKind>): boolean {
    for (const kind of lists) if (!this.#listed.has(kind)) return true;
    for (const entries of this.#entries.values())
      for (const entry of entries.values())
        if (entry.owner === owner && entry.wanted && (entry.state.status !== 'present' || entry.fromDisk)) return true;
    return false;
  }

  /** From now on names without a value get the saved one; the keys of those that have just got it. */
  useSaved(saved: (kind: ResourceKind, name: string) => SavedResource | undefined): readonly ResourceKey[] {
    this.#saved = saved;
    const restored: ResourceKey[] = [];
    for (const entries of this.#entries.values())
      for (const entry of entries.values()) if (entry.state.status === 'waiting' && this.#restore(entry)) restored.push(keyOf(entry));
    return restored;
  }

  /** A saved resource of a type that is subscribed whole. */
  addSaved(kind: ResourceKind, name: string, owner: ResourceOwner): ResourceKey | undefined {
    if (this.#find(kind, name) !== undefined) return undefined;
    const entry = this.#create(kind, name, owner, false);
    if (this.#restore(entry)) return keyOf(entry);
    this.#delete(entry);
    return undefined;
  }

  /** Versions of the values that this server sent (Envoy X-32). */
  *versions(kind: ResourceKind, server: ServerTraits): Generator<readonly [string, string]> {
    for (const entry of this.#of(kind).values()) if (entry.toldTo(server)) yield [entry.name, entry.version];
  }

  /**
   * The request was sent on a connected stream: starts the does-not-exist timer of every name of the type that is still waited for
   * (gRFC A57: 15 s; with `resource_timer_is_transient_error` 30 s).
   */
  requested(kind: ResourceKind, server: ServerTraits): void {
    for (const entry of this.#of(kind).values()) {
      if (entry.owner.server !== server || entry.timer !== undefined) continue;
      if (!entry.awaited) continue;
      const delay = this.#waitMs(entry);
      if (delay > 0) entry.timer = this.#options.clock.set(new EntryAlarm(entry, (expired) => this.#expire(expired)), delay, true);
    }
  }

  /** The stream broke: nobody can say any more that a resource does not exist. A time to live goes on. */
  disconnected(server: ServerTraits, kind?: ResourceKind): void {
    for (const [of, entries] of this.#entries) {
      if (kind !== undefined && of !== kind) continue;
      for (const entry of entries.values()) if (entry.owner.server === server && entry.awaited) stopTimer(entry, this.#options.clock);
    }
  }

  /** Applies a whole response; the keys of the resources whose state as others see it changed. */
  apply(update: Update, server: ServerTraits, owners: (name: string) => ResourceOwner | undefined): readonly ResourceKey[] {
    const changed: ResourceKey[] = [];
    const { kind } = update;
    for (const outcome of update.outcomes) {
      let entry = this.#find(kind, outcome.name);
      if (entry === undefined) {
        // Unsubscribed while the response was taken in, or a member of something that is subscribed whole.
        const whole = update.wildcard || inCollection(outcome.name, this.#of(kind));
        const news = outcome.status !== 'removed' && outcome.status !== 'heartbeat';
        const owner = whole && news ? owners(outcome.name) : undefined;
        if (owner?.server !== server) continue;
        entry = this.#create(kind, outcome.name, owner, false);
      }
      // Where a type is taken whole, a server may also send names of another authority, for which it does not speak (gRFC A47).
      if (entry.owner.server !== server) continue;
      if (this.#applyOutcome(entry, outcome, update, server)) changed.push(keyOf(entry));
    }
    // Also that there is nothing may be awaited: which servers are left alone (`inbound-sockets.ts`).
    if (update.listed && kind === 'listener' && !this.#listed.has(kind)) changed.push({ kind, name: EVERYTHING });
    if (update.listed) this.#listed.set(kind, server);
    if (update.complete || update.listed) {
      for (const entry of this.#of(kind).values()) {
        if (entry.owner.server !== server || update.present.has(entry.name) || isCollection(entry.name)) continue;
        // An incremental answer to a wildcard settles what is still awaited; the first one also what the server was not told of (gRFC A71).
        if (!update.complete && !entry.awaited && (update.first !== true || entry.toldTo(server))) continue;
        if (this.#applyAbsence(entry, update.wildcard || inCollection(entry.name, this.#of(kind)))) changed.push(keyOf(entry));
      }
    }
    if (kind === 'scoped-routes') changed.push(...tellCollections(this.#of(kind).values(), changed, update, server, this.#options.clock));
    return changed;
  }

  /** Stops all timers. The values stay readable. */
  close(): void {
    for (const entries of this.#entries.values()) for (const entry of entries.values()) stopTimer(entry, this.#options.clock);
  }

  #applyOutcome(entry: Entry, outcome: Outcome, update: Update, server: ServerTraits): boolean {
    const { status } = outcome;
    if (status === 'accepted' || status === 'unchanged') return this.#applyValue(entry, outcome, outcome.version ?? update.version, server);
    const { awaited } = entry;
    if (status === 'heartbeat') {
      // One for what never came, or what was lost meanwhile, ends no wait.
      if (!awaited && entry.state.status === 'present') this.#live(entry, outcome.ttlMs);
      return false;
    }
    let changed: boolean;
    if (status === 'removed') changed = this.#applyRemoval(entry, update.wildcard, `deleted by ${server.uri}`);
    else if (status === 'failed') changed = this.#applyError(entry, outcome.error, server);
    else changed = this.#applyRejection(entry, outcome, outcome.version ?? update.version);
    // The wait is over; a time to live goes on for as long as its value does (Envoy X-70).
    if (awaited || entry.state.status !== 'present') stopTimer(entry, this.#options.clock);
    return changed;
  }

  #applyValue(
    entry: Entry,
    outcome: Extract<Outcome, { status: 'accepted' | 'unchanged' }>,
    version: string,
    server: ServerTraits,
  ): boolean {
    // Given up and wanted anew while the response was taken in: what it was compared with is gone, and was asked for again.
    if (outcome.status === 'unchanged' && entry.state.status !== 'present') return false;
    if (outcome.status === 'accepted') entry.keep(outcome.raw);
    entry.rejected = undefined;
    entry.failed = undefined;
    entry.status = 'ACKED';
    entry.error = undefined;
    entry.from = server;
    if (outcome.status === 'unchanged') {
      // Only the version is new; the value keeps its identity, so nobody needs to be told.
      if (entry.state.status === 'present' && entry.version !== version)
        entry.state = { status: 'present', value: entry.state.value, version };
    } else {
      entry.updatedAt = this.#options.clock.wallTime();
      entry.unsupported = this.#unsupported.of(outcome.unsupported);
      entry.state = { status: 'present', value: outcome.value, version };
    }
    entry.version = version;
    this.#live(entry, outcome.ttlMs);
    return outcome.status === 'accepted';
  }

  #applyRejection(entry: Entry, outcome: Extract<Outcome, { status: 'rejected' }>, version: string): boolean {
    entry.rejected = { raw: outcome.raw.slice(), errors: outcome.errors };
    const reason = outcome.errors.map(describeResourceError).join('; ');
    entry.failed = { details: reason, version, at: this.#options.clock.wallTime() };
    if (entry.state.status === 'present' && !entry.owner.server.failOnDataErrors) {
      entry.status = 'NACKED';
      entry.error = reason;
      return false;
    }
    entry.forget();
    return entry.fail('NACKED', reason);
  }

  /** xRFC TP3: what the server says of one resource. Data errors may drop the value, others never do (gRFC A88). */
  #applyError(entry: Entry, error: { readonly code: number; readonly message: string }, server: ServerTraits): boolean {
    const reason = `${server.uri}: ${grpcStatusName(error.code)}: ${error.message}`;
    entry.failed = { details: reason, version: '', at: this.#options.clock.wallTime() };
    const dataError = error.code === GrpcStatus.NOT_FOUND || error.code === GrpcStatus.PERMISSION_DENIED;
    if (entry.state.status === 'present' && !(dataError && server.failOnDataErrors)) {
      entry.status = 'RECEIVED_ERROR';
      entry.error = reason;
      return false;
    }
    entry.rejected = undefined;
    entry.forget();
    return entry.fail('RECEIVED_ERROR', reason);
  }

  /** A name that is not in a complete list. */
  #applyAbsence(entry: Entry, wildcard: boolean): boolean {
    if (entry.awaited) {
      // The response may have been sent before our request arrived: the timer decides. A wildcard list is complete in any case.
      if (!wildcard) return false;
      if (!entry.wanted) {
        this.#delete(entry);
        return true;
      }
      stopTimer(entry, this.#options.clock);
      if (entry.fromDisk) entry.forget();
      return entry.fail('DOES_NOT_EXIST', absentReason(entry));
    }
    return this.#applyRemoval(entry, wildcard, `deleted by ${entry.owner.server.uri}`);
  }

  /** gRFC A88, which supersedes A53: a deleted resource keeps its value unless the server's features say otherwise. */
  #applyRemoval(entry: Entry, wildcard: boolean, reason: string): boolean {
    if ((wildcard || inCollection(entry.name, this.#of(entry.kind))) && !entry.wanted) {
      this.#delete(entry);
      return true;
    }
    if (entry.status === 'DOES_NOT_EXIST' || entry.status === 'TIMEOUT') return false;
    entry.rejected = undefined;
    if (entry.state.status === 'waiting') return entry.fail('DOES_NOT_EXIST', absentReason(entry));
    // A virtual host that is removed is as one left out of its route configuration: a change, not a loss.
    const keeps = !entry.owner.server.failOnDataErrors && entry.kind !== 'virtual-host';
    if (entry.state.status === 'present' && keeps && !entry.fromDisk) {
      entry.status = 'DOES_NOT_EXIST';
      entry.error = `${reason}, its last value stays in use`;
      return false;
    }
    // With the bytes forgotten, the same resource is news when it comes back.
    entry.forget();
    return entry.fail('DOES_NOT_EXIST', reason);
  }

  #live(entry: Entry, ttlMs: number | undefined): void {
    stopTimer(entry, this.#options.clock);
    if (ttlMs === undefined) return;
    entry.timer = this.#options.clock.set(new EntryAlarm(entry, (expired) => this.#outlive(expired, ttlMs)), ttlMs, true);
  }

  /** Envoy X-72: as if the server had removed it; it said beforehand that the value would not hold longer. */
  #outlive(entry: Entry, ttlMs: number): void {
    entry.rejected = undefined;
    if (!entry.wanted) this.#delete(entry);
    else {
      entry.forget();
      entry.fail('DOES_NOT_EXIST', `its time to live of ${ttlMs} ms has passed, and ${entry.owner.server.uri} did not renew it`);
    }
    this.#options.expired([keyOf(entry)]);
  }

  #expire(entry: Entry): void {
    const { kind, owner } = entry;
    const { server } = owner;
    const seconds = this.#waitMs(entry) / 1000;
    entry.forget();
    const status = server.timerIsTransient ? 'TIMEOUT' : 'DOES_NOT_EXIST';
    entry.fail(status, `${server.uri} sent no ${kind} of this name within ${seconds} s`);
    this.#options.expired([keyOf(entry)]);
  }

  #restore(entry: Entry): boolean {
    const saved = this.#saved?.(entry.kind, entry.name);
    if (saved === undefined) return false;
    entry.keep(saved.raw);
    entry.version = saved.version;
    entry.state = { status: 'present', value: saved.value, version: saved.version };
    entry.error = 'from the last-good file: the control plane has not answered yet';
    return true;
  }

  #waitMs({ waitMs, owner }: Entry): number {
    return waitMs ?? this.#options.waitMs ?? (owner.server.timerIsTransient ? 30_000 : 15_000);
  }

  #of(kind: ResourceKind): Map<string, Entry> {
    let entries = this.#entries.get(kind);
    if (entries === undefined) this.#entries.set(kind, (entries = new Map<string, Entry>()));
    return entries;
  }

  #find(kind: ResourceKind, name: string): Entry | undefined {
    return this.#entries.get(kind)?.get(name);
  }

  #create(kind: ResourceKind, name: string, owner: ResourceOwner, wanted: boolean): Entry {
    const entry = new Entry(kind, name, owner, wanted);
    this.#of(kind).set(name, entry);
    return entry;
  }

  #delete(entry: Entry): void {
    stopTimer(entry, this.#options.clock);
    this.#of(entry.kind).delete(entry.name);
  }
}

function keyOf({ kind, name }: Entry): ResourceKey {
  return { kind, name };
}
