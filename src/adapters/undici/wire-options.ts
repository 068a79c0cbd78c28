/**
 * What undici is told to write for an attempt. As long as no layer has changed the request, these are the application's own options:
 * the pool's origin is the call's authority, so even the host header comes out right.
 */
import type { RequestHead } from '../../core/call.ts';
import type { RequestHeaders } from './headers.ts';
import { RequestHeaders as Headers } from './headers.ts';
import { MultipartBody } from './multipart.ts';
import type { WireOptions } from './wire.ts';

const HOST: readonly string[] = ['host'];
const HOST_AND_LENGTH: readonly string[] = ['host', 'content-length'];

/**
 * Node 22's fetch writes a `content-length` of the application twice (`5, 5`), which undici refuses (nodejs/undici#5500).
 * One number if all agree, else undefined: undici then counts by itself.
 */
export function contentLength(value: string): string | undefined {
  const [first = '', ...others] = value.split(',').map((one) => one.trim());
  return /^\d+$/.test(first) && others.every((one) => one === first) ? first : undefined;
}

interface Wired extends RequestHead {
  readonly options: WireOptions;
}

export function wireOptions(request: Wired, changed: RequestHeaders | undefined, body: unknown, poolAuthority: string): WireOptions {
  const { options } = request;
  const bare = options.body === undefined || options.body === null;
  if (
    (bare || typeof options.body === 'string' || Buffer.isBuffer(options.body)) &&
    (changed === undefined || !changed.changed) &&
    request.path === options.path &&
    request.method === options.method &&
    request.authority === poolAuthority &&
    (bare || !hasLength(options.headers))
  ) {
    return options;
  }
  const view = changed ?? new Headers(options.headers);
  const headers = view.flat(bare ? HOST : HOST_AND_LENGTH);
  headers.push('host', request.authority);
  if (body instanceof MultipartBody) {
    if (!view.has('content-type')) headers.push('content-type', body.contentType);
    headers.push('content-length', String(body.length));
  } else if (!bare) {
    const length = view.get('content-length');
    const exact = length === undefined ? undefined : contentLength(length);
    if (exact !== undefined) headers.push('content-length', exact);
  }
  return { ...options, path: request.path, method: request.method, headers, body, query: undefined };
}

/** Whether the content-length trap must be looked at: only where headers are not plainly without one. */
function hasLength(headers: WireOptions['headers']): boolean {
  if (headers === undefined || headers === null) return false;
  if (Array.isArray(headers))
    return headers.some((name) => typeof name === 'string' && name.length === 14 && name.toLowerCase() === 'content-length');
  return Symbol.iterator in headers || 'content-length' in headers || 'Content-Length' in headers;
}
