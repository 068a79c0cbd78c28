/** Long work gives the event loop a turn, ends with its value or its error, and stops when it is given up. */
import { expect, test } from 'vitest';
import { inSlices } from '../../../src/core/slices.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';

/** Each step takes 2 ms. */
function* work(clock: FakeClock, done: number[], fails = false): Generator<undefined, string> {
  for (let i = 0; i < 10; i++) {
    done.push(i);
    void clock.advance(2);
    yield undefined;
  }
  if (fails) throw new Error('spoilt');
  return 'whole';
}

/** `advance` moves the time after a turn; this one at once. */
class StepClock extends FakeClock {
  #more = 0;
  override now(): number {
    return super.now() + this.#more;
  }
  override async advance(ms: number): Promise<void> {
    this.#more += ms;
  }
  turn(ms: number): Promise<void> {
    return super.advance(ms);
  }
}

test('a turn for others after each slice of 5 ms', async () => {
  const [clock, done]: [StepClock, number[]] = [new StepClock(), []];
  const result = inSlices(work(clock, done), clock);
  expect(done).toHaveLength(3);
  await clock.turn(0);
  expect(await result).toBe('whole');
  expect(done).toHaveLength(10);
  expect(clock.pending).toBe(0);
});

test('what the work throws; given up between two slices', async () => {
  const clock = new StepClock();
  const spoilt = inSlices(work(clock, [], true), clock);
  const failed = expect(spoilt).rejects.toThrow('spoilt');
  await clock.turn(0);
  await failed;
  const [done, stop]: [number[], AbortController] = [[], new AbortController()];
  const given = inSlices(work(clock, done), clock, stop.signal);
  stop.abort(new Error('no longer'));
  await expect(given).rejects.toThrow('no longer');
  expect(done).toHaveLength(3);
  expect(clock.pending).toBe(0);
});
