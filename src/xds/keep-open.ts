/** Keeps a stream to a control plane open, with p-retry: gRPC's back-off, which starts anew after a stream that was served (grpc.md §3.7). */
import pRetry from 'p-retry';
import { sleep } from '../core/clock.ts';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';

const BACKOFF_MS = 1_000;
const BACKOFF_FACTOR = 1.6;
const BACKOFF_JITTER = 0.2;
const BACKOFF_MAX_MS = 120_000;

export interface KeepOpenDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/**
 * Until `signal` aborts. `stream` opens one and settles with its end: a stream that had a response resolves, so that the back-off starts
 * anew; one that had none rejects (node.md §2, gRFC A57).
 */
export async function keepOpen(stream: () => Promise<void>, signal: AbortSignal, { clock, random, log }: KeepOpenDeps): Promise<void> {
  while (!signal.aborted) {
    const openedAt = clock.now();
    try {
      await pRetry(stream, {
        retries: Number.POSITIVE_INFINITY,
        minTimeout: 0,
        unref: true,
        signal,
        shouldRetry: async ({ retriesConsumed }) => {
          await sleep(clock, backoffMs(retriesConsumed, random.next()), signal, true);
          return true;
        },
      });
    } catch (error) {
      if (signal.aborted) return;
      // p-retry gives up on a TypeError, which would be a fault of ours: say so and go on.
      log.error('fault in the xDS client', { error: error instanceof Error ? error.stack : String(error) });
    }
    // A stream that lived long is replaced at once; one that did not waits out the first back-off.
    const left = openedAt + backoffMs(0, random.next()) - clock.now();
    if (left > 0) await sleep(clock, left, signal, true);
  }
}

function backoffMs(retries: number, random: number): number {
  return Math.min(BACKOFF_MAX_MS, BACKOFF_MS * BACKOFF_FACTOR ** retries) * (1 + BACKOFF_JITTER * (2 * random - 1));
}
