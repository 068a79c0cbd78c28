/**
 * How long to wait before a retry: Envoy's jittered exponential back-off as its code has it (D1, R-64), the reply's own word where the
 * policy listens to it, and for gRPC calls gRFC A44 with `grpc-retry-pushback-ms` (A6).
 */
import type { RetryPolicyConfig } from '../config/routes.ts';
import type { Clock } from '../core/clock.ts';
import type { HeaderMap } from '../core/headers.ts';
import type { Random } from '../core/random.ts';
import type { ReplyHead } from '../core/reply.ts';

const GRPC_PUSHBACK = 'grpc-retry-pushback-ms';

/** Integers for Envoy's "random mod n". */
const RANDOM_RANGE = 2 ** 32;

type RateLimitHeader = NonNullable<RetryPolicyConfig['rateLimitedBackOff']>['headers'][number];

/** The pauses of one call. */
export class Backoff {
  readonly #policy: RetryPolicyConfig;
  readonly #grpc: boolean;
  readonly #random: Random;
  readonly #clock: Clock;
  #interval: number;

  constructor(policy: RetryPolicyConfig, protocol: 'http' | 'grpc', random: Random, clock: Clock) {
    this.#policy = policy;
    this.#grpc = protocol === 'grpc';
    this.#random = random;
    this.#clock = clock;
    this.#interval = this.#base;
  }

  /** Milliseconds until the next try; undefined: the upstream asked not to try again. */
  next(head: ReplyHead): number | undefined {
    return this.#grpc ? this.#nextGrpc(head.headers) : (this.#rateLimited(head.headers) ?? this.#nextHttp());
  }

  get #base(): number {
    return Math.min(this.#policy.baseIntervalMs, this.#policy.maxIntervalMs);
  }

  /** Random mod I, where I doubles while it is below half of the cap and then is the cap. */
  #nextHttp(): number {
    const interval = this.#interval;
    const cap = this.#policy.maxIntervalMs;
    this.#interval = interval < Math.floor(cap / 2) ? interval * 2 : cap;
    return Math.floor(this.#random.next() * RANDOM_RANGE) % interval;
  }

  /** min(base · 2ⁿ⁻¹, max) times 0.8 to 1.2. A push-back replaces the pause and starts the curve anew. */
  #nextGrpc(headers: HeaderMap): number | undefined {
    const pushback = headers.get(GRPC_PUSHBACK);
    if (pushback !== undefined) {
      this.#interval = this.#base;
      return /^[0-9]{1,10}$/.test(pushback) ? Number(pushback) : undefined;
    }
    const interval = this.#interval;
    this.#interval = Math.min(interval * 2, this.#policy.maxIntervalMs);
    return interval * (0.8 + 0.4 * this.#random.next());
  }

  #rateLimited(headers: HeaderMap): number | undefined {
    const config = this.#policy.rateLimitedBackOff;
    if (config === undefined) return undefined;
    for (const header of config.headers) {
      const interval = this.#intervalOf(header, headers.get(header.name));
      if (interval === undefined || interval <= 1 || interval > config.maxIntervalMs) continue;
      const jitter = Math.floor(interval / 2);
      return interval + (jitter === 0 ? 0 : Math.floor(this.#random.next() * RANDOM_RANGE) % jitter);
    }
    return undefined;
  }

  #intervalOf(header: RateLimitHeader, text: string | undefined): number | undefined {
    if (text === undefined || !/^[0-9]{1,12}$/.test(text)) return undefined;
    const seconds = Number(text);
    if (header.format === 'seconds') return seconds * 1000;
    return seconds * 1000 - this.#clock.wallTime();
  }
}
