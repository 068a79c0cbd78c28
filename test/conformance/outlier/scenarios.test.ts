/** Outlier detection against Envoy's rules H-1 to H-7 (reference envoy.md 4.1), one scenario per rule, on simulated time. */
import { describe, expect, test } from 'vitest';
import type { OutlierConfig } from '../../../src/config/cluster.ts';
import { Attempt } from '../../../src/core/call.ts';
import type { FailureKind } from '../../../src/core/failure.ts';
import { failure, FAILURES } from '../../../src/core/failure.ts';
import { silentLogger } from '../../../src/core/log.ts';
import type { Random } from '../../../src/core/random.ts';
import { OutlierDetector } from '../../../src/resilience/outlier-detection.ts';
import { successThreshold } from '../../../src/resilience/outlier-statistics.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';
import { ScriptedRandom } from '../../../src/testing/seeded-random.ts';
import { FakeHost, hosts } from '../../unit/balancing/hosts.ts';
import { startedCall } from '../../unit/resilience/fakes.ts';

/** Envoy's defaults, with a limit that lets a test eject. */
const CONFIG: OutlierConfig = {
  consecutive5xx: 5,
  enforcingConsecutive5xx: 100,
  consecutiveGatewayFailure: 5,
  enforcingConsecutiveGatewayFailure: 0,
  consecutiveLocalOriginFailure: 5,
  enforcingConsecutiveLocalOriginFailure: 100,
  splitExternalLocalOriginErrors: false,
  intervalMs: 10_000,
  baseEjectionTimeMs: 30_000,
  maxEjectionTimeMs: 300_000,
  maxEjectionTimeJitterMs: 0,
  maxEjectionPercent: 100,
  alwaysEjectOneHost: false,
  successRate: undefined,
  failurePercentage: undefined,
};

type Outcome = number | FailureKind | { readonly grpc: number } | { readonly sent: FailureKind };

function setUp(config: Partial<OutlierConfig> = {}, count = 2, random: Random = new ScriptedRandom(0)) {
  const clock = new FakeClock();
  let list: readonly FakeHost[] = hosts(count);
  let changes = 0;
  const detector = new OutlierDetector(
    { ...CONFIG, ...config },
    {
      get endpoints() {
        return list;
      },
      ejectionsChanged: () => void changes++,
    },
    { clock, random, log: silentLogger },
  );
  const finish = (host: FakeHost, outcome: Outcome): void => {
    const attempt = new Attempt(startedCall(clock), 1);
    attempt.endpoint = host;
    attempt.begin(clock.now());
    if (typeof outcome === 'number') attempt.end(outcome, undefined, undefined);
    else if ('grpc' in outcome) attempt.end(200, outcome.grpc, undefined);
    else {
      if ('sent' in outcome) attempt.markSent();
      const kind = 'sent' in outcome ? outcome.sent : outcome;
      attempt.end(kind.httpStatus, kind.grpcStatus, failure(kind, ''));
    }
    detector.onAttemptEnd(attempt);
  };
  const finishAll = (host: FakeHost, outcome: Outcome, times: number): void => {
    for (let i = 0; i < times; i++) finish(host, outcome);
  };
  return {
    clock,
    detector,
    finish,
    finishAll,
    first: list[0]!,
    list: () => list,
    replace: (next: readonly FakeHost[]) => (list = next),
    changes: () => changes,
  };
}

