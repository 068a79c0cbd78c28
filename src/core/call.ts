/**
 * A call is one request of the application, an attempt is one try of it. Both end exactly once; the first outcome wins.
 * The back of an adapter ends attempts, its front ends calls (design §3.4, steps 11 and 12).
 */
import type { Alarm, Timer } from './clock.ts';
import type { Endpoint } from './endpoint.ts';
import type { Failure } from './failure.ts';
import type { HeaderMap } from './headers.ts';
import type { LocalityLoad } from './load.ts';
import type { Reply } from './reply.ts';
import type { InboundTarget, OutboundTarget } from './target.ts';
import type { RequestBody, Transport } from './transport.ts';

export interface RequestHead {
  readonly protocol: 'http' | 'grpc';
  method: string;
  /** `http` or `https` as the application asked for it. */
  scheme: string;
  /** Host with port if the application gave one; lower case. */
  authority: string;
  /** Path with query, beginning with `/`. */
  path: string;
  readonly headers: HeaderMap;
  /** False: surely none of the headers begins with `x-envoy-`, so that nobody need look for one. Absent: unknown. */
  readonly maySteer?: boolean;
}

/** Whatever a running call can be stopped at: an exchange on the wire, a pause before a retry, a filter that waits. */
export interface Cancellable {
  cancel(failure: Failure): void;
}

/** Who sent an inbound call: addresses, and the identity that its certificate proved. */
export interface Peer {
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  /** Undefined on a connection without TLS. */
  readonly tls: PeerTls | undefined;
}

export interface PeerTls {
  /** False when the peer sent no certificate, or one that was not verified. */
  readonly authenticated: boolean;
  readonly uriSans: readonly string[];
  readonly dnsSans: readonly string[];
  /** RFC 2253 text; empty without a certificate. */
  readonly subject: string;
  /** SNI that the client sent, if any. */
  readonly serverName?: string;
}

/**
 * What outbound and inbound calls share. All fields are declared here so that calls have one hidden class per direction;
 * this is the one base class of ours, because the life cycle must exist once.
 */
abstract class CallLifecycle implements Alarm {
  readonly head: RequestHead;
  /** Monotonic milliseconds of the clock; 0 until started. */
  startedAt = 0;
  /** Monotonic milliseconds after which the call fails; Infinity without a limit. */
  deadline = Number.POSITIVE_INFINITY;
  /** Bits of `CallFlag`. */
  flags = 0;
  status = 0;
  grpcStatus: number | undefined = undefined;
  failure: Failure | undefined = undefined;
  ended = false;
  /** What `cancel` reaches now. */
  pending: Cancellable | undefined = undefined;
  /** The failure that `cancel` was called with, for whoever starts something afterwards. */
  cancelled: Failure | undefined = undefined;
  /** The running time limit, owned by `resilience/time-limit.ts`, and the failure it cancels with. */
  timer: Timer | undefined = undefined;
  timeLimit: Failure | undefined = undefined;
  /** Owned by the tracer: the call's span, whatever its type. */
  span: unknown = undefined;

  constructor(head: RequestHead) {
    this.head = head;
  }

  /** Stops the call wherever it is. Idempotent; without effect once the call has ended. */
  cancel(failure: Failure): void {
    if (this.ended || this.cancelled !== undefined) return;
    this.cancelled = failure;
    this.pending?.cancel(failure);
  }

  onAlarm(): void {
    if (this.timeLimit !== undefined) this.cancel(this.timeLimit);
  }
}

export class OutboundCall extends CallLifecycle {
  readonly body: RequestBody;
  readonly transport: Transport;
  target: OutboundTarget | undefined = undefined;
  attempts = 0;
  /** Endpoints of earlier attempts, for retry host predicates; undefined before the first retry. */
  tried: Endpoint[] | undefined = undefined;
  /** Request hash for consistent hashing, once computed. */
  hash: bigint | undefined = undefined;
  /** Length of the matched path part, for `prefix_rewrite`; -1 when the whole path was matched. */
  matchedLength = -1;
  /** From `x-envoy-upstream-rq-per-try-timeout-ms`, in milliseconds; -1 when the request carries none. Owned by `resilience/time-limit.ts`. */
  perTryTimeoutMs = -1;

  constructor(head: RequestHead, body: RequestBody, transport: Transport) {
    super(head);
    this.body = body;
    this.transport = transport;
  }

  get direction(): 'outbound' {
    return 'outbound';
  }

