/**
 * `drop_overloads` of the assignment, then the circuit-breaker thresholds `max_requests` and `max_pending_requests` (gRFC A27, A32; Envoy
 * H-30). Checking and counting is one synchronous step, so that the limits are never overshot; the attempt's end gives back.
 */
import type { ThresholdsConfig } from '../config/cluster.ts';
import type { Attempt, AttemptSlot } from '../core/call.ts';
import type { Cluster } from '../core/endpoint.ts';
import type { Failure } from '../core/failure.ts';
import { failure, FAILURES } from '../core/failure.ts';
import type { Layer, Step } from '../core/handler.ts';
import { stepLayer } from '../core/handler.ts';
import type { Reply } from '../core/reply.ts';
import { failureReply } from '../core/reply.ts';

/** Step and slot in one: the one object is shared by all attempts, so that admission allocates nothing. */
class Admission implements Step<Attempt>, AttemptSlot {
  readonly #cluster: Cluster;
  readonly #maxRequests: number;
  readonly #maxPending: number;
  readonly #tooManyRequests: Failure;
  readonly #tooManyPending: Failure;

  constructor(cluster: Cluster, { maxRequests, maxPendingRequests }: ThresholdsConfig) {
    this.#cluster = cluster;
    this.#maxRequests = maxRequests;
    this.#maxPending = maxPendingRequests;
    const of = `of cluster "${cluster.name}"`;
    this.#tooManyRequests = failure(FAILURES.upstreamOverflow, `max_requests ${maxRequests} ${of} is reached`);
    this.#tooManyPending = failure(FAILURES.upstreamOverflow, `max_pending_requests ${maxPendingRequests} ${of} is reached`);
  }

  enter(attempt: Attempt): Reply | undefined {
    const cluster = this.#cluster;
    const category = cluster.shed?.();
    if (category !== undefined) {
      cluster.onDrop?.(category);
      return failureReply(failure(FAILURES.dropOverload, `cluster "${cluster.name}" drops a share of its calls (${category})`));
    }
    if (cluster.requests >= this.#maxRequests) return this.#overflow(this.#tooManyRequests);
    if (cluster.pending >= this.#maxPending) return this.#overflow(this.#tooManyPending);
    cluster.requests++;
    cluster.pending++;
    attempt.slot = this;
    return undefined;
  }

  #overflow(failed: Failure): Reply {
    this.#cluster.onDrop?.();
    return failureReply(failed);
  }

  onSent(): void {
    this.#cluster.pending--;
  }

  onEnd(attempt: Attempt): void {
    this.#cluster.requests--;
    if (!attempt.sent) this.#cluster.pending--;
  }
}

export function admit(cluster: Cluster, thresholds: ThresholdsConfig): Layer<Attempt> {
  return stepLayer('admission', new Admission(cluster, thresholds));
}
