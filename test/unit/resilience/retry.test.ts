import { expect, onTestFinished, test } from 'vitest';
import type { RetryPolicyConfig } from '../../../src/config/routes.ts';
import type { Attempt } from '../../../src/core/call.ts';
import type { Deps } from '../../../src/core/extension.ts';
import { CallFlag, failure, FAILURES } from '../../../src/core/failure.ts';
import type { Handler } from '../../../src/core/handler.ts';
import { stack } from '../../../src/core/handler.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { failureReply, LocalReply } from '../../../src/core/reply.ts';
import { HeaderList } from '../../../src/core/headers.ts';
import { countAttempts, Retrier, SingleAttempt } from '../../../src/resilience/retry.ts';
import { attemptTimeLimit } from '../../../src/resilience/time-limit.ts';
import { FakeClock, settle } from '../../../src/testing/fake-clock.ts';
import { ScriptedRandom } from '../../../src/testing/seeded-random.ts';
import { fakeCluster, hosts } from '../balancing/hosts.ts';
import type { Answer, CallOptions, FakeReply } from './fakes.ts';
import { FarSide, retryPolicy, startedCall, thresholds } from './fakes.ts';

const ABORT = failure(FAILURES.remoteDisconnect, 'the application gave up');

interface SetUp extends CallOptions {
  readonly policy?: Partial<RetryPolicyConfig>;
  readonly limits?: Parameters<typeof thresholds>[0];
  /** Back-off drawn; 0 by default, so that no time passes. */
  readonly random?: number;
}

function setUp(answers: readonly Answer[], { policy = {}, limits = {}, random = 0, ...options }: SetUp = {}) {
  const clock = new FakeClock();
  const cluster = fakeCluster();
  const far = new FarSide(clock, answers, hosts(3));
  const deps: Deps = { clock, random: new ScriptedRandom(random), log: silentLogger };
  const config = retryPolicy({ numRetries: 3, ...policy });
  const perTry = attemptTimeLimit({} as never, config);
  const retrier = new Retrier(config, stack(perTry === undefined ? [] : [perTry], far), { cluster, thresholds: thresholds(limits) }, deps);
  const call = startedCall(clock, { cluster, ...options });
  onTestFinished(() => {
    expect(clock.pending).toBe(0);
    expect(cluster.retries).toBe(0);
  });
  return { clock, cluster, far, retrier, call };
}

test('a reply that is fine is passed on after one attempt', async () => {
  const { far, retrier, call } = setUp([{ status: 200 }]);
  const reply = await retrier.run(call);
  expect(reply.status).toBe(200);
  expect(far.attempts).toHaveLength(1);
  expect([call.attempts, call.flags]).toEqual([1, 0]);
  expect(call.pending).toBe(far.attempts[0]);
  reply.body.discard();
});

test('tries again until a reply is fine, drops the refused ones, and remembers the endpoints tried', async () => {
  const { far, retrier, call } = setUp([{ status: 503 }, { fails: FAILURES.resetBeforeResponse }, { status: 200 }]);
  const reply = await retrier.run(call);
  expect(reply.status).toBe(200);
  expect(far.attempts.map((attempt) => attempt.number)).toEqual([1, 2, 3]);
  expect((far.replies[0] as FakeReply).discarded).toBe(1);
  expect(call.tried).toEqual([far.attempts[0]?.endpoint, far.attempts[1]?.endpoint]);
  expect([call.attempts, call.flags]).toEqual([3, 0]);
  expect(call.pending).toBe(far.attempts[2]);
  reply.body.discard();
});

test('num_retries is the number of further attempts; the last reply goes to the application whole, with URX', async () => {
  const { far, retrier, call } = setUp([{ status: 503 }], { policy: { numRetries: 2 } });
  const reply = await retrier.run(call);
  expect(reply.status).toBe(503);
  expect(far.attempts).toHaveLength(3);
  expect((reply as FakeReply).discarded).toBe(0);
  expect(call.flags).toBe(CallFlag.retryLimitExceeded);
  reply.body.discard();
});

