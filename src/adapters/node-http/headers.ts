/**
 * `HeaderMap` views over Node's messages. Writes to a request go to `headers` and to `rawHeaders`, since frameworks read either
 * (Hono's Node server reads the raw ones).
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HeaderMap } from '../../core/headers.ts';

export class IncomingHeaders implements HeaderMap {
  readonly #message: IncomingMessage;

  constructor(message: IncomingMessage) {
    this.#message = message;
  }

  get(name: string): string | undefined {
    const { headers } = this.#message;
    const value = headers[name];
    // Node joins values as HTTP wants: cookies with `; `, others with `, `. Envoy joins with a bare comma.
    if (value === undefined || !Object.hasOwn(headers, name)) return undefined;
    if (typeof value !== 'string') return value.join(',');
    return value.includes(', ') && name !== 'cookie' ? (this.#raw(name) ?? value) : value;
  }

  /** Several lines of one name joined without the blank that Node puts in. */
  #raw(name: string): string | undefined {
    const { rawHeaders } = this.#message;
    let joined: string | undefined;
    let count = 0;
    for (let i = 0; i < rawHeaders.length; i += 2) {
      if (rawHeaders[i]?.toLowerCase() !== name) continue;
      joined = count++ === 0 ? rawHeaders[i + 1] : `${joined},${rawHeaders[i + 1]}`;
    }
    // Of some headers (content-type, authorization) Node keeps the first only: what the application sees decides.
    return count > 1 && joined?.replaceAll(',', ', ') !== this.#message.headers[name] ? undefined : joined;
  }

  has(name: string): boolean {
    return Object.hasOwn(this.#message.headers, name);
  }

  set(name: string, value: string): void {
    this.remove(name);
    this.append(name, value);
  }

  append(name: string, value: string): void {
    const { headers, rawHeaders } = this.#message;
    const before = Object.hasOwn(headers, name) ? headers[name] : undefined;
    if (name === 'set-cookie') headers[name] = [...(headers[name] ?? []), value];
    else headers[name] = before === undefined ? value : `${String(before)}, ${value}`;
    rawHeaders.push(name, value);
  }

  remove(name: string): void {
    const { headers, rawHeaders } = this.#message;
    if (!Object.hasOwn(headers, name)) return;
    delete headers[name];
    for (let i = rawHeaders.length - 2; i >= 0; i -= 2) if (rawHeaders[i]?.toLowerCase() === name) rawHeaders.splice(i, 2);
  }

  *entries(): Iterable<readonly [string, string]> {
    const { rawHeaders } = this.#message;
    for (let i = 0; i + 1 < rawHeaders.length; i += 2) yield [(rawHeaders[i] as string).toLowerCase(), rawHeaders[i + 1] as string];
  }
}

export class OutgoingHeaders implements HeaderMap {
  readonly #response: ServerResponse;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  get(name: string): string | undefined {
    const value = this.#response.getHeader(name);
    if (value === undefined) return undefined;
    return Array.isArray(value) ? value.join(',') : String(value);
  }

  has(name: string): boolean {
    return this.#response.hasHeader(name);
  }

  set(name: string, value: string): void {
    this.#response.setHeader(name, value);
  }

  append(name: string, value: string): void {
    this.#response.appendHeader(name, value);
  }

  remove(name: string): void {
    this.#response.removeHeader(name);
  }

  *entries(): Iterable<readonly [string, string]> {
    for (const [name, value] of Object.entries(this.#response.getHeaders())) {
      if (value === undefined) continue;
      for (const one of Array.isArray(value) ? value : [value]) yield [name, String(one)];
    }
  }
}

/** Whether a request has more than one `Host` line: RFC 9112, 3.2, wants 400 for it. */
export function hasSeveralHosts(message: IncomingMessage): boolean {
  const { rawHeaders } = message;
  let seen = false;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string;
    if (name.length !== 4 || (name !== 'Host' && name !== 'host' && name.toLowerCase() !== 'host')) continue;
    if (seen) return true;
    seen = true;
  }
  return false;
}
