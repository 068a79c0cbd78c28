/**
 * What `mesh.fetch` resolves with: a `Response` to everybody who asks (also `instanceof`), but one that makes `Headers`, streams and
 * promises only when they are read. Building the platform's own costs more than the request (reference performance.md §2.1).
 */
import { Readable } from 'node:stream';
import type { FetchBody } from './fetch-body.ts';
import { BUFFER_LIMIT } from './fetch-body.ts';
import type { RawHeaders } from './wire.ts';
import { rawHeader } from './headers.ts';

const NO_BODY = new Set([101, 103, 204, 205, 304]);

export class MeshResponse {
  readonly status: number;
  readonly statusText: string;
  readonly url: string;
  readonly redirected: boolean;
  readonly #raw: RawHeaders;
  readonly #body: FetchBody | undefined;
  #headers: Headers | undefined = undefined;
  #stream: ReadableStream<Uint8Array> | undefined = undefined;
  #used = false;

  constructor(status: number, statusText: string, raw: RawHeaders, url: string, redirected: boolean, body: FetchBody | undefined) {
    this.status = status;
    this.statusText = statusText;
    this.url = url;
    this.redirected = redirected;
    this.#raw = raw;
    this.#body = body;
  }

  get type(): ResponseType {
    return 'basic';
  }

  get ok(): boolean {
    return this.status >= 200 && this.status <= 299;
  }

  get headers(): Headers {
    return (this.#headers ??= headersOf(this.#raw));
  }

  get body(): ReadableStream<Uint8Array> | null {
    if (this.#body === undefined) return null;
    return (this.#stream ??= this.#used ? empty() : this.#body.stream());
  }

  get bodyUsed(): boolean {
    return this.#used || (this.#stream !== undefined && Readable.isDisturbed(this.#stream as never));
  }

  async text(): Promise<string> {
    return decode(await this.#all());
  }

  async json(): Promise<unknown> {
    return JSON.parse(decode(await this.#all()));
  }

  async bytes(): Promise<Uint8Array> {
    return new Uint8Array(await this.#all());
  }

  async arrayBuffer(): Promise<ArrayBuffer> {
    return new Uint8Array(await this.#all()).buffer;
  }

  async blob(): Promise<Blob> {
    return (await this.#real()).blob();
  }

  async formData(): Promise<FormData> {
    return (await this.#real()).formData();
  }

  /** The platform's own, for what depends on its reading of the content type. */
  async #real(): Promise<Response> {
    const bytes = new Uint8Array(await this.#all());
    return new Response(bytes, { headers: this.headers });
  }

  clone(): Response {
    if (this.bodyUsed) throw new TypeError('Response.clone: Body has already been consumed.');
    const { status, statusText, headers, url, redirected } = this;
    const both = this.body?.tee();
    this.#stream = both?.[0];
    const copy = new Response(both?.[1] ?? null, { status, statusText, headers });
    Object.defineProperties(copy, { url: { value: url }, redirected: { value: redirected }, type: { value: 'basic' } });
    return copy;
  }

  #all(): Promise<Buffer> {
    if (this.#body === undefined) return Promise.resolve(Buffer.alloc(0));
    if (this.bodyUsed || this.#stream?.locked === true)
      return Promise.reject(new TypeError('Body is unusable: Body has already been read'));
    this.#used = true;
    return this.#stream === undefined ? this.#body.collect() : readAll(this.#stream);
  }
}

let linked = false;

/** Long bodies whose response was collected unread: they hold a paused connection. */
const forgotten = new FinalizationRegistry<FetchBody>((body) => body.abandon());

/** Makes the response; on the first one the platform's `Response` becomes its prototype, which loads Node's own fetch. */
export function makeResponse(
  method: string,
  status: number,
  statusText: string,
  raw: RawHeaders,
  url: string,
  redirected: boolean,
  body: FetchBody,
): Response {
  if (!linked) {
    linked = true;
    Object.setPrototypeOf(MeshResponse.prototype, Response.prototype);
  }
  const bare = method === 'HEAD' || NO_BODY.has(status);
  const response = new MeshResponse(status, statusText, raw, url, redirected, bare ? undefined : body) as unknown as Response;
  if (!bare && !(Number(rawHeader(raw, 'content-length')) < BUFFER_LIMIT)) forgotten.register(response, body);
  return response;
}

function headersOf(raw: RawHeaders): Headers {
  const headers = new Headers();
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] as Buffer).toString('latin1');
    const value = raw[i + 1] as Buffer | Buffer[];
    for (const one of Array.isArray(value) ? value : [value]) headers.append(name, one.toString('latin1'));
  }
  return headers;
}

/** UTF-8 without a byte-order mark, as the Encoding standard decodes. */
function decode(bytes: Buffer): string {
  const marked = bytes.length >= 3 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  return bytes.toString('utf8', marked ? 3 : 0);
}

function empty(): ReadableStream<Uint8Array> {
  return new ReadableStream({ type: 'bytes', start: (controller) => controller.close() });
}

async function readAll(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}
