/** One complete configuration of one root: what a plan is compiled from. Immutable; unchanged parts keep their identity. */
import type { ClusterConfig } from './cluster.ts';
import type { EndpointsConfig } from './endpoints.ts';
import type { HttpManagerConfig, ListenerConfig } from './listener.ts';
import type { RouteConfiguration } from './routes.ts';

export interface Snapshot {
  readonly root: string;
  readonly listener: ListenerConfig;
  /** Every connection manager of the listener with its routes; a failed RDS leaves a reason instead. */
  readonly routes: ReadonlyMap<HttpManagerConfig, ResolvedRoutes>;
  /** Every cluster that a route names: one broken cluster never blocks the others. */
  readonly clusters: ReadonlyMap<string, ResolvedCluster>;
}

export type ResolvedRoutes = { readonly ok: true; readonly config: RouteConfiguration } | { readonly ok: false; readonly reason: string };

export type ResolvedCluster =
  | {
      readonly ok: true;
      readonly config: ClusterConfig;
      readonly endpoints: EndpointsConfig | undefined;
      /** Why there are no endpoints. */ readonly note: string;
    }
  | {
      readonly ok: false;
      readonly reason: string;
      /** Not here yet, at the first configuration only: calls to it wait, all others go. */ readonly waiting?: true;
    };
