/**
 * What one response says, resource by resource, in both dialects: what is known by its bytes is not decoded again, what cannot be decoded
 * costs only itself (gRFC A46), what nobody asked for is dropped unread (Envoy X-18, X-39). Which names are wanted is the session's business.
 */
import type { ResourceError, UnsupportedField } from '../config/resource.ts';
import type { AnyMessage } from '../core/extension.ts';
import { canonicalName } from './names.ts';
import { peekName, sameBytes } from './peek-name.ts';
import type { DecodeContext, Decoded, ResourceType } from './resource-type.ts';
import type { Envelope, Outcome, SessionOptions } from './session.ts';

export const INVALID_ARGUMENT = 3;

export interface Nameless {
  readonly raw: Uint8Array;
  readonly reason: string;
}

export interface IntakeOptions {
  readonly session: SessionOptions;
  readonly type: ResourceType;
  readonly wants: (name: string) => boolean;
  /** Resources of the last response whose names could not be read. */
  readonly nameless: readonly Nameless[];
}

/** One entry of a response without its wrapper. */
export interface Entry extends Envelope {
  readonly body: AnyMessage;
  /** Where it stands, for problems. */
  readonly at: string;
  /** Name in the wrapper, canonical; undefined: only the resource itself has one. */
  readonly name: string | undefined;
  /** Other names that it may have been asked for by (Envoy X-40). */
  readonly aliases: readonly string[];
}

export class Intake {
  readonly outcomes: Outcome[] = [];
  readonly problems: string[] = [];
  readonly nameless: Nameless[] = [];
  readonly seen = new Set<string>();
  /** True when something had to be decoded: the response is not a mere repetition. */
  fresh = false;
  readonly #options: IntakeOptions;

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  *take(entry: Entry): Generator<undefined, void> {
    const { type, wants } = this.#options;
    const raw = entry.body.value;
    if (entry.body.typeUrl !== type.typeUrl) {
      // Envoy X-20.
      this.unnamed(raw, `${entry.at}: type is "${entry.body.typeUrl}", expected "${type.typeUrl}"`);
      return;
    }
    const peeked = type.namedByWrapper === true ? undefined : peekName(raw);
    const hint = entry.name ?? (peeked === undefined ? undefined : canonicalName(peeked));
    if (hint === undefined) {
      yield* this.#takeNameless(entry);
      return;
    }
    // A resource may have its own name among its aliases.
    for (const name of new Set([hint, ...entry.aliases])) if (wants(name)) yield* this.#takeNamed(entry, name);
  }

  /** A resource that is there and unchanged. */
  heartbeat(name: string, envelope: Envelope): void {
    const { session, type } = this.#options;
    const known = session.known(type.kind, name);
    // One for another version says nothing about the copy that is here (Envoy X-71).
    if (envelope.version !== undefined && known !== undefined && known.version !== envelope.version) return;
    this.seen.add(name);
    this.outcomes.push({ status: 'heartbeat', name, ttlMs: envelope.ttlMs });
  }

  /** The first of several with one name is applied, the others are errors (Envoy X-20, X-38; gRPC C++). */
  duplicate(name: string): boolean {
    if (!this.seen.has(name)) return false;
    this.problems.push(problemText(name, '', 'is more than once in the response'));
    return true;
  }

  unnamed(raw: Uint8Array, reason: string): void {
    this.nameless.push({ raw, reason });
    this.problems.push(reason);
  }

