/** Chance in routing: fractions (Envoy D3, R-20) and weighted clusters, from one random value per call. */
import type { FractionConfig } from '../config/matchers.ts';
import type { RequestHead } from '../core/call.ts';
import type { Random } from '../core/random.ts';
import type { Runtime } from './runtime.ts';

const TWO_32 = 4_294_967_296;

/** Spreads an unsigned 32-bit value (the finaliser of MurmurHash3), so that draws of one call are independent. */
function scramble(value: number): number {
  let x = value >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x85eb_ca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2_ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/**
 * The random value of one call, 32 bits. HTTP: the first eight hex digits of `x-request-id` where there are some, so that the choice
 * is the same on every hop (R-20, O-2), else chance. gRPC: chance (gRFC A28).
 */
export function randomValue(head: RequestHead, random: Random): number {
  if (head.protocol === 'http') {
    const id = head.headers.get('x-request-id');
    if (id !== undefined && /^[0-9a-fA-F]{8}/.test(id)) return Number.parseInt(id.slice(0, 8), 16);
  }
  return Math.floor(random.next() * TWO_32);
}

/**
 * Whether `fraction` lets this call through. For HTTP every fraction and the weighted choice share the value, as in Envoy; for gRPC
 * each draws on its own, as gRPC's implementations do, which `salt` (the route's place in the table) provides.
 */
export function passes(fraction: FractionConfig, value: number, protocol: RequestHead['protocol'], salt: number): boolean {
  const drawn = protocol === 'grpc' ? scramble(value ^ scramble(salt + 1)) : value;
  return drawn % fraction.denominator < fraction.numerator;
}

/** Cumulative half-open intervals in list order; the entry for a call is a binary search. */
export class WeightedChoice {
  readonly #upTo: Float64Array;
  readonly #total: number;

  /** At least one above 0. */
  constructor(weights: readonly number[]) {
    this.#upTo = new Float64Array(weights.length);
    let sum = 0;
    weights.forEach((weight, index) => {
      sum += weight;
      this.#upTo[index] = sum;
    });
    this.#total = sum;
  }

  /** Index of the chosen entry. */
  choose(value: number, protocol: RequestHead['protocol']): number {
    const drawn = protocol === 'grpc' ? scramble(value) : value;
    // `mod` over 32 bits would favour low intervals where the total comes near 2^32; scaling does not.
    const point = this.#total > 0xff_ffff ? Math.floor((drawn / TWO_32) * this.#total) : drawn % this.#total;
    let low = 0;
    let high = this.#upTo.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (point < (this.#upTo[middle] ?? 0)) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

const MAX_TOTAL = 0xffff_ffff;

/** Weights that the runtime may change, cluster by cluster (`runtime_key_prefix`); compiled again only when the runtime has changed. */
export class RuntimeWeights {
  readonly #runtime: Runtime;
  readonly #keys: readonly string[];
  readonly #weights: readonly number[];
  readonly #configured: WeightedChoice;
  #inForce: WeightedChoice;
  #generation = -1;

  constructor(runtime: Runtime, keys: readonly string[], weights: readonly number[], configured: WeightedChoice) {
    this.#runtime = runtime;
    this.#keys = keys;
    this.#weights = weights;
    this.#configured = configured;
    this.#inForce = configured;
  }

  /** The configured weights where those of the runtime add up to nothing, or to more than 32 bits. */
  current(): WeightedChoice {
    const { generation } = this.#runtime;
    if (generation === this.#generation) return this.#inForce;
    this.#generation = generation;
    const weights = this.#keys.map((key, index) => this.#runtime.count(key) ?? this.#weights[index] ?? 0);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const same = weights.every((weight, index) => weight === this.#weights[index]);
    return (this.#inForce = same || total === 0 || total > MAX_TOTAL ? this.#configured : new WeightedChoice(weights));
  }
}
