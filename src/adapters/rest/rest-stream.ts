/**
 * One type polled over REST as an `AdsStream` (Envoy X-100): the latest request of the session goes out again and again, and what is new
 * in the answers comes in as messages. Any trouble ends the stream with a reason; back-off and the next one are the xDS client's.
 */
import { createHash } from 'node:crypto';
import type { Alarm, Clock, Timer } from '../../core/clock.ts';
import type { Logger } from '../../core/log.ts';
import type { Random } from '../../core/random.ts';
import { inSlices } from '../../core/slices.ts';
import { GrpcStatus, httpToGrpcStatus } from '../../core/status.ts';
import type { AdsStream, AdsStreamEvents } from '../../core/transport.ts';
import { decodeRequest, encodeResponse, requestToJson, responseFromJson } from '../../proto/discovery-json.ts';
import type { PolledRequest, TextResponse } from '../../proto/discovery-json.ts';
import type { Poster, PostReply } from './http-post.ts';

/** What the requests say about who sends them; values are secrets. Rejects with an error that has a `code` of gRPC. */
export interface RestIdentity {
  /** What is sent, for people: names and sources. */
  readonly sent: string;
  collect(): Promise<{ readonly entries: readonly (readonly [key: string, value: string])[]; redact(text: string): string }>;
}

export interface RestStreamOptions {
  readonly poster: Poster;
  /** E.g. `/v3/discovery:clusters`. */
  readonly path: string;
  readonly identity: RestIdentity | undefined;
  /** Whether connections have a client certificate. */
  readonly certified: () => boolean;
  /** Milliseconds between polls, to which up to the same again is added. */
  readonly refreshDelayMs: number;
  readonly requestTimeoutMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly background: boolean;
}

const EXCERPT = 200;
const AS_IS = (text: string): string => text;

/** What was delivered last, and for which names. */
interface Delivered {
  readonly names: readonly string[];
  readonly body: string;
  readonly content: string;
}

class Refused extends Error {
  override readonly name = 'Refused';
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

export class RestStream implements AdsStream, Alarm {
  readonly #options: RestStreamOptions;
  readonly #events: AdsStreamEvents;
  #request: PolledRequest | undefined;
  #node: PolledRequest['node'];
  /** Names were asked for: from then on an empty list means nothing, and no longer everything (Envoy X-51). */
  #named = false;
  #due = false;
  #polling: AbortController | undefined;
  /** The next poll, or the end of the time for the running one. */
  #timer: Timer | undefined;
  #delivered: Delivered | undefined;
  #held: Uint8Array | undefined;
  #reported = '';
  #paused = false;
  #connected = false;
  #ended = false;

  constructor(options: RestStreamOptions, events: AdsStreamEvents) {
    this.#options = options;
    this.#events = events;
  }

  send(bytes: Uint8Array): void {
    if (this.#ended) return;
    const request = decodeRequest(bytes);
    const before = this.#request;
    if (before !== undefined && before.typeUrl !== request.typeUrl) {
      this.end(GrpcStatus.UNIMPLEMENTED, 'REST has no aggregated stream');
      return;
    }
    this.#node ??= request.node;
    this.#request = request;
    if (request.resourceNames.length > 0) this.#named = true;
    // An answer to the last response has time until the next poll.
    if (before !== undefined && sameNames(before.resourceNames, request.resourceNames)) return;
    // What is asked for anew was perhaps forgotten in between, before a request could say so: it has to come again.
    const asked = new Set(before?.resourceNames);
    if (request.resourceNames.some((name) => !asked.has(name))) this.#delivered = undefined;
    this.#due = true;
    this.#go();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    if (this.#ended) return;
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined) this.#events.onMessage(held);
    this.#go();
  }

  cancel(): void {
    queueMicrotask(() => this.end(GrpcStatus.CANCELLED, 'cancelled'));
    this.#stop();
  }

  end(code: number, details: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stop();
    this.#events.onEnd(code, details);
  }

  onAlarm(): void {
    this.#timer = undefined;
    if (this.#polling !== undefined) {
      this.#polling.abort(new Refused(GrpcStatus.UNAVAILABLE, `no answer within ${this.#options.requestTimeoutMs} ms`));
      return;
    }
    this.#due = true;
    this.#go();
  }

  #stop(): void {
    this.#clear();
    this.#due = false;
    this.#held = undefined;
    this.#polling?.abort(new Refused(GrpcStatus.CANCELLED, 'cancelled'));
  }

  #clear(): void {
    if (this.#timer !== undefined) this.#options.clock.clear(this.#timer);
    this.#timer = undefined;
  }

