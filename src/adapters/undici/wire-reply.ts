/**
 * One exchange on the promise path: undici's callbacks on one side, a `Reply` on the other. What arrives before somebody takes the body
 * (`deliver`) or drops it (`discard`) waits here, and past a limit the wire is paused. Ends its attempt exactly once.
 */
import type { Attempt, Cancellable } from '../../core/call.ts';
import type { Failure } from '../../core/failure.ts';
import { failure, FAILURES } from '../../core/failure.ts';
import type { Reply, ReplyBody } from '../../core/reply.ts';
import { failureReply } from '../../core/reply.ts';
import { rawHeader, reportMetrics, ResponseHead } from './headers.ts';
import { failureOf, isMisuse, WireCancelled } from './wire-errors.ts';
import type { RawHeaders, WireHandler } from './wire.ts';

/** Who takes a reply's body: the exchange that the application sees. */
export interface ReplySink extends WireHandler {
  /** False: paused, as in undici. */
  takeHead(reply: WireReply, resume: () => void): boolean | void;
  /** The application's own request body failed; it gets its own error back. */
  readonly bodyError: unknown;
}

/** Bytes that wait for `deliver`, which usually comes a few microtasks after the head; pausing the parser would cost more than the call. */
const EARLY_LIMIT = 64 * 1024;

/** A dropped body up to this size is read to its end, so that the connection can be used again. */
const DRAIN_LIMIT = 64 * 1024;

const NO_HEAD = new ResponseHead(0, []);

export class WireReply implements Reply, ReplyBody, WireHandler, Cancellable {
  readonly attempt: Attempt;
  readonly #settle: ((reply: Reply) => void) | undefined;
  status = 0;
  readonly grpcStatus = undefined;
  readonly failure = undefined;
  headers: ResponseHead = NO_HEAD;
  statusText = '';
  readonly body: ReplyBody = this;
  #state: 'open' | 'held' | 'delivering' | 'discarding' | 'done' = 'open';
  #sink: ReplySink | undefined;
  #abort: ((reason?: unknown) => void) | undefined;
  #resume: (() => void) | undefined;
  #early: Buffer[] = [];
  #earlyBytes = 0;
  /** The wire waits for `#resume`. */
  #paused = false;
  /** The application wants no data now. */
  #waiting = false;
  #end: { readonly trailers: RawHeaders | null } | { readonly error: Error } | undefined;
  #drained = 0;

  /** `settle`: called once with this reply or a failure. Undefined for an exchange that already has its head. */
  constructor(attempt: Attempt, settle: ((reply: Reply) => void) | undefined) {
    this.attempt = attempt;
    this.#settle = settle;
    attempt.pending = this;
  }

  /** Takes over an exchange whose head the call refused. */
  adopt(head: ResponseHead, resume: () => void, statusText: string, abort: ((reason?: unknown) => void) | undefined): void {
    this.#abort = abort;
    this.#head(head, resume, statusText);
  }

