/** envoy.extensions.filters.http.on_demand.v3 as plain frozen types, and which clusters of a route configuration it makes wait for a call. */
import type { ConfigSourceConfig } from './config-source.ts';
import type { HttpFilterConfig } from './listener.ts';
import type { FilterOverrides, RouteActionConfig, RouteConfiguration, VirtualHostConfig } from './routes.ts';

export const ON_DEMAND_TYPE = 'type.googleapis.com/envoy.extensions.filters.http.on_demand.v3.OnDemand';

/** OnDemandCds.timeout. */
export const ON_DEMAND_TIMEOUT_MS = 5000;

/** OnDemand, or PerRouteConfig in its place. */
export interface OnDemandConfig {
  /** `odcds`: clusters are asked for when a call needs them. Undefined: only virtual hosts and the routes of scopes are. */
  readonly clusters: OnDemandClustersConfig | undefined;
}

export interface OnDemandClustersConfig {
  /** Undefined: the aggregated stream. */
  readonly source: ConfigSourceConfig | undefined;
  /** Milliseconds that a call waits for its cluster; default 5000. */
  readonly timeoutMs: number;
}

type Filters = readonly HttpFilterConfig[];

export function onDemandFilter(filters: Filters): HttpFilterConfig | undefined {
  return filters.find(({ typeUrl }) => typeUrl === ON_DEMAND_TYPE);
}

/** Undefined: the filter is absent or off there. `levels`: overrides, most specific first; the first that names the filter wins whole (gRFC A39). */
export function onDemandAt(filters: Filters, levels: readonly FilterOverrides[]): OnDemandConfig | undefined {
  const filter = onDemandFilter(filters);
  if (filter === undefined) return undefined;
  const override = levels.find((level) => Object.hasOwn(level, filter.name))?.[filter.name];
  if (override === undefined ? filter.disabled : override.disabled) return undefined;
  return (override?.config ?? filter.config) as OnDemandConfig;
}

function* clustersOfAction(action: RouteActionConfig): Iterable<readonly [name: string, overrides: FilterOverrides | undefined]> {
  if (action.kind !== 'forward') return;
  if (action.cluster.kind === 'cluster') yield [action.cluster.name, undefined];
  else if (action.cluster.kind === 'weighted') for (const entry of action.cluster.clusters) yield [entry.name, entry.filterOverrides];
}

const named = new WeakMap<RouteConfiguration, ReadonlySet<string>>();

/** Names of the clusters that the routes can lead to, each once. */
export function clustersOfRoutes(routes: RouteConfiguration): ReadonlySet<string> {
  const known = named.get(routes);
  if (known !== undefined) return known;
  const names = new Set<string>();
  for (const host of routes.virtualHosts)
    for (const route of host.routes) for (const [name] of clustersOfAction(route.action)) names.add(name);
  named.set(routes, names);
  return names;
}

/** The same of one virtual host. */
export function clustersOfHost(host: VirtualHostConfig): ReadonlySet<string> {
  return new Set(host.routes.flatMap((route) => Array.from(clustersOfAction(route.action), ([name]) => name)));
}

/** Those of the routes that are asked for before any call: all, where the filter has no `odcds`. */
export function clustersInAdvance(routes: RouteConfiguration, filters: Filters): ReadonlySet<string> {
  if (onDemandFilter(filters) === undefined) return clustersOfRoutes(routes);
  const names = new Set<string>();
  for (const host of routes.virtualHosts) {
    for (const route of host.routes) {
      for (const [name, overrides] of clustersOfAction(route.action)) {
        const levels = [...(overrides === undefined ? [] : [overrides]), route.filterOverrides, host.filterOverrides];
        if (onDemandAt(filters, levels)?.clusters === undefined) names.add(name);
      }
    }
  }
  return names;
}
