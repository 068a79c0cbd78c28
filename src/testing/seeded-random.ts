/** Repeatable chance (mulberry32). Print the seed when a test fails. */
import type { Random } from '../core/random.ts';

export class SeededRandom implements Random {
  readonly seed: number;
  #state: number;

  constructor(seed = 1) {
    this.seed = seed;
    this.#state = seed >>> 0;
  }

  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  }
}

/** Plays given values in order, then the last one for ever. */
export class ScriptedRandom implements Random {
  readonly #values: readonly number[];
  #index = 0;
  constructor(...values: readonly number[]) {
    this.#values = values;
  }
  next(): number {
    const value = this.#values[Math.min(this.#index, this.#values.length - 1)] ?? 0;
    this.#index++;
    return value;
  }
}