test('a gRPC call makes five attempts at most (A44)', async () => {
  const { far, retrier, call } = setUp([{ grpcStatus: 14 }], {
    protocol: 'grpc',
    policy: { on: ['unavailable'], numRetries: 10, baseIntervalMs: 0, maxIntervalMs: 0 },
  });
  (await retrier.run(call)).body.discard();
  expect(far.attempts).toHaveLength(5);
});

test('a negative push-back ends the retries with the reply that carried it', async () => {
  const { far, retrier, call } = setUp([{ grpcStatus: 14, headers: { 'grpc-retry-pushback-ms': '-1' } }], {
    protocol: 'grpc',
    policy: { on: ['unavailable'] },
  });
  const reply = await retrier.run(call);
  expect(far.attempts).toHaveLength(1);
  expect((reply as FakeReply).discarded).toBe(0);
  reply.body.discard();
});

test('what the policy does not name is passed on', async () => {
  const { far, retrier, call } = setUp([{ status: 404 }]);
  expect((await retrier.run(call)).status).toBe(404);
  expect(far.attempts).toHaveLength(1);
  far.attempts[0]?.end(404, undefined, undefined);
});

test('a body that cannot be sent again is not', async () => {
  const { far, retrier, call } = setUp([{ status: 503 }], { replayable: false });
  (await retrier.run(call)).body.discard();
  expect(far.attempts).toHaveLength(1);
  expect(call.flags).toBe(0);
});

test('waits the back-off between attempts, on our clock', async () => {
  const { clock, far, retrier, call } = setUp([{ status: 503 }, { status: 503 }, { status: 200 }], { random: 190 / 2 ** 32 });
  const done = retrier.run(call);
  await clock.advance(14);
  expect(far.attempts).toHaveLength(1);
  await clock.advance(1);
  expect(far.attempts).toHaveLength(2);
  await clock.advance(39);
  expect(far.attempts).toHaveLength(2);
  await clock.advance(1);
  expect(far.attempts).toHaveLength(3);
  (await done).body.discard();
});

test('a cancel during the pause ends it at once, with the failure of the cancel', async () => {
  const { clock, far, retrier, call } = setUp([{ status: 503 }], { random: 0.5 });
  const done = retrier.run(call);
  await settle();
  expect(clock.pending).toBe(1);
  call.cancel(ABORT);
  expect((await done).failure).toBe(ABORT);
  expect(far.attempts).toHaveLength(1);
});

test('a call that ended during the pause makes no further attempt', async () => {
  const { clock, far, retrier, call } = setUp([{ status: 503 }], { random: 0.5 });
  const done = retrier.run(call);
  await settle();
  call.end(499, undefined, ABORT);
  await clock.advance(1000);
  expect((await done).failure).toBe(ABORT);
  expect(far.attempts).toHaveLength(1);
});

test('a cancel during an attempt reaches it; its failure is not retried', async () => {
  const { far, retrier, call } = setUp([{ never: true }], { policy: { on: ['5xx', 'reset'] } });
  const done = retrier.run(call);
  await settle();
  call.cancel(ABORT);
  expect((await done).failure).toBe(ABORT);
  expect(far.attempts).toHaveLength(1);
  expect(far.attempts[0]?.ended).toBe(true);
});

test('a call that was cancelled before makes no attempt', async () => {
  const { far, retrier, call } = setUp([{ status: 200 }]);
  call.cancel(ABORT);
  expect((await retrier.run(call)).failure).toBe(ABORT);
  expect((await new SingleAttempt(far).handle(call)).failure).toBe(ABORT);
  expect(far.attempts).toHaveLength(0);
});

