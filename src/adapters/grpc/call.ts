/**
 * The front of a gRPC call: what grpc-js's surface drives instead of its own call. It runs the first attempt straight on grpc-js's
 * callbacks (design §3.16, rule 11) and keeps the messages for another one until a head was accepted.
 * Deadlines follow gRPC: an absolute time of the application, watched here only while no attempt is on the wire.
 */
import type { CallCredentials, Metadata, StatusObject } from '@grpc/grpc-js';
import { Metadata as GrpcMetadata } from '@grpc/grpc-js';
import { Attempt, OutboundCall } from '../../core/call.ts';
import type { RequestHead } from '../../core/call.ts';
import type { Alarm, Timer } from '../../core/clock.ts';
import type { OutboundEngine } from '../../core/engine.ts';
import type { Failure } from '../../core/failure.ts';
import { failure, FAILURES } from '../../core/failure.ts';
import type { Reply } from '../../core/reply.ts';
import { failureReply, LocalBody } from '../../core/reply.ts';
import type { DirectPath } from '../../core/target.ts';
import type { RequestBody, Transport } from '../../core/transport.ts';
import type { Exchange, Front } from './exchange.ts';
import { status, statusOfReply } from './local-status.ts';
import { MetadataView } from './metadata.ts';
import { Outbox } from './outbox.ts';
import type { AuthContext, WireCall, WireContext, WireDeadline, WireListener } from './wire.ts';

/** What all calls of one channel share. */
export interface CallSetting {
  readonly engine: OutboundEngine;
  readonly transport: GrpcOpener;
  /** What `getPeer` says before an endpoint is known. */
  readonly target: string;
  readonly authority: string;
  readonly secure: boolean;
  /** Call credentials of the channel's own credentials; undefined without any. */
  readonly credentials: CallCredentials | undefined;
  readonly replayLimit: number;
}

/** A transport whose first attempts can be sent without a promise. */
export interface GrpcOpener extends Transport {
  /** Starts the attempt and tells the front, which is the call's body, of its exchange. */
  open(attempt: Attempt): void;
}

/** Pause of a wait-for-ready call before it asks for an endpoint again, doubling up to the second figure. */
const READY_PAUSE_MS = 50;
const READY_PAUSE_MAX_MS = 1_000;

class GrpcHead implements RequestHead {
  readonly protocol = 'grpc';
  method = 'POST';
  scheme: string;
  authority: string;
  path: string;
  readonly headers: MetadataView;
  constructor(scheme: string, authority: string, path: string, headers: MetadataView) {
    this.scheme = scheme;
    this.authority = authority;
    this.path = path;
    this.headers = headers;
  }
}

let lastCallNumber = 0;

export class GrpcCall implements WireCall, Front, RequestBody, Alarm {
  readonly #setting: CallSetting;
  readonly #method: string;
  readonly #authority: string;
  readonly #outbox: Outbox;
  readonly #number = ++lastCallNumber;
  /** Milliseconds since the epoch, as grpc-js has it; Infinity without a deadline. */
  readonly #wallDeadline: number;
  #credentials: CallCredentials | undefined;
  #listener: WireListener | undefined = undefined;
  #metadata: Metadata | undefined = undefined;
  #call: OutboundCall | undefined = undefined;
  #monotonicDeadline = Number.POSITIVE_INFINITY;
  #direct: DirectPath | undefined = undefined;
  #exchange: Exchange | undefined = undefined;
  #reading = false;
  #done = false;
  #alarm: Timer | undefined = undefined;
  #readyPause = READY_PAUSE_MS;
  #pausing = false;
  /** Takes back what ties the call to its parent. */
  release: (() => void) | undefined = undefined;

  constructor(setting: CallSetting, method: string, deadline: WireDeadline, host: string | null | undefined) {
    this.#setting = setting;
    this.#method = method;
    this.#authority = host?.toLowerCase() ?? setting.authority;
    this.#wallDeadline = typeof deadline === 'number' ? deadline : deadline.getTime();
    this.#credentials = setting.credentials;
    this.#outbox = new Outbox(setting.replayLimit);
  }

  // What grpc-js's surface calls.

  start(metadata: Metadata, listener: WireListener): void {
    this.#listener = listener;
    this.#metadata = metadata;
    this.#begin(metadata);
  }

