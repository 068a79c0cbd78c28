/**
 * `mesh.fetch`: the Fetch API on undici's own dispatch, for hosts of the mesh. Requests to other hosts, and shapes that are rare (`Request`
 * objects, streams, forms, cache modes), go to the platform's fetch, the latter over the same dispatcher.
 */
import type { Transform } from 'node:stream';
import { constants, createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import type { MeshDispatcher } from './dispatcher.ts';
import type { BodySource } from './fetch-body.ts';
import { FetchBody } from './fetch-body.ts';
import type { FetchRequest } from './fetch-request.ts';
import { readRequest, redirected } from './fetch-request.ts';
import { makeResponse } from './fetch-response.ts';
import { rawHeader } from './headers.ts';
import type { RawHeaders, WireHandler } from './wire.ts';

/** Fetch standard: more redirects are a network error. */
const MAX_REDIRECTS = 20;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** As Node's fetch: against bodies packed again and again. */
const MAX_CODINGS = 5;
const NULL_BODY = new Set([101, 204, 205, 304]);

function decoder(coding: string): Transform | undefined {
  const zlib = { flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH };
  if (coding === 'gzip' || coding === 'x-gzip') return createGunzip(zlib);
  if (coding === 'deflate') return createInflate(zlib);
  if (coding === 'br')
    return createBrotliDecompress({ flush: constants.BROTLI_OPERATION_FLUSH, finishFlush: constants.BROTLI_OPERATION_FLUSH });
  return undefined;
}

/** Decoders for `content-encoding`, the first for the coding applied last; none when one is unknown. */
function decodersFor(encoding: string): Transform[] {
  const found = encoding
    .toLowerCase()
    .split(',')
    .reverse()
    .map((coding) => decoder(coding.trim()));
  return found.every((one) => one !== undefined) ? found : [];
}

class FetchExchange implements WireHandler, BodySource {
  readonly #body = new FetchBody(this);
  #abort: ((reason?: unknown) => void) | undefined = undefined;
  readonly #dispatcher: MeshDispatcher;
  readonly #request: FetchRequest;
  readonly #hops: number;
  readonly #resolve: (response: Response) => void;
  readonly #reject: (error: unknown) => void;
  #first: Transform | undefined = undefined;
  #settled = false;

  constructor(
    dispatcher: MeshDispatcher,
    request: FetchRequest,
    hops: number,
    resolve: (r: Response) => void,
    reject: (e: unknown) => void,
  ) {
    this.#dispatcher = dispatcher;
    this.#request = request;
    this.#hops = hops;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    const { url, method, headers, body, signal } = this.#request;
    signal?.addEventListener('abort', this, { once: true });
    const { pathname, search } = url;
    const options = {
      origin: url.origin,
      path: search === '' ? pathname : pathname + search,
      method,
      headers: headers as string[],
      body: body as string | null,
    };
    this.#dispatcher.dispatch(options, this as never);
  }

  /** The reader wants no more. */
  stop(reason: unknown): void {
    this.#abort?.(reason);
  }

  onConnect(abort: (reason?: unknown) => void): void {
    this.#abort = abort;
  }

  /** The signal's. */
  handleEvent(): void {
    const reason: unknown = this.#request.signal?.reason;
    this.#abort?.(reason);
    this.#fail(reason, reason);
  }

  onHeaders(status: number, raw: RawHeaders, resume: () => void, statusText: string): boolean {
    if (status < 200) return true;
    const { method, redirect, url } = this.#request;
    const location = REDIRECTS.has(status) ? rawHeader(raw, 'location') : undefined;
    if (location !== undefined && redirect !== 'manual') {
      this.#redirect(status, location);
      return true;
    }
    this.#settled = true;
    this.#body.goOnWith(resume);
    const encoding = method === 'HEAD' || NULL_BODY.has(status) ? undefined : rawHeader(raw, 'content-encoding');
    if (encoding !== undefined && !this.#decode(encoding, resume)) return true;
    let href = url.href;
    const hash = url.hash === '' ? -1 : href.indexOf('#');
    if (hash >= 0) href = href.slice(0, hash);
    this.#resolve(makeResponse(method, status, statusText, raw, href, this.#hops > 0, this.#body));
    return true;
  }

  onData(chunk: Buffer): boolean {
    if (this.#first !== undefined) return this.#first.write(chunk);
    // The body of a redirect is read and dropped, so that its connection serves the next call.
    return this.#settled ? this.#body.push(chunk) : true;
  }

  onComplete(): void {
    this.#request.signal?.removeEventListener('abort', this);
    if (this.#first === undefined) this.#body.end();
    else this.#first.end();
  }

  onError(error: Error): void {
    this.#request.signal?.removeEventListener('abort', this);
    const aborted = this.#request.signal?.aborted === true ? (this.#request.signal.reason as Error) : undefined;
    this.#fail(aborted ?? new TypeError('fetch failed', { cause: error }), aborted ?? new TypeError('terminated', { cause: error }));
    this.#first?.destroy();
  }

  #fail(before: unknown, after: unknown): void {
    if (this.#settled) return this.#body.breakOff(after as Error);
    this.#settled = true;
    this.#reject(before);
  }

  #decode(encoding: string, resume: () => void): boolean {
    if (encoding.split(',').length > MAX_CODINGS) {
      const error = new Error(`too many content-encodings in response: ${encoding.split(',').length}, maximum allowed is ${MAX_CODINGS}`);
      this.#reject(new TypeError('fetch failed', { cause: error }));
      this.#abort?.(error);
      return false;
    }
    const chain = decodersFor(encoding);
    const first = chain[0];
    if (first === undefined) return true;
    this.#first = first;
    first.on('drain', resume);
    let last = first;
    for (const one of chain) {
      one.on('error', (error: Error) => {
        this.#body.breakOff(new TypeError('terminated', { cause: error }));
        this.#abort?.(error);
      });
      if (one !== first) last = last.pipe(one);
    }
    this.#body.goOnWith(() => last.resume());
    last.on('data', (chunk: Buffer) => {
      if (!this.#body.push(chunk)) last.pause();
    });
    last.on('end', () => this.#body.end());
    return true;
  }

  #redirect(status: number, location: string): void {
    const { signal, redirect } = this.#request;
    signal?.removeEventListener('abort', this);
    const next =
      redirect === 'error'
        ? 'unexpected redirect'
        : this.#hops >= MAX_REDIRECTS
          ? 'redirect count exceeded'
          : redirected(this.#request, status, location);
    if (typeof next === 'string') this.#reject(new TypeError('fetch failed', { cause: new Error(next) }));
    else new FetchExchange(this.#dispatcher, next, this.#hops + 1, this.#resolve, this.#reject).start();
  }
}

/** Parsed URLs of calls before: applications call the same ones over and over. */
const MAX_URLS = 256;

export function fetchOver(dispatcher: MeshDispatcher): typeof globalThis.fetch {
  // Taken now: an application may put `mesh.fetch` in its place.
  const platform = globalThis.fetch;
  const urls = new Map<string, URL>();
  const parse = (input: string): URL | undefined => {
    let url = urls.get(input);
    if (url !== undefined || !URL.canParse(input)) return url;
    url = new URL(input);
    if (urls.size >= MAX_URLS) urls.clear();
    urls.set(input, url);
    return url;
  };
  const fetch = (input: string | URL | Request, init?: RequestInit): Promise<Response> => {
    const url = typeof input === 'string' ? parse(input) : input instanceof URL ? new URL(input) : parse(input.url ?? String(input));
    if (url === undefined || !dispatcher.serves(url.origin)) return platform(input, init);
    const request = typeof input === 'string' || input instanceof URL ? readRequest(url, init) : undefined;
    // A caller's own dispatcher wins; ours carries the rest.
    if (request === undefined) return platform(input, { dispatcher, ...init } as RequestInit);
    if (request.signal?.aborted === true) return Promise.reject(request.signal.reason as Error);
    return new Promise((resolve, reject) => new FetchExchange(dispatcher, request, 0, resolve, reject).start());
  };
  return fetch as typeof globalThis.fetch;
}
