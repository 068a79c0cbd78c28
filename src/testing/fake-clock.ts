/** Simulated time: `advance` fires due alarms in order and lets all promises settle after each. `pending` must be 0 at the end of a test. */
import type { Alarm, Clock, Timer } from '../core/clock.ts';

interface FakeTimer extends Timer {
  readonly alarm: Alarm;
  readonly order: number;
}

/** Lets every promise that can settle do so. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export class FakeClock implements Clock {
  #now: number;
  #order = 0;
  readonly #timers = new Set<FakeTimer>();

  constructor(now = 1_000_000) {
    this.#now = now;
  }

  /** Timers that are set and have not fired. */
  get pending(): number {
    return this.#timers.size;
  }

  now(): number {
    return this.#now;
  }

  wallTime(): number {
    return 1_750_000_000_000 + this.#now;
  }

  set(alarm: Alarm, delayMs: number): Timer {
    const timer: FakeTimer = { due: this.#now + Math.max(0, delayMs), alarm, order: this.#order++ };
    this.#timers.add(timer);
    return timer;
  }

  clear(timer: Timer): void {
    this.#timers.delete(timer as FakeTimer);
  }

  /** Moves time on by `ms`, firing what becomes due, with promises settled before, between and after. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.due);
      next.alarm.onAlarm();
      await settle();
    }
    this.#now = end;
  }

  #next(end: number): FakeTimer | undefined {
    let first: FakeTimer | undefined;
    for (const timer of this.#timers) {
      if (timer.due > end) continue;
      if (first === undefined || timer.due < first.due || (timer.due === first.due && timer.order < first.order)) first = timer;
    }
    return first;
  }
}
