/** Who waits for the configuration to change: calls before their first answer, `ready()`, `close()`. */
import type { Alarm, Clock } from './core/clock.ts';
import type { Awaited } from './core/target.ts';

/** One of them; also what cancelling a waiting call reaches. */
export class Waiter implements Alarm {
  readonly woken: Promise<boolean>;
  #resolve: ((changed: boolean) => void) | undefined;
  constructor() {
    this.woken = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }
  wake(): void {
    this.#resolve?.(true);
  }
  onAlarm(): void {
    this.#resolve?.(false);
  }
  cancel(): void {
    this.#resolve?.(false);
  }
}

export class Waiters {
  readonly #clock: Clock;
  readonly #waiting = new Set<Waiter>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  wake(): void {
    const waiters = [...this.#waiting];
    this.#waiting.clear();
    for (const waiter of waiters) waiter.wake();
  }

  /** True when something changed, false when `deadline` passed. */
  async wait(deadline: number, waiter = new Waiter()): Promise<boolean> {
    this.#waiting.add(waiter);
    const timer = this.#clock.set(waiter, Math.max(0, deadline - this.#clock.now()));
    const changed = await waiter.woken;
    this.#clock.clear(timer);
    this.#waiting.delete(waiter);
    return changed;
  }
}

/** How long one call waits: for its configuration as a whole, and for each thing that it asked for by itself. */
export class Patience {
  /** When it is over, in milliseconds of the clock. */
  until: number;
  readonly #clock: Clock;
  readonly #limit: number;
  #awaited: Awaited | undefined;

  constructor(clock: Clock, limit: number) {
    this.#clock = clock;
    this.#limit = limit;
    this.until = limit;
  }

  get awaited(): Awaited | undefined {
    return this.#awaited;
  }

  /** The call waits for `next` now; undefined: for its listener or routes. Time begins anew only when that is something else. */
  for(next: Awaited | undefined): void {
    if (this.#awaited?.what !== next?.what)
      this.until = next === undefined ? this.#limit : Math.min(this.#limit, this.#clock.now() + next.timeoutMs);
    this.#awaited = next;
  }
}