  #set(delayMs: number): void {
    this.#clear();
    const { clock, background } = this.#options;
    this.#timer = clock.set(this, delayMs, background && this.#connected);
  }

  #go(): void {
    const request = this.#request;
    if (!this.#due || this.#ended || this.#paused || this.#polling !== undefined || this.#held !== undefined || request === undefined)
      return;
    this.#due = false;
    this.#clear();
    if (this.#named && request.resourceNames.length === 0) return;
    const polling = new AbortController();
    this.#polling = polling;
    this.#poll(request, polling.signal).then(
      () => this.#done(undefined),
      (error: unknown) => this.#done(error),
    );
  }

  #done(error: unknown): void {
    this.#polling = undefined;
    this.#clear();
    if (this.#ended) return;
    if (error !== undefined) {
      this.end(codeOf(error), reasonOf(error));
      return;
    }
    if (this.#due) {
      this.#go();
      return;
    }
    const { refreshDelayMs, random } = this.#options;
    this.#set(refreshDelayMs + random.next() * refreshDelayMs);
  }

  async #poll(request: PolledRequest, signal: AbortSignal): Promise<void> {
    const { poster, path, identity, requestTimeoutMs, background } = this.#options;
    const collected = await identity?.collect().catch((error: unknown) => {
      throw new Refused(codeOf(error), `no credentials: ${reasonOf(error)}`);
    });
    signal.throwIfAborted();
    const names = request.resourceNames;
    // A server without memory takes the version as "I have all that": it would never send a name that was added (seen in go-control-plane).
    const version = this.#delivered !== undefined && sameNames(this.#delivered.names, names) ? request.versionInfo : '';
    const body = requestToJson(request, this.#node, version);
    this.#set(requestTimeoutMs);
    // Taken now: after a failure the next request may go elsewhere.
    const url = `POST ${poster.base}${path}`;
    try {
      const reply = await poster.post({ path, body, headers: collected?.entries ?? [], signal, background: background && this.#connected });
      if (this.#ended) return;
      this.#clear();
      if (reply.status === 304) this.#markConnected();
      else if (reply.status === 200) await this.#take(reply.body, names, request.typeUrl, signal);
      else throw this.#refusal(reply);
    } catch (error) {
      throw new Refused(codeOf(error), `${url}: ${(collected?.redact ?? AS_IS)(reasonOf(error))}`);
    }
  }

  async #take(body: Buffer, names: readonly string[], typeUrl: string, signal: AbortSignal): Promise<void> {
    const same = this.#delivered !== undefined && sameNames(this.#delivered.names, names) ? this.#delivered : undefined;
    const bodyHash = hash(body);
    if (same?.body === bodyHash) return;
    const response = await this.#read(body, typeUrl, signal);
    signal.throwIfAborted();
    // A new nonce is no news.
    const content = hash(encodeResponse(response, response.versionInfo, ''));
    this.#markConnected();
    this.#delivered = { names, body: bodyHash, content };
    if (same?.content === content) return;
    this.#report(response.problems);
    const bytes = encodeResponse(response, response.versionInfo, response.nonce);
    if (this.#paused) this.#held = bytes;
    else this.#events.onMessage(bytes);
  }

  async #read(body: Buffer, typeUrl: string, signal: AbortSignal): Promise<TextResponse> {
    try {
      return await inSlices(responseFromJson(JSON.parse(body.toString('utf8')), typeUrl), this.#options.clock, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw new Refused(GrpcStatus.INTERNAL, `the answer is no DiscoveryResponse in JSON: ${reasonOf(error)}`);
    }
  }

  /** What binary messages carry silently, text cannot: said once for as long as it is the same. */
  #report(problems: readonly string[]): void {
    const text = problems.join('; ');
    if (text === this.#reported) return;
    this.#reported = text;
    const { log, poster, path } = this.#options;
    if (text !== '') log.warn('resources of the control plane are not as inmesh knows them', { url: `${poster.base}${path}`, problems });
  }

  #refusal({ status, body }: PostReply): Refused {
    const code = status >= 500 ? GrpcStatus.UNAVAILABLE : httpToGrpcStatus(status);
    const text = body.toString('utf8', 0, EXCERPT).replaceAll(/\s+/g, ' ').trim();
    const said = `HTTP ${status}${text === '' ? '' : `: ${text}`}`;
    if (status !== 401 && status !== 403) return new Refused(code, said);
    const { identity, certified } = this.#options;
    const sent = [...(certified() ? ['a client certificate'] : []), ...(identity === undefined ? [] : [identity.sent])];
    return new Refused(code, `${said} (${sent.length === 0 ? 'no credentials were sent' : `sent: ${sent.join(', ')}`})`);
  }

  #markConnected(): void {
    if (this.#connected || this.#ended) return;
    this.#connected = true;
    this.#events.onConnected();
  }
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length) return false;
  const names = new Set(a);
  return b.every((name) => names.has(name));
}

function hash(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('base64');
}

/** A status of gRPC; errors of the system have texts there. */
function codeOf(error: unknown): number {
  return error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : GrpcStatus.UNAVAILABLE;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  return typeof code === 'string' && code !== '' && !error.message.includes(code) ? `${code}: ${error.message}` : error.message;
}
