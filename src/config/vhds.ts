/**
 * Virtual hosts on demand (Envoy X-90): their names, and a route configuration together with those that are there. Virtual hosts that came
 * with the route configuration are none of theirs.
 */
import type { ConfigSourceConfig } from './config-source.ts';
import type { DemandedHost } from './demand.ts';
import type { RouteConfiguration, VirtualHostConfig } from './routes.ts';

/** Name of the resource for a host. Route configurations may have slashes in their names, hosts have none. */
export function virtualHostName(routeConfig: string, host: string): string {
  return `${routeConfig}/${host}`;
}

/** Whether the host was asked for of this configuration as it is now: with another source, everything is asked for anew. */
export function belongsTo({ routeConfig, source }: Pick<DemandedHost, 'routeConfig' | 'source'>, config: RouteConfiguration): boolean {
  return config.vhds !== undefined && config.name === routeConfig && sameSource(config.vhds.source, source);
}

function sameSource(a: ConfigSourceConfig | undefined, b: ConfigSourceConfig | undefined): boolean {
  return a?.id === b?.id;
}

interface Joined {
  readonly found: readonly VirtualHostConfig[];
  readonly config: RouteConfiguration;
}

const joined = new WeakMap<RouteConfiguration, Joined>();
const bases = new WeakMap<RouteConfiguration, RouteConfiguration>();

/** The configuration as it was sent. */
export function baseOf(config: RouteConfiguration): RouteConfiguration {
  return bases.get(config) ?? config;
}

/** The same object for the same virtual hosts. One that answers to several hosts came once for each, and is taken once. */
export function withVirtualHosts(base: RouteConfiguration, found: readonly VirtualHostConfig[]): RouteConfiguration {
  const { vhds } = base;
  if (found.length === 0 || vhds === undefined) return base;
  const before = joined.get(base);
  if (before !== undefined && before.found.length === found.length && before.found.every((host, i) => host === found[i]))
    return before.config;
  const names = new Set<string>();
  const added = found.flatMap((host) => {
    if (names.has(host.name)) return [];
    names.add(host.name);
    const { inherited } = vhds;
    return Object.keys(inherited).length === 0 ? host : { ...host, filterOverrides: { ...inherited, ...host.filterOverrides } };
  });
  const config = Object.freeze({ ...base, virtualHosts: Object.freeze([...base.virtualHosts, ...added]) });
  joined.set(base, { found, config });
  bases.set(config, base);
  return config;
}
