/** Locality-weighted balancing (Envoy 3.3): a locality by its effective weight first, then a host of it by the cluster's policy. */
import type { OutboundCall } from '../core/call.ts';
import type { Endpoint, Picker } from '../core/endpoint.ts';
import type { Random } from '../core/random.ts';
import { EdfSchedule } from './edf.ts';

/**
 * weight · min(1, factor/100 · eligible / hosts): a locality keeps its full weight while enough of it is usable. 0 without a weight
 * (Envoy L-3).
 */
export function effectiveWeight(weight: number | undefined, eligible: number, hosts: number, factor: number): number {
  if (weight === undefined || hosts === 0) return 0;
  return weight * Math.min(1, ((factor / 100) * eligible) / hosts);
}

export class LocalityPicker implements Picker {
  readonly #pickers: readonly Picker[];
  readonly #weights: Float64Array;
  readonly #schedule: EdfSchedule;

  /** `weights` are effective and above 0, one for each picker. */
  constructor(pickers: readonly Picker[], weights: readonly number[], random: Random) {
    this.#pickers = pickers;
    this.#weights = Float64Array.from(weights);
    this.#schedule = new EdfSchedule(this.#weights, random);
  }

  pick(call: OutboundCall): Endpoint | undefined {
    const entry = this.#schedule.top;
    this.#schedule.requeue(this.#weights[entry] as number);
    return (this.#pickers[entry] as Picker).pick(call);
  }
}