  *#takeNamed(entry: Entry, name: string): Generator<undefined, void> {
    const { session, type } = this.#options;
    const { body, version, ttlMs } = entry;
    const raw = body.value;
    if (this.duplicate(name)) return;
    const known = session.known(type.kind, name);
    if (known?.holds(raw) === true) {
      this.seen.add(name);
      this.outcomes.push({ status: 'unchanged', name, version, ttlMs });
      return;
    }
    if (known?.rejected !== undefined && sameBytes(known.rejected.raw, raw)) {
      this.seen.add(name);
      this.#reject(name, raw, known.rejected.errors, version);
      return;
    }
    this.fresh = true;
    const unsupported: UnsupportedField[] = [];
    const decoded = yield* this.#decode(raw, unsupported, known?.value);
    this.seen.add(name);
    if (!decoded.ok) {
      this.#reject(name, raw, decoded.errors, version);
      return;
    }
    const inner = canonicalName(decoded.name);
    // The name in the wrapper counts (Envoy), but one that contradicts the resource would leave it unknown who is meant. So would a resource
    // that names itself twice: the first was looked at, the last one counts.
    if (type.namedByWrapper !== true && inner !== '' && inner !== name && !entry.aliases.includes(name)) {
      this.#reject(name, raw, [{ kind: type.kind, name, field: 'name', reason: `is "${inner}" in the resource itself` }], version);
      return;
    }
    this.outcomes.push({ status: 'accepted', name, raw, value: decoded.value, unsupported, version, ttlMs });
  }

  /** Nothing tells the name but the resource, and that not at its start. */
  *#takeNameless(entry: Entry): Generator<undefined, void> {
    const { type, wants, nameless } = this.#options;
    const raw = entry.body.value;
    const before = nameless.find((known) => sameBytes(known.raw, raw));
    if (before !== undefined) {
      this.unnamed(raw, before.reason);
      return;
    }
    this.fresh = true;
    const unsupported: UnsupportedField[] = [];
    const decoded = yield* this.#decode(raw, unsupported, undefined);
    const name = type.namedByWrapper === true ? '' : canonicalName(decoded.name);
    if (name === '') {
      const reasons = decoded.ok
        ? ['has no name']
        : decoded.errors.map((error) => (error.field === '' ? error.reason : `${error.field}: ${error.reason}`));
      this.unnamed(raw, `${entry.at}: ${reasons.join(', ')}`);
      return;
    }
    if (!wants(name) || this.duplicate(name)) return;
    this.seen.add(name);
    const { version, ttlMs } = entry;
    if (decoded.ok) this.outcomes.push({ status: 'accepted', name, raw, value: decoded.value, unsupported, version, ttlMs });
    else this.#reject(name, raw, decoded.errors, version);
  }

  #reject(name: string, raw: Uint8Array, errors: readonly ResourceError[], version: string | undefined): void {
    this.outcomes.push({ status: 'rejected', name, raw, errors, version });
    for (const error of errors) this.problems.push(problemText(name, error.field, error.reason));
  }

  /** A decoder must not throw; one that does costs its own resource, never the stream (grpc-go recovers likewise). */
  *#decode(raw: Uint8Array, unsupported: UnsupportedField[], previous: unknown): Generator<undefined, Decoded<unknown>> {
    const { session, type } = this.#options;
    const context: DecodeContext = {
      ...session.context,
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
}

/** How often in a row the same rejected response came, and what has to be remembered to tell. */
export class NackMemory {
  nameless: readonly Nameless[] = [];
  #problems = '';
  #repeats = 0;

  /** The text of the NACK that the response deserves, if one. */
  conclude(typeUrl: string, intake: Intake): { readonly nack: string | undefined; readonly repeats: number } {
    const nack = intake.problems.length === 0 ? undefined : nackText(typeUrl, intake.problems);
    // Servers send the resources of a response in any order (go-control-plane walks a map).
    const problems = intake.problems.toSorted().join();
    this.#repeats = nack !== undefined && !intake.fresh && problems === this.#problems ? this.#repeats + 1 : 0;
    this.#problems = problems;
    this.nameless = intake.nameless;
    return { nack, repeats: this.#repeats };
  }
}

export function ttlMilliseconds(ttl: { readonly seconds: bigint; readonly nanos: number } | undefined): number | undefined {
  return ttl === undefined ? undefined : Number(ttl.seconds) * 1000 + ttl.nanos / 1e6;
}

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function problemText(name: string, field: string, reason: string): string {
  return `resource "${name}"${field === '' ? '' : ` at ${field}`}: ${reason}`;
}

function nackText(typeUrl: string, problems: readonly string[]): string {
  return `${typeUrl.slice(typeUrl.lastIndexOf('.') + 1)} response rejected: ${problems.join(';\n')}`;
}
