/**
 * Earliest deadline first: the weighted schedule behind weighted round robin, weighted least request and locality weights (Envoy 3.5).
 * It knows only indexes and weights. A binary heap over typed arrays: picking is O(log n) and allocates nothing.
 */
import type { Random } from '../core/random.ts';

/** Virtual time that a new schedule may start at, so that entries with a weight below 1 are spread too. */
const START_SPAN = 1000;

export class EdfSchedule {
  /** Heap of entries; the root is the next to be picked. */
  readonly #heap: Uint32Array;
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
    this.#heap = new Uint32Array(count);
    this.#deadline = new Float64Array(count);
    this.#order = new Float64Array(count);
    this.#nextOrder = count;
    let total = 0;
    for (let entry = 0; entry < count; entry++) total += weights[entry] ?? 1;
    const start = random.next() * Math.max(1, START_SPAN / total);
    const first = Math.floor(random.next() * count);
    for (let entry = 0; entry < count; entry++) {
      const weight = weights[entry] ?? 1;
      this.#heap[entry] = entry;
      this.#deadline[entry] = (Math.floor(weight * start) + 1) / weight;
      this.#order[entry] = entry >= first ? entry - first : entry + count - first;
    }
    for (let position = (count >> 1) - 1; position >= 0; position--) this.#sink(position);
  }

  /** The entry whose turn it is. */
  get top(): number {
    return this.#heap[0] ?? 0;
  }

  /** Puts the top entry back with the weight that it has now; call once after each use of `top`. */
  requeue(weight: number): void {
    const entry = this.#heap[0] ?? 0;
    this.#deadline[entry] = (this.#deadline[entry] ?? 0) + 1 / weight;
    this.#order[entry] = this.#nextOrder++;
    this.#sink(0);
  }

  #sink(start: number): void {
    const heap = this.#heap;
    const deadline = this.#deadline;
    const order = this.#order;
    const count = heap.length;
    const entry = heap[start] as number;
    const due = deadline[entry] as number;
    const rank = order[entry] as number;
    let position = start;
    for (let child = 2 * position + 1; child < count; child = 2 * position + 1) {
      let candidate = heap[child] as number;
      if (child + 1 < count) {
        const right = heap[child + 1] as number;
        const difference = (deadline[right] as number) - (deadline[candidate] as number);
        if (difference < 0 || (difference === 0 && (order[right] as number) < (order[candidate] as number))) {
          candidate = right;
          child++;
        }
      }
      const difference = (deadline[candidate] as number) - due;
      if (difference > 0 || (difference === 0 && (order[candidate] as number) > rank)) break;
      heap[position] = candidate;
      position = child;
    }
    heap[position] = entry;
  }
}
