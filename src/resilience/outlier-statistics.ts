/** The two statistics of an outlier sweep: success rate against the other hosts, failure percentage on its own (Envoy H-3, H-4). */
import type { OutlierConfig } from '../config/cluster.ts';

/** What the last interval said about one host. */
export interface HostSample {
  readonly lastTotal: number;
  readonly lastSuccesses: number;
}

const rateOf = (sample: HostSample): number => (100 * sample.lastSuccesses) / sample.lastTotal;

/** Mean minus factor times the population's standard deviation, in percent; `stdevFactor` is in thousandths. */
export function successThreshold(rates: readonly number[], stdevFactor: number): number {
  const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
  const variance = rates.reduce((sum, rate) => sum + (rate - mean) ** 2, 0) / rates.length;
  return mean - (stdevFactor / 1000) * Math.sqrt(variance);
}

export function successOutliers<T extends HostSample>(
  hosts: readonly T[],
  config: NonNullable<OutlierConfig['successRate']>,
): readonly T[] {
  const judged = hosts.filter((host) => host.lastTotal >= Math.max(1, config.requestVolume));
  if (judged.length === 0 || judged.length < config.minimumHosts) return [];
  const threshold = successThreshold(judged.map(rateOf), config.stdevFactor);
  return judged.filter((host) => rateOf(host) < threshold);
}

export function failureOutliers<T extends HostSample>(
  hosts: readonly T[],
  config: NonNullable<OutlierConfig['failurePercentage']>,
): readonly T[] {
  const judged = hosts.filter((host) => host.lastTotal >= Math.max(1, config.requestVolume));
  if (judged.length === 0 || judged.length < config.minimumHosts) return [];
  return judged.filter((host) => 100 - rateOf(host) >= config.threshold);
}
