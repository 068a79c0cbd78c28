/** What every bench reports, and the arithmetic behind it: medians, bootstrap intervals, and whether a target holds. */
import { SeededRandom } from '../../src/testing/seeded-random.ts';

export interface BenchRow {
  readonly name: string;
  readonly metric: string;
  readonly value: number;
  /** 95 % interval of `value`. */
  readonly low: number;
  readonly high: number;
  /** The same figure of the baseline against itself, as a ratio: the honest error bar. */
  readonly control: readonly [low: number, high: number];
  /** Absent: only reported. */
  readonly target?: number;
  readonly aim?: number;
  readonly better: 'lower' | 'higher';
  /** True when the whole interval is within the target, false when all of it is beyond, else null. */
  readonly holds: boolean | null;
}

export interface BenchOptions {
  /** Shorter, coarser; says through `progress` what it shortened. */
  readonly quick: boolean;
  progress(text: string): void;
}

export interface Estimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN;
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? high) + high) / 2;
}

/** The statistic over `samples` with a 95 % percentile bootstrap interval; samples are drawn whole, so pairs stay pairs. */
export function estimate<S>(samples: readonly S[], statistic: (samples: readonly S[]) => number, resamples = 1000): Estimate {
  const random = new SeededRandom(samples.length + 1);
  const drawn = Array.from({ length: resamples }, () =>
    statistic(samples.map((_, __, all) => all[Math.floor(random.next() * all.length)]).filter((sample) => sample !== undefined)),
  ).toSorted((a, b) => a - b);
  const at = (share: number): number => drawn[Math.min(drawn.length - 1, Math.floor(share * drawn.length))] ?? Number.NaN;
  return { value: statistic(samples), low: at(0.025), high: at(0.975) };
}

export interface Pair {
  readonly a: number;
  readonly b: number;
}

/** Ratio b / a of the sums, with the pairs of largest and smallest ratio (2.5 % each) left out: one pause ruins no figure. */
export function ratioOfSums(pairs: readonly Pair[]): number {
  const cut = Math.floor(pairs.length * 0.025);
  const kept = pairs.toSorted((x, y) => x.b / x.a - y.b / y.a).slice(cut, pairs.length - cut);
  let [a, b] = [0, 0];
  for (const pair of kept) {
    a += pair.a;
    b += pair.b;
  }
  return b / a;
}

export function holds(found: Estimate, better: BenchRow['better'], target: number | undefined): boolean | null {
  // A figure of nothing is a broken measurement, not a fast one.
  if (target === undefined || !Number.isFinite(found.low) || !Number.isFinite(found.high) || found.value <= 0) return null;
  const [good, bad] = better === 'lower' ? [found.high <= target, found.low > target] : [found.low >= target, found.high < target];
  return good ? true : bad ? false : null;
}

export interface RowSpec {
  readonly name: string;
  readonly metric: string;
  readonly better?: BenchRow['better'];
  readonly target?: number;
  readonly aim?: number;
}

export function benchRow(spec: RowSpec, found: Estimate, control: Estimate | readonly [number, number]): BenchRow {
  const better = spec.better ?? 'lower';
  return {
    name: spec.name,
    metric: spec.metric,
    value: found.value,
    low: found.low,
    high: found.high,
    control: 'low' in control ? [control.low, control.high] : control,
    ...(spec.target === undefined ? {} : { target: spec.target }),
    ...(spec.aim === undefined ? {} : { aim: spec.aim }),
    better,
    holds: holds(found, better, spec.target),
  };
}

/** Four significant digits, for people and for JSON. */
export function rounded(row: BenchRow): BenchRow {
  const short = (value: number): number => Number(value.toPrecision(4));
  return {
    ...row,
    value: short(row.value),
    low: short(row.low),
    high: short(row.high),
    control: [short(row.control[0]), short(row.control[1])],
  };
}

export function shuffled<T>(items: readonly T[], random: { next(): number }): T[] {
  const result = [...items];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random.next() * (i + 1));
    const [a, b] = [result[i], result[j]];
    if (a !== undefined && b !== undefined) [result[i], result[j]] = [b, a];
  }
  return result;
}
