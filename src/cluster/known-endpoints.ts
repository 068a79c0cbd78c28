/**
 * Finds the endpoints of the last assignment again. Most updates keep order, so the next in line is compared first and a map by address
 * is made only at the first surprise: an update of a hundred thousand endpoints must not cost a hundred thousand strings.
 */
import type { EndpointConfig } from '../config/endpoints.ts';
import { addressKey, sameAddress } from '../config/packed-endpoint.ts';
import type { MeshEndpoint } from './endpoint.ts';

export class KnownEndpoints {
  readonly #list: readonly MeshEndpoint[];
  #next = 0;
  #byAddress: Map<string | number, MeshEndpoint> | undefined;

  constructor(list: readonly MeshEndpoint[]) {
    this.#list = list;
    for (const endpoint of list) endpoint.kept = false;
  }

  /** The living endpoint of this address, if there is one that nobody took yet. */
  take(config: EndpointConfig): MeshEndpoint | undefined {
    const next = this.#list[this.#next];
    if (this.#list.length === 0) return undefined;
    if (next !== undefined && !next.kept && sameAddress(next.config, config)) {
      this.#next++;
      next.kept = true;
      return next;
    }
    this.#byAddress ??= new Map(this.#list.map((endpoint) => [addressKey(endpoint.config), endpoint]));
    const found = this.#byAddress.get(addressKey(config));
    if (found === undefined || found.kept) return undefined;
    found.kept = true;
    // Go on behind it: one removal must not make all the others surprises.
    if (this.#list[this.#next + 1] === found) this.#next += 2;
    return found;
  }

  /** Those that the new assignment does not name. */
  left(): readonly MeshEndpoint[] {
    return this.#list.filter((endpoint) => !endpoint.kept);
  }
}
