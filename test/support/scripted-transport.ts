/** A transport whose far side plays a script: each attempt takes the next line. For stack tests; no sockets, no time of its own. */
import type { Attempt } from '../../src/core/call.ts';
import type { Clock } from '../../src/core/clock.ts';
import type { Endpoint } from '../../src/core/endpoint.ts';
import type { Failure, FailureKind } from '../../src/core/failure.ts';
import { failure } from '../../src/core/failure.ts';
import { HeaderList } from '../../src/core/headers.ts';
import type { Reply, ReplyBody } from '../../src/core/reply.ts';
import { failureReply } from '../../src/core/reply.ts';
import type { Connection, Transport } from '../../src/core/transport.ts';

export type Line =
  | { readonly kind: 'reply'; readonly status: number; readonly delayMs: number; readonly breaks?: boolean }
  | { readonly kind: 'failure'; readonly failure: FailureKind; readonly delayMs: number };

/** The exchange of one attempt, drivable by promise (`send`) or by callbacks (`start`). */
export class ScriptedExchange implements ReplyBody {
  readonly attempt: Attempt;
  readonly line: Line;
  readonly #clock: Clock;
  #onHead: ((reply: Reply) => void) | undefined;

  constructor(attempt: Attempt, line: Line, clock: Clock) {
    this.attempt = attempt;
    this.line = line;
    this.#clock = clock;
  }

  start(onHead: (reply: Reply) => void): void {
    this.#onHead = onHead;
    this.attempt.pending = this;
    this.attempt.markSent();
    const timer = this.#clock.set({ onAlarm: () => this.#arrive() }, this.line.delayMs);
    this.#cancelTimer = () => this.#clock.clear(timer);
  }

  cancel(failed: Failure): void {
    this.#cancelTimer();
    const onHead = this.#onHead;
    this.#onHead = undefined;
    this.attempt.end(failed.kind.httpStatus, failed.kind.grpcStatus, failed);
    onHead?.(failureReply(failed));
  }

  deliver(): void {
    const status = this.line.kind === 'reply' ? this.line.status : 0;
    this.attempt.end(status, undefined, undefined);
    this.attempt.call.end(status, undefined, undefined);
  }

  discard(): void {
    this.attempt.end(this.line.kind === 'reply' ? this.line.status : 0, undefined, undefined);
  }

  #cancelTimer: () => void = () => undefined;

  #arrive(): void {
    const onHead = this.#onHead;
    this.#onHead = undefined;
    if (this.line.kind === 'failure') {
      const failed = failure(this.line.failure, 'scripted');
      this.attempt.end(failed.kind.httpStatus, failed.kind.grpcStatus, failed);
      onHead?.(failureReply(failed));
      return;
    }
    onHead?.({ status: this.line.status, grpcStatus: undefined, headers: new HeaderList(), failure: undefined, body: this });
  }
}

export class ScriptedTransport implements Transport {
  readonly name = 'scripted';
  readonly sent: string[] = [];
  closed = 0;
  readonly #lines: Line[];
  readonly #clock: Clock;

  constructor(lines: readonly Line[], clock: Clock) {
    this.#lines = [...lines];
    this.#clock = clock;
  }

  next(attempt: Attempt): ScriptedExchange {
    this.sent.push(attempt.endpoint?.address ?? 'nowhere');
    return new ScriptedExchange(attempt, this.#lines.shift() ?? { kind: 'reply', status: 200, delayMs: 1 }, this.#clock);
  }

  connect(_endpoint: Endpoint): Connection {
    return {
      send: (attempt) => new Promise((resolve) => this.next(attempt).start(resolve)),
      close: () => {
        this.closed++;
        return Promise.resolve();
      },
    };
  }
}
