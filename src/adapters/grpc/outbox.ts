/**
 * The messages of a call, kept until the call is committed so that another attempt can send them again (gRFC A6, A44).
 * One message is with grpc-js at a time: it holds no more than one before its stream exists.
 */
import type { WireCall, WireContext } from './wire.ts';

/** Beyond this many bytes a call gives up its chance of another attempt (grpc-js's `grpc.per_rpc_retry_buffer_size`). */
export const REPLAY_LIMIT_BYTES = 1_048_576;

/** Where messages go: one attempt on the wire, with how far it has come. */
export interface Outlet {
  wire: WireCall;
  /** Index of the next message to send. */
  nextMessage: number;
  /** A message is with grpc-js and not yet written. */
  writing: boolean;
  halfClosed: boolean;
}

interface Entry {
  readonly message: Buffer;
  readonly flags: number | undefined;
  callback: WireContext['callback'];
}

export class Outbox {
  readonly #entries: Entry[] = [];
  readonly #limit: number;
  /** Messages dropped from the front of `#entries`. */
  #dropped = 0;
  #bytes = 0;
  #closed = false;
  #committed = false;
  #outlet: Outlet | undefined = undefined;

  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  /** False once a message is gone that another attempt would need. */
  get complete(): boolean {
    return this.#dropped === 0;
  }

  push(context: WireContext, message: Buffer): void {
    this.#entries.push({ message, flags: context.flags, callback: context.callback });
    this.#bytes += message.length;
    if (this.#bytes > this.#limit) this.#committed = true;
    if (this.#outlet !== undefined) this.#pump(this.#outlet);
  }

  close(): void {
    this.#closed = true;
    if (this.#outlet !== undefined) this.#pump(this.#outlet);
  }

  /** Sends everything from the first message on to a new attempt, or goes on with the one that has it. */
  sendTo(outlet: Outlet): void {
    this.#outlet = outlet;
    this.#pump(outlet);
  }

  /** No attempt takes messages now. */
  stop(): void {
    this.#outlet = undefined;
  }

  /** There will be no other attempt: what is sent need not be kept. */
  commit(): void {
    this.#committed = true;
    if (this.#outlet !== undefined) this.#forget(this.#outlet);
  }

  #pump(outlet: Outlet): void {
    const entries = this.#entries;
    while (!outlet.writing) {
      const entry = entries[outlet.nextMessage - this.#dropped];
      if (entry === undefined) break;
      outlet.nextMessage++;
      outlet.writing = true;
      const { wire } = outlet;
      const context: WireContext = { callback: () => this.#written(outlet, wire, entry) };
      if (entry.flags !== undefined) context.flags = entry.flags;
      wire.sendMessageWithContext(context, entry.message);
    }
    // grpc-js orders a half-close behind the one message it may still be holding.
    if (this.#closed && !outlet.halfClosed && outlet.nextMessage === this.#dropped + entries.length) {
      outlet.halfClosed = true;
      outlet.wire.halfClose();
    }
  }

  #written(outlet: Outlet, wire: WireCall, entry: Entry): void {
    // Of a wire that was refused: the message is to be written to another one.
    if (outlet.wire !== wire) return;
    outlet.writing = false;
    const { callback } = entry;
    entry.callback = undefined;
    if (this.#committed && outlet === this.#outlet) this.#forget(outlet);
    callback?.();
    if (outlet === this.#outlet) this.#pump(outlet);
  }

  #forget(outlet: Outlet): void {
    const done = outlet.writing ? outlet.nextMessage - 1 : outlet.nextMessage;
    const count = done - this.#dropped;
    if (count <= 0) return;
    if (count === this.#entries.length) this.#entries.length = 0;
    else this.#entries.splice(0, count);
    this.#dropped = done;
  }
}
