/**
 * One attempt on the wire: a real grpc-js call, seen as a reply. It forwards straight to the call of the application once its head
 * was accepted, and holds back what comes before. It ends its attempt exactly once.
 */
import type { StatusObject } from '@grpc/grpc-js';
import { Metadata } from '@grpc/grpc-js';
import type { Attempt, Cancellable } from '../../core/call.ts';
import type { Failure } from '../../core/failure.ts';
import { describeFailure, FAILURES } from '../../core/failure.ts';
import type { HeaderMap } from '../../core/headers.ts';
import type { LocalityLoad } from '../../core/load.ts';
import type { Reply, ReplyBody } from '../../core/reply.ts';
import { failureReply } from '../../core/reply.ts';
import { GrpcStatus } from '../../core/status.ts';
import { MetadataView } from './metadata.ts';
import type { Outlet } from './outbox.ts';
import type { WireCall, WireListener } from './wire.ts';

/** The application's side: what an accepted exchange delivers to. Implemented by `call.ts`. */
export interface Front {
  /** The exchange that now takes the messages of the application. */
  run(exchange: Exchange): void;
  /** The head of a first attempt that runs without promises. */
  onHead(reply: Reply, attempt: Attempt): void;
  /** From here on no other attempt will be made. */
  commit(exchange: Exchange): void;
  onMetadata(metadata: Metadata): void;
  onMessage(message: unknown): void;
  onEnd(status: StatusObject, failure: Failure | undefined): void;
}

/** The connection's side. */
export interface Line {
  /** A failure of ours, or undefined when the status is an answer (the server's, or one that no kind of failure describes). */
  judge(exchange: Exchange, status: StatusObject, headSeen: boolean): Failure | undefined;
  /** Starts another wire for an exchange that no server has seen; false where it cannot be sent again. */
  resend(exchange: Exchange): boolean;
  onEnd(exchange: Exchange): void;
}

export class Exchange implements Cancellable, Reply, ReplyBody, Outlet, WireListener {
  readonly attempt: Attempt;
  /** Another one after a transparent retry. */
  wire: WireCall;
  readonly status = 200;
  grpcStatus: number | undefined = undefined;
  readonly failure = undefined;
  nextMessage = 0;
  writing = false;
  halfClosed = false;
  readonly #line: Line;
  readonly #front: Front;
  /** Takes the head on the promise path; undefined on the direct path. */
  readonly #resolve: ((reply: Reply) => void) | undefined;
  #metadata: Metadata | undefined = undefined;
  /** Made when a layer looks at the headers. */
  #view: MetadataView | undefined = undefined;
  #headSeen = false;
  #delivered = false;
  #ended = false;
  #resent = false;
  #held: unknown[] | undefined = undefined;
  #end: StatusObject | undefined = undefined;
  #endFailure: Failure | undefined = undefined;

  constructor(attempt: Attempt, wire: WireCall, line: Line, front: Front, resolve: ((reply: Reply) => void) | undefined) {
    this.attempt = attempt;
    this.wire = wire;
    this.#line = line;
    this.#front = front;
    this.#resolve = resolve;
  }

  get headers(): HeaderMap {
    this.#view ??= new MetadataView(this.#metadata ?? new Metadata(), true);
    return this.#view;
  }

  get body(): ReplyBody {
    return this;
  }

  get ended(): boolean {
    return this.#ended;
  }

  onReceiveMetadata(metadata: Metadata): void {
    if (this.#ended) return;
    this.attempt.markSent();
    this.#headSeen = true;
    this.#metadata = metadata;
    this.#head(this);
  }

  onReceiveMessage(message: unknown): void {
    if (this.#delivered) this.#front.onMessage(message);
    else if (!this.#ended) (this.#held ??= []).push(message);
  }

  onReceiveStatus(status: StatusObject): void {
    if (this.#ended) return;
    const failed = this.#line.judge(this, status, this.#headSeen);
    if (!this.#headSeen && failed !== undefined) {
      if (!this.#isResent(failed)) this.#fail(failed);
      return;
    }
    if (failed === undefined) this.attempt.markSent();
    if (this.attempt.load !== undefined) reportMetrics(this.attempt.load, status.metadata, this.#metadata);
    this.#finish(200, status.code, failed);
    if (this.#headSeen) {
      this.#tail(status, failed);
      return;
    }
    // Trailers-only: the status is known with the head, so the attempt may still be retried (gRFC A6).
    this.grpcStatus = status.code;
    this.#metadata = status.metadata;
    this.#end = status;
    this.#head(this);
  }

  /** Stops this try: before the head as a failure that may be retried, afterwards as the end of the call. */
  cancel(failure: Failure): void {
    if (this.#ended) return;
    if (!this.#headSeen) {
      this.#fail(failure);
      return;
    }
    const details = describeFailure(failure);
    this.#finish(failure.kind.httpStatus, failure.kind.grpcStatus, failure);
    this.wire.cancelWithStatus(failure.kind.grpcStatus, details);
    this.#tail({ code: failure.kind.grpcStatus, details, metadata: new Metadata() }, failure);
  }

  deliver(): void {
    const front = this.#front;
    this.#delivered = true;
    front.commit(this);
    if (this.#headSeen) front.onMetadata(this.#metadata ?? new Metadata());
    const held = this.#held;
    if (held !== undefined) {
      this.#held = undefined;
      for (const message of held) front.onMessage(message);
    }
    if (this.#end !== undefined) front.onEnd(this.#end, this.#endFailure);
  }

  discard(): void {
    this.#held = undefined;
    if (this.#ended) return;
    this.#finish(200, undefined, undefined);
    this.wire.cancelWithStatus(GrpcStatus.CANCELLED, 'the reply was not wanted');
  }

  /**
   * gRFC A6, transparent retry: a server that refuses the stream, or is going (GOAWAY) before it has come, has not begun the call. It is sent
   * once more, whatever the retry policy; a second refusal is a failure of the attempt.
   */
  #isResent({ kind }: Failure): boolean {
    if (this.#resent || (kind !== FAILURES.refusedStream && kind !== FAILURES.resetBeforeRequest)) return false;
    this.#resent = true;
    return this.#line.resend(this);
  }

  #fail(failed: Failure): void {
    this.#finish(failed.kind.httpStatus, failed.kind.grpcStatus, failed);
    this.wire.cancelWithStatus(failed.kind.grpcStatus, failed.message);
    this.#head(failureReply(failed));
  }

  #finish(status: number, grpcStatus: number | undefined, failed: Failure | undefined): void {
    this.#ended = true;
    this.#line.onEnd(this);
    this.attempt.end(status, grpcStatus, failed);
  }

  #tail(status: StatusObject, failed: Failure | undefined): void {
    if (this.#delivered) {
      this.#front.onEnd(status, failed);
      return;
    }
    this.#end = status;
    this.#endFailure = failed;
  }

  #head(reply: Reply): void {
    if (this.#resolve === undefined) this.#front.onHead(reply, this.attempt);
    else this.#resolve(reply);
  }
}

/** Metrics of the endpoint, in its trailers or else in its head. */
function reportMetrics(load: LocalityLoad, trailers: Metadata, head: Metadata | undefined): void {
  const [first, second] = [new MetadataView(trailers, true), head && new MetadataView(head, true)];
  load.report((name) => first.get(name) ?? second?.get(name));
}
