/** The little statistics that the demo's checks rest on. */

export interface Bound {
  readonly low: number;
  readonly high: number;
}

/** Standard deviations that a fair split stays within, but for once in about 16 000 runs. */
const DEVIATIONS = 4;

/** Shares that `count` independent draws with probability `p` may show. Normal approximation, good where `count * p` is above 20. */
export function binomialBound(count: number, p: number): Bound {
  const spread = count === 0 ? 1 : DEVIATIONS * Math.sqrt((p * (1 - p)) / count);
  return { low: Math.max(0, p - spread), high: Math.min(1, p + spread) };
}

export function within(value: number, { low, high }: Bound): boolean {
  return value >= low && value <= high;
}

/** Nearest rank; NaN of nothing. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * p) - 1))] ?? Number.NaN;
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
