/** What the calls of one root have asked for so far, beyond what its configuration names in advance. Kept by `src/demand.ts`. */
import type { ConfigSourceConfig } from './config-source.ts';

export interface Demand {
  /** Subscription on demand: no cluster of a route is asked for before a call chooses it. */
  readonly lazy: boolean;
  readonly clusters: ReadonlyMap<string, DemandedCluster>;
  /** Scopes on demand whose routes a call needed, by name. */
  readonly scopes: ReadonlyMap<string, DemandedScope>;
  /** Virtual hosts that calls needed, by the name of the resource. */
  readonly hosts: ReadonlyMap<string, DemandedHost>;
}

export interface DemandedHost {
  /** `<route configuration>/<host>`. */
  readonly name: string;
  readonly routeConfig: string;
  readonly source: ConfigSourceConfig | undefined;
  /** As for clusters. */
  settled: boolean;
}

export interface DemandedScope {
  /** As for clusters. */
  settled: boolean;
}

export interface DemandedCluster {
  readonly name: string;
  /** Where it is fetched; undefined: the aggregated stream. */
  readonly source: ConfigSourceConfig | undefined;
  /** Named by a header of a call (`cluster_header`), so that no route tells whether it is still in use. */
  readonly byHeader: boolean;
  /** It was there before: from then on an update waits until it is complete again, as for clusters that routes name. */
  settled: boolean;
}

export const NO_DEMAND: Demand = Object.freeze({ lazy: false, clusters: new Map(), scopes: new Map(), hosts: new Map() });
