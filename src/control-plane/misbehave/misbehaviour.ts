/** A script and the streams that follow it: how often each step is still to be done altogether. */
import type { Clock } from '../../core/clock.ts';
import { patternOf } from '../pattern.ts';
import type { ServerStream } from '../stream.ts';
import type { Port, Running } from './conduct.ts';
import { Conduct } from './conduct.ts';
import type { Step } from './script.ts';
import { typeOf } from './script.ts';

export class Misbehaviour {
  readonly #clock: Clock;
  readonly #conducts = new Set<Conduct>();
  #steps: readonly Running[] = [];

  /** Throws `ERR_MESH_OPTION` for a step on a type that does not exist. */
  constructor(clock: Clock, steps: readonly Step[]) {
    this.#clock = clock;
    this.#steps = start(steps);
  }

  /** Another script, for all streams, from its beginning. Throws as the constructor does. */
  replace(steps: readonly Step[]): void {
    this.#steps = start(steps);
    for (const conduct of this.#conducts) conduct.restart(this.#steps);
  }

  /** The conduct of a new stream, to be begun with that stream and closed with it. */
  open(port: Port): { readonly conduct: Conduct; begin(stream: ServerStream): void; close(): void } {
    const conduct = new Conduct(this.#clock, port);
    return {
      conduct,
      begin: (stream) => {
        this.#conducts.add(conduct);
        conduct.begin(stream, this.#steps);
      },
      close: () => {
        this.#conducts.delete(conduct);
        conduct.close();
      },
    };
  }

  close(): void {
    for (const conduct of this.#conducts) conduct.close();
    this.#conducts.clear();
  }
}

function start(steps: readonly Step[]): readonly Running[] {
  return steps.map((step) => {
    typeOf(step);
    return { step, left: step.times ?? 1, node: step.node === undefined ? undefined : patternOf(step.node) };
  });
}
