/** Envoy's priority loads and panic against the golden table (reference envoy.md 3.2; from Envoy's own unit tests). */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { priorityLoads } from '../../../src/balancing/priority-loads.ts';

interface Row {
  readonly name: string;
  /** total, healthy, degraded, excluded */
  readonly levels: readonly (readonly number[])[];
  readonly factor?: number;
  readonly threshold?: number;
  readonly healthy: readonly number[];
  readonly degraded?: readonly number[];
  readonly panic: readonly boolean[];
}

const rows = JSON.parse(readFileSync(new URL('loads.json', import.meta.url), 'utf8')) as readonly Row[];

test.each(rows)('$name', ({ levels, factor = 140, threshold = 50, healthy, degraded, panic }) => {
  const counts = levels.map(([total = 0, healthyHosts = 0, degradedHosts = 0, excluded = 0]) => ({
    total,
    healthy: healthyHosts,
    degraded: degradedHosts,
    excluded,
  }));
  expect(priorityLoads(counts, factor, threshold)).toEqual({ healthy, degraded: degraded ?? levels.map(() => 0), panic });
});
