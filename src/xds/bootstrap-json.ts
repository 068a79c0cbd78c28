/**
 * Reads fields of a JSON document and says exactly which one is wrong. JSON null counts as absent, as in proto JSON.
 * Knows nothing about what the fields mean.
 */
import { MeshError } from '../core/errors.ts';

export type JsonRecord = Readonly<Record<string, unknown>>;

/** What was found, in words; long texts are cut. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object') return 'an object';
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

export function isRecord(value: unknown): value is JsonRecord {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** One object of the document, with its path and the document's origin for messages. */
export class JsonFields {
  readonly path: string;
  readonly origin: string;
  readonly #record: JsonRecord;

  constructor(value: unknown, path: string, origin: string) {
    this.path = path;
    this.origin = origin;
    if (!isRecord(value)) throw this.problem('', `must be an object, found ${kindOf(value)}`);
    this.#record = value;
  }

  pathOf(key: string): string {
    if (key === '') return this.path === '' ? 'the document' : this.path;
    if (!/^\w+$/.test(key)) return `${this.path}[${JSON.stringify(key)}]`;
    return this.path === '' ? key : `${this.path}.${key}`;
  }

  problem(key: string, reason: string, cure?: string): MeshError {
    return this.problemAt(this.pathOf(key), reason, cure);
  }

  /** For a place that is known by its whole path. */
  problemAt(path: string, reason: string, cure?: string): MeshError {
    return new MeshError('ERR_MESH_BOOTSTRAP', `xDS bootstrap ${this.origin}: ${path} ${reason}`, cure === undefined ? {} : { cure });
  }

  has(key: string): boolean {
    const value = this.#own(key);
    return value !== undefined && value !== null;
  }

  /** As it is in the document; undefined when absent. */
  value(key: string): unknown {
    return this.has(key) ? this.#own(key) : undefined;
  }

  keys(): readonly string[] {
    return Object.keys(this.#record);
  }

  /** Undefined when absent. */
  string(key: string): string | undefined {
    if (!this.has(key)) return undefined;
    const value = this.#own(key);
    if (typeof value !== 'string') throw this.problem(key, `must be a string, found ${kindOf(value)}`);
    return value;
  }

  requiredString(key: string): string {
    const value = this.string(key);
    if (value === undefined) throw this.problem(key, 'is missing, and must be a non-empty string');
    if (value === '') throw this.problem(key, 'is empty');
    return value;
  }

  /** Undefined when absent. */
  fields(key: string): JsonFields | undefined {
    return this.has(key) ? new JsonFields(this.#own(key), this.pathOf(key), this.origin) : undefined;
  }

  record(key: string): JsonRecord {
    if (!this.has(key)) return {};
    const value = this.#own(key);
    if (!isRecord(value)) throw this.problem(key, `must be an object, found ${kindOf(value)}`);
    return value;
  }

  /** Undefined when absent. */
  array(key: string): readonly unknown[] | undefined {
    if (!this.has(key)) return undefined;
    const value = this.#own(key);
    if (!Array.isArray(value)) throw this.problem(key, `must be an array, found ${kindOf(value)}`);
    return value;
  }

  /** A proto JSON duration such as `"600s"` or `"1.5s"`, in milliseconds; undefined when absent. */
  durationMs(key: string): number | undefined {
    const value = this.string(key);
    if (value === undefined) return undefined;
    const match = /^(-?\d{1,12}(?:\.\d{1,9})?)s$/.exec(value);
    if (match === null) throw this.problem(key, `must be a duration such as "600s", found ${kindOf(value)}`);
    return Number(match[1]) * 1000;
  }

  #own(key: string): unknown {
    return Object.hasOwn(this.#record, key) ? this.#record[key] : undefined;
  }
}