describe('in a row (H-1, H-2)', () => {
  test('five 5xx eject, four do not, and the change is told', () => {
    const { first, finish, finishAll, changes } = setUp();
    finishAll(first, 500, 4);
    expect([first.ejected, changes()]).toEqual([false, 0]);
    finish(first, 503);
    expect([first.ejected, changes()]).toEqual([true, 1]);
  });

  test('one reply below 500 starts the count anew', () => {
    const { first, finish, finishAll } = setUp();
    finishAll(first, 500, 4);
    finish(first, 404);
    finishAll(first, 500, 4);
    expect(first.ejected).toBe(false);
  });

  test.each<[string, Outcome, boolean]>([
    ['connection failure is 503', FAILURES.connectionFailure, true],
    ['TLS failure is 503', FAILURES.tlsFailure, true],
    ['reset is 503', FAILURES.resetBeforeResponse, true],
    ['per-try timeout is 504', FAILURES.perTryTimeout, true],
    ['route timeout is 504', FAILURES.responseTimeout, true],
    ['gRPC deadline is 504', FAILURES.deadlineExceeded, true],
    ['gRPC UNAVAILABLE is 503', { grpc: 14 }, true],
    ['gRPC INTERNAL is 500', { grpc: 13 }, true],
    ['gRPC NOT_FOUND is 404', { grpc: 5 }, false],
    ['gRPC OK is 200', { grpc: 0 }, false],
    ['the abort of a caller says nothing', FAILURES.remoteDisconnect, false],
    ['overflow says nothing', FAILURES.upstreamOverflow, false],
  ])('%s', (_name, outcome, ejects) => {
    const { first, finishAll } = setUp();
    finishAll(first, outcome, 5);
    expect(first.ejected).toBe(ejects);
  });

  test('what says nothing does not start the count anew either', () => {
    const { first, finish, finishAll } = setUp();
    finishAll(first, 500, 4);
    finish(first, FAILURES.remoteDisconnect);
    finish(first, 500);
    expect(first.ejected).toBe(true);
  });

  test('gateway failures: 502, 503, 504 only; another 5xx starts their count anew', () => {
    const { first, finish, finishAll } = setUp({ enforcingConsecutiveGatewayFailure: 100, consecutive5xx: 0 });
    finishAll(first, 502, 4);
    finish(first, 500);
    finishAll(first, 504, 4);
    expect(first.ejected).toBe(false);
    finish(first, 503);
    expect(first.ejected).toBe(true);
  });

  test('a detection that is not enforced is counted, and counts from 0 again', () => {
    const { first, detector, finishAll } = setUp({ enforcingConsecutive5xx: 0 });
    finishAll(first, 500, 10);
    expect([first.ejected, detector.unenforced, detector.ejections]).toEqual([false, 2, 0]);
  });

  test('enforcing is a percentage', () => {
    const eject = (random: number): boolean => {
      const { first, finishAll } = setUp({ enforcingConsecutive5xx: 40 }, 2, new ScriptedRandom(random));
      finishAll(first, 500, 5);
      return first.ejected;
    };
    expect([eject(0.39), eject(0.4)]).toEqual([true, false]);
  });

  test('0 in a row is off', () => {
    const { first, finishAll } = setUp({ consecutive5xx: 0 });
    finishAll(first, 500, 50);
    expect(first.ejected).toBe(false);
  });
});

describe('split of local and external origin (H-2)', () => {
  test('local failures count apart from replies', () => {
    const { first, finish, finishAll } = setUp({ splitExternalLocalOriginErrors: true });
    finishAll(first, FAILURES.connectionFailure, 4);
    finishAll(first, 500, 4);
    expect(first.ejected).toBe(false);
    finish(first, 500);
    expect(first.ejected).toBe(true);
  });

  test('five connection failures in a row eject; a request that got its connection starts the count anew', () => {
    const one = setUp({ splitExternalLocalOriginErrors: true });
    one.finishAll(one.first, FAILURES.connectionFailure, 5);
    expect(one.first.ejected).toBe(true);
    const other = setUp({ splitExternalLocalOriginErrors: true });
    other.finishAll(other.first, FAILURES.connectionFailure, 4);
    other.finish(other.first, 200);
    other.finishAll(other.first, FAILURES.connectionFailure, 4);
    expect(other.first.ejected).toBe(false);
  });

  test('a reset after the connection stood follows its success', () => {
    const { first, finishAll } = setUp({ splitExternalLocalOriginErrors: true });
    finishAll(first, { sent: FAILURES.resetBeforeResponse }, 20);
    expect(first.ejected).toBe(false);
  });
});

