/**
 * Round robin: by index where all weights are equal, by an EDF schedule where they are not (Envoy L-30 to L-33).
 * Slow start (L-51) is not done.
 */
import type { RoundRobin as RoundRobinMessage } from '../proto/gen/envoy/extensions/load_balancing_policies/round_robin/v3/round_robin_pb.js';
import type { AnyMessage, Deps, LbPolicyFactory, ParseContext } from '../core/extension.ts';
import type { Endpoint, HostSet, LbPolicy, Picker } from '../core/endpoint.ts';
import type { Random } from '../core/random.ts';
import { EdfSchedule } from './edf.ts';
import { NO_HOSTS, unequalWeights } from './host-weights.ts';
import { localityWeightedOption } from './locality-option.ts';

export interface RoundRobinConfig {
  readonly localityWeighted: boolean;
}

class RoundRobinPicker implements Picker {
  readonly #hosts: readonly Endpoint[];
  #index: number;

  constructor(hosts: readonly Endpoint[], index: number) {
    this.#hosts = hosts;
    this.#index = index;
  }

  /** The place in the sequence, carried over to the next picker (L-30: the index survives updates). */
  get index(): number {
    return this.#index;
  }

  pick(): Endpoint | undefined {
    const index = this.#index;
    this.#index = (index + 1) & 0x3fff_ffff;
    return this.#hosts[index % this.#hosts.length];
  }
}

/** Shared with least request, whose weights without bias are static too. */
export class WeightedPicker implements Picker {
  readonly #hosts: readonly Endpoint[];
  readonly #weights: Float64Array;
  readonly #schedule: EdfSchedule;

  constructor(hosts: readonly Endpoint[], weights: Float64Array, random: Random) {
    this.#hosts = hosts;
    this.#weights = weights;
    this.#schedule = new EdfSchedule(weights, random);
  }

  pick(): Endpoint | undefined {
    const entry = this.#schedule.top;
    this.#schedule.requeue(this.#weights[entry] as number);
    return this.#hosts[entry];
  }
}

class RoundRobin implements LbPolicy {
  readonly name = 'round_robin';
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  build({ hosts }: HostSet, previous: Picker | undefined): Picker {
    if (hosts.length === 0) return NO_HOSTS;
    const weights = unequalWeights(hosts);
    if (weights !== undefined) return new WeightedPicker(hosts, weights, this.#random);
    return new RoundRobinPicker(
      hosts,
      previous instanceof RoundRobinPicker ? previous.index : Math.floor(this.#random.next() * 0x3fff_ffff),
    );
  }
}

export const roundRobin: LbPolicyFactory<RoundRobinConfig | undefined> = {
  typeUrl: 'type.googleapis.com/envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin',
  name: 'round_robin',
  parse(any: AnyMessage, context: ParseContext): RoundRobinConfig {
    const message = context.unpack<RoundRobinMessage>(any);
    if (message.slowStartConfig !== undefined) context.unsupported('slow_start_config');
    return Object.freeze({ localityWeighted: localityWeightedOption(message.localityLbConfig, context) });
  },
  create(_config: RoundRobinConfig | undefined, deps: Deps): LbPolicy {
    return new RoundRobin(deps.random);
  },
};
