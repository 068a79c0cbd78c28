import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { EdfSchedule } from '../../../src/balancing/edf.ts';
import { ScriptedRandom, SeededRandom } from '../../../src/testing/seeded-random.ts';

/** Virtual time 0, first entry first: Envoy's schedule without its random offset. */
const fromZero = (): ScriptedRandom => new ScriptedRandom(0);

function picks(schedule: EdfSchedule, weights: readonly number[], times: number): number[] {
  return Array.from({ length: times }, () => {
    const entry = schedule.top;
    schedule.requeue(weights[entry] ?? 1);
    return entry;
  });
}

const countsOf = (picked: readonly number[], entries: number): number[] =>
  Array.from({ length: entries }, (_, entry) => picked.filter((p) => p === entry).length);

test('picks each of 128 entries exactly as often as it weighs in one period (Envoy L-32)', () => {
  const weights = Array.from({ length: 128 }, (_, index) => index + 1);
  const picked = picks(new EdfSchedule(weights, fromZero()), weights, 8256);
  expect(countsOf(picked, 128)).toEqual(weights);
});

test('spreads a heavy entry instead of picking it in a row', () => {
  const weights = [1, 1, 4];
  expect(picks(new EdfSchedule(weights, fromZero()), weights, 6)).toEqual([2, 2, 2, 0, 1, 2]);
});

test('gives ties to the entry inserted first, also after they were put back', () => {
  const weights = [2, 2, 2];
  expect(picks(new EdfSchedule(weights, fromZero()), weights, 7)).toEqual([0, 1, 2, 0, 1, 2, 0]);
});

test('is fair from any start: in a period each entry comes as often as it weighs, give or take one', () => {
  const property = fc.property(fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 20 }), fc.nat(), (weights, seed) => {
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const schedule = new EdfSchedule(weights, new SeededRandom(seed));
    for (let period = 0; period < 3; period++) {
      const counts = countsOf(picks(schedule, weights, total), weights.length);
      counts.forEach((count, entry) => expect(Math.abs(count - (weights[entry] ?? 0))).toBeLessThanOrEqual(1));
    }
  });
  fc.assert(property, { numRuns: 150 });
});

test('starts at different entries, so that many processes do not all begin with the first (Envoy L-31)', () => {
  const weights = [1, 1, 1, 1, 2];
  const first = new Set(Array.from({ length: 200 }, (_, seed) => new EdfSchedule(weights, new SeededRandom(seed)).top));
  expect(first).toEqual(new Set([0, 1, 2, 3, 4]));
});

test('follows a weight that changes: an entry that got lighter comes less often', () => {
  const schedule = new EdfSchedule([2, 2], fromZero());
  let first = 0;
  for (let i = 0; i < 300; i++) {
    const entry = schedule.top;
    if (entry === 0) first++;
    schedule.requeue(entry === 0 ? 1 : 2);
  }
  expect(first).toBeGreaterThanOrEqual(99);
  expect(first).toBeLessThanOrEqual(101);
});
