/** Finds the object that stood at the same place in the assignment before, if nothing about the endpoint has changed. */
import type { EndpointConfig, EndpointsConfig } from '../../config/endpoints.ts';
import type { EndpointTraits, PackedHost } from '../../config/packed-endpoint.ts';
import { PackedEndpoint } from '../../config/packed-endpoint.ts';

function isAt(endpoint: EndpointConfig | undefined, host: PackedHost, port: number): endpoint is PackedEndpoint {
  return endpoint instanceof PackedEndpoint && endpoint.port === port && endpoint.packed === host;
}

export class KnownEndpoint {
  readonly #previous: EndpointsConfig | undefined;
  #endpoints: readonly EndpointConfig[] | undefined = undefined;
  /** How far the new list lags behind the old one: an endpoint that left shifts all that follow. */
  #shift = 0;

  constructor(previous: EndpointsConfig | undefined) {
    this.#previous = previous;
  }

  /** The locality with this index is read now. */
  enter(index: number): void {
    this.#endpoints = this.#previous?.localities[index]?.endpoints;
    this.#shift = 0;
  }

  same(index: number, host: PackedHost, port: number, traits: EndpointTraits): EndpointConfig | undefined {
    const endpoints = this.#endpoints;
    if (endpoints === undefined) return undefined;
    let known = endpoints[index + this.#shift];
    if (!isAt(known, host, port)) {
      // One that left, or one that came: then the rest is found again one place further.
      for (const step of [1, -1]) {
        const beside = endpoints[index + this.#shift + step];
        if (!isAt(beside, host, port)) continue;
        this.#shift += step;
        known = beside;
        break;
      }
    }
    const { hostname, weight, health, packedMetadata } = traits;
    if (!isAt(known, host, port)) return undefined;
    return known.traits === traits || known.traits.same(hostname, weight, health, packedMetadata) ? known : undefined;
  }
}
