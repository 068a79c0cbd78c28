/**
 * The one shape of the data path: handlers wrapped by layers (tower's `Service` and `Layer`). A layer that only does something
 * before the exchange, or only looks at the reply head, says so with a `Step`; a stack made of steps can run without a promise.
 */
import type { Reply, ReplyHead } from './reply.ts';

export interface Handler<T> {
  /** Always resolves, with a failure as a value; a rejection is a bug or a user layer's exception. */
  handle(subject: T): Promise<Reply>;
}

/** The waiting-free form of a layer. Everything in it is synchronous. */
export interface Step<T> {
  /** Before the exchange. A reply ends the call (or the attempt) here: nothing below runs. */
  enter(subject: T): Reply | undefined;
  /** When a head came back from below, also a failure's; may change its headers. */
  leave?(subject: T, head: ReplyHead): void;
}

export interface Layer<T> {
  readonly name: string;
  /** Present when the layer never waits; then `wrap` does exactly what the step says. */
  readonly step?: Step<T>;
  wrap(next: Handler<T>): Handler<T>;
}

class StepHandler<T> implements Handler<T> {
  readonly #step: Step<T>;
  readonly #next: Handler<T>;
  constructor(step: Step<T>, next: Handler<T>) {
    this.#step = step;
    this.#next = next;
  }
  handle(subject: T): Promise<Reply> {
    const answered = this.#step.enter(subject);
    if (answered === undefined) return this.#step.leave === undefined ? this.#next.handle(subject) : this.#leave(subject);
    this.#step.leave?.(subject, answered);
    return Promise.resolve(answered);
  }
  async #leave(subject: T): Promise<Reply> {
    const reply = await this.#next.handle(subject);
    this.#step.leave?.(subject, reply);
    return reply;
  }
}

/** A layer from a step: the usual way to write one that never waits. */
export function stepLayer<T>(name: string, step: Step<T>): Layer<T> {
  return { name, step, wrap: (next) => new StepHandler(step, next) };
}

/** Wraps `innermost` in `layers`, the first being the outermost. */
export function stack<T>(layers: readonly Layer<T>[], innermost: Handler<T>): Handler<T> {
  return layers.reduceRight((next, layer) => layer.wrap(next), innermost);
}

/** The steps of `layers` if every one has a step, else undefined: such a stack may run without promises. */
export function stepsOf<T>(layers: readonly Layer<T>[]): readonly Step<T>[] | undefined {
  const steps: Step<T>[] = [];
  for (const layer of layers) {
    if (layer.step === undefined) return undefined;
    steps.push(layer.step);
  }
  return steps;
}