test('no retry starts after the deadline', async () => {
  const { clock, far, retrier, call } = setUp([{ status: 503, afterMs: 100 }]);
  call.deadline = clock.now() + 100;
  const done = retrier.run(call);
  await clock.advance(100);
  (await done).body.discard();
  expect(far.attempts).toHaveLength(1);
});

test('a per-try limit fails the attempt, and the next one gets its own time', async () => {
  const { clock, far, retrier, call } = setUp([{ never: true }, { status: 200, afterMs: 30 }], { policy: { perTryTimeoutMs: 50 } });
  const done = retrier.run(call);
  await clock.advance(49);
  expect(far.attempts).toHaveLength(1);
  await clock.advance(1);
  expect(far.attempts).toHaveLength(2);
  expect(far.attempts[0]?.failure?.kind).toBe(FAILURES.perTryTimeout);
  await clock.advance(30);
  const reply = await done;
  expect(reply.status).toBe(200);
  // The head was accepted: a body that takes longer is not cut off.
  expect(clock.pending).toBe(0);
  reply.body.discard();
});

test('a per-try timeout that nothing names is the answer', async () => {
  const { clock, far, retrier, call } = setUp([{ never: true }], { policy: { on: ['connect-failure'], perTryTimeoutMs: 50 } });
  const done = retrier.run(call);
  await clock.advance(50);
  expect((await done).failure?.kind).toBe(FAILURES.perTryTimeout);
  expect(far.attempts).toHaveLength(1);
});

test('max_retries is never overshot, whatever is retried at the same time; the others get their reply and UO', async () => {
  const { clock, cluster, far, retrier } = setUp([{ status: 503, afterMs: 10 }], { policy: { numRetries: 1 }, limits: { maxRetries: 2 } });
  const calls = Array.from({ length: 6 }, () => startedCall(clock, { cluster }));
  const done = Promise.all(calls.map((call) => retrier.run(call)));
  await clock.advance(10);
  expect(cluster.retries).toBe(2);
  expect(far.attempts).toHaveLength(8);
  await clock.advance(10);
  for (const reply of await done) reply.body.discard();
  expect(calls.map((call) => call.flags & CallFlag.retryOverflow).filter((flag) => flag !== 0)).toHaveLength(4);
  expect(calls.map((call) => call.flags & CallFlag.retryLimitExceeded).filter((flag) => flag !== 0)).toHaveLength(2);
});

test('a gRPC call knows no max_retries (gRFC A32 takes max_requests alone); a budget that was asked for counts', async () => {
  const policy = { numRetries: 1, on: ['unavailable' as const] };
  for (const [limits, allowed] of [
    [{ maxRetries: 2 }, 6],
    [{ maxRetries: 2, retryBudget: { percent: 20, minConcurrency: 3 } }, 3],
  ] as const) {
    const { clock, cluster, retrier } = setUp([{ fails: FAILURES.connectionFailure, afterMs: 10 }], { policy, limits });
    const done = Promise.all(Array.from({ length: 6 }, () => retrier.run(startedCall(clock, { cluster, protocol: 'grpc' }))));
    await clock.advance(10);
    expect(cluster.retries).toBe(allowed);
    await clock.advance(100);
    for (const reply of await done) reply.body.discard();
  }
});

test.each([
  [0, 3],
  [10, 3],
  [20, 4],
  [100, 20],
])('a retry budget of 20 %%, at least 3: with %i requests running %i retries', async (requests, allowed) => {
  const { clock, cluster, retrier } = setUp([{ status: 503, afterMs: 10 }], {
    policy: { numRetries: 1 },
    limits: { maxRetries: 0, retryBudget: { percent: 20, minConcurrency: 3 } },
  });
  cluster.requests = requests;
  const done = Promise.all(Array.from({ length: 30 }, () => retrier.run(startedCall(clock, { cluster }))));
  await clock.advance(10);
  expect(cluster.retries).toBe(allowed);
  await clock.advance(10);
  for (const reply of await done) reply.body.discard();
});

