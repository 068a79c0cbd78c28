/**
 * `HeaderMap` views over undici's header shapes: request headers (flat array, object, iterable of pairs) and raw response headers
 * (buffers). Nothing is copied or decoded unless a layer reads, nothing is rebuilt unless a layer writes.
 */
import type { HeaderMap } from '../../core/headers.ts';
import type { LocalityLoad } from '../../core/load.ts';
import type { ReplyHead } from '../../core/reply.ts';
import type { HeadersInput, RawHeaders } from './wire.ts';

type Pair = [name: string, value: string];

function isPairs(headers: object): headers is Iterable<readonly [string, unknown]> {
  return Symbol.iterator in headers && typeof headers[Symbol.iterator] === 'function';
}

function push(pairs: Pair[], name: string, value: unknown): void {
  // undici leaves undefined out and writes null as an empty value.
  if (value === undefined) return;
  if (Array.isArray(value)) for (const one of value) pairs.push([name, one === null ? '' : String(one)]);
  else pairs.push([name, value === null ? '' : String(value)]);
}

/** All pairs of `headers` in their order, names as the application wrote them. */
function pairsOf(headers: HeadersInput): Pair[] {
  const pairs: Pair[] = [];
  if (headers === undefined || headers === null) return pairs;
  if (Array.isArray(headers)) {
    for (let i = 0; i + 1 < headers.length; i += 2) push(pairs, String(headers[i]), headers[i + 1]);
  } else if (isPairs(headers)) {
    for (const [name, value] of headers) push(pairs, String(name), value);
  } else {
    const object = headers as Readonly<Record<string, unknown>>;
    for (const name of Object.keys(object)) push(pairs, name, object[name]);
  }
  return pairs;
}

function same(key: string, lowerCase: string): boolean {
  return key.length === lowerCase.length && (key === lowerCase || key.toLowerCase() === lowerCase);
}

function join(before: string | undefined, value: unknown): string | undefined {
  if (value === undefined) return before;
  const text = Array.isArray(value) ? value.join(',') : value === null ? '' : String(value);
  return before === undefined ? text : `${before},${text}`;
}

/** A value straight from the application's own object; most reads ask for a header that is not there, so nothing may be built for it. */
function lookUp(source: HeadersInput, name: string): string | undefined {
  let found: string | undefined;
  if (source === undefined || source === null) return undefined;
  if (Array.isArray(source)) {
    for (let i = 0; i + 1 < source.length; i += 2) if (same(source[i] as string, name)) found = join(found, source[i + 1]);
  } else if (isPairs(source)) {
    for (const [key, value] of source) if (same(key, name)) found = join(found, value);
  } else {
    const object = source as Readonly<Record<string, unknown>>;
    for (const key in object) if (same(key, name) && Object.hasOwn(object, key)) found = join(found, object[key]);
  }
  return found;
}

const begins = (key: string, lowerCase: string): boolean =>
  key.length >= lowerCase.length &&
  (key.charCodeAt(0) | 32) === lowerCase.charCodeAt(0) &&
  key.slice(0, lowerCase.length).toLowerCase() === lowerCase;

/** False: no header name begins with this text. True also where that can only be found out by reading an iterable. */
export function mayBegin(source: HeadersInput, lowerCase: string): boolean {
  if (source === undefined || source === null) return false;
  if (Array.isArray(source)) {
    for (let i = 0; i < source.length; i += 2) {
      const key: unknown = source[i];
      if (typeof key !== 'string' || begins(key, lowerCase)) return true;
    }
    return false;
  }
  if (isPairs(source)) return true;
  // oxlint-disable-next-line typescript/no-for-in-array -- arrays were handled above
  for (const key in source) if (begins(key, lowerCase)) return true;
  return false;
}

function without(pairs: readonly Pair[], name: string): Pair[] {
  return pairs.filter(([key]) => !same(key, name));
}

function replace(pairs: readonly Pair[], name: string, value: string): Pair[] {
  const at = pairs.findIndex(([key]) => same(key, name));
  if (at < 0) return [...pairs, [name, value]];
  const kept: Pair[] = [];
  pairs.forEach((pair, index) => {
    if (index === at) kept.push([name, value]);
    else if (!same(pair[0], name)) kept.push(pair);
  });
  return kept;
}

/** Request headers. `changed` says whether the application's own object still tells the truth. */
export class RequestHeaders implements HeaderMap {
  readonly #source: HeadersInput;
  #pairs: Pair[] | undefined;
  changed = false;

  constructor(source: HeadersInput) {
    this.#source = source;
    this.#pairs = undefined;
    // An iterator can be read once only (a generator): take it now, and write from the copy.
    if (source && typeof source === 'object' && isPairs(source) && (source as { next?: unknown }).next !== undefined) {
      this.#pairs = pairsOf(source);
      this.changed = true;
    }
  }

  #read(): Pair[] {
    return (this.#pairs ??= pairsOf(this.#source));
  }

