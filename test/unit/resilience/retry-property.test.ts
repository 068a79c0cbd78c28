/** Random scripts of the far side and of the application: every attempt ends exactly once, and all counters go back to where they were. */
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Attempt } from '../../../src/core/call.ts';
import { failure, FAILURES } from '../../../src/core/failure.ts';
import { stack } from '../../../src/core/handler.ts';
import type { Layer } from '../../../src/core/handler.ts';
import { silentLogger } from '../../../src/core/log.ts';
import type { Observer } from '../../../src/core/observer.ts';
import { LocalBody } from '../../../src/core/reply.ts';
import { admit } from '../../../src/resilience/admission.ts';
import { Retrier } from '../../../src/resilience/retry.ts';
import { attemptTimeLimit, callTimeLimit } from '../../../src/resilience/time-limit.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';
import { SeededRandom } from '../../../src/testing/seeded-random.ts';
import { fakeCluster, hosts } from '../balancing/hosts.ts';
import type { Answer } from './fakes.ts';
import { FarSide, retryPolicy, startedCall, thresholds } from './fakes.ts';

const afterMs = fc.integer({ min: 0, max: 400 });
const answer: fc.Arbitrary<Answer> = fc.oneof(
  fc.record({ status: fc.constantFrom(200, 404, 500, 503) }),
  fc.record({ status: fc.constantFrom(200, 503), afterMs }),
  fc.record({ fails: fc.constantFrom(FAILURES.connectionFailure, FAILURES.resetBeforeResponse, FAILURES.refusedStream), afterMs }),
  fc.constant<Answer>({ never: true }),
  fc.constant<Answer>({ throws: new Error('user layer') }),
);

const script = fc.record({
  calls: fc.array(fc.record({ at: afterMs, cancelAfter: fc.option(fc.integer({ min: 0, max: 900 }), { nil: undefined }) }), {
    minLength: 1,
    maxLength: 8,
  }),
  answers: fc.array(answer, { minLength: 1, maxLength: 12 }),
  numRetries: fc.integer({ min: 0, max: 4 }),
  perTryTimeoutMs: fc.constantFrom(0, 150),
  maxRequests: fc.integer({ min: 1, max: 8 }),
  maxRetries: fc.integer({ min: 0, max: 3 }),
  seed: fc.nat(),
});

test('every call and every attempt ends exactly once, limits hold, counters return to 0, no timer is left', async () => {
  const property = fc.asyncProperty(script, async ({ calls, answers, numRetries, perTryTimeoutMs, maxRequests, maxRetries, seed }) => {
    const clock = new FakeClock();
    const cluster = fakeCluster();
    const limits = thresholds({ maxRequests, maxRetries });
    const ends = new Map<unknown, number>();
    const count = (subject: unknown): unknown => ends.set(subject, (ends.get(subject) ?? 0) + 1);
    const starts = new Set<Attempt>();
    const observer: Observer = { onCallEnd: count, onAttemptEnd: count, onAttemptStart: (attempt) => void starts.add(attempt) };
    const policy = retryPolicy({ on: ['5xx', 'reset', 'connect-failure'], numRetries, perTryTimeoutMs });
    const far = new FarSide(clock, answers, hosts(3));
    const layers = [attemptTimeLimit({} as never, policy), admit(cluster, limits)].filter(
      (layer): layer is Layer<Attempt> => layer !== undefined,
    );
    const retrier = new Retrier(
      policy,
      stack(layers, far),
      { cluster, thresholds: limits },
      { clock, random: new SeededRandom(seed), log: silentLogger },
    );
    const route = stack(
      [callTimeLimit({ timeoutMs: 700, maxStreamDuration: undefined } as never, { maxStreamDurationMs: undefined })],
      retrier,
    );

    const running = calls.map(async ({ at, cancelAfter }) => {
      await new Promise<void>((resolve) => clock.set({ onAlarm: () => resolve() }, at));
      const call = startedCall(clock, { cluster, observer });
      if (cancelAfter !== undefined) clock.set({ onAlarm: () => call.cancel(failure(FAILURES.remoteDisconnect, 'gave up')) }, cancelAfter);
      const reply = await route.handle(call);
      expect(cluster.requests).toBeLessThanOrEqual(maxRequests);
      expect(cluster.retries).toBeLessThanOrEqual(maxRetries);
      expect(call.attempts).toBeLessThanOrEqual(numRetries + 1);
      // The front of an adapter takes the body and ends the call.
      if (!(reply.body instanceof LocalBody)) reply.body.deliver(undefined);
      call.end(reply.status, reply.grpcStatus, reply.failure);
      return call;
    });
    await clock.advance(3000);
    for (const call of await Promise.all(running)) expect(ends.get(call)).toBe(1);
    for (const attempt of far.attempts) {
      expect(attempt.ended).toBe(true);
      expect(ends.get(attempt)).toBe(1);
      expect(attempt.endpoint?.active).toBe(0);
    }
    expect(starts.size).toBe(far.attempts.length);
    expect([cluster.requests, cluster.pending, cluster.retries, clock.pending]).toEqual([0, 0, 0, 0]);
  });
  await fc.assert(property, { numRuns: 120 });
});
