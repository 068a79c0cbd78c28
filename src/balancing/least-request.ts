/**
 * Least request: the least loaded of a few hosts drawn at random where all weights are equal (Envoy L-40), else an EDF schedule
 * over weight / (active + 1)^bias (L-41). Slow start (L-51) is not done. gRFC A48 limits the draws of a gRPC call to 10.
 */
import type { LeastRequest as LeastRequestMessage } from '../proto/gen/envoy/extensions/load_balancing_policies/least_request/v3/least_request_pb.js';
import { ConfigProblem } from '../config/resource.ts';
import type { OutboundCall } from '../core/call.ts';
import type { AnyMessage, Deps, LbPolicyFactory, ParseContext } from '../core/extension.ts';
import type { Endpoint, HostSet, LbPolicy, Picker } from '../core/endpoint.ts';
import type { Random } from '../core/random.ts';
import { EdfSchedule } from './edf.ts';
import { NO_HOSTS, unequalWeights } from './host-weights.ts';
import { localityWeightedOption } from './locality-option.ts';
import { WeightedPicker } from './round-robin.ts';

export interface LeastRequestConfig {
  /** At least 2, the default. */
  readonly choiceCount: number;
  /** Default 1; 0 makes it weighted round robin. Counts only where weights are unequal. */
  readonly activeRequestBias: number;
  readonly fullScan: boolean;
  readonly localityWeighted: boolean;
}

const DEFAULTS: LeastRequestConfig = Object.freeze({ choiceCount: 2, activeRequestBias: 1, fullScan: false, localityWeighted: false });
const MOST_GRPC_CHOICES = 10;

/** Power of two choices: the usual case, written out. */
class TwoChoicesPicker implements Picker {
  readonly #hosts: readonly Endpoint[];
  readonly #random: Random;

  constructor(hosts: readonly Endpoint[], random: Random) {
    this.#hosts = hosts;
    this.#random = random;
  }

  pick(): Endpoint | undefined {
    const hosts = this.#hosts;
    const first = hosts[Math.floor(this.#random.next() * hosts.length)] as Endpoint;
    const second = hosts[Math.floor(this.#random.next() * hosts.length)] as Endpoint;
    return second.active < first.active ? second : first;
  }
}

class ChoicesPicker implements Picker {
  readonly #hosts: readonly Endpoint[];
  readonly #choices: number;
  readonly #random: Random;

  constructor(hosts: readonly Endpoint[], choices: number, random: Random) {
    this.#hosts = hosts;
    this.#choices = choices;
    this.#random = random;
  }

  pick(call: OutboundCall): Endpoint | undefined {
    const hosts = this.#hosts;
    const choices = call.head.protocol === 'grpc' ? Math.min(this.#choices, MOST_GRPC_CHOICES) : this.#choices;
    let best = hosts[Math.floor(this.#random.next() * hosts.length)] as Endpoint;
    for (let draw = 1; draw < choices; draw++) {
      const candidate = hosts[Math.floor(this.#random.next() * hosts.length)] as Endpoint;
      if (candidate.active < best.active) best = candidate;
    }
    return best;
  }
}

/** FULL_SCAN: O(n) by definition; ties are broken evenly by reservoir sampling. */
class FullScanPicker implements Picker {
  readonly #hosts: readonly Endpoint[];
  readonly #random: Random;

  constructor(hosts: readonly Endpoint[], random: Random) {
    this.#hosts = hosts;
    this.#random = random;
  }

  pick(): Endpoint | undefined {
    let best: Endpoint | undefined;
    let ties = 0;
    for (const host of this.#hosts) {
      if (best === undefined || host.active < best.active) {
        best = host;
        ties = 1;
      } else if (host.active === best.active && this.#random.next() * ++ties < 1) {
        best = host;
      }
    }
    return best;
  }
}

/** Weights that shrink with the load at the moment of the pick. */
class BiasedPicker implements Picker {
  readonly #hosts: readonly Endpoint[];
  readonly #weights: Float64Array;
  readonly #bias: number;
  readonly #schedule: EdfSchedule;

  constructor(hosts: readonly Endpoint[], weights: Float64Array, bias: number, random: Random) {
    this.#hosts = hosts;
    this.#weights = weights;
    this.#bias = bias;
    this.#schedule = new EdfSchedule(
      hosts.map((host, entry) => this.#weightOf(entry, host)),
      random,
    );
  }

  pick(): Endpoint | undefined {
    const entry = this.#schedule.top;
    const host = this.#hosts[entry] as Endpoint;
    this.#schedule.requeue(this.#weightOf(entry, host));
    return host;
  }

  #weightOf(entry: number, host: Endpoint): number {
    const load = host.active + 1;
    return (this.#weights[entry] as number) / (this.#bias === 1 ? load : load ** this.#bias);
  }
}

class LeastRequest implements LbPolicy {
  readonly name = 'least_request';
  readonly #config: LeastRequestConfig;
  readonly #random: Random;

  constructor(config: LeastRequestConfig, random: Random) {
    this.#config = config;
    this.#random = random;
  }

  build({ hosts }: HostSet): Picker {
    if (hosts.length === 0) return NO_HOSTS;
    const { choiceCount, activeRequestBias, fullScan } = this.#config;
    const weights = unequalWeights(hosts);
    if (weights !== undefined) {
      if (activeRequestBias === 0) return new WeightedPicker(hosts, weights, this.#random);
      return new BiasedPicker(hosts, weights, activeRequestBias, this.#random);
    }
    if (fullScan) return new FullScanPicker(hosts, this.#random);
    return choiceCount === 2 ? new TwoChoicesPicker(hosts, this.#random) : new ChoicesPicker(hosts, choiceCount, this.#random);
  }
}

export const leastRequest: LbPolicyFactory<LeastRequestConfig | undefined> = {
  typeUrl: 'type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest',
  name: 'least_request',
  parse(any: AnyMessage, context: ParseContext): LeastRequestConfig {
    const message = context.unpack<LeastRequestMessage>(any);
    const choiceCount = message.choiceCount ?? DEFAULTS.choiceCount;
    if (choiceCount < 2) throw new ConfigProblem('choice_count', `must be at least 2, is ${choiceCount}`);
    const activeRequestBias = message.activeRequestBias?.defaultValue ?? DEFAULTS.activeRequestBias;
    if (!(activeRequestBias >= 0)) throw new ConfigProblem('active_request_bias', `must be at least 0, is ${activeRequestBias}`);
    const method: number = message.selectionMethod;
    if (method !== 0 && method !== 1) throw new ConfigProblem('selection_method', `unknown value ${method}`);
    if (message.slowStartConfig !== undefined) context.unsupported('slow_start_config');
    const localityWeighted = localityWeightedOption(message.localityLbConfig, context);
    return Object.freeze({ choiceCount, activeRequestBias, fullScan: method === 1, localityWeighted });
  },
  create(config: LeastRequestConfig | undefined, deps: Deps): LbPolicy {
    return new LeastRequest(config ?? DEFAULTS, deps.random);
  },
};
