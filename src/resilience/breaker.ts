/**
 * The error-rate breaker of a cluster: opossum as a layer of the attempt, in front of admission (design §3.0; traps in the Node notes).
 * opossum keeps the window, opens, half-opens and closes; it is told how attempts came out instead of running them, so that they need no
 * promise.
 * Its reset timer is opossum's own (unref'd), the one timer of inmesh that is not on our clock.
 */
import { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import type CircuitBreaker from 'opossum';
import type { BreakerConfig } from '../config/cluster.ts';
import type { Attempt, AttemptGuard } from '../core/call.ts';
import { CallFlag, failure, FAILURES } from '../core/failure.ts';
import type { Failure, FailureKind } from '../core/failure.ts';
import type { Alarm, Clock, Timer } from '../core/clock.ts';
import type { Deps } from '../core/extension.ts';
import type { Layer, Step } from '../core/handler.ts';
import { stepLayer } from '../core/handler.ts';
import type { Reply, ReplyHead } from '../core/reply.ts';
import { failureReply } from '../core/reply.ts';
import type { Closable } from '../core/scope.ts';
import { grpcToHttpStatus } from '../core/status.ts';

/** Loaded with the first breaker (5 ms): most processes have none. */
const load = createRequire(import.meta.url);

const BUCKETS = 10;
/** What `fire` was called with, for listeners of its event. */
const NO_ARGUMENTS: readonly [] = [];
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

/** How an attempt came out: a reply head, or an attempt that ended without one. */
type Outcome = Pick<ReplyHead, 'status' | 'grpcStatus' | 'failure'>;

/** gRPC statuses count by the HTTP status that they stand for (as in Envoy H-1). */
function isError({ status, grpcStatus, failure: failed }: Outcome): boolean {
  if (failed !== undefined) return COUNTED.has(failed.kind);
  return status >= 500 || (grpcStatus !== undefined && grpcToHttpStatus(grpcStatus) >= 500);
}

/** Thrown to opossum; not an Error, because a stack trace would cost more than the call. */
const COUNTS = Symbol('counts as a failure');
const ignore = (): void => undefined;

/** What opossum runs: for a failed attempt, which is over, the failure itself; for a probe the wait for its outcome. */
function action(probe: Probe | undefined): Promise<void> {
  if (probe === undefined) throw COUNTS;
  return probe.verdict;
}

/** The half-open probe: settles for opossum after a while even if the attempt does not. */
class Probe implements Alarm, AttemptGuard {
  readonly verdict: Promise<void>;
  readonly #clock: Clock;
  readonly #timer: Timer;
  #settle: ((failed: boolean) => void) | undefined = undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#timer = clock.set(this, PROBE_LIMIT_MS, true);
    this.verdict = new Promise((resolve, reject) => {
      this.#settle = (failed) => (failed ? reject(COUNTS) : resolve());
    });
  }

  /** A failure that proves nothing must not close a half-open breaker: opossum knows only success and failure. */
  onOutcome(outcome: Outcome): void {
    this.#clock.clear(this.#timer);
    this.#settle?.(outcome.failure !== undefined || isError(outcome));
  }

  onAlarm(): void {
    this.#settle?.(true);
  }
}

export class Breaker implements Closable, Alarm, Step<Attempt>, AttemptGuard {
  readonly name: string;
  /** Attempts turned away since the start. */
  rejected = 0;
  readonly #config: BreakerConfig;
  readonly #deps: Deps;
  readonly #circuit: CircuitBreaker<[Probe | undefined], void>;
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
    this.#circuit = new Circuit(action, this.#options);
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
    return stepLayer('breaker', this);
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

  enter(attempt: Attempt): Reply | undefined {
    const circuit = this.#circuit;
    if (this.#closed) return undefined;
    // Answered here and not by `fire`, which would count the rejection as one more attempt, and would make an Error.
    if (circuit.opened || (circuit.halfOpen && !circuit.pendingClose)) {
      this.rejected++;
      attempt.call.flags |= CallFlag.breakerRejected;
      return failureReply(this.#open);
    }
    this.#idle = 0;
    if (this.#timer === undefined) this.#arm();
    attempt.guard = circuit.halfOpen ? this.#probe() : this;
    return undefined;
  }

  /** The head decides, however long the body takes; `Attempt.end` where there is none. */
  leave(attempt: Attempt, head: ReplyHead): void {
    const { guard } = attempt;
    attempt.guard = undefined;
    guard?.onOutcome(head);
  }

  /**
   * Counts an attempt of a closed breaker in opossum's window. A failure is fired, since `fire` is where opossum decides whether to open. A
   * success is told by the events that `fire` would emit for it: its promises would cost more than all the rest of the mesh.
   */
  onOutcome(outcome: Outcome): void {
    const circuit = this.#circuit;
    // An attempt from before the breaker opened is no probe.
    if (this.#closed || !circuit.closed) return;
    if (isError(outcome)) {
      circuit.fire(undefined).catch(ignore);
      return;
    }
    circuit.emit('fire', NO_ARGUMENTS);
    circuit.emit('success', undefined, 0);
  }

  /** The caller gets the probe's reply whenever it comes; opossum gets a verdict in time. */
  #probe(): Probe {
    const probe = new Probe(this.#deps.clock);
    this.#circuit.fire(probe).catch(ignore);
    return probe;
  }

  #arm(): void {
    this.#timer = this.#deps.clock.set(this, this.#config.windowMs / BUCKETS, true);
  }

  #resetTimeout(): number {
    return Math.round(this.#config.resetTimeoutMs * (1 - RESET_JITTER + 2 * RESET_JITTER * this.#deps.random.next()));
  }
}
