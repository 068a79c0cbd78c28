import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Histogram, LATENCY_BOUNDS_SECONDS, LATENCY_BUCKETS, latencyBucket } from '../../../src/telemetry/cells.ts';

test('the bit trick finds the bucket that a search finds', () => {
  const searched = (ms: number): number => {
    const seconds = Math.ceil(ms * 1000) / 1e6;
    const index = LATENCY_BOUNDS_SECONDS.findIndex((bound) => seconds <= bound);
    return index < 0 ? LATENCY_BUCKETS - 1 : index;
  };
  fc.assert(
    fc.property(fc.double({ min: 0, max: 300_000, noNaN: true }), (ms) => {
      expect(latencyBucket(ms)).toBe(searched(ms));
    }),
    { numRuns: 2000 },
  );
  for (const bound of LATENCY_BOUNDS_SECONDS) {
    expect(latencyBucket(bound * 1000)).toBe(searched(bound * 1000));
    expect(latencyBucket(bound * 1000 + 0.001)).toBe(searched(bound * 1000 + 0.001));
  }
});

test('a quantile is the bound of the bucket it falls in', () => {
  const histogram = new Histogram();
  for (let i = 0; i < 99; i++) histogram.record(0.05);
  histogram.record(50);
  expect(histogram.quantileMs(0.5)).toBeCloseTo(0.064);
  expect(histogram.quantileMs(0.999)).toBeCloseTo(65.536);
  expect(histogram.count).toBe(100);
});