describe('limits (H-7, D5)', () => {
  test.each([
    [10, 9, {}, 0],
    [10, 10, {}, 1],
    [10, 19, {}, 1],
    [10, 20, {}, 2],
    [50, 4, {}, 2],
    [100, 3, {}, 3],
    [0, 5, {}, 0],
    [10, 3, { alwaysEjectOneHost: true }, 1],
    [0, 3, { alwaysEjectOneHost: true }, 1],
  ])('at most %i %% of %i hosts %o: %i', (maxEjectionPercent, count, more, expected) => {
    const { list, detector, finishAll } = setUp({ maxEjectionPercent, ...more }, count);
    for (const host of list()) finishAll(host, 500, 5);
    expect(list().filter((host) => host.ejected)).toHaveLength(expected);
    expect(detector.ejections + detector.overflows).toBe(count);
  });

  test('the limit follows the hosts of the cluster', () => {
    const { list, replace, finishAll } = setUp({ maxEjectionPercent: 50 }, 2);
    finishAll(list()[0]!, 500, 5);
    finishAll(list()[1]!, 500, 5);
    expect(list().map((host) => host.ejected)).toEqual([true, false]);
    replace([...list(), ...hosts(4).slice(2)]);
    finishAll(list()[1]!, 500, 5);
    expect(list().map((host) => host.ejected)).toEqual([true, true, false, false]);
  });
});

describe('time (H-5, H-6)', () => {
  test('an ejection lasts base · n, and is ended by a sweep', async () => {
    const { clock, first, finishAll, changes } = setUp();
    finishAll(first, 500, 5);
    await clock.advance(29_999);
    expect(first.ejected).toBe(true);
    await clock.advance(1);
    expect([first.ejected, changes()]).toEqual([false, 2]);
    finishAll(first, 500, 5);
    await clock.advance(59_999);
    expect(first.ejected).toBe(true);
    await clock.advance(1);
    expect(first.ejected).toBe(false);
  });

  test('healthy intervals take the multiplier back', async () => {
    const { clock, first, finishAll } = setUp();
    finishAll(first, 500, 5);
    await clock.advance(30_000 + 10_000);
    expect(first.ejected).toBe(false);
    finishAll(first, 500, 5);
    await clock.advance(30_000);
    expect(first.ejected).toBe(false);
  });

  test('max_ejection_time caps it', async () => {
    const { clock, first, finishAll } = setUp({ maxEjectionTimeMs: 40_000 });
    for (const expected of [30_000, 40_000, 40_000]) {
      finishAll(first, 500, 5);
      await clock.advance(expected - 1);
      expect(first.ejected).toBe(true);
      await clock.advance(1);
      expect(first.ejected).toBe(false);
    }
  });

  test('jitter is drawn at the ejection: random mod (jitter + 1)', async () => {
    const { clock, first, finishAll } = setUp({ maxEjectionTimeJitterMs: 19_999 }, 2, new ScriptedRandom(0, 0.999_999));
    finishAll(first, 500, 5);
    await clock.advance(49_000);
    expect(first.ejected).toBe(true);
    await clock.advance(1000);
    expect(first.ejected).toBe(false);
  });

  test('the end of an ejection starts all counts anew', async () => {
    const { clock, first, finishAll } = setUp({ consecutiveGatewayFailure: 8, enforcingConsecutiveGatewayFailure: 100 });
    finishAll(first, 503, 7);
    await clock.advance(30_000);
    finishAll(first, 503, 4);
    expect(first.ejected).toBe(false);
  });

  test('the timer runs only while there is traffic or an ejection', async () => {
    const { clock, first, finish, finishAll } = setUp();
    expect(clock.pending).toBe(0);
    finish(first, 200);
    expect(clock.pending).toBe(1);
    await clock.advance(20_000);
    expect(clock.pending).toBe(0);
    finishAll(first, 500, 5);
    await clock.advance(29_000);
    expect(clock.pending).toBe(1);
    await clock.advance(60_000);
    expect(clock.pending).toBe(0);
  });

  test('close leaves no timer and counts no more', () => {
    const { clock, detector, first, finish, finishAll } = setUp();
    finish(first, 200);
    detector.close();
    finishAll(first, 500, 5);
    expect([clock.pending, first.ejected]).toEqual([0, false]);
  });
});

