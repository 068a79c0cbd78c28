/** What weighted policies ask of a host set: are all weights equal, and if not, which are they. */
import type { Endpoint, Picker } from '../core/endpoint.ts';

/** Undefined when all hosts weigh the same (Envoy L-30, L-40): then policies need no schedule. */
export function unequalWeights(hosts: readonly Endpoint[]): Float64Array | undefined {
  const first = hosts[0]?.weight;
  let index = 1;
  while (index < hosts.length && hosts[index]?.weight === first) index++;
  if (index >= hosts.length) return undefined;
  const weights = new Float64Array(hosts.length);
  for (let host = 0; host < hosts.length; host++) weights[host] = Math.max(1, (hosts[host] as Endpoint).weight);
  return weights;
}

/** The picker of an empty host set. */
export const NO_HOSTS: Picker = { pick: () => undefined };
