/**
 * The error-rate breaker of a cluster: opossum as a layer of the attempt, in front of admission (design §3.0; traps in the Node notes).
 * Failures are values here and opossum counts rejections, so what counts is rejected inside and unwrapped again on the way out.
 * Its reset timer is opossum's own (unref'd), the one timer of inmesh that is not on our clock.
 */
import { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import type CircuitBreaker from 'opossum';
import type { BreakerConfig } from '../config/cluster.ts';
import type { Attempt } from '../core/call.ts';
import { CallFlag, failure, FAILURES } from '../core/failure.ts';
import type { Failure, FailureKind } from '../core/failure.ts';
import type { Alarm, Timer } from '../core/clock.ts';
import type { Deps } from '../core/extension.ts';
import type { Handler, Layer } from '../core/handler.ts';
import type { Reply, ReplyHead } from '../core/reply.ts';
import { failureReply } from '../core/reply.ts';
import type { Closable } from '../core/scope.ts';
import { grpcToHttpStatus } from '../core/status.ts';

/** Loaded with the first breaker (5 ms): most processes have none. */
const load = createRequire(import.meta.url);

const BUCKETS = 10;
const RESET_JITTER = 0.2;
/** How long a half-open breaker waits for its one probe; without a limit a probe that hangs would keep it shut for ever. */
const PROBE_LIMIT_MS = 15_000;

/** Failures that say something about the upstream; the caller's abort, overflow and whatever we answered ourselves do not. */
const COUNTED: ReadonlySet<FailureKind> = new Set([
  FAILURES.connectionFailure,
  FAILURES.tlsFailure,
  FAILURES.refusedStream,
  FAILURES.resetBeforeRequest,
  FAILURES.resetBeforeResponse,
  FAILURES.resetAfterResponse,
  FAILURES.protocolError,
  FAILURES.perTryTimeout,
  FAILURES.responseTimeout,
  FAILURES.maxStreamDuration,
  FAILURES.deadlineExceeded,
]);

/** gRPC statuses count by the HTTP status that they stand for (as in Envoy H-1). */
function isError(head: ReplyHead): boolean {
  if (head.failure !== undefined) return COUNTED.has(head.failure.kind);
  return head.status >= 500 || (head.grpcStatus !== undefined && grpcToHttpStatus(head.grpcStatus) >= 500);
}

/** What is rejected inside opossum; not an Error, because a stack trace would cost more than the call. */
class CountedReply {
  readonly reply: Reply;
  constructor(reply: Reply) {
    this.reply = reply;
  }
}

function unwrap(error: unknown): Reply {
  if (error instanceof CountedReply) return error.reply;
  throw error;
}

function sortReply(reply: Reply): Reply {
  if (isError(reply)) throw new CountedReply(reply);
  return reply;
}

/** A failure that proves nothing must not close a half-open breaker: opossum knows only success and failure. */
function sortProbe(reply: Reply): Reply {
  if (reply.failure !== undefined || isError(reply)) throw new CountedReply(reply);
  return reply;
}

/** The half-open probe: settles for opossum after a while even if the attempt does not. */
class Probe implements Alarm {
  readonly verdict: Promise<Reply>;
  #reject: ((reason: unknown) => void) | undefined = undefined;

  constructor(reply: Promise<Reply>, deps: Deps) {
    const timer = deps.clock.set(this, PROBE_LIMIT_MS, true);
    this.verdict = new Promise((resolve, reject) => {
      this.#reject = reject;
      reply.then(sortProbe).then(resolve, reject);
    });
    const stop = (): void => deps.clock.clear(timer);
    this.verdict.then(stop, stop);
  }

  onAlarm(): void {
    this.#reject?.(this);
  }
}

export class Breaker implements Closable, Alarm {
  readonly name: string;
  /** Attempts turned away since the start. */
  rejected = 0;
  readonly #config: BreakerConfig;
  readonly #deps: Deps;
  readonly #circuit: CircuitBreaker<[Handler<Attempt>, Attempt], Reply>;
  /** opossum keeps this very object, so that its reset time can be drawn anew. */
  readonly #options: CircuitBreaker.Options;
  readonly #rotate = new EventEmitter();
  readonly #open: Failure;
  #timer: Timer | undefined = undefined;
  /** Rotations since the last attempt: the window is empty after as many as it has buckets, and the timer rests. */
  #idle = 0;
  #closed = false;

  constructor(name: string, config: BreakerConfig, deps: Deps) {
    this.name = name;
    this.#config = config;
    this.#deps = deps;
    this.#open = failure(FAILURES.breakerOpen, `the breaker of cluster "${name}" is open after too many failures`);
    this.#options = {
      name,
      timeout: false,
      errorThresholdPercentage: config.errorThresholdPercentage,
      volumeThreshold: config.volumeThreshold,
      resetTimeout: this.#resetTimeout(),
      rollingCountTimeout: config.windowMs,
      rollingCountBuckets: BUCKETS,
      rollingPercentilesEnabled: false,
      enableSnapshots: false,
      rotateBucketController: this.#rotate,
    };
    const Circuit = load('opossum') as typeof CircuitBreaker;
    this.#circuit = new Circuit((next: Handler<Attempt>, attempt: Attempt) => this.#send(next, attempt), this.#options);
    // opossum has set its timer when our listener runs: this is the next one's delay.
    this.#circuit.on('open', () => {
      this.#options.resetTimeout = this.#resetTimeout();
    });
  }

  get state(): 'closed' | 'open' | 'half-open' {
    if (this.#circuit.opened) return 'open';
    return this.#circuit.halfOpen ? 'half-open' : 'closed';
  }

  layer(): Layer<Attempt> {
    return { name: 'breaker', wrap: (next) => ({ handle: (attempt) => this.#handle(next, attempt) }) };
  }

  /** Attempts that are under way go on; later ones pass unguarded. */
  close(): void {
    this.#closed = true;
    if (this.#timer !== undefined) this.#deps.clock.clear(this.#timer);
    this.#timer = undefined;
    this.#circuit.shutdown();
  }

  /** Rotates opossum's window. Runs only while the window holds something. */
  onAlarm(): void {
    this.#timer = undefined;
    this.#rotate.emit('rotate');
    if (++this.#idle <= BUCKETS) this.#arm();
  }

  #handle(next: Handler<Attempt>, attempt: Attempt): Promise<Reply> {
    const circuit = this.#circuit;
    if (this.#closed) return next.handle(attempt);
    // Answered here and not by `fire`, which would count the rejection as one more attempt, and would make an Error.
    if (circuit.opened || (circuit.halfOpen && !circuit.pendingClose)) {
      this.rejected++;
      attempt.call.flags |= CallFlag.breakerRejected;
      return Promise.resolve(failureReply(this.#open));
    }
    this.#idle = 0;
    if (this.#timer === undefined) this.#arm();
    return circuit.halfOpen ? this.#probe(next, attempt) : circuit.fire(next, attempt).catch(unwrap);
  }

  #send(next: Handler<Attempt>, attempt: Attempt): Promise<Reply> {
    return next.handle(attempt).then(sortReply);
  }

  /** The caller gets the probe's reply whenever it comes; opossum gets a verdict in time. */
  async #probe(next: Handler<Attempt>, attempt: Attempt): Promise<Reply> {
    const reply = next.handle(attempt);
    const { verdict } = new Probe(reply, this.#deps);
    const handler: Handler<Attempt> = { handle: () => verdict };
    this.#circuit.fire(handler, attempt).catch(() => undefined);
    return reply;
  }

  #arm(): void {
    this.#timer = this.#deps.clock.set(this, this.#config.windowMs / BUCKETS, true);
  }

  #resetTimeout(): number {
    return Math.round(this.#config.resetTimeoutMs * (1 - RESET_JITTER + 2 * RESET_JITTER * this.#deps.random.next()));
  }
}
