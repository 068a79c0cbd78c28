/**
 * From the endpoints of a cluster to its picker: health classes, load per priority, panic, localities; inside each, the cluster's policy.
 * All of it is decided once per change of hosts, nothing of it per pick but one draw where several priorities share the load (Envoy L-12).
 */
import type { OutboundCall } from '../core/call.ts';
import type { Endpoint, LbPolicy, Picker } from '../core/endpoint.ts';
import type { Random } from '../core/random.ts';
import { NO_HOSTS } from './host-weights.ts';
import { effectiveWeight, LocalityPicker } from './locality.ts';
import type { PriorityCounts } from './priority-loads.ts';
import { priorityLoads } from './priority-loads.ts';

export interface LocalityHosts {
  readonly locality: string;
  readonly priority: number;
  /** Undefined: not set. */
  readonly weight: number | undefined;
  readonly hosts: readonly Endpoint[];
}

export interface ClusterPickerInput {
  readonly localities: readonly LocalityHosts[];
  readonly policy: LbPolicy;
  /** Percent; Envoy's default is 140. */
  readonly overprovisioningFactor: number;
  /** Percent; 0 disables panic. */
  readonly panicThreshold: number;
  readonly localityWeighted: boolean;
  readonly random: Random;
}

type HostClass = 'healthy' | 'degraded' | 'all';

interface Place extends Record<HostClass, readonly Endpoint[]> {
  readonly locality: string;
  readonly weight: number | undefined;
}

const NONE: readonly Endpoint[] = [];
/** The one part that may be handed out without a wrapper, so that `previous` alone is its place. */
const PLAIN = '0/healthy';

/** Envoy L-1: ejected, UNHEALTHY, TIMEOUT and DRAINING are unhealthy; UNKNOWN counts as healthy. */
function classOf(host: Endpoint): 'healthy' | 'degraded' | 'unhealthy' {
  if (host.ejected) return 'unhealthy';
  switch (host.health) {
    case 'unknown':
    case 'healthy':
      return 'healthy';
    case 'degraded':
      return 'degraded';
    default:
      return 'unhealthy';
  }
}

/** Hosts by class; the usual locality, all of it healthy, is not copied. */
function classify({ locality, weight, hosts }: LocalityHosts): Place {
  let index = 0;
  while (index < hosts.length && classOf(hosts[index] as Endpoint) === 'healthy') index++;
  if (index === hosts.length) return { locality, weight, all: hosts, healthy: hosts, degraded: NONE };
  const healthy = hosts.slice(0, index);
  const degraded: Endpoint[] = [];
  for (; index < hosts.length; index++) {
    const host = hosts[index] as Endpoint;
    const found = classOf(host);
    if (found === 'healthy') healthy.push(host);
    else if (found === 'degraded') degraded.push(host);
  }
  return { locality, weight, all: hosts, healthy, degraded };
}

function countsOf(places: readonly Place[]): PriorityCounts {
  const counts = { total: 0, healthy: 0, degraded: 0, excluded: 0 };
  for (const place of places) {
    counts.total += place.all.length;
    counts.healthy += place.healthy.length;
    counts.degraded += place.degraded.length;
  }
  return counts;
}

/** Several priorities or classes that share the load, or a part whose place must be remembered by name. */
class ClusterPicker implements Picker {
  /** Policy pickers by `priority/class` or `priority/class/locality`. */
  readonly parts: ReadonlyMap<string, Picker>;
  readonly #pickers: readonly Picker[];
  /** Cumulative percentages. */
  readonly #bounds: readonly number[];
  readonly #random: Random;

  constructor(parts: ReadonlyMap<string, Picker>, pickers: readonly Picker[], bounds: readonly number[], random: Random) {
    this.parts = parts;
    this.#pickers = pickers;
    this.#bounds = bounds;
    this.#random = random;
  }

