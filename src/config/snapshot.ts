/** One complete configuration of one root: what a plan is compiled from. Unchanged parts keep their identity. */
import type { ClusterConfig } from './cluster.ts';
import type { EndpointsConfig } from './endpoints.ts';
import type { HttpFilterConfig, HttpManagerConfig, ListenerConfig } from './listener.ts';
import type { ConfigSourceConfig } from './config-source.ts';
import type { RouteConfiguration } from './routes.ts';
import type { ScopeFragmentConfig, ScopedRoutesConfig } from './scoped-routes.ts';

export interface Snapshot {
  readonly root: string;
  readonly listener: ListenerConfig;
  /** Every connection manager of the listener that has no scoped routes, with its routes; a failed RDS leaves a reason instead. */
  readonly routes: ReadonlyMap<HttpManagerConfig, ResolvedRoutes>;
  /** Every connection manager with scoped routes; absent when there is none. */
  readonly scopes?: ReadonlyMap<HttpManagerConfig, ResolvedScopes>;
  /** The filters of every connection manager that has some over ECDS, with what came; absent when there is none. */
  readonly filters?: ReadonlyMap<HttpManagerConfig, readonly HttpFilterConfig[]>;
  /**
   * Every cluster that a route names: one broken cluster never blocks the others. The one part that is brought up to date in place
   * while the snapshot is served: a change of one cluster must not cost a copy of ten thousand.
   */
  readonly clusters: Map<string, ResolvedCluster>;
}

export type ResolvedRoutes = { readonly ok: true; readonly config: RouteConfiguration } | { readonly ok: false; readonly reason: string };

export type ResolvedScopes =
  | {
      readonly ok: true;
      readonly builder: readonly ScopeFragmentConfig[];
      readonly routesSource: ConfigSourceConfig | undefined;
      readonly scopes: readonly ResolvedScope[];
      /** Scopes that are left out, and why. */
      readonly problems: readonly string[];
    }
  | { readonly ok: false; readonly reason: string };

export interface ResolvedScope {
  readonly scope: ScopedRoutesConfig;
  /** Undefined: on demand, and not there (yet). */
  readonly routes: ResolvedRoutes | undefined;
}

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
