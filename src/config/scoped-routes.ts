/** envoy.config.route.v3.ScopedRouteConfiguration and ScopedRoutes.ScopeKeyBuilder as plain frozen types (Envoy X-91). */
import type { ConfigSourceConfig } from './config-source.ts';
import type { RouteConfiguration } from './routes.ts';

export interface ScopedRoutesConfig {
  readonly name: string;
  /** The route configuration by name, or the routes themselves. */
  readonly routeConfigName: string | undefined;
  readonly routeConfig: RouteConfiguration | undefined;
  /** Fragments of the key, in order. */
  readonly key: readonly string[];
  /** Its routes are asked for at the first request only. */
  readonly onDemand: boolean;
}

/** One fragment of the key that a request is looked up by; all are taken from headers. */
export interface ScopeFragmentConfig {
  readonly header: string;
  /** Empty: the whole value is one element. */
  readonly separator: string;
  readonly take:
    | { readonly kind: 'index'; readonly index: number }
    | { readonly kind: 'key'; readonly separator: string; readonly key: string };
}

/** HttpConnectionManager.scoped_routes. */
export interface ScopedRoutesRefConfig {
  readonly name: string;
  readonly builder: readonly ScopeFragmentConfig[];
  readonly routesSource: ConfigSourceConfig | undefined;
  readonly scopes:
    | { readonly kind: 'inline'; readonly list: readonly ScopedRoutesConfig[] }
    | { readonly kind: 'discovered'; readonly source: ConfigSourceConfig | undefined; readonly resourcesLocator: string };
}