  get(name: string): string | undefined {
    const pairs = this.#pairs;
    if (pairs === undefined) return lookUp(this.#source, name);
    let found: string | undefined;
    for (const [key, value] of pairs) if (same(key, name)) found = join(found, value);
    return found;
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  set(name: string, value: string): void {
    this.#pairs = replace(this.#read(), name, value);
    this.changed = true;
  }

  append(name: string, value: string): void {
    this.#read().push([name, value]);
    this.changed = true;
  }

  remove(name: string): void {
    const pairs = this.#read();
    const kept = without(pairs, name);
    if (kept.length === pairs.length) return;
    this.#pairs = kept;
    this.changed = true;
  }

  *entries(): Iterable<readonly [string, string]> {
    for (const [name, value] of this.#read()) yield [name.toLowerCase(), value];
  }

  /** For undici: a flat array, names as written, without the names in `leaveOut`. */
  flat(leaveOut: readonly string[] = []): string[] {
    const flat: string[] = [];
    for (const [name, value] of this.#read()) if (!leaveOut.some((other) => same(name, other))) flat.push(name, value);
    return flat;
  }
}

/** Compares an undecoded header name with a lower-case one. */
function sameBytes(key: Buffer, lowerCase: string): boolean {
  if (key.length !== lowerCase.length) return false;
  for (let i = 0; i < key.length; i++) {
    const byte = key[i] as number;
    if ((byte >= 65 && byte <= 90 ? byte | 32 : byte) !== lowerCase.charCodeAt(i)) return false;
  }
  return true;
}

function textOf(value: Buffer | Buffer[] | undefined): string {
  if (value === undefined) return '';
  return Array.isArray(value) ? value.map((one) => one.toString('latin1')).join(',') : value.toString('latin1');
}

/** The value of a raw response header, without making a view. */
export function rawHeader(raw: RawHeaders, name: string): string | undefined {
  let joined: string | undefined;
  for (let i = 0; i < raw.length; i += 2) {
    const key = raw[i];
    if (!Buffer.isBuffer(key) || !sameBytes(key, name)) continue;
    const value = textOf(raw[i + 1]);
    joined = joined === undefined ? value : `${joined},${value}`;
  }
  return joined;
}

/** Looks for metrics of the endpoint. A function of its own: a closure in the caller would cost every call. */
export function reportMetrics(load: LocalityLoad, raw: RawHeaders): void {
  load.report((name) => rawHeader(raw, name));
}

/** A response head and its headers in one object; `raw` is what goes on to the application. */
export class ResponseHead implements ReplyHead, HeaderMap {
  status: number;
  raw: RawHeaders;

  constructor(status: number, raw: RawHeaders) {
    this.status = status;
    this.raw = raw;
  }

  get grpcStatus(): undefined {
    return undefined;
  }

  get failure(): undefined {
    return undefined;
  }

  get headers(): this {
    return this;
  }

  get(name: string): string | undefined {
    return rawHeader(this.raw, name);
  }

  has(name: string): boolean {
    return rawHeader(this.raw, name) !== undefined;
  }

  set(name: string, value: string): void {
    this.remove(name);
    this.append(name, value);
  }

  append(name: string, value: string): void {
    this.raw = [...this.raw, Buffer.from(name, 'latin1'), Buffer.from(value, 'latin1')];
  }

  remove(name: string): void {
    if (!this.has(name)) return;
    const kept: (Buffer | Buffer[])[] = [];
    for (let i = 0; i < this.raw.length; i += 2) {
      const key = this.raw[i] as Buffer;
      if (!sameBytes(key, name)) kept.push(key, this.raw[i + 1] as Buffer);
    }
    this.raw = kept;
  }

  *entries(): Iterable<readonly [string, string]> {
    for (let i = 0; i < this.raw.length; i += 2) {
      const name = (this.raw[i] as Buffer).toString('latin1').toLowerCase();
      const value = this.raw[i + 1];
      if (Array.isArray(value)) for (const one of value) yield [name, one.toString('latin1')];
      else yield [name, textOf(value)];
    }
  }
}

/** Raw headers of any view, for replies that did not come from undici. */
export function toRaw(headers: HeaderMap): RawHeaders {
  if (headers instanceof ResponseHead) return headers.raw;
  const raw: Buffer[] = [];
  for (const [name, value] of headers.entries()) raw.push(Buffer.from(name, 'latin1'), Buffer.from(value, 'latin1'));
  return raw;
}

/** The `host` header that the application set itself, if any: it is the authority then (RFC 9112, 3.2). */
export function hostOf(headers: HeadersInput): string | undefined {
  if (headers === undefined || headers === null) return undefined;
  if (Array.isArray(headers)) {
    for (let i = 0; i < headers.length; i += 2) {
      const name = headers[i] as string;
      if (name.length === 4 && name.toLowerCase() === 'host') return String(headers[i + 1]);
    }
    return undefined;
  }
  if (isPairs(headers)) {
    const value = typeof (headers as Partial<Headers>).get === 'function' ? (headers as Headers).get('host') : undefined;
    return value ?? undefined;
  }
  const { host, Host } = headers as { host?: unknown; Host?: unknown };
  const value = host ?? Host;
  return value === undefined || value === null ? undefined : String(value);
}
