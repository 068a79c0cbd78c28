/**
 * Makes attempts, and joins the call's stack with the attempts' stack. The first attempt runs directly; only when its reply is refused
 * does p-retry drive the others, with the pauses of `backoff.ts` awaited on our clock (design §3.0; Envoy §2.8, gRFC A44).
 */
import { createRequire } from 'node:module';
import type * as PRetry from 'p-retry';
import type { RetryPolicyConfig } from '../config/routes.ts';
import type { Cancellable, OutboundCall } from '../core/call.ts';
import { Attempt } from '../core/call.ts';
import type { Alarm, Timer } from '../core/clock.ts';
import type { Deps } from '../core/extension.ts';
import type { Failure } from '../core/failure.ts';
import { CallFlag, failure, FAILURES } from '../core/failure.ts';
import type { Handler, Layer } from '../core/handler.ts';
import { stepLayer } from '../core/handler.ts';
import type { Reply, ReplyHead } from '../core/reply.ts';
import { failureReply, LocalBody } from '../core/reply.ts';
import { Backoff } from './backoff.ts';
import type { RetryBudget } from './retry-budget.ts';
import { beginRetry, endRetry, mayRetry } from './retry-budget.ts';
import type { RetryJudge } from './retry-conditions.ts';
import { retryJudge } from './retry-conditions.ts';

/** Loaded with the first retry: importing it costs more than most start-ups should pay for what may never fail. */
const load = createRequire(import.meta.url);

/** gRFC A44: five attempts at most. */
const MOST_GRPC_RETRIES = 4;

/** Thrown to p-retry for "not this reply": it passes `instanceof Error` and costs no stack trace. */
const REFUSED: Error = Object.create(Error.prototype) as Error;

/** The attempt with the given number, as what `call.cancel` reaches now. */
function openAttempt(call: OutboundCall, number: number): Attempt {
  const attempt = new Attempt(call, number);
  call.attempts = number;
  call.pending = attempt;
  return attempt;
}

function endLocally(attempt: Attempt, reply: Reply): Reply {
  attempt.end(reply.status, reply.grpcStatus, reply.failure);
  return reply;
}

/** Sends an attempt; never rejects. Ends it where no connection will: when a layer answered by itself, or threw. */
async function send(attempts: Handler<Attempt>, attempt: Attempt): Promise<Reply> {
  const { cancelled } = attempt.call;
  if (cancelled !== undefined) return endLocally(attempt, failureReply(cancelled));
  try {
    const reply = await attempts.handle(attempt);
    return reply.body instanceof LocalBody ? endLocally(attempt, reply) : reply;
  } catch (error) {
    const failed = failure(
      FAILURES.filterFailed,
      `a layer of the attempt threw: ${error instanceof Error ? error.message : String(error)}`,
      error,
    );
    // The request may be on the wire already: nobody will take its reply.
    attempt.cancel(failed);
    return endLocally(attempt, failureReply(failed));
  }
}

/** What stands innermost in the call's stack where the route has no retry policy. */
export class SingleAttempt implements Handler<OutboundCall> {
  readonly #attempts: Handler<Attempt>;

  constructor(attempts: Handler<Attempt>) {
    this.#attempts = attempts;
  }

  handle(call: OutboundCall): Promise<Reply> {
    return call.cancelled === undefined ? send(this.#attempts, openAttempt(call, 1)) : Promise.resolve(failureReply(call.cancelled));
  }
}

/** The same with a retry policy. Both ways through a stack use it: `handle` on promises, `accepts` and `resume` after a direct first attempt. */
export class Retrier implements Handler<OutboundCall> {
  readonly policy: RetryPolicyConfig;
  readonly attempts: Handler<Attempt>;
  readonly budget: RetryBudget;
  readonly deps: Deps;
  readonly #judge: RetryJudge;

  constructor(policy: RetryPolicyConfig, attempts: Handler<Attempt>, budget: RetryBudget, deps: Deps) {
    this.policy = policy;
    this.attempts = attempts;
    this.budget = budget;
    this.deps = deps;
    this.#judge = retryJudge(policy);
  }

  handle(call: OutboundCall): Promise<Reply> {
    return this.run(call);
  }

  async run(call: OutboundCall): Promise<Reply> {
    if (call.cancelled !== undefined) return failureReply(call.cancelled);
    const attempt = openAttempt(call, 1);
    const reply = await send(this.attempts, attempt);
    return this.accepts(attempt, reply) ? reply : this.resume(attempt, reply);
  }

