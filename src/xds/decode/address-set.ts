/** The addresses of one assignment, to find duplicates: open addressing over numbers for IPv4, which nearly all are. */

const EMPTY = -1;

/** The 32 bits of a dotted quad; -1 for any other text. */
function parseIpv4(host: string): number {
  let value = 0;
  let part = -1;
  let dots = 0;
  for (let i = 0; i < host.length; i++) {
    const code = host.charCodeAt(i);
    if (code === 46) {
      if (part < 0 || ++dots > 3) return -1;
      value = value * 256 + part;
      part = -1;
    } else {
      const digit = code - 48;
      // A leading zero would make two texts of one address.
      if (digit < 0 || digit > 9 || part === 0) return -1;
      part = part < 0 ? digit : part * 10 + digit;
      if (part > 255) return -1;
    }
  }
  return dots === 3 && part >= 0 ? value * 256 + part : -1;
}

export class AddressSet {
  #slots = new Float64Array(64).fill(EMPTY);
  #count = 0;
  readonly #others = new Set<string>();

  /** False when it was there already. */
  add(host: string, port: number): boolean {
    const ip = parseIpv4(host);
    if (ip < 0) {
      const before = this.#others.size;
      return this.#others.add(`${host} ${port}`).size > before;
    }
    if (!this.#insert(ip * 65_536 + port)) return false;
    if (++this.#count * 2 > this.#slots.length) this.#grow();
    return true;
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
