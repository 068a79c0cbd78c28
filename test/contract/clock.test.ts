/** One suite for every `Clock` (core/clock.ts): the one that waits and the simulated one that all other tests trust. */
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { sleep } from '../../src/core/clock.ts';
import type { Alarm, Clock, Timer } from '../../src/core/clock.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import { FakeClock } from '../../src/testing/fake-clock.ts';

interface Harness {
  readonly clock: Clock;
  /** Lets at least so much time go by. */
  pass(ms: number): Promise<void>;
}

function fake(): Harness {
  const clock = new FakeClock();
  onTestFinished(() => void expect(clock.pending).toBe(0));
  return { clock, pass: (ms) => clock.advance(ms) };
}

function real(): Harness {
  return { clock: new RealClock(), pass: (ms) => new Promise((resolve) => setTimeout(resolve, ms + 15)) };
}

const CLOCKS: readonly (readonly [name: string, make: () => Harness])[] = [
  ['RealClock', real],
  ['FakeClock', fake],
];

class Recorder {
  readonly log: string[] = [];
  alarm(name: string, then?: () => void): Alarm {
    return {
      onAlarm: () => {
        this.log.push(name);
        then?.();
      },
    };
  }
}

describe.each(CLOCKS)('%s', (_name, make) => {
  test('alarms go off once each, by when they are due, never from within `set`', async () => {
    const { clock, pass } = make();
    const recorder = new Recorder();
    clock.set(recorder.alarm('c'), 45);
    clock.set(recorder.alarm('b'), 25);
    clock.set(recorder.alarm('a'), 0);
    expect(recorder.log).toEqual([]);
    await pass(50);
    expect(recorder.log).toEqual(['a', 'b', 'c']);
    await pass(50);
    expect(recorder.log).toHaveLength(3);
  });

  test('none goes off before its time', async () => {
    const { clock, pass } = make();
    const start = clock.now();
    const early: number[] = [];
    const delays = [0, 0.4, 3, 7.5, 20];
    for (const delay of delays) clock.set({ onAlarm: () => void early.push(delay - (clock.now() - start)) }, delay);
    await pass(30);
    expect(early).toHaveLength(delays.length);
    // Node's timers count in whole milliseconds, and half of one is given to those that come together.
    for (const by of early) expect(by).toBeLessThan(1);
  });

  test.each([true, false])('equal delays keep their order (background: %s)', async (background) => {
    const { clock, pass } = make();
    const recorder = new Recorder();
    const names = Array.from({ length: 50 }, (_, i) => String(i));
    for (const name of names) clock.set(recorder.alarm(name), 10, background);
    await pass(20);
    expect(recorder.log).toEqual(names);
  });

  test('an alarm may be set many times at once: each time counts', async () => {
    const { clock, pass } = make();
    const recorder = new Recorder();
    const alarm = recorder.alarm('x');
    const timers = [clock.set(alarm, 10), clock.set(alarm, 10), clock.set(alarm, 20)];
    expect(new Set(timers).size).toBe(3);
    clock.clear(timers[1] as Timer);
    await pass(30);
    expect(recorder.log).toEqual(['x', 'x']);
  });

  test('a cleared one is silent: the first, one in the middle, the last, all; twice is once', async () => {
    for (const gone of [[0], [2], [4], [0, 1], [3, 4], [0, 1, 2, 3, 4]]) {
      const { clock, pass } = make();
      const recorder = new Recorder();
      const timers = [0, 1, 2, 3, 4].map((i) => clock.set(recorder.alarm(String(i)), 5));
      for (const i of [...gone, ...gone]) clock.clear(timers[i] as Timer);
      // The place of a cleared one may be taken again.
      clock.set(recorder.alarm('new'), 5);
      await pass(10);
      expect(recorder.log, `without ${gone.join(' ')}`).toEqual([
        ...['0', '1', '2', '3', '4'].filter((name) => !gone.includes(Number(name))),
        'new',
      ]);
    }
  });

  test('clearing one that has gone off is harmless, also for those set after it', async () => {
    const { clock, pass } = make();
    const recorder = new Recorder();
    const first = clock.set(recorder.alarm('first'), 5);
    await pass(10);
    clock.set(recorder.alarm('second'), 5);
    clock.clear(first);
    clock.clear(first);
    await pass(10);
    expect(recorder.log).toEqual(['first', 'second']);
  });

  test('an alarm may clear another that is due with it, and itself', async () => {
    const { clock, pass } = make();
    const recorder = new Recorder();
    const timers: Timer[] = [];
    timers.push(
      clock.set(
        recorder.alarm('a', () => timers.forEach((timer, i) => i !== 2 && clock.clear(timer))),
        10,
      ),
    );
    timers.push(clock.set(recorder.alarm('b'), 10), clock.set(recorder.alarm('c'), 10), clock.set(recorder.alarm('d'), 10));
    await pass(20);
    expect(recorder.log).toEqual(['a', 'c']);
  });

  test.each([0, 10])('set again from within an alarm, it goes off later, a whole delay of %d ms after', async (delay) => {
    const { clock, pass } = make();
    const times: number[] = [];
    let setting = false;
    const alarm: Alarm = {
      onAlarm: () => {
        expect(setting, 'from within set').toBe(false);
        times.push(clock.now());
        if (times.length === 4) return;
        setting = true;
        clock.set(alarm, delay);
        setting = false;
      },
    };
    clock.set(alarm, delay);
    for (let i = 0; i < 4; i++) await pass(delay);
    expect(times).toHaveLength(4);
    for (let i = 1; i < times.length; i++) expect((times[i] ?? 0) - (times[i - 1] ?? 0)).toBeGreaterThan(delay - 1);
  });

  test('a negative delay is none', async () => {
    const { clock, pass } = make();
    const recorder = new Recorder();
    clock.set(recorder.alarm('x'), -50);
    expect(recorder.log).toEqual([]);
    await pass(1);
    expect(recorder.log).toEqual(['x']);
  });

  test('background timers go off beside the others; a given `now` saves a reading only', async () => {
    const { clock, pass } = make();
    const recorder = new Recorder();
    clock.set(recorder.alarm('background'), 5, true, clock.now());
    clock.set(recorder.alarm('foreground'), 20, false, clock.now());
    clock.set(recorder.alarm('background again'), 35, true, clock.now());
    clock.clear(clock.set(recorder.alarm('cleared'), 5, true, clock.now()));
    await pass(40);
    expect(recorder.log).toEqual(['background', 'foreground', 'background again']);
  });

  test('both times move on together, `now` never backwards', async () => {
    const { clock, pass } = make();
    const [now, wall] = [clock.now(), clock.wallTime()];
    await pass(20);
    const [later, laterWall] = [clock.now() - now, clock.wallTime() - wall];
    expect(later).toBeGreaterThanOrEqual(19);
    // The wall clock of a machine may be set while it runs, but not by the test.
    expect(Math.abs(laterWall - later)).toBeLessThan(1000);
  });

  test('sleep ends in time, or at once when aborted, and leaves no timer', async () => {
    const { clock, pass } = make();
    const log: string[] = [];
    const abort = new AbortController();
    const slept = sleep(clock, 10).then(() => log.push('slept'));
    const aborted = sleep(clock, 60_000, abort.signal).then(() => log.push('aborted'));
    abort.abort();
    await aborted;
    await pass(20);
    await slept;
    await sleep(clock, 60_000, abort.signal);
    expect(log).toEqual(['aborted', 'slept']);
  });

  test('whatever is set and cleared, what is left goes off in the order of what is due', async () => {
    // Few delays, so that queues are shared; far enough apart that a busy machine does not make them one.
    const step = fc.oneof(fc.record({ set: fc.constantFrom(0, 30, 60), background: fc.boolean() }), fc.record({ clear: fc.nat(30) }));
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
        const { clock, pass } = make();
        const recorder = new Recorder();
        const timers: Timer[] = [];
        const expected = new Map<number, { readonly delay: number; readonly background: boolean }>();
        const at = clock.now();
        for (const each of steps) {
          if ('set' in each) {
            expected.set(timers.length, { delay: each.set, background: each.background });
            timers.push(clock.set(recorder.alarm(String(timers.length)), each.set, each.background, at));
          } else if (timers.length > 0) {
            const index = each.clear % timers.length;
            clock.clear(timers[index] as Timer);
            expected.delete(index);
          }
        }
        await pass(60);
        for (const delay of [0, 30, 60]) {
          // Foreground and background of one delay are two queues.
          for (const background of [true, false]) {
            const names = [...expected]
              .filter(([, timer]) => timer.delay === delay && timer.background === background)
              .map(([index]) => String(index));
            expect(recorder.log.filter((name) => names.includes(name))).toEqual(names);
          }
        }
        const delays = recorder.log.map((name) => expected.get(Number(name))?.delay ?? -1);
        expect(delays).toEqual(delays.toSorted((a, b) => a - b));
        expect(recorder.log).toHaveLength(expected.size);
      }),
      { numRuns: 15 },
    );
  });
});

