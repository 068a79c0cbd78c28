import { afterAll, beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import type { BreakerConfig } from '../../../src/config/cluster.ts';
import { Attempt } from '../../../src/core/call.ts';
import type { FailureKind } from '../../../src/core/failure.ts';
import { CallFlag, failure, FAILURES } from '../../../src/core/failure.ts';
import type { Handler } from '../../../src/core/handler.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { Breaker } from '../../../src/resilience/breaker.ts';
import { FakeClock, settle } from '../../../src/testing/fake-clock.ts';
import { ScriptedRandom } from '../../../src/testing/seeded-random.ts';
import type { Answer } from './fakes.ts';
import { FarSide, startedCall } from './fakes.ts';

// opossum's reset timer is the one timer that is not on our clock.
beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] }));
afterAll(() => void vi.useRealTimers());

const CONFIG: BreakerConfig = { errorThresholdPercentage: 50, volumeThreshold: 4, resetTimeoutMs: 10_000, windowMs: 10_000 };

function setUp(config: Partial<BreakerConfig> = {}, random = 0.5) {
  const clock = new FakeClock();
  const breaker = new Breaker('reviews', { ...CONFIG, ...config }, { clock, random: new ScriptedRandom(random), log: silentLogger });
  onTestFinished(() => {
    breaker.close();
    expect(clock.pending).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });
  const make = (answer: Answer) => {
    const far = new FarSide(clock, [answer]);
    const attempt = new Attempt(startedCall(clock), 1);
    return { attempt, far, reply: breaker.layer().wrap(far).handle(attempt) };
  };
  const send = async (answer: Answer) => {
    const { attempt, reply } = make(answer);
    const head = await reply;
    attempt.end(head.status, head.grpcStatus, head.failure);
    return head;
  };
  const sendAll = async (...answers: readonly Answer[]): Promise<void> => {
    for (const answer of answers) await send(answer);
  };
  return { clock, breaker, make, send, sendAll };
}

const OK: Answer = { status: 200 };
const BAD: Answer = { status: 503 };

test('opens when more than the threshold failed, and not before the volume is there', async () => {
  const { breaker, sendAll, send } = setUp();
  await sendAll(BAD, BAD, BAD);
  expect(breaker.state).toBe('closed');
  const last = await send(BAD);
  expect(last.status).toBe(503);
  expect(last.failure).toBeUndefined();
  expect(breaker.state).toBe('open');
});

test('stays closed at the threshold itself', async () => {
  const { breaker, sendAll } = setUp();
  await sendAll(OK, OK, OK, BAD, BAD, BAD);
  expect(breaker.state).toBe('closed');
  await sendAll(BAD);
  expect(breaker.state).toBe('open');
});

test('open: attempts are turned away at once with breaker_open and do not reach the upstream', async () => {
  const { breaker, sendAll, make } = setUp();
  await sendAll(BAD, BAD, BAD, BAD);
  const { attempt, far, reply } = make(OK);
  expect((await reply).failure?.kind).toBe(FAILURES.breakerOpen);
  expect(far.attempts).toHaveLength(0);
  expect(attempt.call.flags).toBe(CallFlag.breakerRejected);
  expect(breaker.rejected).toBe(1);
});

test.each<[string, Answer, boolean]>([
  ['a 5xx', { status: 500 }, true],
  ['a 4xx', { status: 429 }, false],
  ['gRPC UNAVAILABLE', { grpcStatus: 14 }, true],
  ['gRPC NOT_FOUND', { grpcStatus: 5 }, false],
  ...(
    [
      'connectionFailure',
      'resetBeforeResponse',
      'perTryTimeout',
      'responseTimeout',
      'deadlineExceeded',
      'protocolError',
      'tlsFailure',
    ] as const
  ).map((name): [string, Answer, boolean] => [name, { fails: FAILURES[name] }, true]),
  ...(['remoteDisconnect', 'upstreamOverflow', 'noHealthyUpstream', 'rbacDenied', 'draining'] as const).map(
    (name): [string, Answer, boolean] => [name, { fails: FAILURES[name] }, false],
  ),
])('%s counts: %#', async (_name, answer, counts) => {
  const { breaker, sendAll, send } = setUp();
  await sendAll(answer, answer, answer, answer);
  expect(breaker.state).toBe(counts ? 'open' : 'closed');
  const shown = await send(answer);
  expect(shown.failure?.kind).toBe(counts ? FAILURES.breakerOpen : answer.fails);
});

