/** Small proto values as plain ones: durations, fractions, percents, address ranges, data sources. Every number is checked. */
import { isIP } from 'node:net';
import type { Duration } from '@bufbuild/protobuf/wkt';
import type { CidrRange } from '../../proto/gen/envoy/config/core/v3/address_pb.js';
import type { DataSource } from '../../proto/gen/envoy/config/core/v3/base_pb.js';
import type { FractionalPercent } from '../../proto/gen/envoy/type/v3/percent_pb.js';
import type { CidrConfig, FractionConfig } from '../../config/matchers.ts';
import { ConfigProblem } from '../../config/resource.ts';

const MAX_DURATION_SECONDS = 315_576_000_000n;
const DENOMINATORS = [100, 10_000, 1_000_000] as const;

/** Milliseconds with fractions; undefined when not set. An illegal or negative duration is a problem. */
export function milliseconds(duration: Duration | undefined, path: string): number | undefined {
  if (duration === undefined) return undefined;
  const { seconds, nanos } = duration;
  if (seconds < 0n || nanos < 0) throw new ConfigProblem(path, 'the duration must not be negative');
  if (seconds > MAX_DURATION_SECONDS || nanos > 999_999_999) throw new ConfigProblem(path, 'the duration is out of range');
  return Number(seconds) * 1000 + nanos / 1e6;
}

/** The same for a duration that must be above zero where it is set. */
export function positiveMilliseconds(duration: Duration | undefined, path: string): number | undefined {
  const value = milliseconds(duration, path);
  if (value === 0) throw new ConfigProblem(path, 'the duration must be greater than zero');
  return value;
}

export function fraction(percent: FractionalPercent | undefined, path: string): FractionConfig {
  if (percent === undefined) return { numerator: 0, denominator: 100 };
  const denominator = DENOMINATORS[percent.denominator];
  if (denominator === undefined) throw new ConfigProblem(`${path}.denominator`, `unknown denominator ${percent.denominator}`);
  return { numerator: percent.numerator, denominator };
}

/** A whole number from 0 to 100, or `fallback` when not set. */
export function percentage(value: number | undefined, fallback: number, path: string): number {
  if (value === undefined) return fallback;
  if (value > 100) throw new ConfigProblem(path, `${value} is not a percentage: at most 100`);
  return value;
}

/** gRPC rule 13: an illegal address or too long a prefix rejects the resource. */
export function cidr(range: CidrRange, path: string): CidrConfig {
  const family = isIP(range.addressPrefix);
  if (family === 0) throw new ConfigProblem(`${path}.address_prefix`, `"${range.addressPrefix}" is not an IP address`);
  const prefixLength = range.prefixLen ?? 0;
  const limit = family === 4 ? 32 : 128;
  if (prefixLength > limit)
    throw new ConfigProblem(`${path}.prefix_len`, `${prefixLength} is more than ${limit}, the length of such an address`);
  return { address: range.addressPrefix, prefixLength };
}

/** Text given in the resource itself; undefined for a source elsewhere, or for none. */
export function inlineText(source: DataSource): string | undefined {
  const { specifier } = source;
  if (specifier.case === 'inlineString') return specifier.value;
  if (specifier.case === 'inlineBytes') return Buffer.from(specifier.value).toString('utf8');
  return undefined;
}

/** The name of an enum's value as config types spell it; a problem for a number that is not in the list. */
export function enumName<T extends string>(names: readonly T[], value: number, path: string): T {
  const name = names[value];
  if (name === undefined) throw new ConfigProblem(path, `unknown value ${value}`);
  return name;
}