describe('RealClock and the process', () => {
  const program = (line: string): string => `
    const { RealClock } = await import(${JSON.stringify(new URL('../../src/core/real-clock.ts', import.meta.url).href)});
    const clock = new RealClock();
    const say = (text) => ({ onAlarm: () => process.stdout.write(text) });
    ${line}`;
  const outputOf = (line: string): { readonly output: string; readonly code: number | null } => {
    const { stdout, status } = spawnSync(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', program(line)],
      { encoding: 'utf8', timeout: 10_000 },
    );
    return { output: stdout, code: status };
  };

  test.each([
    ['a foreground timer keeps it alive', `clock.set(say('a'), 50);`, 'a'],
    ['a background one does not', `clock.set(say('a'), 600_000, true);`, ''],
    ['nor a cleared one', `clock.clear(clock.set(say('a'), 600_000));`, ''],
    [
      'nor a background one in the wake of a foreground one of the same delay',
      `clock.set(say('a'), 50); clock.set(say('b'), 600_000, true); clock.set(say('c'), 50, true, performance.now() + 600_000);`,
      'a',
    ],
    [
      'one of several foreground timers is enough',
      `const first = clock.set(say('a'), 50); clock.set(say('b'), 50); clock.clear(first);`,
      'b',
    ],
  ])('%s', (_what, line, output) => {
    expect(outputOf(line)).toEqual({ output, code: 0 });
  });
});
