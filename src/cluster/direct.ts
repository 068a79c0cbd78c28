/**
 * The promise-free first attempt (design §3.16, rule 11), built from the very layers that the promise stack is built from.
 * It exists only where every layer is a step; retries go on in the promise engine.
 */
import type { OutboundCall } from '../core/call.ts';
import { Attempt } from '../core/call.ts';
import type { Step } from '../core/handler.ts';
import type { Reply, ReplyHead } from '../core/reply.ts';
import { failureReply } from '../core/reply.ts';
import type { DirectPath } from '../core/target.ts';

/** What `resilience/retry.ts` brings: judges the first attempt and makes the others. */
export interface AttemptJudge {
  accepts(attempt: Attempt, head: ReplyHead): boolean;
  resume(attempt: Attempt, reply: Reply): Promise<Reply>;
}

function leave<T>(steps: readonly Step<T>[], from: number, subject: T, head: ReplyHead): void {
  for (let i = from; i >= 0; i--) steps[i]?.leave?.(subject, head);
}

export class DirectStack implements DirectPath {
  readonly looks: boolean;
  readonly #callSteps: readonly Step<OutboundCall>[];
  readonly #attemptSteps: readonly Step<Attempt>[];
  readonly #judge: AttemptJudge | undefined;
  readonly #callsLeave: boolean;
  readonly #attemptsLeave: boolean;

  constructor(callSteps: readonly Step<OutboundCall>[], attemptSteps: readonly Step<Attempt>[], judge: AttemptJudge | undefined) {
    this.#callSteps = callSteps;
    this.#attemptSteps = attemptSteps;
    this.#judge = judge;
    this.#callsLeave = callSteps.some((step) => step.leave !== undefined);
    this.#attemptsLeave = attemptSteps.some((step) => step.leave !== undefined);
    this.looks = this.#callsLeave || this.#attemptsLeave;
  }

  start(call: OutboundCall): Attempt | Reply {
    const callSteps = this.#callSteps;
    for (let i = 0; i < callSteps.length; i++) {
      const answered = callSteps[i]?.enter(call);
      if (answered !== undefined) {
        leave(callSteps, i, call, answered);
        return answered;
      }
    }
    const attempt = new Attempt(call, 1);
    call.attempts = 1;
    call.pending = attempt;
    const attemptSteps = this.#attemptSteps;
    for (let i = 0; i < attemptSteps.length; i++) {
      const answered = attemptSteps[i]?.enter(attempt);
      if (answered !== undefined) {
        attempt.end(answered.status, answered.grpcStatus, answered.failure);
        leave(attemptSteps, i, attempt, answered);
        leave(callSteps, callSteps.length - 1, call, answered);
        return answered;
      }
    }
    if (call.cancelled !== undefined) {
      attempt.end(0, undefined, call.cancelled);
      const answered = failureReply(call.cancelled);
      leave(callSteps, callSteps.length - 1, call, answered);
      return answered;
    }
    attempt.begin(call.startedAt);
    return attempt;
  }

  accepts(attempt: Attempt, head: ReplyHead): boolean {
    // The attempt's steps see every head of an attempt, also one that is refused then.
    if (this.#attemptsLeave) leave(this.#attemptSteps, this.#attemptSteps.length - 1, attempt, head);
    if (this.#judge !== undefined && !this.#judge.accepts(attempt, head)) return false;
    if (this.#callsLeave) leave(this.#callSteps, this.#callSteps.length - 1, attempt.call, head);
    return true;
  }

  async retry(attempt: Attempt, reply: Reply): Promise<Reply> {
    const final = this.#judge === undefined ? reply : await this.#judge.resume(attempt, reply);
    if (this.#callsLeave) leave(this.#callSteps, this.#callSteps.length - 1, attempt.call, final);
    return final;
  }
}
