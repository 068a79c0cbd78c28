/** The addresses of one assignment, to find duplicates: open addressing over numbers for IPv4, which nearly all are. */
import type { PackedHost } from '../../config/packed-endpoint.ts';

const EMPTY = -1;
const NO_SLOTS = new Float64Array(0);

/** Up to this number they are compared one by one: most assignments are short. */
const FEW = 12;

export class AddressSet {
  #few: number[] | undefined = [];
  #slots = NO_SLOTS;
  #count = 0;
  #others: Set<string> | undefined;

  /** False when it was there already. */
  add(host: PackedHost, port: number): boolean {
    if (typeof host === 'string') {
      const others = (this.#others ??= new Set<string>());
      const before = others.size;
      return others.add(`${host} ${port}`).size > before;
    }
    const key = (host >>> 0) * 65_536 + port;
    if (this.#few !== undefined) {
      if (this.#few.includes(key)) return false;
      if (this.#few.push(key) > FEW) this.#leaveFew(this.#few);
      return true;
    }
    if (!this.#insert(key)) return false;
    if (++this.#count * 2 > this.#slots.length) this.#grow();
    return true;
  }

  #leaveFew(few: readonly number[]): void {
    this.#few = undefined;
    this.#slots = new Float64Array(64).fill(EMPTY);
    for (const key of few) this.#insert(key);
    this.#count = few.length;
  }

  #insert(key: number): boolean {
    const mask = this.#slots.length - 1;
    // Multiplying spreads neighbours; the high half of the product is mixed in so that the address counts and not only the port.
    const high = Math.floor(key / 65_536);
    let at = ((Math.imul(high, 0x9e37_79b1) ^ (high >>> 15)) + Math.imul(key & 0xffff, 0x85eb_ca6b)) >>> 0;
    at = (at ^ (at >>> 16)) & mask;
    for (;;) {
      const slot = this.#slots[at];
      if (slot === EMPTY) {
        this.#slots[at] = key;
        return true;
      }
      if (slot === key) return false;
      at = (at + 1) & mask;
    }
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Float64Array(old.length * 4).fill(EMPTY);
    for (const key of old) if (key !== EMPTY) this.#insert(key);
  }
}
