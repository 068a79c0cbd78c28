import { expect, test } from 'vitest';
import type { RetryPolicyConfig } from '../../../src/config/routes.ts';
import { HeaderList } from '../../../src/core/headers.ts';
import type { Random } from '../../../src/core/random.ts';
import type { ReplyHead } from '../../../src/core/reply.ts';
import { Backoff } from '../../../src/resilience/backoff.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';
import { ScriptedRandom, SeededRandom } from '../../../src/testing/seeded-random.ts';
import { retryPolicy } from './fakes.ts';

const clock = new FakeClock();
const head = (headers: Readonly<Record<string, string>> = {}): ReplyHead => ({
  status: 503,
  grpcStatus: undefined,
  headers: new HeaderList(Object.entries(headers)),
  failure: undefined,
});
/** Envoy's random number generator returning `value`. */
const integer = (value: number): Random => new ScriptedRandom(value / 2 ** 32);

function pauses(
  policy: Partial<RetryPolicyConfig>,
  random: Random,
  count: number,
  protocol: 'http' | 'grpc' = 'http',
): (number | undefined)[] {
  const backoff = new Backoff(retryPolicy(policy), protocol, random, clock);
  return Array.from({ length: count }, () => backoff.next(head()));
}

test.each([
  [25, 250, 190, [15, 40, 90, 190, 190, 190]],
  [5, 100, 9999, [4, 9, 19, 39, 79, 99, 99]],
  [25, 250, 2 ** 32 - 1, [(2 ** 32 - 1) % 25, (2 ** 32 - 1) % 50, (2 ** 32 - 1) % 100, (2 ** 32 - 1) % 200, (2 ** 32 - 1) % 250]],
  [100, 100, 250, [50, 50, 50]],
])('base %i, cap %i, random %i: Envoy D1, R-72', (baseIntervalMs, maxIntervalMs, random, expected) => {
  expect(pauses({ baseIntervalMs, maxIntervalMs }, integer(random), expected.length)).toEqual(expected);
});

test('gRPC: min(base · 2ⁿ⁻¹, max) times 0.8 to 1.2 (A44)', () => {
  const policy = { baseIntervalMs: 25, maxIntervalMs: 150 };
  expect(pauses(policy, new ScriptedRandom(0), 5, 'grpc')).toEqual([20, 40, 80, 120, 120]);
  pauses(policy, new ScriptedRandom(0.999_999), 5, 'grpc').forEach((pause, index) =>
    expect(pause).toBeCloseTo([30, 60, 120, 180, 180][index] ?? 0, 2),
  );
  pauses(policy, new SeededRandom(3), 3, 'grpc').forEach((pause, index) => {
    expect(pause).toBeGreaterThanOrEqual(20 * 2 ** index);
    expect(pause).toBeLessThan(30 * 2 ** index);
  });
});

test('grpc-retry-pushback-ms replaces the pause and starts the curve anew; anything else in it ends the retries (A6)', () => {
  const backoff = new Backoff(retryPolicy({}), 'grpc', new ScriptedRandom(0.5), clock);
  expect(backoff.next(head())).toBe(25);
  expect(backoff.next(head())).toBe(50);
  expect(backoff.next(head({ 'grpc-retry-pushback-ms': '7' }))).toBe(7);
  expect(backoff.next(head())).toBe(25);
  expect(backoff.next(head({ 'grpc-retry-pushback-ms': '0' }))).toBe(0);
  expect(backoff.next(head({ 'grpc-retry-pushback-ms': '-1' }))).toBeUndefined();
  expect(backoff.next(head({ 'grpc-retry-pushback-ms': 'soon' }))).toBeUndefined();
});

test('an HTTP call does not listen to grpc-retry-pushback-ms', () => {
  expect(new Backoff(retryPolicy({}), 'http', integer(190), clock).next(head({ 'grpc-retry-pushback-ms': '-1' }))).toBe(15);
});

const nowSeconds = Math.floor(clock.wallTime() / 1000);
const rateLimited = (headers: Readonly<Record<string, string>>, random = integer(0)): number | undefined => {
  const rateLimitedBackOff = {
    headers: [
      { name: 'retry-after', format: 'seconds' },
      { name: 'x-reset', format: 'unix-timestamp' },
    ],
    maxIntervalMs: 300_000,
  } as const;
  return new Backoff(retryPolicy({ rateLimitedBackOff }), 'http', random, clock).next(head(headers));
};

test.each<[string, Readonly<Record<string, string>>, number]>([
  ['seconds', { 'retry-after': '3' }, 3000],
  ['a point in time', { 'x-reset': String(nowSeconds + 10) }, (nowSeconds + 10) * 1000 - clock.wallTime()],
  [
    'the first header that makes sense',
    { 'retry-after': 'x', 'x-reset': String(nowSeconds + 10) },
    (nowSeconds + 10) * 1000 - clock.wallTime(),
  ],
  ['the first of two', { 'retry-after': '2', 'x-reset': String(nowSeconds + 10) }, 2000],
  ['too long: the usual back-off (here 0)', { 'retry-after': '301' }, 0],
  ['zero: the usual back-off', { 'retry-after': '0' }, 0],
  ['a point in the past', { 'x-reset': String(nowSeconds - 5) }, 0],
  ['no header', {}, 0],
])('rate-limited back-off (R-65): %s', (_name, headers, expected) => {
  expect(rateLimited(headers)).toBe(expected);
});

test('rate-limited back-off adds random[0, interval/2) and leaves the usual curve alone', () => {
  expect(rateLimited({ 'retry-after': '3' }, integer(1499))).toBe(4499);
  expect(rateLimited({ 'retry-after': '3' }, integer(1500))).toBe(3000);
  const rateLimitedBackOff = { headers: [{ name: 'retry-after', format: 'seconds' }], maxIntervalMs: 300_000 } as const;
  const backoff = new Backoff(retryPolicy({ rateLimitedBackOff }), 'http', integer(190), clock);
  expect(backoff.next(head({ 'retry-after': '3' }))).toBe(3190);
  expect(backoff.next(head())).toBe(15);
});