test('resume gives the reply back untouched when the budget is gone in between', async () => {
  const { cluster, far, retrier, call } = setUp([{ status: 503 }], { limits: { maxRetries: 1 } });
  const [attempt, reply] = await firstAttempt(far, call);
  expect(retrier.accepts(attempt, reply)).toBe(false);
  cluster.retries = 1;
  expect(await retrier.resume(attempt, reply)).toBe(reply);
  expect((reply as FakeReply).discarded).toBe(0);
  expect(call.flags).toBe(CallFlag.retryOverflow);
  cluster.retries = 0;
  reply.body.discard();
});

async function firstAttempt(far: FarSide, call: ReturnType<typeof startedCall>) {
  let first: Attempt | undefined;
  const reply = await new SingleAttempt({ handle: (attempt) => far.handle((first = attempt)) }).handle(call);
  return [first as unknown as Attempt, reply] as const;
}

test('resume goes on where a direct first attempt was refused', async () => {
  const { far, retrier, call } = setUp([{ status: 503 }, { status: 200 }]);
  const [attempt, reply] = await firstAttempt(far, call);
  expect(retrier.accepts(attempt, reply)).toBe(false);
  const final = await retrier.resume(attempt, reply);
  expect(final.status).toBe(200);
  expect((reply as FakeReply).discarded).toBe(1);
  expect(far.attempts.map(({ number }) => number)).toEqual([1, 2]);
  final.body.discard();
});

test('a layer that throws is a failure of the call, and what it had started is stopped', async () => {
  const boom = new Error('boom');
  const { far, retrier, call } = setUp([{ throws: boom }], { policy: { on: ['5xx', 'reset'] } });
  const reply = await retrier.run(call);
  expect(reply.failure?.kind).toBe(FAILURES.filterFailed);
  expect(reply.failure?.cause).toBe(boom);
  expect(far.attempts).toHaveLength(1);
  expect(far.attempts[0]?.cancelled).toBe(reply.failure);
  expect(far.attempts[0]?.ended).toBe(true);
});

test('an attempt that a layer answered is ended, and not tried again', async () => {
  const attempts: Attempt[] = [];
  const answers: Handler<Attempt> = {
    handle: (attempt) => (attempts.push(attempt), Promise.resolve(failureReply(failure(FAILURES.upstreamOverflow, 'full')))),
  };
  const { cluster, call, clock } = setUp([]);
  const retrier = new Retrier(
    retryPolicy({}),
    answers,
    { cluster, thresholds: thresholds() },
    { clock, random: new ScriptedRandom(0), log: silentLogger },
  );
  expect((await retrier.run(call)).failure?.kind).toBe(FAILURES.upstreamOverflow);
  expect(attempts.map(({ ended, status }) => [ended, status])).toEqual([[true, 503]]);
  const single = await new SingleAttempt({
    handle: (attempt) => (attempts.push(attempt), Promise.resolve(new LocalReply(418, new HeaderList(), 'tea'))),
  }).handle(startedCall(clock));
  expect(single.status).toBe(418);
  expect(attempts[1]?.status).toBe(418);
});

test('countAttempts tells the upstream the number of the attempt (R-69)', async () => {
  const { far, clock, cluster } = setUp([{ status: 503 }, { status: 200 }]);
  const seen: (string | undefined)[] = [];
  const spy: Handler<Attempt> = {
    handle: (attempt) => (seen.push(attempt.call.head.headers.get('x-envoy-attempt-count')), far.handle(attempt)),
  };
  const retrier = new Retrier(
    retryPolicy({}),
    stack([countAttempts()], spy),
    { cluster, thresholds: thresholds() },
    { clock, random: new ScriptedRandom(0), log: silentLogger },
  );
  (await retrier.run(startedCall(clock, { cluster }))).body.discard();
  expect(seen).toEqual(['1', '2']);
});