  /** The first call of `end` wins; observers run then. */
  end(status: number, grpcStatus: number | undefined, failure: Failure | undefined): void {
    if (this.ended) return;
    this.ended = true;
    this.status = status;
    this.grpcStatus = grpcStatus;
    this.failure = failure;
    this.pending = undefined;
    const { target, timer } = this;
    if (target === undefined) return;
    if (timer !== undefined) target.clock.clear(timer);
    target.observers.callEnd(this);
  }
}

/** One inbound call. The front of a server adapter makes it and ends it. */
export class InboundCall extends CallLifecycle {
  readonly peer: Peer;
  readonly #run: () => Promise<Reply>;
  target: InboundTarget | undefined = undefined;
  matchedLength = -1;

  constructor(head: RequestHead, peer: Peer, runApplication: () => Promise<Reply>) {
    super(head);
    this.peer = peer;
    this.#run = runApplication;
  }

  get direction(): 'inbound' {
    return 'inbound';
  }

  /** Starts the application; resolves with the head it wrote. */
  runApplication(): Promise<Reply> {
    return this.#run();
  }

  end(status: number, grpcStatus: number | undefined, failure: Failure | undefined): void {
    if (this.ended) return;
    this.ended = true;
    this.status = status;
    this.grpcStatus = grpcStatus;
    this.failure = failure;
    this.pending = undefined;
    const { target, timer } = this;
    if (target === undefined) return;
    if (timer !== undefined) target.clock.clear(timer);
    target.observers.callEnd(this);
  }
}

export type Call = OutboundCall | InboundCall;

/** What an admitted attempt gives back when it ends; also told when the request has reached a connection. */
export interface AttemptSlot {
  onSent(attempt: Attempt): void;
  onEnd(attempt: Attempt): void;
}

/** Told how an attempt came out, by the layer that put it there once a head is there, or else by the attempt's end. */
export interface AttemptGuard {
  onOutcome(outcome: { readonly status: number; readonly grpcStatus: number | undefined; readonly failure: Failure | undefined }): void;
}

export class Attempt implements Alarm {
  readonly call: OutboundCall;
  /** 1 for the first. */
  readonly number: number;
  endpoint: Endpoint | undefined = undefined;
  startedAt = 0;
  /** True from `begin` on: the attempt was handed to a connection. */
  started = false;
  /** True once the request had a connection to be written on; before that a retry is safe for any request. */
  sent = false;
  ended = false;
  status = 0;
  grpcStatus: number | undefined = undefined;
  failure: Failure | undefined = undefined;
  /** The exchange on the wire. */
  pending: Cancellable | undefined = undefined;
  cancelled: Failure | undefined = undefined;
  slot: AttemptSlot | undefined = undefined;
  /** Undefined from the outcome on. */
  guard: AttemptGuard | undefined = undefined;
  timer: Timer | undefined = undefined;
  timeLimit: Failure | undefined = undefined;
  span: unknown = undefined;
  /** Where this attempt is counted for load reports; undefined where nobody asked for them. Owned by `cluster/load.ts`. */
  load: LocalityLoad | undefined = undefined;

  constructor(call: OutboundCall, number: number) {
    this.call = call;
    this.number = number;
  }

  /** Called by `cluster/send-attempt.ts` when an endpoint is chosen and the connection is about to get the request. */
  begin(now: number): void {
    this.started = true;
    this.startedAt = now;
    if (this.endpoint !== undefined) this.endpoint.active++;
    this.call.target?.observers.attemptStart(this);
  }

  /** Called by a connection when the request is being written to an established connection. */
  markSent(): void {
    if (this.sent || this.ended) return;
    this.sent = true;
    this.slot?.onSent(this);
  }

  /** Stops this try; the call may go on with another. Idempotent. */
  cancel(failure: Failure): void {
    if (this.ended || this.cancelled !== undefined) return;
    this.cancelled = failure;
    this.pending?.cancel(failure);
  }

  onAlarm(): void {
    if (this.timeLimit !== undefined) this.cancel(this.timeLimit);
  }

  /** The first call wins: counters go back to where they were, observers run. */
  end(status: number, grpcStatus: number | undefined, failure: Failure | undefined): void {
    if (this.ended) return;
    this.ended = true;
    this.status = status;
    this.grpcStatus = grpcStatus;
    this.failure = failure;
    this.pending = undefined;
    const { target } = this.call;
    if (this.timer !== undefined) target?.clock.clear(this.timer);
    const { guard } = this;
    if (guard !== undefined) {
      this.guard = undefined;
      guard.onOutcome(this);
    }
    this.slot?.onEnd(this);
    if (!this.started) return;
    if (this.endpoint !== undefined) this.endpoint.active--;
    target?.observers.attemptEnd(this);
  }
}