  sendMessageWithContext(context: WireContext, message: Buffer): void {
    if (!this.#done) this.#outbox.push(context, message);
  }

  startRead(): void {
    this.#reading = true;
    this.#exchange?.wire.startRead();
  }

  halfClose(): void {
    if (!this.#done) this.#outbox.close();
  }

  cancelWithStatus(code: number, details: string): void {
    this.#stop(status(code, details), failure(FAILURES.remoteDisconnect, details));
  }

  getPeer(): string {
    return this.#exchange?.wire.getPeer() ?? this.#setting.target;
  }

  getCallNumber(): number {
    return this.#number;
  }

  setCredentials(credentials: CallCredentials): void {
    const own = this.#setting.credentials;
    this.#credentials = own === undefined ? credentials : own.compose(credentials);
  }

  getAuthContext(): AuthContext | null {
    return this.#exchange?.wire.getAuthContext() ?? null;
  }

  // What an attempt needs of its call.

  get replayable(): boolean {
    return this.#outbox.complete;
  }

  get callCredentials(): CallCredentials | undefined {
    return this.#credentials;
  }

  /** The deadline to send with an attempt: the application's, or the mesh's limit where that is sooner (gRFC A31). */
  attemptDeadline(call: OutboundCall): number {
    if (call.deadline === this.#monotonicDeadline) return this.#wallDeadline;
    const { clock } = this.#setting.engine;
    return clock.wallTime() + (call.deadline - clock.now());
  }

  run(exchange: Exchange): void {
    this.#exchange = exchange;
    this.#disarm();
    this.#outbox.sendTo(exchange);
    if (this.#reading) exchange.wire.startRead();
  }

  onHead(reply: Reply, attempt: Attempt): void {
    const direct = this.#direct;
    if (direct === undefined || direct.accepts(attempt, reply)) {
      this.#deliver(reply);
      return;
    }
    this.#outbox.stop();
    this.#exchange = undefined;
    this.#await(direct.retry(attempt, reply));
  }

  commit(exchange: Exchange): void {
    this.#exchange = exchange;
    this.#disarm();
    this.#outbox.commit();
  }

  onMetadata(metadata: Metadata): void {
    if (!this.#done) this.#listener?.onReceiveMetadata(metadata);
  }

  onMessage(message: unknown): void {
    this.#reading = false;
    if (!this.#done) this.#listener?.onReceiveMessage(message);
  }

  onEnd(end: StatusObject, failed: Failure | undefined): void {
    if (this.#done) return;
    this.#close(failed?.kind.httpStatus ?? 200, end.code, failed);
    this.#listener?.onReceiveStatus(end);
  }

  /** The deadline passed while nothing was on the wire, or a wait-for-ready pause is over. */
  onAlarm(): void {
    this.#alarm = undefined;
    if (this.#pausing) {
      this.#pausing = false;
      if (this.#metadata !== undefined) this.#begin(this.#metadata);
      return;
    }
    this.#exceedDeadline();
  }

  #begin(metadata: Metadata): void {
    const { engine, transport, secure } = this.#setting;
    const { clock } = engine;
    const head = new GrpcHead(secure ? 'https' : 'http', this.#authority, this.#method, new MetadataView(metadata, false));
    const call = new OutboundCall(head, this, transport);
    this.#call = call;
    if (this.#wallDeadline !== Number.POSITIVE_INFINITY) {
      const left = this.#wallDeadline - clock.wallTime();
      if (left <= 0) {
        this.#exceedDeadline();
        return;
      }
      call.deadline = this.#monotonicDeadline = clock.now() + left;
    }
    const opened = engine.open(call);
    if (opened === undefined) {
      this.#await(engine.handle(call));
    } else if ('body' in opened) {
      this.#deliver(opened);
    } else if (opened.direct === undefined) {
      this.#await(engine.handle(call));
    } else {
      this.#direct = opened.direct;
      const started = opened.direct.start(call);
      if (started instanceof Attempt) transport.open(started);
      else this.#deliver(started);
    }
  }

  #await(reply: Promise<Reply>): void {
    this.#arm();
    reply.then(
      (value) => this.#deliver(value),
      (error: unknown) => this.#deliver(failureReply(failure(FAILURES.filterFailed, `the stack rejected: ${String(error)}`, error))),
    );
  }

  #deliver(reply: Reply): void {
    if (this.#done) {
      reply.body.discard();
    } else if (!(reply.body instanceof LocalBody)) {
      reply.body.deliver(this);
    } else if (this.#waitsFor(reply)) {
      this.#call?.end(reply.status, reply.grpcStatus, reply.failure);
      this.#pause();
    } else {
      const end = statusOfReply(reply);
      this.#close(reply.status, end.code, reply.failure);
      this.#report(end);
    }
  }

  /** gRPC's wait_for_ready: a call is not failed while it is only that nobody can be reached. */
  #waitsFor(reply: Reply): boolean {
    if (this.#metadata?.getOptions().waitForReady !== true || !this.#outbox.complete) return false;
    const kind = reply.failure?.kind;
    return kind === FAILURES.connectionFailure || kind === FAILURES.noHealthyUpstream || kind === FAILURES.tlsNotReady;
  }

  #pause(): void {
    const { clock } = this.#setting.engine;
    this.#outbox.stop();
    this.#exchange = undefined;
    this.#disarm();
    const left = Math.max(0, this.#monotonicDeadline - clock.now());
    this.#pausing = true;
    this.#alarm = clock.set(this, Math.min(left, this.#readyPause));
    this.#readyPause = Math.min(this.#readyPause * 2, READY_PAUSE_MAX_MS);
  }

  #exceedDeadline(): void {
    const failed = failure(FAILURES.deadlineExceeded, `no reply from ${this.#authority} before the deadline of the call`);
    this.#stop(statusOfReply(failureReply(failed)), failed);
  }

  /** Ends the call from this side, whatever is under way. */
  #stop(end: StatusObject, failed: Failure): void {
    if (this.#done) return;
    this.#done = true;
    this.#call?.cancel(failed);
    this.#close(failed.kind.httpStatus, end.code, failed);
    this.#report(end);
  }

  #close(httpStatus: number, grpcStatus: number, failed: Failure | undefined): void {
    this.#done = true;
    this.#disarm();
    this.#outbox.stop();
    this.release?.();
    this.#call?.end(httpStatus, grpcStatus, failed);
  }

  /** As grpc-js does: never within the application's own call stack. */
  #report(end: StatusObject): void {
    process.nextTick(() => this.#listener?.onReceiveStatus({ ...end, metadata: end.metadata ?? new GrpcMetadata() }));
  }

  #arm(): void {
    if (this.#monotonicDeadline === Number.POSITIVE_INFINITY || this.#alarm !== undefined || this.#done) return;
    const { clock } = this.#setting.engine;
    this.#alarm = clock.set(this, Math.max(0, this.#monotonicDeadline - clock.now()));
  }

  #disarm(): void {
    if (this.#alarm === undefined) return;
    this.#setting.engine.clock.clear(this.#alarm);
    this.#alarm = undefined;
  }
}
