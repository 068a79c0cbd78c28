/**
 * One request of the application: its head as the mesh sees it, its body, and the handler that undici calls for the first attempt, in one
 * object, so that a call through the mesh allocates hardly more than one without. Later attempts come through `wire-reply.ts`.
 */
import type { Cancellable, RequestHead } from '../../core/call.ts';
import { Attempt, OutboundCall } from '../../core/call.ts';
import type { OutboundEngine } from '../../core/engine.ts';
import { MeshError } from '../../core/errors.ts';
import type { Failure } from '../../core/failure.ts';
import { describeFailure, failure, FAILURES } from '../../core/failure.ts';
import type { HeaderMap } from '../../core/headers.ts';
import type { Reply } from '../../core/reply.ts';
import { failureReply, LocalBody } from '../../core/reply.ts';
import type { RequestBody, Transport } from '../../core/transport.ts';
import { UndiciConnection } from './connection.ts';
import { hostOf, mayBegin, reportMetrics, RequestHeaders, ResponseHead, toRaw } from './headers.ts';
import { LocalDelivery } from './local-delivery.ts';
import { RecordedBody, sendable } from './request-body.ts';
import type { ReplySink, WireReply as WireReplyType } from './wire-reply.ts';
import { WireReply } from './wire-reply.ts';
import { failureOf, isMisuse, WireCancelled } from './wire-errors.ts';
import { wireOptions } from './wire-options.ts';
import type { RawHeaders, WireHandler, WireOptions } from './wire.ts';

/** What all exchanges of one dispatcher share. */
export interface ExchangeOwner {
  readonly engine: OutboundEngine;
  readonly transport: Transport;
  readonly onFailure: 'response' | 'throw';
}

const NO_HEADERS: RawHeaders = [];
/** The head of the moment, where nobody keeps heads: one object per call less. */
const GLANCE = new ResponseHead(0, NO_HEADERS);

function glance(status: number, raw: RawHeaders): ResponseHead {
  GLANCE.status = status;
  GLANCE.raw = raw;
  return GLANCE;
}

/** Waiting: no head yet. Accepted: the first attempt's head went to the application. Refused: the promise path goes on. */
type State = 'waiting' | 'accepted' | 'refused' | 'done';

export class Exchange implements RequestHead, RequestBody, ReplySink, Cancellable {
  readonly options: WireOptions;
  method: string;
  scheme: string;
  authority: string;
  path: string;
  readonly #owner: ExchangeOwner;
  readonly #app: WireHandler;
  #call: OutboundCall | undefined;
  #attempt: Attempt | undefined;
  #state: State = 'waiting';
  #status = 0;
  #wireAbort: ((reason?: unknown) => void) | undefined = undefined;
  #headers: RequestHeaders | undefined = undefined;
  #refused: WireReplyType | undefined = undefined;
  #reply: Reply | undefined = undefined;
  /** The reason that the application aborted with. */
  #reason: unknown = undefined;
  /** What undici gets to write. */
  readonly #body: unknown;

  constructor(owner: ExchangeOwner, app: WireHandler, options: WireOptions, scheme: string, authority: string) {
    this.#owner = owner;
    this.#app = app;
    this.options = options;
    const { body, headers, path, query } = options;
    this.method = options.method;
    this.scheme = scheme;
    this.authority = (headers === undefined || headers === null ? undefined : hostOf(headers)?.toLowerCase()) ?? authority;
    this.path = query === undefined || query === null ? path : withQuery(path, query);
    this.#body = typeof body === 'object' && body !== null ? sendable(body) : body;
  }

  // RequestHead and RequestBody.

  get protocol(): 'http' {
    return 'http';
  }