  #head(head: ResponseHead, resume: () => void, statusText: string): void {
    this.status = head.status;
    this.headers = head;
    this.statusText = statusText;
    this.#resume = resume;
    this.#state = 'held';
  }

  // The wire's side.

  onConnect(abort: (reason?: unknown) => void): void {
    // A request that was stopped while it waited for its connection must not be written: undici skips it when `onConnect` throws.
    const { cancelled } = this.attempt;
    if (cancelled !== undefined || this.#state === 'done')
      throw new WireCancelled(cancelled ?? failure(FAILURES.remoteDisconnect, 'stopped'));
    this.#abort = abort;
    this.attempt.markSent();
  }

  onHeaders(status: number, raw: RawHeaders, resume: () => void, statusText: string): boolean {
    if (status < 200) return true;
    if (this.#state !== 'open') return true;
    if (this.attempt.load !== undefined) reportMetrics(this.attempt.load, raw);
    this.#head(new ResponseHead(status, raw), resume, statusText);
    this.#settle?.(this);
    return true;
  }

  onData(chunk: Buffer): boolean {
    if (this.#state === 'delivering' && !this.#waiting) {
      this.#waiting = this.#sink?.onData(chunk) === false;
      this.#paused = this.#waiting;
      return !this.#waiting;
    }
    if (this.#state === 'held' || this.#state === 'delivering') {
      this.#early.push(chunk);
      this.#earlyBytes += chunk.length;
      this.#paused = this.#earlyBytes >= EARLY_LIMIT;
      return !this.#paused;
    }
    this.#drained += chunk.length;
    if (this.#drained > DRAIN_LIMIT) this.#stop();
    return true;
  }

  onComplete(trailers: RawHeaders | null): void {
    if (this.#state === 'held' || this.#waiting) {
      this.#end = { trailers };
      this.attempt.end(this.status, undefined, undefined);
    } else if (this.#state === 'delivering') {
      this.#state = 'done';
      this.attempt.end(this.status, undefined, undefined);
      this.#sink?.onComplete(trailers);
    } else {
      this.#state = 'done';
    }
  }

  onError(error: Error): void {
    const state = this.#state;
    if (state === 'done') return;
    if (state === 'open') {
      this.#fail(this.#failureFor(error, false));
    } else if (state === 'held' || (state === 'delivering' && this.#waiting)) {
      this.#end = { error };
      this.attempt.end(this.status, undefined, this.#failureFor(error, true));
    } else {
      this.#state = 'done';
      this.attempt.end(this.status, undefined, this.#failureFor(error, true));
      if (state === 'delivering') this.#sink?.onError(error);
    }
  }

  // The mesh's side.

  deliver(sink: unknown): void {
    if (this.#state !== 'held') return;
    this.#state = 'delivering';
    const to = (this.#sink = sink as ReplySink);
    this.#waiting = to.takeHead(this, () => this.#go()) === false;
    if (!this.#waiting) this.#go();
  }

  discard(): void {
    if (this.#state !== 'held') return;
    this.#state = this.#end === undefined ? 'discarding' : 'done';
    this.#early = [];
    this.attempt.end(this.status, undefined, undefined);
    if (this.#state === 'done') return;
    if (Number(rawHeader(this.headers.raw, 'content-length') ?? 0) > DRAIN_LIMIT) this.#stop();
    else if (this.#paused) this.#resume?.();
  }

  cancel(failed: Failure): void {
    if (this.#state === 'done') return;
    if (this.#abort !== undefined) this.#abort(new WireCancelled(failed));
    else if (this.#state === 'open') this.#fail(failed);
  }

  /** Starts the body, or goes on with it after a pause of the application. */
  #go(): void {
    const sink = this.#sink;
    if (sink === undefined || this.#state !== 'delivering') return;
    this.#waiting = false;
    for (let chunk = this.#early.shift(); chunk !== undefined; chunk = this.#early.shift()) {
      if (sink.onData(chunk) !== false) continue;
      this.#waiting = true;
      return;
    }
    const end = this.#end;
    if (end === undefined) {
      if (!this.#paused) return;
      this.#paused = false;
      this.#resume?.();
      return;
    }
    this.#state = 'done';
    if ('error' in end) sink.onError(end.error);
    else sink.onComplete(end.trailers);
  }

  #stop(): void {
    this.#state = 'done';
    this.#abort?.(new WireCancelled(failure(FAILURES.remoteDisconnect, 'the body of a refused reply was too long to drain')));
  }

  #fail(failed: Failure): void {
    this.#state = 'done';
    this.attempt.end(failed.kind.httpStatus, undefined, failed);
    this.#settle?.(failureReply(failed));
  }

  #failureFor(error: Error, headSeen: boolean): Failure {
    const { attempt } = this;
    const { body } = attempt.call;
    if (attempt.cancelled !== undefined) return attempt.cancelled;
    if (isMisuse(error) || ('bodyError' in body && body.bodyError !== undefined))
      return failure(FAILURES.remoteDisconnect, error.message, error);
    return failureOf(error, attempt.sent, headSeen, attempt.endpoint?.address ?? '');
  }
}
