/** What is known of one resource: value, error or waiting, with version and last error (for CSDS, gRFC A40), and the timers that run for it. */
import type { Alarm, Clock, Timer } from '../core/clock.ts';
import type { ResourceDescription, ResourceError, ResourceKind, ResourceState } from '../config/resource.ts';
import { bytesOf, keepBytes, keptEquals } from './kept-bytes.ts';
import type { KeptBytes } from './kept-bytes.ts';
import type { KnownResource } from './session.ts';

export const WAITING: ResourceState<never> = Object.freeze({ status: 'waiting' });

/** What the cache needs to know of a control plane. */
export interface ServerTraits {
  readonly uri: string;
  /** Server feature `fail_on_data_errors` (gRFC A88): drop the cached value on deletion and on rejection. */
  readonly failOnDataErrors: boolean;
  /** Server feature `resource_timer_is_transient_error` (gRFC A88). */
  readonly timerIsTransient: boolean;
}

/** Who answers for a resource: an authority, whose server changes when it falls back (gRFC A71). */
export interface ResourceOwner {
  readonly server: ServerTraits;
}

/** Why the last attempt to have a resource failed; CSDS's `error_state`. */
export interface FailedAttempt {
  readonly details: string;
  /** Version that was refused; empty where there was none. */
  readonly version: string;
  /** Wall time in ms. */
  readonly at: number;
}

/** A value with its bytes, which no later update changes. */
export interface CurrentResource {
  readonly kind: ResourceKind;
  readonly name: string;
  readonly version: string;
  readonly kept: KeptBytes;
  /** Fields without effect. */
  readonly unsupported: readonly string[] | undefined;
}

export class Entry implements KnownResource {
  readonly kind: ResourceKind;
  readonly name: string;
  readonly owner: ResourceOwner;
  /** Asked for by name; an entry that is not came by wildcard. */
  wanted: boolean;
  /** Of its `ResourceKey`. */
  waitMs: number | undefined = undefined;
  state: ResourceState<unknown> = WAITING;
  /** The bytes of the value. */
  #kept: KeptBytes | undefined = undefined;
  rejected: { readonly raw: Uint8Array; readonly errors: readonly ResourceError[] } | undefined = undefined;
  status: ResourceDescription['status'] = 'REQUESTED';
  version = '';
  /** Who sent the value; undefined for one from the last-good file. */
  from: ServerTraits | undefined = undefined;
  /** Why the value is old, or why there is none. */
  error: string | undefined = undefined;
  failed: FailedAttempt | undefined = undefined;
  updatedAt = 0;
  /** Fields of the value that have no effect; one list for all entries that have the same. */
  unsupported: readonly string[] | undefined = undefined;
  /** The does-not-exist timer (gRFC A57) while the resource is awaited, the time to live (Envoy X-70) once it is there. */
  timer: Timer | undefined = undefined;

  constructor(kind: ResourceKind, name: string, owner: ResourceOwner, wanted: boolean) {
    this.kind = kind;
    this.name = name;
    this.owner = owner;
    this.wanted = wanted;
  }

  /** A copy. */
  get raw(): Uint8Array | undefined {
    return this.#kept === undefined ? undefined : bytesOf(this.#kept);
  }

  /** As it is at this moment; undefined where there is no value with bytes. */
  get current(): CurrentResource | undefined {
    const { kind, name, version, unsupported } = this;
    if (this.state.status !== 'present' || this.#kept === undefined) return undefined;
    return { kind, name, version, kept: this.#kept, unsupported };
  }

  keep(raw: Uint8Array | undefined): void {
    this.#kept = raw && keepBytes(raw);
  }

  holds(raw: Uint8Array): boolean {
    return this.#kept !== undefined && keptEquals(this.#kept, raw);
  }

  /**
   * Whether a new stream of this server tells it that the value is here (Envoy X-32). Not while another is in use (gRFC A71), which may replace
   * it after that: the server would send nothing, and so neither be returned to nor mend it.
   */
  toldTo(server: ServerTraits): boolean {
    const { from, owner, status } = this;
    return from === server && owner.server === server && this.version !== '' && (status === 'ACKED' || status === 'NACKED');
  }

  get value(): unknown {
    return this.state.status === 'present' ? this.state.value : undefined;
  }

  /** Served from the last-good file until the control plane says what holds now. */
  get fromDisk(): boolean {
    return this.state.status === 'present' && this.from === undefined;
  }

  /** The control plane has said nothing of it yet. */
  get awaited(): boolean {
    return this.state.status === 'waiting' || this.fromDisk;
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
    this.#kept = undefined;
    this.version = '';
    this.from = undefined;
    this.unsupported = undefined;
  }
}

/** Tells that an entry's timer is over. Made with the timer, since of many thousand entries few have one. */
export class EntryAlarm implements Alarm {
  readonly #entry: Entry;
  readonly #expired: (entry: Entry) => void;

  constructor(entry: Entry, expired: (entry: Entry) => void) {
    this.#entry = entry;
    this.#expired = expired;
  }

  onAlarm(): void {
    this.#entry.timer = undefined;
    this.#expired(this.#entry);
  }
}

export function stopTimer(entry: Entry, clock: Clock): void {
  if (entry.timer === undefined) return;
  clock.clear(entry.timer);
  entry.timer = undefined;
}

export function describeEntry(entry: Entry, typeUrl: string): ResourceDescription {
  const { name, version, status, error, updatedAt, failed } = entry;
  return { typeUrl, name, version, status, error, updatedAt, ...(failed && { failed }) };
}

export function absentReason(entry: Entry): string {
  return `${entry.owner.server.uri} has no ${entry.kind} of this name`;
}
