/** What is counted, in plain fields and typed arrays: an increment costs nanoseconds, and exporters read when they like. */

/** Buckets double from 64 µs to about 2 minutes; a latency falls into the first whose bound is not below it. */
export const LATENCY_BUCKETS = 22;
const FIRST_BOUND_US = 64;

/** Upper bounds in seconds, without the last (infinite) bucket. */
export const LATENCY_BOUNDS_SECONDS: readonly number[] = Object.freeze(
  Array.from({ length: LATENCY_BUCKETS - 1 }, (_, i) => (FIRST_BOUND_US * 2 ** i) / 1e6),
);

/** Index of the bucket for a latency in milliseconds: by the position of the highest bit, so without a search. */
export function latencyBucket(ms: number): number {
  const us = Math.ceil(ms * 1000);
  if (us <= FIRST_BOUND_US) return 0;
  const index = 32 - Math.clz32(Math.min(us - 1, 0x7fff_ffff) >>> 6);
  return index < LATENCY_BUCKETS ? index : LATENCY_BUCKETS - 1;
}

export class Histogram {
  readonly counts = new Float64Array(LATENCY_BUCKETS);
  count = 0;
  sumMs = 0;

  record(ms: number): void {
    const index = latencyBucket(ms);
    this.counts[index] = (this.counts[index] ?? 0) + 1;
    this.count++;
    this.sumMs += ms;
  }

  /** Upper bound in ms of the bucket in which the quantile falls; 0 without data. */
  quantileMs(quantile: number): number {
    const rank = quantile * this.count;
    let seen = 0;
    for (let i = 0; i < LATENCY_BUCKETS; i++) {
      seen += this.counts[i] ?? 0;
      if (seen >= rank && seen > 0) return (LATENCY_BOUNDS_SECONDS[i] ?? Number.POSITIVE_INFINITY) * 1000;
    }
    return 0;
  }
}

/** Counters of one route and cluster in one direction. Totals outlive plans: cells are kept by label. */
export class CallCell {
  started = 0;
  ended = 0;
  /** By hundreds: index 2 for 2xx; index 0 for calls without a status. */
  readonly byClass = new Float64Array(6);
  readonly byGrpcStatus = new Map<number, number>();
  /** By response flag, or details where Envoy has no flag. */
  readonly failures = new Map<string, number>();
  readonly latency = new Histogram();
  attempts = 0;
  retries = 0;
  readonly attemptFailures = new Map<string, number>();
}

export function increment<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
