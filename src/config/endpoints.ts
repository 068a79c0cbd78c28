/** envoy.config.endpoint.v3.ClusterLoadAssignment as a plain type, in the shape that pickers use. Not frozen: there are many. */
import type { HealthStatus } from '../core/endpoint.ts';

export interface EndpointsConfig {
  readonly clusterName: string;
  /** By priority, without gaps, lowest first; localities without weight are left out where weights count. */
  readonly localities: readonly LocalityConfig[];
  readonly dropOverloads: readonly { readonly category: string; readonly numerator: number; readonly denominator: number }[];
  /** Default 140. */
  readonly overprovisioningFactor: number;
}

export interface LocalityConfig {
  /** `region/zone/sub_zone`. */
  readonly locality: string;
  readonly priority: number;
  /** Undefined: not set. */
  readonly weight: number | undefined;
  readonly endpoints: readonly EndpointConfig[];
}

export interface EndpointConfig {
  readonly host: string;
  readonly port: number;
  readonly hostname: string;
  /** Default 1. */
  readonly weight: number;
  readonly health: HealthStatus;
  /** The bytes of the endpoint's metadata, decoded only where something needs it; undefined when there is none. */
  readonly metadata: Uint8Array | undefined;
}