test('half-open after the reset time: one probe, the others are turned away; its success closes', async () => {
  const { breaker, clock, sendAll, make, send } = setUp();
  await sendAll(BAD, BAD, BAD, BAD);
  vi.advanceTimersByTime(9999);
  expect(breaker.state).toBe('open');
  vi.advanceTimersByTime(1);
  expect(breaker.state).toBe('half-open');
  const probe = make({ status: 200, afterMs: 100 });
  expect((await send(OK)).failure?.kind).toBe(FAILURES.breakerOpen);
  await clock.advance(100);
  expect((await probe.reply).status).toBe(200);
  expect(breaker.state).toBe('closed');
  expect((await send(OK)).status).toBe(200);
  probe.attempt.end(200, undefined, undefined);
});

test.each<[string, FailureKind | undefined]>([
  ['a failure', FAILURES.connectionFailure],
  ['a 5xx', undefined],
  ['an abort of the caller, which proves nothing', FAILURES.remoteDisconnect],
])('half-open: %s opens again', async (_name, fails) => {
  const { breaker, sendAll, send } = setUp();
  await sendAll(BAD, BAD, BAD, BAD);
  vi.advanceTimersByTime(10_000);
  const reply = await send(fails === undefined ? BAD : { fails });
  expect(reply.failure?.kind).toBe(fails);
  await settle();
  expect(breaker.state).toBe('open');
  vi.advanceTimersByTime(10_000);
  expect(breaker.state).toBe('half-open');
});

test('half-open: a probe that hangs opens again after 15 s, and its caller still gets what comes', async () => {
  const { breaker, clock, sendAll, make } = setUp();
  await sendAll(BAD, BAD, BAD, BAD);
  vi.advanceTimersByTime(10_000);
  const probe = make({ status: 200, afterMs: 20_000 });
  await clock.advance(14_999);
  expect(breaker.state).toBe('half-open');
  await clock.advance(1);
  expect(breaker.state).toBe('open');
  await clock.advance(5000);
  expect((await probe.reply).status).toBe(200);
  expect(breaker.state).toBe('open');
  probe.attempt.end(200, undefined, undefined);
});

test.each([
  [0, 8000],
  [0.999_999, 12_000],
])('the reset time has 20 %% of jitter, drawn by breaker (random %d)', async (random, expected) => {
  const { breaker, sendAll } = setUp({}, random);
  await sendAll(BAD, BAD, BAD, BAD);
  vi.advanceTimersByTime(expected - 1);
  expect(breaker.state).toBe('open');
  vi.advanceTimersByTime(1);
  expect(breaker.state).toBe('half-open');
});

test('the window rolls: old failures count no more', async () => {
  const { breaker, clock, sendAll } = setUp();
  await sendAll(BAD, BAD, BAD);
  await clock.advance(10_000);
  await sendAll(OK, OK, OK, BAD);
  expect(breaker.state).toBe('closed');
  const still = setUp();
  await still.sendAll(BAD, BAD, BAD);
  await still.clock.advance(8_000);
  await still.sendAll(OK, BAD);
  expect(still.breaker.state).toBe('open');
});

test('the timer of the window rests when nothing has been sent for a window', async () => {
  const { clock, send } = setUp();
  expect(clock.pending).toBe(0);
  await send(OK);
  expect(clock.pending).toBe(1);
  await clock.advance(20_000);
  expect(clock.pending).toBe(0);
  await send(OK);
  expect(clock.pending).toBe(1);
});

test('turned-away attempts do not thin out the error rate', async () => {
  const { breaker, sendAll, send } = setUp();
  await sendAll(BAD, BAD, BAD, BAD);
  for (let i = 0; i < 50; i++) await send(OK);
  expect(breaker.rejected).toBe(50);
  vi.advanceTimersByTime(10_000);
  await sendAll(OK, BAD);
  expect(breaker.state).toBe('open'); // 5 of 6 in the window, not 5 of 56
});

test('a layer below that throws is not hidden', async () => {
  const { breaker } = setUp();
  const boom = new Error('boom');
  const throwing: Handler<Attempt> = { handle: () => Promise.reject(boom) };
  await expect(
    breaker
      .layer()
      .wrap(throwing)
      .handle(new Attempt(startedCall(new FakeClock()), 1)),
  ).rejects.toBe(boom);
});

test('a closed breaker lets everything pass', async () => {
  const { breaker, sendAll, send } = setUp();
  await sendAll(BAD, BAD, BAD, BAD);
  breaker.close();
  expect((await send(OK)).status).toBe(200);
});

test('has a step: a route with it still runs its first attempt without promises', () => {
  expect(setUp().breaker.layer().step).toBeDefined();
  expect(failure(FAILURES.breakerOpen, '').kind.flag).toBe('UO');
});