  pick(call: OutboundCall): Endpoint | undefined {
    const pickers = this.#pickers;
    if (pickers.length === 1) return (pickers[0] as Picker).pick(call);
    const draw = Math.floor(this.#random.next() * 100);
    let index = 0;
    while (index < pickers.length - 1 && draw >= (this.#bounds[index] as number)) index++;
    return (pickers[index] as Picker).pick(call);
  }
}

/** One part whose place must be remembered by name: a cluster of one locality that is weighted, as most of Istio's are. */
class NamedPicker implements Picker {
  readonly key: string;
  readonly part: Picker;

  constructor(key: string, part: Picker) {
    this.key = key;
    this.part = part;
  }

  pick(call: OutboundCall): Endpoint | undefined {
    return this.part.pick(call);
  }
}

/** The picker that had this place before. */
function partOf(previous: Picker | undefined, key: string): Picker | undefined {
  if (previous instanceof ClusterPicker) return previous.parts.get(key);
  if (previous instanceof NamedPicker) return previous.key === key ? previous.part : undefined;
  return key === PLAIN ? previous : undefined;
}

/** Builds the parts of one cluster picker, each with its place in the previous one. */
class Builder {
  readonly parts = new Map<string, Picker>();
  readonly #input: ClusterPickerInput;
  readonly #previous: Picker | undefined;

  constructor(input: ClusterPickerInput, previous: Picker | undefined) {
    this.#input = input;
    this.#previous = previous;
  }

  /** Panic ignores localities (L-13); so does a class none of whose localities has a weight. */
  picker(priority: number, hostClass: HostClass, places: readonly Place[]): Picker {
    const { localityWeighted, overprovisioningFactor: factor, random } = this.#input;
    const key = `${priority}/${hostClass}`;
    if (localityWeighted && hostClass !== 'all') {
      const weights = places.map((place) => effectiveWeight(place.weight, place[hostClass].length, place.all.length, factor));
      const chosen = places.filter((_, index) => (weights[index] ?? 0) > 0);
      if (chosen.length > 0) {
        const pickers = chosen.map((place) => this.#part(`${key}/${place.locality}`, place[hostClass]));
        const [only] = pickers;
        return pickers.length === 1 && only !== undefined
          ? only
          : new LocalityPicker(
              pickers,
              weights.filter((weight) => weight > 0),
              random,
            );
      }
    }
    const [place] = places;
    return this.#part(key, places.length === 1 && place !== undefined ? place[hostClass] : places.flatMap((each) => each[hostClass]));
  }

  #part(key: string, hosts: readonly Endpoint[]): Picker {
    // In panic the healthy and the degraded share of a priority go to one and the same part.
    const built = this.parts.get(key);
    if (built !== undefined) return built;
    const picker = this.#input.policy.build({ hosts }, partOf(this.#previous, key));
    this.parts.set(key, picker);
    return picker;
  }
}

/**
 * `previous` is what the last call returned for this cluster, or undefined; it keeps the place of round robin per priority, class and
 * locality. One priority, all healthy, without locality weights: the policy's own picker, with nothing around it.
 */
export function buildClusterPicker(input: ClusterPickerInput, previous: Picker | undefined): Picker {
  const levels: Place[][] = [];
  for (const locality of input.localities) {
    while (levels.length <= locality.priority) levels.push([]);
    levels[locality.priority]?.push(classify(locality));
  }
  const loads = priorityLoads(levels.map(countsOf), input.overprovisioningFactor, input.panicThreshold);
  const builder = new Builder(input, previous);
  const pickers: Picker[] = [];
  const bounds: number[] = [];
  let bound = 0;
  const share = (priority: number, hostClass: HostClass, load: number): void => {
    if (load === 0) return;
    bound += load;
    bounds.push(bound);
    pickers.push(builder.picker(priority, loads.panic[priority] === true ? 'all' : hostClass, levels[priority] ?? []));
  };
  loads.healthy.forEach((load, priority) => share(priority, 'healthy', load));
  loads.degraded.forEach((load, priority) => share(priority, 'degraded', load));

  const [only] = pickers;
  if (only === undefined) return NO_HOSTS;
  if (pickers.length === 1 && only === builder.parts.get(PLAIN)) return only;
  const [[key, part] = ['', NO_HOSTS]] = builder.parts;
  if (pickers.length === 1 && only === part) return new NamedPicker(key, part);
  return new ClusterPicker(builder.parts, pickers.slice(), bounds.slice(), input.random);
}
