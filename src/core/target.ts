/** What a matched route leads to, and the promise-free way through it. */
import type { Attempt, InboundCall, OutboundCall } from './call.ts';
import type { Clock } from './clock.ts';
import type { Cluster } from './endpoint.ts';
import type { FailureKind } from './failure.ts';
import type { Handler, Step } from './handler.ts';
import type { ObserverSet } from './observer.ts';
import type { Reply, ReplyHead } from './reply.ts';

/** Names that metrics, spans and `describe()` show for a route; frozen, made at compile time. */
export interface TargetLabels {
  /** Listener, route configuration and virtual host the route stands in. */
  readonly listener: string;
  readonly routeConfig: string;
  readonly virtualHost: string;
  /** The route's name, or its match in short where it has none. */
  readonly route: string;
  /** Empty when the route answers by itself. */
  readonly cluster: string;
}

/** Something that is asked for only once a call needs it (a cluster, a virtual host, the routes of a scope). */
export interface Awaited {
  /** For people: `cluster "reviews"`. Equal texts mean the same thing. */
  readonly what: string;
  /** Milliseconds that one call waits for it. */
  readonly timeoutMs: number;
  /** How a call fails that waited in vain. */
  readonly kind: FailureKind;
  /** The HTTP status that it has then; default: that of `kind`. */
  readonly status?: number;
  /** Asks for it; without effect once that was done. True: there is an answer already, so the call should be routed again. */
  demand(): boolean;
}

export interface OutboundTarget {
  readonly handler: Handler<OutboundCall>;
  /** Present when no layer of the stack waits; see `DirectPath`. */
  readonly direct: DirectPath | undefined;
  readonly observers: ObserverSet;
  readonly cluster: Cluster | undefined;
  readonly labels: TargetLabels;
  readonly clock: Clock;
  /** The route's cluster has not come yet: the call waits for the configuration, as if there were none. */
  readonly waiting?: boolean;
  /** With `waiting`: nobody has asked for the cluster yet, or it was asked for by calls only. */
  readonly awaits?: Awaited;
}

export interface InboundTarget {
  readonly handler: Handler<InboundCall>;
  /**
   * The same stack without promises, where no layer waits: the front runs `enter` of each in order (a reply ends the call),
   * starts the application, and runs `leave` in reverse order on the head that it wrote.
   */
  readonly steps: readonly Step<InboundCall>[] | undefined;
  readonly observers: ObserverSet;
  readonly labels: TargetLabels;
  readonly clock: Clock;
}

/**
 * The first attempt of a call without promises (design §3.16, rule 11): the adapter drives it on its library's own callbacks, and the
 * promise engine takes over only for retries. Built from the same list of layers as `handler`; a property test shows both equal.
 *
 * ```
 * const next = direct.start(call)              // Reply: the mesh answers itself. Attempt: send it to attempt.endpoint.
 * on head or failure:  direct.accepts(attempt, reply) ? deliver it : await direct.retry(attempt, reply)
 * ```
 */
export interface DirectPath {
  /** False: no step looks at heads, so that `accepts` keeps nothing of the one it is given. Absent: some may. */
  readonly looks?: boolean;
  /** Runs the steps of the call and of the first attempt. The attempt returned has begun and has an endpoint. */
  start(call: OutboundCall): Attempt | Reply;
  /** True: the head goes to the application (steps have seen it). False: the adapter must call `retry`. */
  accepts(attempt: Attempt, head: ReplyHead): boolean;
  /** Goes on after a refused first attempt; resolves with the reply for the application. Owns `reply` (discards its body). */
  retry(attempt: Attempt, reply: Reply): Promise<Reply>;
}
