/** Calls, attempts and a scripted far side for tests of resilience. */
import type { RetryPolicyConfig } from '../../../src/config/routes.ts';
import type { ThresholdsConfig } from '../../../src/config/cluster.ts';
import { DEFAULT_THRESHOLDS } from '../../../src/config/cluster.ts';
import type { Attempt, Cancellable } from '../../../src/core/call.ts';
import { OutboundCall } from '../../../src/core/call.ts';
import type { Clock } from '../../../src/core/clock.ts';
import type { Cluster, Endpoint } from '../../../src/core/endpoint.ts';
import type { Failure, FailureKind } from '../../../src/core/failure.ts';
import { failure } from '../../../src/core/failure.ts';
import type { Handler } from '../../../src/core/handler.ts';
import { HeaderList } from '../../../src/core/headers.ts';
import type { Observer } from '../../../src/core/observer.ts';
import { ObserverSet } from '../../../src/core/observer.ts';
import type { Reply, ReplyBody } from '../../../src/core/reply.ts';
import { failureReply } from '../../../src/core/reply.ts';

export function retryPolicy(more: Partial<RetryPolicyConfig>): RetryPolicyConfig {
  return {
    on: ['5xx'],
    numRetries: 1,
    perTryTimeoutMs: 0,
    baseIntervalMs: 25,
    maxIntervalMs: 250,
    retriableStatusCodes: [],
    retriableHeaders: [],
    retriableRequestHeaders: [],
    avoidPreviousHosts: false,
    hostSelectionMaxAttempts: 1,
    rateLimitedBackOff: undefined,
    ...more,
  };
}

export function thresholds(more: Partial<ThresholdsConfig> = {}): ThresholdsConfig {
  return { ...DEFAULT_THRESHOLDS, ...more };
}

export interface CallOptions {
  readonly protocol?: 'http' | 'grpc';
  readonly headers?: Readonly<Record<string, string>>;
  readonly replayable?: boolean;
  readonly cluster?: Cluster;
  readonly observer?: Observer;
}

/** A call that has been routed and started. */
export function startedCall(
  clock: Clock,
  { protocol = 'http', headers = {}, replayable = true, cluster, observer }: CallOptions = {},
): OutboundCall {
  const head = {
    protocol,
    method: 'GET',
    scheme: 'http',
    authority: 'reviews',
    path: '/',
    headers: new HeaderList(Object.entries(headers)),
  };
  const call = new OutboundCall(
    head,
    { replayable },
    {
      name: 'fake',
      connect: () => {
        throw new Error('no connection');
      },
    },
  );
  const handler: Handler<OutboundCall> = { handle: () => Promise.reject(new Error('not used')) };
  const labels = { listener: '', routeConfig: '', virtualHost: '', route: '', cluster: '' };
  const observers = observer === undefined ? ObserverSet.none : new ObserverSet([observer]);
  call.target = { handler, direct: undefined, observers, cluster, labels, clock };
  call.startedAt = clock.now();
  return call;
}

/** What the far side does with one attempt. */
export interface Answer {
  readonly status?: number;
  readonly grpcStatus?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly fails?: FailureKind;
  /** Milliseconds until the head; undefined: at once. */
  readonly afterMs?: number;
  /** A head that never comes. */
  readonly never?: true;
  /** Rejected by a layer. */
  readonly throws?: unknown;
}

/** A reply from the far side; its attempt ends when the body is taken or dropped. */
export class FakeReply implements Reply {
  readonly status: number;
  readonly grpcStatus: number | undefined;
  readonly headers: HeaderList;
  readonly failure = undefined;
  readonly attempt: Attempt;
  readonly body: ReplyBody;
  discarded = 0;

  constructor(attempt: Attempt, { status = 200, grpcStatus, headers = {} }: Answer) {
    this.attempt = attempt;
    this.status = status;
    this.grpcStatus = grpcStatus;
    this.headers = new HeaderList(Object.entries(headers));
    const end = (): void => attempt.end(this.status, this.grpcStatus, undefined);
    this.body = {
      deliver: end,
      discard: () => {
        this.discarded++;
        end();
      },
    };
  }
}

/** Plays `answers` in order, the last one for ever; behaves as `send-attempt.ts` with a connection does. */
export class FarSide implements Handler<Attempt> {
  readonly attempts: Attempt[] = [];
  readonly replies: Reply[] = [];
  readonly #answers: readonly Answer[];
  readonly #clock: Clock;
  readonly #endpoints: readonly Endpoint[];

  constructor(clock: Clock, answers: readonly Answer[], endpoints: readonly Endpoint[] = []) {
    this.#clock = clock;
    this.#answers = answers;
    this.#endpoints = endpoints;
  }

  handle(attempt: Attempt): Promise<Reply> {
    const number = this.attempts.push(attempt);
    const answer = this.#answers[Math.min(number, this.#answers.length) - 1] ?? {};
    attempt.endpoint = this.#endpoints[(number - 1) % Math.max(1, this.#endpoints.length)];
    attempt.begin(this.#clock.now());
    if (answer.throws !== undefined) return Promise.reject(answer.throws);
    if (answer.afterMs === undefined && answer.never === undefined) return Promise.resolve(this.#answer(attempt, answer));
    return new Promise((resolve) => {
      const settle = (reply: Reply): void => {
        attempt.pending = undefined;
        resolve(reply);
      };
      const timer = answer.never
        ? undefined
        : this.#clock.set({ onAlarm: () => settle(this.#answer(attempt, answer)) }, answer.afterMs ?? 0);
      const pending: Cancellable = {
        cancel: (failed) => {
          if (timer !== undefined) this.#clock.clear(timer);
          settle(this.#fail(attempt, failed));
        },
      };
      attempt.pending = pending;
    });
  }

  #answer(attempt: Attempt, answer: Answer): Reply {
    if (answer.fails !== undefined) return this.#fail(attempt, failure(answer.fails, 'scripted'));
    attempt.markSent();
    const reply = new FakeReply(attempt, answer);
    this.replies.push(reply);
    return reply;
  }

  #fail(attempt: Attempt, failed: Failure): Reply {
    const reply = failureReply(failed);
    attempt.end(reply.status, reply.grpcStatus, failed);
    this.replies.push(reply);
    return reply;
  }
}
