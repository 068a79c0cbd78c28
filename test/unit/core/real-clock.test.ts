import { expect, test } from 'vitest';
import { sleep } from '../../../src/core/clock.ts';
import { RealClock } from '../../../src/core/real-clock.ts';

const recorder = (log: string[], name: string) => ({ onAlarm: (): void => void log.push(name) });

test('alarms fire in order of their due times, cleared ones never', async () => {
  const clock = new RealClock();
  const log: string[] = [];
  clock.set(recorder(log, 'b'), 20);
  clock.set(recorder(log, 'a'), 5);
  const cleared = clock.set(recorder(log, 'x'), 5);
  clock.set(recorder(log, 'a2'), 5);
  clock.clear(cleared);
  clock.clear(cleared);
  await sleep(clock, 60);
  expect(log).toEqual(['a', 'a2', 'b']);
});

test('a timer set by an alarm of the same delay fires later, not at once', async () => {
  const clock = new RealClock();
  const times: number[] = [];
  const start = clock.now();
  clock.set(
    {
      onAlarm: () => {
        times.push(clock.now() - start);
        clock.set({ onAlarm: () => void times.push(clock.now() - start) }, 10);
      },
    },
    10,
  );
  await sleep(clock, 80);
  expect(times).toHaveLength(2);
  expect(times[0]).toBeGreaterThanOrEqual(9);
  expect(times[1]).toBeGreaterThanOrEqual(19);
});

test('an alarm without delay fires after one turn of the event loop, and can be cleared', async () => {
  const clock = new RealClock();
  for (const background of [false, true]) {
    const fired: string[] = [];
    clock.set({ onAlarm: () => void fired.push('first') }, 0, background);
    const cleared = clock.set({ onAlarm: () => void fired.push('cleared') }, 0, background);
    clock.clear(cleared);
    expect(fired).toEqual([]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(fired).toEqual(['first']);
    clock.clear(clock.set({ onAlarm: () => void fired.push('alone') }, 0, background));
    await new Promise((resolve) => setImmediate(resolve));
    expect(fired).toEqual(['first']);
  }
});

test('an abort ends a sleep', async () => {
  const clock = new RealClock();
  const abort = new AbortController();
  const slept = sleep(clock, 60_000, abort.signal);
  abort.abort();
  await slept;
  expect(true).toBe(true);
});

test('an alarm that throws does not stop the ones behind it', async () => {
  const clock = new RealClock();
  const log: string[] = [];
  const seen = new Promise<unknown>((resolve) => {
    const others = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.once('uncaughtException', (error) => {
      for (const other of others) process.on('uncaughtException', other);
      resolve(error);
    });
  });
  clock.set(
    {
      onAlarm: () => {
        throw new Error('a fault');
      },
    },
    15,
  );
  clock.set(recorder(log, 'behind'), 15);
  expect(String(await seen)).toContain('a fault');
  await sleep(clock, 60);
  expect(log).toEqual(['behind']);
});
