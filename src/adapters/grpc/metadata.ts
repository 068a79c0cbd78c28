/**
 * gRPC metadata seen as headers, lazily: nothing is copied unless a layer writes, since grpc-js clones what it sends anyway.
 * `-bin` values are base64 text here, as in gRFC A41.
 */
import type { Metadata } from '@grpc/grpc-js';
import type { HeaderMap } from '../../core/headers.ts';

const ILLEGAL = /[^ -~]/g;

function textOf(value: string | Buffer): string {
  return typeof value === 'string' ? value : value.toString('base64');
}

function valueOf(name: string, value: string): string | Buffer {
  if (name.endsWith('-bin')) return Buffer.from(value, 'base64');
  // grpc-js throws for what HTTP/2 would refuse; a header from a configuration must not fail a call.
  return value.replace(ILLEGAL, '?');
}

export class MetadataView implements HeaderMap {
  #metadata: Metadata;
  #own: boolean;

  /** `own`: the metadata may be written to; otherwise the first write makes a copy. */
  constructor(metadata: Metadata, own: boolean) {
    this.#metadata = metadata;
    this.#own = own;
  }

  /** The metadata with all that was written. */
  get metadata(): Metadata {
    return this.#metadata;
  }

  get(name: string): string | undefined {
    const values = this.#metadata.get(name);
    const first = values[0];
    if (first === undefined) return undefined;
    return values.length === 1 ? textOf(first) : values.map(textOf).join(',');
  }

  has(name: string): boolean {
    return this.#metadata.get(name).length > 0;
  }

  set(name: string, value: string): void {
    if (!name.startsWith(':')) this.writable().set(name, valueOf(name, value));
  }

  append(name: string, value: string): void {
    if (!name.startsWith(':')) this.writable().add(name, valueOf(name, value));
  }

  remove(name: string): void {
    if (this.has(name)) this.writable().remove(name);
  }

  *entries(): Iterable<readonly [string, string]> {
    for (const [name, values] of Object.entries(this.#metadata.toJSON())) {
      for (const value of values) yield [name, textOf(value)];
    }
  }

  /** The metadata, copied if it is not ours yet. */
  writable(): Metadata {
    if (!this.#own) {
      this.#metadata = this.#metadata.clone();
      this.#own = true;
    }
    return this.#metadata;
  }
}
