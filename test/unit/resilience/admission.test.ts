import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Attempt } from '../../../src/core/call.ts';
import { admit } from '../../../src/resilience/admission.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';
import { fakeCluster } from '../balancing/hosts.ts';
import { startedCall, thresholds } from './fakes.ts';

const clock = new FakeClock();

function setUp(limits: Parameters<typeof thresholds>[0]) {
  const cluster = fakeCluster();
  const layer = admit(cluster, thresholds(limits));
  const enter = () => {
    const attempt = new Attempt(startedCall(clock), 1);
    return { attempt, reply: layer.step?.enter(attempt) };
  };
  return { cluster, enter, layer };
}

test('admits max_requests attempts and not one more, in the same turn (peer defect 11)', () => {
  const { cluster, enter } = setUp({ maxRequests: 2 });
  const results = Array.from({ length: 5 }, enter);
  expect(results.map(({ reply }) => reply?.failure?.kind.details)).toEqual([
    undefined,
    undefined,
    'upstream_overflow',
    'upstream_overflow',
    'upstream_overflow',
  ]);
  expect(results[2]?.reply?.headers.get('x-envoy-overloaded')).toBe('true');
  expect(results[2]?.reply?.failure?.message).toContain('max_requests 2');
  expect(cluster.requests).toBe(2);
  results[0]?.attempt.end(200, undefined, undefined);
  expect(cluster.requests).toBe(1);
  expect(enter().reply).toBeUndefined();
});

test('max_pending_requests counts attempts that have no connection yet', () => {
  const { cluster, enter } = setUp({ maxPendingRequests: 1 });
  const first = enter();
  expect(enter().reply?.failure?.message).toContain('max_pending_requests 1');
  first.attempt.markSent();
  expect([cluster.requests, cluster.pending]).toEqual([1, 0]);
  expect(enter().reply).toBeUndefined();
  expect([cluster.requests, cluster.pending]).toEqual([2, 1]);
});

test('an attempt that was turned away gives nothing back', () => {
  const { cluster, enter } = setUp({ maxRequests: 0 });
  enter().attempt.end(503, 14, undefined);
  expect([cluster.requests, cluster.pending]).toEqual([0, 0]);
});

test('is a step, so that it can run without promises', () => {
  expect(setUp({}).layer.step).toBeDefined();
});

test('whatever happens in whatever order, limits hold and the counters return to 0', () => {
  const event = fc.constantFrom('enter', 'sent', 'end', 'end again');
  const property = fc.property(
    fc.array(fc.tuple(event, fc.nat()), { maxLength: 200 }),
    fc.integer({ min: 0, max: 5 }),
    fc.integer({ min: 0, max: 3 }),
    (events, maxRequests, maxPendingRequests) => {
      const { cluster, enter } = setUp({ maxRequests, maxPendingRequests });
      const attempts: Attempt[] = [];
      for (const [name, which] of events) {
        const attempt = attempts[which % Math.max(1, attempts.length)];
        if (name === 'enter') attempts.push(enter().attempt);
        else if (name === 'sent') attempt?.markSent();
        else attempt?.end(200, undefined, undefined);
        expect(cluster.requests).toBeGreaterThanOrEqual(cluster.pending);
        expect(cluster.requests).toBeLessThanOrEqual(maxRequests);
        expect(cluster.pending).toBeGreaterThanOrEqual(0);
        expect(cluster.pending).toBeLessThanOrEqual(maxPendingRequests);
      }
      for (const attempt of attempts) attempt.end(200, undefined, undefined);
      expect([cluster.requests, cluster.pending]).toEqual([0, 0]);
    },
  );
  fc.assert(property, { numRuns: 300 });
});
