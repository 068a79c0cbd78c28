/**
 * The runtime: layers of values, later ones win (Envoy X-94). Routes look values up by key while they match, so a changed value counts with the
 * next call and nothing is compiled anew. Where layers come from is the engine's business.
 */
import type { FractionConfig } from '../config/matchers.ts';
import type { RuntimeConfig, RuntimeValue } from '../config/runtime.ts';

export class Runtime {
  #values: ReadonlyMap<string, RuntimeValue> = new Map();
  #generation = 0;

  /** Grows with every update. */
  get generation(): number {
    return this.#generation;
  }

  /** In order; layers that are not there yet are left out. */
  update(layers: readonly (RuntimeConfig['values'] | undefined)[]): void {
    const values = new Map<string, RuntimeValue>();
    for (const layer of layers) for (const [key, value] of Object.entries(layer ?? {})) values.set(key, value);
    this.#values = values;
    this.#generation++;
  }

  /** The values in force. */
  get values(): Readonly<Record<string, RuntimeValue>> {
    return Object.fromEntries(this.#values);
  }

  /** A fraction, or a whole number as percentage; undefined: the key is not set, or is no such thing, and the default counts. */
  fraction(key: string): FractionConfig | undefined {
    const value = this.#values.get(key);
    if (typeof value === 'number') return isCount(value) ? { numerator: value, denominator: 100 } : undefined;
    return typeof value === 'object' ? (value as FractionConfig) : undefined;
  }

  /** A whole number of 0 or more; undefined as above. */
  count(key: string): number | undefined {
    const value = this.#values.get(key);
    return typeof value === 'number' && isCount(value) ? value : undefined;
  }
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
