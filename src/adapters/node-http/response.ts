/**
 * What the mesh does to a response: writes replies of its own, lets layers see the head that the application writes, holds a response back
 * while a layer waits, and silences an application whose call was ended before it answered.
 */
import type { OutgoingHttpHeader, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Reply, ReplyBody, ReplyHead } from '../../core/reply.ts';
import { LocalBody } from '../../core/reply.ts';
import { OutgoingHeaders } from './headers.ts';

type WriteHead = (status: number, ...rest: unknown[]) => ServerResponse;

/** Writes a reply of the mesh's own (a denial, a direct response). */
export function writeLocal(response: ServerResponse, reply: Reply): void {
  for (const name of response.getHeaderNames()) response.removeHeader(name);
  response.statusCode = reply.status;
  for (const [name, value] of reply.headers.entries()) response.appendHeader(name, value);
  response.end(reply.body instanceof LocalBody ? reply.body.text : '');
}

/** The application may go on writing after the mesh has answered in its place; it must neither succeed nor crash. */
export function silence(response: ServerResponse): void {
  response.on('error', () => undefined);
  const same = (): ServerResponse => response;
  Object.assign(response, {
    writeHead: same,
    setHeader: same,
    setHeaders: same,
    appendHeader: same,
    removeHeader: () => undefined,
    flushHeaders: () => undefined,
    write: (_chunk: unknown, second?: unknown, third?: unknown) => (later(second, third), true),
    end: (_chunk?: unknown, second?: unknown, third?: unknown) => (later(second, third), response),
  });
}

function later(...candidates: readonly unknown[]): void {
  for (const candidate of candidates) if (typeof candidate === 'function') queueMicrotask(candidate as () => void);
}

/** Moves headers given to `writeHead` to where `getHeader` sees them. */
function adopt(response: ServerResponse, status: number, rest: readonly unknown[]): string | undefined {
  response.statusCode = status;
  const message = typeof rest[0] === 'string' ? rest[0] : undefined;
  const given = (message === undefined ? (rest[0] ?? rest[1]) : rest[1]) as OutgoingHttpHeaders | OutgoingHttpHeader[] | undefined;
  if (given === undefined || given === null) return message;
  if (Array.isArray(given)) {
    const pairs = Array.isArray(given[0]) ? (given as unknown as [string, string][]) : chunked(given as string[]);
    for (const [name] of pairs) response.removeHeader(name);
    for (const [name, value] of pairs) response.appendHeader(name, value);
  } else {
    for (const [name, value] of Object.entries(given)) if (value !== undefined) response.setHeader(name, value);
  }
  return message;
}

function chunked(flat: readonly string[]): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < flat.length; i += 2) pairs.push([flat[i] as string, flat[i + 1] as string]);
  return pairs;
}

class WrittenHead implements ReplyHead {
  readonly status: number;
  readonly headers: OutgoingHeaders;
  readonly grpcStatus = undefined;
  readonly failure = undefined;
  constructor(response: ServerResponse) {
    this.status = response.statusCode;
    this.headers = new OutgoingHeaders(response);
  }
}

/** Calls `see` with the head that the application writes, before it is written. */
export function onHead(response: ServerResponse, see: (head: ReplyHead) => void): void {
  // Also `write` and `end` come through here: Node writes implicit heads with this method.
  const original = response.writeHead as WriteHead;
  response.writeHead = ((status: number, ...rest: unknown[]): ServerResponse => {
    response.writeHead = original as ServerResponse['writeHead'];
    const message = adopt(response, status, rest);
    see(new WrittenHead(response));
    return message === undefined ? response.writeHead(response.statusCode) : response.writeHead(response.statusCode, message);
  }) as ServerResponse['writeHead'];
}

/** Held operations, in the order in which the application asked for them. */
type Operation = readonly ['write' | 'end' | 'flushHeaders', readonly unknown[]];

/** The promise path: the application's response as a `Reply`, held until the layers let it go. */
export class HeldReply implements Reply, ReplyBody {
  readonly grpcStatus = undefined;
  readonly failure = undefined;
  readonly headers: OutgoingHeaders;
  readonly body: ReplyBody = this;
  readonly #response: ServerResponse;
  readonly #operations: Operation[] = [];
  #message: string | undefined;
  #released = false;

  /** `written`: called once, when the head is known. */
  constructor(response: ServerResponse, written: (reply: HeldReply) => void) {
    this.#response = response;
    this.headers = new OutgoingHeaders(response);
    let known = false;
    const hold =
      (name: Operation[0]) =>
      (...parts: unknown[]): unknown => {
        this.#operations.push([name, parts]);
        if (!known) {
          known = true;
          written(this);
        }
        return name === 'write' ? true : response;
      };
    Object.assign(response, {
      writeHead: (status: number, ...rest: unknown[]): ServerResponse => {
        this.#message = adopt(response, status, rest);
        if (!known) {
          known = true;
          written(this);
        }
        return response;
      },
      write: hold('write'),
      end: hold('end'),
      flushHeaders: hold('flushHeaders'),
    });
  }

  get status(): number {
    return this.#response.statusCode;
  }

  /** Lets the response go. The sink is the response itself, so there is nothing to hand over. */
  deliver(): void {
    if (!this.#unhook()) return;
    const response = this.#response;
    if (this.#message !== undefined) response.writeHead(response.statusCode, this.#message);
    else if (this.#operations.length === 0) response.writeHead(response.statusCode);
    let full = false;
    for (const [name, parts] of this.#operations) {
      const result = (response[name] as (...values: readonly unknown[]) => unknown).apply(response, [...parts]);
      if (name === 'write' && result === false) full = true;
    }
    // `write` said true while it was held; wake up a writer that waits for nothing.
    if (this.#operations.length > 0 && !full) queueMicrotask(() => response.emit('drain'));
  }

  discard(): void {
    this.#unhook();
  }

  #unhook(): boolean {
    if (this.#released) return false;
    this.#released = true;
    for (const name of ['writeHead', 'write', 'end', 'flushHeaders']) Reflect.deleteProperty(this.#response, name);
    return true;
  }
}