  /** Whether the head goes to the application: nothing retriable about it, or no retry is possible (then the call's flags say why). */
  accepts(attempt: Attempt, head: ReplyHead): boolean {
    if (this.#refuses(attempt, head)) return false;
    this.settle(attempt);
    return true;
  }

  /** Ends the per-try limit: once the reply is on its way to the application, only the call's own limit counts (Envoy R-62). */
  settle(attempt: Attempt): void {
    if (attempt.timer === undefined) return;
    this.deps.clock.clear(attempt.timer);
    attempt.timer = undefined;
  }

  /**
   * Goes on after `accepts` said no; resolves with the reply for the application. Owns `reply` and discards its body, unless no retry
   * was possible in the end: then it resolves with `reply` itself, untouched.
   */
  resume(attempt: Attempt, reply: Reply): Promise<Reply> {
    return new RetryRun(this, attempt, reply).run();
  }

  retriesOf(call: OutboundCall): number {
    return call.head.protocol === 'grpc' ? Math.min(this.policy.numRetries, MOST_GRPC_RETRIES) : this.policy.numRetries;
  }

  #refuses(attempt: Attempt, head: ReplyHead): boolean {
    const { call } = attempt;
    if (!this.#judge.retriable(call, attempt, head)) return false;
    if (call.cancelled !== undefined || call.ended || !call.body.replayable) return false;
    // In Envoy's order: retries left, then the cluster's budget.
    if (attempt.number > this.retriesOf(call)) {
      call.flags |= CallFlag.retryLimitExceeded;
      return false;
    }
    if (call.deadline !== Number.POSITIVE_INFINITY && this.deps.clock.now() >= call.deadline) return false;
    if (mayRetry(this.budget, call)) return true;
    call.flags |= CallFlag.retryOverflow;
    return false;
  }
}

/** The retries of one call: its back-off, its place in the budget, and the pause that `call.cancel` ends. */
class RetryRun implements Alarm, Cancellable {
  readonly #retrier: Retrier;
  readonly #call: OutboundCall;
  readonly #backoff: Backoff;
  #attempt: Attempt;
  #reply: Reply;
  #counted = false;
  #timer: Timer | undefined = undefined;
  #wake: (() => void) | undefined = undefined;

  constructor(retrier: Retrier, attempt: Attempt, reply: Reply) {
    this.#retrier = retrier;
    this.#call = attempt.call;
    this.#attempt = attempt;
    this.#reply = reply;
    const { clock, random } = retrier.deps;
    this.#backoff = new Backoff(retrier.policy, this.#call.head.protocol, random, clock);
  }

  async run(): Promise<Reply> {
    if (!this.#count()) {
      this.#retrier.settle(this.#attempt);
      return this.#reply;
    }
    try {
      // minTimeout 0: p-retry sets no timer of its own, the pause is in `shouldRetry`.
      const retries = this.#retrier.retriesOf(this.#call) - this.#attempt.number + 1;
      const { default: pRetry } = load('p-retry') as typeof PRetry;
      return await pRetry((number) => this.#try(number), { retries, minTimeout: 0, shouldRetry: () => this.#pause() });
    } catch (error) {
      if (error !== REFUSED) throw error;
      return this.#reply;
    } finally {
      this.#uncount();
    }
  }

  onAlarm(): void {
    this.#timer = undefined;
    this.#wake?.();
  }

  /** The call was cancelled during a pause. */
  cancel(_failure: Failure): void {
    if (this.#timer !== undefined) this.#retrier.deps.clock.clear(this.#timer);
    this.onAlarm();
  }

  /** p-retry's first try is the attempt that was refused before. */
  async #try(number: number): Promise<Reply> {
    if (number === 1) throw REFUSED;
    this.#attempt = openAttempt(this.#call, this.#attempt.number + 1);
    this.#reply = await send(this.#retrier.attempts, this.#attempt);
    // The retry is over for the budget when its head is there (Envoy counts so too); another one is counted anew.
    this.#uncount();
    if (this.#retrier.accepts(this.#attempt, this.#reply) || !this.#count()) return this.#reply;
    throw REFUSED;
  }

  /** Drops the refused reply and waits; false: no further attempt, `#reply` is the answer. */
  async #pause(): Promise<boolean> {
    const call = this.#call;
    const delay = this.#backoff.next(this.#reply);
    if (delay === undefined) return false;
    this.#reply.body.discard();
    if (this.#attempt.endpoint !== undefined) (call.tried ??= []).push(this.#attempt.endpoint);
    if (delay > 0 && this.#stopped() === undefined) {
      call.pending = this;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        this.#timer = this.#retrier.deps.clock.set(this, delay);
      });
    }
    const stopped = this.#stopped();
    if (stopped === undefined) return true;
    this.#reply = failureReply(stopped);
    return false;
  }

  #stopped(): Failure | undefined {
    const { cancelled, ended, failure: ending } = this.#call;
    if (cancelled !== undefined) return cancelled;
    return ended ? (ending ?? failure(FAILURES.remoteDisconnect, 'the call ended before its retry')) : undefined;
  }

  #count(): boolean {
    this.#counted = beginRetry(this.#retrier.budget, this.#call);
    if (!this.#counted) this.#call.flags |= CallFlag.retryOverflow;
    return this.#counted;
  }

  #uncount(): void {
    if (!this.#counted) return;
    this.#counted = false;
    endRetry(this.#retrier.budget);
  }
}

class AttemptCountStep {
  enter(attempt: Attempt): undefined {
    attempt.call.head.headers.set('x-envoy-attempt-count', String(attempt.number));
    return undefined;
  }
}

/** Sets `x-envoy-attempt-count`, 1 on the first attempt (`include_request_attempt_count`, Envoy R-69). */
export function countAttempts(): Layer<Attempt> {
  return stepLayer('attempt-count', new AttemptCountStep());
}
