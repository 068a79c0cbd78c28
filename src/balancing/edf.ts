/**
 * Earliest deadline first: the weighted schedule behind weighted round robin, weighted least request and locality weights (Envoy 3.5).
 * It knows only indexes and weights. A binary heap over typed arrays: picking is O(log n) and allocates nothing.
 */
import type { Random } from '../core/random.ts';

/** Virtual time that a new schedule may start at, so that entries with a weight below 1 are spread too. */
const START_SPAN = 1000;

export class EdfSchedule {
  /** A heap in three parallel arrays, so that a comparison reads neighbours in memory; the root is the next to be picked. */
  readonly #entry: Uint32Array;
  readonly #deadline: Float64Array;
  /** Ties go to the entry that was inserted first. */
  readonly #order: Float64Array;
  #nextOrder: number;

  /**
   * `weights` must be above 0. The schedule starts at a random point (Envoy L-31), or else every process would begin with entry 0:
   * at virtual time t an entry of weight w has been picked floor(w·t) times and is next due at (floor(w·t) + 1) / w,
   * which is the state Envoy reaches by picking; entries that are due together begin at a random one of them.
   */
  constructor(weights: ArrayLike<number>, random: Random) {
    const count = weights.length;
    this.#entry = new Uint32Array(count);
    this.#deadline = new Float64Array(count);
    this.#order = new Float64Array(count);
    this.#nextOrder = count;
    let total = 0;
    for (let entry = 0; entry < count; entry++) total += weights[entry] as number;
    const start = random.next() * Math.max(1, START_SPAN / total);
    const first = Math.floor(random.next() * count);
    for (let entry = 0; entry < count; entry++) {
      const weight = weights[entry] as number;
      this.#entry[entry] = entry;
      this.#deadline[entry] = (Math.floor(weight * start) + 1) / weight;
      this.#order[entry] = entry >= first ? entry - first : entry + count - first;
    }
    for (let position = (count >> 1) - 1; position >= 0; position--) {
      this.#sink(position, this.#entry[position] as number, this.#deadline[position] as number, this.#order[position] as number);
    }
  }

  /** The entry whose turn it is. */
  get top(): number {
    return this.#entry[0] as number;
  }

  /** Puts the top entry back with the weight that it has now; call once after each use of `top`. */
  requeue(weight: number): void {
    this.#sink(0, this.#entry[0] as number, (this.#deadline[0] as number) + 1 / weight, this.#nextOrder++);
  }

  /** Places an entry at `position` or below, where it belongs. */
  #sink(start: number, entry: number, due: number, rank: number): void {
    const entries = this.#entry;
    const deadlines = this.#deadline;
    const orders = this.#order;
    const count = entries.length;
    let position = start;
    for (let child = 2 * position + 1; child < count; child = 2 * position + 1) {
      let earliest = deadlines[child] as number;
      if (child + 1 < count) {
        const right = deadlines[child + 1] as number;
        if (right < earliest || (right === earliest && (orders[child + 1] as number) < (orders[child] as number))) {
          earliest = right;
          child++;
        }
      }
      if (earliest > due || (earliest === due && (orders[child] as number) > rank)) break;
      entries[position] = entries[child] as number;
      deadlines[position] = earliest;
      orders[position] = orders[child] as number;
      position = child;
    }
    entries[position] = entry;
    deadlines[position] = due;
    orders[position] = rank;
  }
}