  get headers(): HeaderMap {
    return (this.#headers ??= new RequestHeaders(this.options.headers));
  }

  /** Headers that a layer has seen may be others by now. */
  get maySteer(): boolean {
    return this.#headers !== undefined || mayBegin(this.options.headers, 'x-envoy-');
  }

  get replayable(): boolean {
    return !(this.#body instanceof RecordedBody) || this.#body.replayable;
  }

  get bodyError(): unknown {
    return this.#body instanceof RecordedBody ? this.#body.error : undefined;
  }

  /** The request for undici, on a pool that writes `poolAuthority` as host by itself. */
  wireOptions(poolAuthority: string): WireOptions {
    return wireOptions(this, this.#headers, this.#body, poolAuthority);
  }

  // The way out.

  start(): void {
    const { engine, transport } = this.#owner;
    const call = (this.#call = new OutboundCall(this, this, transport));
    // Bound, not an arrow function: that would keep a scope of its own beside it.
    this.#app.onConnect(this.#abort.bind(this), null);
    if (this.#state === 'done') return;
    const opened = engine.open(call);
    if (opened === undefined) return this.#slowly(engine.handle(call));
    if (!('handler' in opened)) return this.#soon(opened);
    const { direct } = opened;
    if (direct === undefined) return this.#slowly(engine.handle(call));
    const attempt = direct.start(call);
    if (!(attempt instanceof Attempt)) return this.#soon(attempt);
    this.#attempt = attempt;
    attempt.pending = this;
    call.pending = attempt;
    const { endpoint } = attempt;
    if (endpoint === undefined) return this.onError(new Error('the attempt has no endpoint'));
    const connection = endpoint.connection(transport, this.scheme === 'https' && endpoint.security === undefined);
    if (connection instanceof UndiciConnection) return connection.dispatch(this, this);
    void connection
      .send(attempt)
      .then((reply) => (direct.accepts(attempt, reply) ? this.#show(reply) : this.#slowly(direct.retry(attempt, reply))));
  }

  /** Waits for the promise engine. */
  #slowly(reply: Promise<Reply>): void {
    this.#state = this.#state === 'done' ? 'done' : 'refused';
    reply.then(
      (value) => this.#show(value),
      (error: unknown) => this.#show(failureReply(failure(FAILURES.filterFailed, String(error), error))),
    );
  }

  /** Not before `dispatch` has returned: the caller may not be ready for callbacks. */
  #soon(reply: Reply): void {
    queueMicrotask(() => this.#show(reply));
  }

  /** The final reply of the call goes to the application. */
  #show(reply: Reply): void {
    if (this.#state === 'done') return reply.body.discard();
    if (!(reply.body instanceof LocalBody)) {
      this.#reply = reply;
      return reply.body.deliver(this);
    }
    const { failure: failed } = reply;
    if (failed?.kind === FAILURES.remoteDisconnect && failed.cause instanceof Error) return this.#fail(failed, failed.cause);
    if (failed !== undefined && this.#owner.onFailure === 'throw') return this.#fail(failed, errorOf(failed));
    this.#finish(reply.status, reply.failure);
    const aborted = (): boolean => this.#reason !== undefined;
    new LocalDelivery(this.#app, this.method, reply.status, reply.body.text, aborted).start(this.method, reply.status, reply.headers);
  }

  // The application's abort, and the mesh's own stop (a time limit).

  #abort(reason: unknown): void {
    this.#reason ??= reason ?? Object.assign(new Error('Request aborted'), { name: 'AbortError', code: 'UND_ERR_ABORTED' });
    if (this.#state === 'done') return;
    const failed = failure(FAILURES.remoteDisconnect, 'the application aborted the call', reason);
    this.#call?.cancel(failed);
    if (this.#settled()) return;
    this.#fail(failed, this.#reason as Error);
  }

  /** Asked after something that may have ended the call behind TypeScript's back. */
  #settled(): boolean {
    return this.#state === 'done';
  }

  /** Stops the first attempt's exchange; `attempt.cancelled` says why. */
  cancel(failed: Failure): void {
    if (this.#state === 'done' || this.#refused !== undefined) return;
    if (this.#wireAbort !== undefined) this.#wireAbort(new WireCancelled(failed));
    else this.onError(new WireCancelled(failed));
  }

  // The wire's side of the first attempt, and of later ones once their head was taken.

  onConnect(abort: (reason?: unknown) => void): void {
    const attempt = this.#attempt as Attempt;
    // undici skips a request whose `onConnect` throws and keeps the connection.
    if (attempt.ended || attempt.cancelled !== undefined)
      throw new WireCancelled(attempt.cancelled ?? failure(FAILURES.remoteDisconnect, 'stopped'));
    this.#wireAbort = abort;
    attempt.markSent();
  }

  onResponseStarted(): void {
    this.#app.onResponseStarted?.();
  }

  onBodySent(chunk: unknown): void {
    this.#app.onBodySent?.(chunk);
  }

  onRequestSent(): void {
    this.#app.onRequestSent?.();
  }

  onHeaders(status: number, raw: RawHeaders, resume: () => void, statusText: string): boolean | void {
    if (status < 200) return this.#app.onHeaders(status, raw, resume, statusText);
    const attempt = this.#attempt as Attempt;
    const direct = this.#call?.target?.direct;
    const head = direct?.looks === false ? glance(status, raw) : new ResponseHead(status, raw);
    if (attempt.load !== undefined) reportMetrics(attempt.load, raw);
    if (direct === undefined || direct.accepts(attempt, head)) {
      const shown = head.raw;
      GLANCE.raw = NO_HEADERS;
      this.#state = 'accepted';
      this.#status = status;
      return this.#app.onHeaders(status, shown, resume, statusText);
    }
    const reply = (this.#refused = new WireReply(attempt, undefined));
    reply.adopt(head === GLANCE ? new ResponseHead(status, raw) : head, resume, statusText, this.#wireAbort);
    this.#slowly(direct.retry(attempt, reply));
    return true;
  }

  onData(chunk: Buffer): boolean | void {
    const refused = this.#refused;
    if (refused !== undefined && this.#reply === undefined) return refused.onData(chunk);
    return this.#app.onData(chunk);
  }

  onComplete(trailers: RawHeaders | null): void {
    const refused = this.#refused;
    if (refused !== undefined && this.#reply === undefined) return refused.onComplete(trailers);
    this.#attempt?.end(this.#status, undefined, undefined);
    this.#finish(this.#status, undefined);
    this.#app.onComplete(trailers);
  }

  onError(error: Error): void {
    const refused = this.#refused;
    if (refused !== undefined && this.#reply === undefined) return refused.onError(error);
    if (this.#state === 'done') return;
    const attempt = this.#attempt;
    const call = this.#call as OutboundCall;
    if (this.#state !== 'waiting' || attempt === undefined) return this.#broken(error);
    const failed = this.#failureFor(error, false);
    attempt.end(failed.kind.httpStatus, undefined, failed);
    if (failed.kind === FAILURES.remoteDisconnect) return this.#fail(failed, (this.#reason as Error | undefined) ?? error);
    const reply = failureReply(failed);
    const direct = call.target?.direct;
    if (direct === undefined || direct.accepts(attempt, reply)) this.#soon(reply);
    else this.#slowly(direct.retry(attempt, reply));
  }

  /** The exchange broke after the application got its head. */
  #broken(error: Error): void {
    const failed = this.#failureFor(error, true);
    this.#attempt?.end(this.#status, undefined, failed);
    this.#fail(failed, (this.#reason as Error | undefined) ?? (error instanceof WireCancelled ? errorOf(failed) : error));
  }

  #failureFor(error: Error, headSeen: boolean): Failure {
    const cancelled = this.#attempt?.cancelled ?? this.#call?.cancelled;
    if (cancelled !== undefined) return cancelled;
    if (isMisuse(error) || this.bodyError !== undefined) return failure(FAILURES.remoteDisconnect, error.message, error);
    return failureOf(error, this.#attempt?.sent === true, headSeen, this.#attempt?.endpoint?.address ?? this.authority);
  }

  // A later attempt delivers.

  takeHead(from: WireReply, resume: () => void): boolean | void {
    const reply = this.#reply ?? from;
    this.#state = 'accepted';
    this.#status = reply.status;
    this.#attempt = from.attempt;
    if (this.#call !== undefined) this.#call.pending = from.attempt;
    return this.#app.onHeaders(reply.status, toRaw(reply.headers), resume, from.statusText);
  }

  // The end.

  #finish(status: number, failed: Failure | undefined): void {
    this.#state = 'done';
    if (this.#body instanceof RecordedBody) this.#body.close();
    this.#call?.end(status, undefined, failed);
  }

  #fail(failed: Failure, error: Error): void {
    this.#finish(this.#status === 0 ? failed.kind.httpStatus : this.#status, failed);
    this.#app.onError(error);
  }
}

const NOBODY: WireHandler = { onConnect: ignore, onHeaders: ignore, onData: ignore, onComplete: ignore, onError: ignore };

function ignore(): void {}

/**
 * One of each object that a call makes, for a dispatcher to hold. When a full collection finds none alive, V8 forgets their shapes, and with
 * them the optimised code of the whole path: the next thousands of calls would cost several times as much.
 */
export function specimens(owner: ExchangeOwner): readonly object[] {
  const exchange = new Exchange(owner, NOBODY, { path: '/', method: 'GET' }, 'http', '');
  const call = new OutboundCall(exchange, exchange, owner.transport);
  const attempt = new Attempt(call, 1);
  // Fractions, as in the calls that will come: a shape also says what kind of number a field holds.
  call.startedAt = call.deadline = attempt.startedAt = 0.5;
  return [exchange, call, attempt, new ResponseHead(200, [])];
}

function errorOf(failed: Failure): MeshError {
  return new MeshError('ERR_MESH_FAILURE', describeFailure(failed), { failure: failed, cause: failed.cause });
}

function withQuery(path: string, query: Record<string, unknown>): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined) search.append(name, one === null ? '' : String(one));
  }
  const text = search.toString();
  return text === '' ? path : `${path}?${text}`;
}
