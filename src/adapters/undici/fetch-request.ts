/**
 * Reads `fetch(input, init)` into what dispatch needs, for the requests that are common. Whatever is rare, or wrong, gives undefined: the
 * platform's own fetch then does it, over the same dispatcher, and throws its own errors.
 */

export interface FetchRequest {
  readonly url: URL;
  readonly method: string;
  /** Flat: name, value. */
  readonly headers: readonly string[];
  readonly body: string | Uint8Array | Blob | null;
  readonly redirect: 'follow' | 'manual' | 'error';
  readonly signal: AbortSignal | undefined;
}

const READ = new Set(['method', 'headers', 'body', 'redirect', 'signal', 'duplex', 'keepalive', 'priority']);
/** Fetch standard, "normalize a method". */
const KNOWN_METHODS = new Map(
  ['delete', 'get', 'head', 'options', 'post', 'put'].flatMap((name) => [
    [name, name.toUpperCase()],
    [name.toUpperCase(), name.toUpperCase()],
  ]),
);
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const FORBIDDEN = new Set(['CONNECT', 'TRACE', 'TRACK']);

/** What Node's own fetch sends, so that servers see no difference. */
const DEFAULTS = ['accept', '*/*', 'accept-language', '*', 'sec-fetch-mode', 'cors', 'user-agent', 'node'] as const;
const PLAIN = Object.freeze([...DEFAULTS, 'accept-encoding', 'gzip, deflate']);
const SECURE = Object.freeze([...DEFAULTS, 'accept-encoding', 'br, gzip, deflate']);

function method(given: string | undefined): string | undefined {
  if (given === undefined) return 'GET';
  const text = String(given);
  return KNOWN_METHODS.get(text.toLowerCase()) ?? (TOKEN.test(text) && !FORBIDDEN.has(text.toUpperCase()) ? text : undefined);
}

/** Lower-case names with values, or undefined for something that the platform must judge. */
function pairs(given: HeadersInit): [string, string][] | undefined {
  const list: [string, string][] = [];
  const entries: Iterable<readonly unknown[]> = Symbol.iterator in given ? (given as Iterable<readonly unknown[]>) : Object.entries(given);
  for (const entry of entries) {
    if (!Array.isArray(entry) || entry.length !== 2) return undefined;
    const name = String(entry[0]).toLowerCase();
    const value = String(entry[1]).trim();
    if (!TOKEN.test(name) || !VALUE.test(value)) return undefined;
    list.push([name, value]);
  }
  return list;
}

function flatten(given: HeadersInit | undefined, type: string | undefined, secure: boolean): readonly string[] | undefined {
  const defaults = secure ? SECURE : PLAIN;
  if (given === undefined && type === undefined) return defaults;
  const own = given === undefined ? [] : pairs(given);
  if (own === undefined) return undefined;
  const flat: string[] = [];
  const names = new Set<string>();
  for (const [name, value] of own) {
    // Fetch combines values of one name.
    if (names.has(name)) flat[flat.lastIndexOf(name) + 1] += `, ${value}`;
    else flat.push(name, value);
    names.add(name);
  }
  if (type !== undefined && !names.has('content-type')) flat.push('content-type', type);
  for (let i = 0; i < defaults.length; i += 2)
    if (!names.has(defaults[i] as string)) flat.push(defaults[i] as string, defaults[i + 1] as string);
  return flat;
}

/** The body's bytes and type (Fetch standard, "extract a body"); `false` for those that take a stream. */
function extract(body: unknown): { readonly bytes: FetchRequest['body']; readonly type: string | undefined } | false {
  if (body === undefined || body === null) return { bytes: null, type: undefined };
  if (typeof body === 'string') return { bytes: body, type: 'text/plain;charset=UTF-8' };
  if (body instanceof URLSearchParams) return { bytes: body.toString(), type: 'application/x-www-form-urlencoded;charset=UTF-8' };
  // Copies: the caller may use its memory again at once.
  if (ArrayBuffer.isView(body))
    return { bytes: Buffer.from(new Uint8Array(body.buffer, body.byteOffset, body.byteLength)), type: undefined };
  if (body instanceof ArrayBuffer) return { bytes: Buffer.from(body.slice(0)), type: undefined };
  if (body instanceof Blob) return { bytes: body, type: body.type === '' ? undefined : body.type };
  return false;
}

export function readRequest(url: URL, init: RequestInit | undefined): FetchRequest | undefined {
  const secure = url.protocol === 'https:';
  if (url.username !== '' || url.password !== '') return undefined;
  if (init === undefined)
    return { url, method: 'GET', headers: secure ? SECURE : PLAIN, body: null, redirect: 'follow', signal: undefined };
  for (const key in init) if (!READ.has(key) && init[key as keyof RequestInit] !== undefined) return undefined;
  const { redirect = 'follow', signal } = init;
  const name = method(init.method);
  const body = extract(init.body);
  if (name === undefined || body === false || (body.bytes !== null && (name === 'GET' || name === 'HEAD'))) return undefined;
  if (redirect !== 'follow' && redirect !== 'manual' && redirect !== 'error') return undefined;
  if (signal !== undefined && signal !== null && !(signal instanceof AbortSignal)) return undefined;
  const headers = flatten(init.headers, body.type, secure);
  if (headers === undefined) return undefined;
  return { url, method: name, headers, body: body.bytes, redirect, signal: signal ?? undefined };
}

const BODY_HEADERS = new Set(['content-encoding', 'content-language', 'content-location', 'content-type', 'content-length']);
const SECRET_HEADERS = new Set(['authorization', 'proxy-authorization', 'cookie', 'host']);

/** The next hop of a redirect (Fetch standard, HTTP-redirect fetch), or the reason why there is none. */
export function redirected(request: FetchRequest, status: number, location: string): FetchRequest | string {
  if (!URL.canParse(location, request.url)) return `Invalid redirect URL ${location}`;
  const url = new URL(location, request.url);
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return 'URL scheme must be a HTTP(S) scheme';
  if (url.hash === '') url.hash = request.url.hash;
  const becomesGet =
    ((status === 301 || status === 302) && request.method === 'POST') ||
    (status === 303 && request.method !== 'GET' && request.method !== 'HEAD');
  const crossOrigin = url.origin !== request.url.origin;
  const headers: string[] = [];
  for (let i = 0; i < request.headers.length; i += 2) {
    const name = request.headers[i] as string;
    if ((becomesGet && BODY_HEADERS.has(name)) || (crossOrigin && SECRET_HEADERS.has(name))) continue;
    headers.push(name, request.headers[i + 1] as string);
  }
  return { ...request, url, headers, method: becomesGet ? 'GET' : request.method, body: becomesGet ? null : request.body };
}