describe('statistics (H-3, H-4)', () => {
  const successRate = { minimumHosts: 5, requestVolume: 100, stdevFactor: 1900, enforcing: 100 };
  const failurePercentage = { threshold: 85, minimumHosts: 5, requestVolume: 50, enforcing: 100 };

  test('golden: 50, 100, 100, 100, 100 gives 52', () => {
    expect(successThreshold([50, 100, 100, 100, 100], 1900)).toBeCloseTo(52, 10);
  });

  /** `rates`: successes of 100 attempts by host; failures never five in a row. */
  async function ejectedAfterSweep(config: Partial<OutlierConfig>, rates: readonly number[], volume = 100): Promise<boolean[]> {
    const { clock, list, finish } = setUp({ consecutive5xx: 0, ...config }, rates.length);
    rates.forEach((rate, index) => {
      for (let i = 0; i < volume; i++) finish(list()[index]!, i < (rate * volume) / 100 ? 200 : 500);
    });
    await clock.advance(10_000);
    return list().map((host) => host.ejected);
  }

  test.each<[string, Partial<OutlierConfig>, readonly number[], number, readonly boolean[]]>([
    ['success rate: the one far below the others', { successRate }, [50, 100, 100, 100, 100], 100, [true, false, false, false, false]],
    ['success rate: nobody when all are alike', { successRate }, [60, 60, 60, 60, 60], 100, [false, false, false, false, false]],
    ['success rate: too few hosts', { successRate }, [0, 100, 100, 100], 100, [false, false, false, false]],
    ['success rate: too few attempts', { successRate }, [50, 100, 100, 100, 100], 98, [false, false, false, false, false]],
    [
      'success rate: not enforced',
      { successRate: { ...successRate, enforcing: 0 } },
      [50, 100, 100, 100, 100],
      100,
      [false, false, false, false, false],
    ],
    ['failure percentage: at the threshold', { failurePercentage }, [15, 16, 100, 100, 100], 100, [true, false, false, false, false]],
    ['failure percentage: all of them', { failurePercentage }, [0, 0, 0, 0, 0], 100, [true, true, true, true, true]],
    ['failure percentage: too few hosts', { failurePercentage }, [0, 0, 0, 0], 100, [false, false, false, false]],
    [
      'both name one host: it is ejected once',
      { successRate, failurePercentage },
      [0, 100, 100, 100, 100],
      100,
      [true, false, false, false, false],
    ],
    ['neither is configured', {}, [0, 100, 100, 100, 100], 100, [false, false, false, false, false]],
  ])('%s', async (_name, config, rates, volume, expected) => {
    expect(await ejectedAfterSweep(config, rates, volume)).toEqual(expected);
  });

  test('each interval is judged on its own', async () => {
    const { clock, list, finish } = setUp({ consecutive5xx: 0, failurePercentage: { ...failurePercentage, minimumHosts: 1 } }, 1);
    for (let i = 0; i < 49; i++) finish(list()[0]!, 500);
    await clock.advance(10_000);
    for (let i = 0; i < 49; i++) finish(list()[0]!, 500);
    await clock.advance(10_000);
    expect(list()[0]?.ejected).toBe(false);
    for (let i = 0; i < 50; i++) finish(list()[0]!, 500);
    await clock.advance(10_000);
    expect(list()[0]?.ejected).toBe(true);
  });
});

describe('endpoints that come and go', () => {
  test('an endpoint that returns to its address while ejected is ejected, and its time goes on', async () => {
    const { clock, first, list, replace, finish, finishAll, changes } = setUp();
    finishAll(first, 500, 5);
    replace([list()[1]!]);
    await clock.advance(20_000);
    const back = new FakeHost(0);
    replace([back, list()[0]!]);
    finish(back, 200);
    expect([back.ejected, changes()]).toEqual([true, 2]);
    await clock.advance(10_000);
    expect(back.ejected).toBe(false);
  });

  test('a detector with a new configuration takes over what is ejected, and ends it', async () => {
    const { clock, detector, first, list, finishAll } = setUp();
    finishAll(first, 500, 5);
    detector.close();
    expect(first.ejected).toBe(true);
    const next = new OutlierDetector(
      { ...CONFIG, baseEjectionTimeMs: 10_000 },
      { endpoints: list(), ejectionsChanged: () => undefined },
      { clock, random: new ScriptedRandom(0), log: silentLogger },
    );
    await clock.advance(10_000);
    expect(first.ejected).toBe(false);
    await clock.advance(60_000);
    expect(clock.pending).toBe(0);
    next.close();
  });
});
