/** Long work in small pieces, so that calls go on meanwhile: the event loop has a turn whenever a slice of time is over. */
import type { Clock } from './clock.ts';
import { sleep } from './clock.ts';

const SLICE_MS = 5;

/** Runs `steps` to their end; between two steps others may run. Rejects with what they throw, and stops early when `signal` aborts. */
export async function inSlices<T>(steps: Generator<undefined, T>, clock: Clock, signal?: AbortSignal): Promise<T> {
  let until = clock.now() + SLICE_MS;
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    if (clock.now() < until) continue;
    await sleep(clock, 0, signal, true);
    signal?.throwIfAborted();
    until = clock.now() + SLICE_MS;
  }
}
