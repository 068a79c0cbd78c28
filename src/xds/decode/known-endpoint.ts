/** Finds the object that stood at the same place in the assignment before, if nothing about the endpoint has changed. */
import type { EndpointConfig, EndpointsConfig } from '../../config/endpoints.ts';
import type { HealthStatus } from '../../core/endpoint.ts';

function sameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === b) return true;
  if (a === undefined || b === undefined || a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
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

  same(
    index: number,
    host: string,
    port: number,
    hostname: string,
    weight: number,
    health: HealthStatus,
    metadata: Uint8Array | undefined,
  ): EndpointConfig | undefined {
    const endpoints = this.#endpoints;
    if (endpoints === undefined) return undefined;
    let known = endpoints[index + this.#shift];
    if (known === undefined || known.port !== port || known.host !== host) {
      // One that left, or one that came: then the rest is found again one place further.
      for (const step of [1, -1]) {
        const beside = endpoints[index + this.#shift + step];
        if (beside === undefined || beside.port !== port || beside.host !== host) continue;
        this.#shift += step;
        known = beside;
        break;
      }
    }
    if (known === undefined || known.port !== port || known.host !== host) return undefined;
    const unchanged =
      known.weight === weight && known.health === health && known.hostname === hostname && sameBytes(known.metadata, metadata);
    return unchanged ? known : undefined;
  }
}
