/**
 * Time as an argument: the `Clock` interface that every wait in inmesh goes through.
 * The real clock is in `real-clock.ts`, the simulated one in `testing/fake-clock.ts`.
 */

/** Something that waits. An object and not a closure, so that a waiting thing can be its own alarm. */
export interface Alarm {
  onAlarm(): void;
}

/** A set alarm; opaque to everybody but the clock that made it. */
export interface Timer {
  readonly due: number;
}

export interface Clock {
  /** Monotonic milliseconds, with fractions; only differences mean anything. */
  now(): number;
  /** Milliseconds since the Unix epoch. */
  wallTime(): number;
  /**
   * Calls `alarm.onAlarm()` once after `delayMs`. A `background` timer does not keep the process alive;
   * use it wherever something else (a socket) already does, or where nothing would be lost. `now` saves reading the time where the caller
   * has just done so.
   */
  set(alarm: Alarm, delayMs: number, background?: boolean, now?: number): Timer;
  /** Forgets a timer; harmless when it has fired or was cleared before. */
  clear(timer: Timer): void;
}

class Sleeper implements Alarm {
  #resolve: (() => void) | undefined;
  readonly promise: Promise<void>;
  constructor() {
    this.promise = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }
  onAlarm(): void {
    this.#resolve?.();
  }
}

/** Resolves after `delayMs`, or at once when `signal` aborts (the caller looks at the signal). */
export async function sleep(clock: Clock, delayMs: number, signal?: AbortSignal, background = false): Promise<void> {
  if (signal?.aborted) return;
  const sleeper = new Sleeper();
  const timer = clock.set(sleeper, delayMs, background);
  const wake = (): void => {
    clock.clear(timer);
    sleeper.onAlarm();
  };
  signal?.addEventListener('abort', wake, { once: true });
  try {
    await sleeper.promise;
  } finally {
    signal?.removeEventListener('abort', wake);
  }
}
