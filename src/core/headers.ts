/**
 * Headers as a view: adapters implement `HeaderMap` over their library's own storage, lazily and without copying.
 * Names are lower-case on the way in and out; several values of one name are joined with `,` by `get` (Envoy, R-21).
 */

export interface HeaderMap {
  /** All values of `name` joined with `,`, or undefined when the header is absent. */
  get(name: string): string | undefined;
  has(name: string): boolean;
  /** Replaces all values of `name`. */
  set(name: string, value: string): void;
  append(name: string, value: string): void;
  remove(name: string): void;
  /** One pair per value, in order. */
  entries(): Iterable<readonly [name: string, value: string]>;
}

/** A `HeaderMap` of its own, for replies that the mesh gives itself and for tests. */
export class HeaderList implements HeaderMap {
  readonly #pairs: [string, string][];

  constructor(pairs: Iterable<readonly [string, string]> = []) {
    this.#pairs = Array.from(pairs, ([name, value]) => [name.toLowerCase(), value]);
  }

  get(name: string): string | undefined {
    let joined: string | undefined;
    for (const [key, value] of this.#pairs) if (key === name) joined = joined === undefined ? value : `${joined},${value}`;
    return joined;
  }

  has(name: string): boolean {
    return this.#pairs.some(([key]) => key === name);
  }

  set(name: string, value: string): void {
    const first = this.#pairs.findIndex(([key]) => key === name);
    if (first < 0) {
      this.#pairs.push([name, value]);
      return;
    }
    this.#pairs[first] = [name, value];
    for (let index = this.#pairs.length - 1; index > first; index--) if (this.#pairs[index]?.[0] === name) this.#pairs.splice(index, 1);
  }

  append(name: string, value: string): void {
    this.#pairs.push([name, value]);
  }

  remove(name: string): void {
    for (let index = this.#pairs.length - 1; index >= 0; index--) if (this.#pairs[index]?.[0] === name) this.#pairs.splice(index, 1);
  }

  entries(): Iterable<readonly [string, string]> {
    return this.#pairs;
  }
}
