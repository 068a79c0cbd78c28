/**
 * Fields of an Envoy bootstrap, which is protobuf in JSON: names in snake_case or lowerCamelCase, a single object where a list is meant
 * (Consul writes `grpc_services` so), and much that has no effect here, which is recorded.
 */
import { durationText } from '../proto/unknown-fields.ts';
import { JsonFields, isRecord } from './bootstrap-json.ts';
import type { JsonRecord } from './bootstrap-json.ts';

function snake(value: unknown): unknown {
  if (!isRecord(value)) return value;
  const renamed: Record<string, unknown> = Object.create(null);
  for (const [key, inner] of Object.entries(value)) {
    const name = key.startsWith('@') ? key : key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    // The same field twice is a slip that one of the two would hide.
    renamed[Object.hasOwn(renamed, name) ? key : name] = inner;
  }
  return renamed;
}

/** One message of the bootstrap, with the list of paths that have no effect. */
export class ProtoFields extends JsonFields {
  /** As in the document, for what is decoded as protobuf. */
  readonly raw: JsonRecord;
  readonly unsupported: Set<string>;
  readonly #known = new Set<string>();

  constructor(value: unknown, path: string, origin: string, unsupported: Set<string>) {
    super(snake(value), path, origin);
    this.raw = value as JsonRecord;
    this.unsupported = unsupported;
  }

  override has(key: string): boolean {
    this.#known.add(key);
    return super.has(key);
  }

  override fields(key: string): ProtoFields | undefined {
    return this.has(key) ? new ProtoFields(this.value(key), this.pathOf(key), this.origin, this.unsupported) : undefined;
  }

  /** The messages of a repeated field; empty when absent. */
  messages(key: string): readonly ProtoFields[] {
    const value = this.value(key);
    if (value === undefined) return [];
    const items = Array.isArray(value) ? value : isRecord(value) ? [value] : this.array(key);
    return (items ?? []).map(
      (item: unknown, index) => new ProtoFields(item, `${this.pathOf(key)}[${index}]`, this.origin, this.unsupported),
    );
  }

  override durationMs(key: string): number | undefined {
    const value = this.value(key);
    const text = isRecord(value) ? durationText(value) : value;
    return text === value
      ? super.durationMs(key)
      : new ProtoFields({ [key]: text }, this.path, this.origin, this.unsupported).durationMs(key);
  }

  /** A proto JSON number that counts something: also as a text. */
  uint(key: string): number | undefined {
    const value = this.value(key);
    if (value === undefined) return undefined;
    const number = typeof value === 'string' && /^\d{1,10}$/.test(value) ? Number(value) : value;
    if (typeof number === 'number' && Number.isInteger(number) && number >= 0) return number;
    throw this.problem(key, 'must be a whole number of 0 or more');
  }

  /** Says that a field is read elsewhere, or is what inmesh does anyway. */
  reads(...keys: readonly string[]): void {
    for (const key of keys) this.#known.add(key);
  }

  /** Records the fields that nobody has asked for; called when all that have an effect were. */
  recordRest(): void {
    for (const key of this.keys()) if (!this.#known.has(key) && this.value(key) !== undefined) this.unsupported.add(this.pathOf(key));
  }
}
