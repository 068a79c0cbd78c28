/** Random: every host with the same chance; host weights do not count (Envoy L-50). */
import type { Random as RandomMessage } from '../proto/gen/envoy/extensions/load_balancing_policies/random/v3/random_pb.js';
import type { AnyMessage, Deps, LbPolicyFactory, ParseContext } from '../core/extension.ts';
import type { Endpoint, HostSet, LbPolicy, Picker } from '../core/endpoint.ts';
import type { Random } from '../core/random.ts';
import { NO_HOSTS } from './host-weights.ts';
import { localityWeightedOption } from './locality-option.ts';

export interface RandomConfig {
  readonly localityWeighted: boolean;
}

class RandomPicker implements Picker {
  readonly #hosts: readonly Endpoint[];
  readonly #random: Random;

  constructor(hosts: readonly Endpoint[], random: Random) {
    this.#hosts = hosts;
    this.#random = random;
  }

  pick(): Endpoint | undefined {
    return this.#hosts[Math.floor(this.#random.next() * this.#hosts.length)];
  }
}

class RandomPolicy implements LbPolicy {
  readonly name = 'random';
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  build({ hosts }: HostSet): Picker {
    return hosts.length === 0 ? NO_HOSTS : new RandomPicker(hosts, this.#random);
  }
}

export const random: LbPolicyFactory<RandomConfig | undefined> = {
  typeUrl: 'type.googleapis.com/envoy.extensions.load_balancing_policies.random.v3.Random',
  name: 'random',
  parse(any: AnyMessage, context: ParseContext): RandomConfig {
    const message = context.unpack<RandomMessage>(any);
    return Object.freeze({ localityWeighted: localityWeightedOption(message.localityLbConfig, context) });
  },
  create(_config: RandomConfig | undefined, deps: Deps): LbPolicy {
    return new RandomPolicy(deps.random);
  },
};
