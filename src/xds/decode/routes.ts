/** RouteConfiguration (gRPC §4.4 rules 17 to 26; Envoy §2.1). */
import type { RouteConfiguration as RouteConfigurationMessage } from '../../proto/gen/envoy/config/route/v3/route_pb.js';
import type { Route, VirtualHost } from '../../proto/gen/envoy/config/route/v3/route_components_pb.js';
import { ConfigProblem } from '../../config/resource.ts';
import type { FilterOverrides, RouteConfiguration, RouteEntryConfig, VhdsConfig, VirtualHostConfig } from '../../config/routes.ts';
import { configSource } from './config-source.ts';
import { filterOverrides } from './filters.ts';
import { headerMutation } from './headers.ts';
import { retryPolicy } from './retry-policy.ts';
import { routeAction } from './route-action.ts';
import type { RouteSurroundings } from './route-action.ts';
import { routeMatch } from './route-match.ts';
import { join } from './scope.ts';
import type { Scope } from './scope.ts';
import { enumName } from './values.ts';

const DEFAULT_MAX_DIRECT_RESPONSE_BYTES = 4096;

function routeEntry(route: Route, path: string, scope: Scope, around: RouteSurroundings): RouteEntryConfig | undefined {
  const match = routeMatch(route.match, `${path}.match`, scope);
  const action = routeAction(route, path, scope, around);
  if (match === undefined || action === undefined) return undefined;
  return {
    name: route.name,
    match,
    action,
    headers: headerMutation(route, path),
    filterOverrides: filterOverrides(route.typedPerFilterConfig, path, scope),
  };
}

export function virtualHost(
  host: VirtualHost,
  path: string,
  scope: Scope,
  around: RouteSurroundings,
  inherited: FilterOverrides,
): VirtualHostConfig {
  const own = filterOverrides(host.typedPerFilterConfig, path, scope);
  return {
    name: host.name,
    domains: host.domains.map((domain) => domain.toLowerCase()),
    routes: host.routes.flatMap((route, i) => routeEntry(route, join(path, `routes[${i}]`), scope, around) ?? []),
    headers: headerMutation(host, path),
    retry: host.retryPolicy && retryPolicy(host.retryPolicy, join(path, 'retry_policy'), scope),
    // Envoy R-110: the route configuration is the outermost level; the more specific one wins whole.
    filterOverrides: { ...inherited, ...own },
    requireTls: enumName(['none', 'external-only', 'all'], host.requireTls, join(path, 'require_tls')),
    includeAttemptCount: host.includeRequestAttemptCount,
  };
}

/** Envoy R-5. */
function checkDomains(hosts: readonly VirtualHostConfig[], path: string): void {
  const seen = new Map<string, string>();
  for (const [i, host] of hosts.entries()) {
    for (const [j, domain] of host.domains.entries()) {
      const other = seen.get(domain);
      if (other !== undefined) {
        throw new ConfigProblem(
          `${join(path, `virtual_hosts[${i}]`)}.domains[${j}]`,
          `domain "${domain}" is already taken by virtual host "${other}"`,
        );
      }
      seen.set(domain, host.name);
    }
  }
}

/** gRPC rule 22: none of these plugins is supported; one that is not optional rejects the resource. */
function plugins(message: RouteConfigurationMessage, path: string): ReadonlyMap<string, boolean> {
  const found = new Map<string, boolean>();
  for (const [i, plugin] of message.clusterSpecifierPlugins.entries()) {
    const name = plugin.extension?.name ?? '';
    if (!plugin.isOptional)
      throw new ConfigProblem(join(path, `cluster_specifier_plugins[${i}]`), `cluster specifier plugin "${name}" is not supported`);
    found.set(name, true);
  }
  return found;
}

/** Envoy X-90: asked for host by host, which only the incremental dialect can. */
function vhds(message: RouteConfigurationMessage, path: string, scope: Scope, inherited: FilterOverrides): VhdsConfig | undefined {
  if (message.vhds === undefined) return undefined;
  const at = join(path, 'vhds.config_source');
  const source = configSource(message.vhds.configSource, at, scope);
  if (source !== undefined && (source.kind !== 'api' || source.protocol !== 'delta'))
    throw new ConfigProblem(at, 'virtual hosts are discovered by delta only');
  return { source, inherited };
}

/** A resource of its own. Which plugins its route configuration declares is not known: routes that name one are skipped. */
export function discoveredVirtualHost(message: VirtualHost, scope: Scope): VirtualHostConfig {
  const around: RouteSurroundings = { plugins: { has: () => true }, maxDirectResponseBytes: DEFAULT_MAX_DIRECT_RESPONSE_BYTES };
  const host = virtualHost(message, '', scope, around, {});
  if (host.domains.length === 0) throw new ConfigProblem('domains', 'a virtual host needs a domain');
  const twice = host.domains.findIndex((domain, i) => host.domains.indexOf(domain) !== i);
  if (twice >= 0) throw new ConfigProblem(`domains[${twice}]`, `domain "${host.domains[twice]}" is there twice`);
  return host;
}

/** What a route configuration says beside its virtual hosts, and what they need of it. */
export interface RouteFrame {
  readonly around: RouteSurroundings;
  readonly inherited: FilterOverrides;
  /** Throws where they contradict each other. */
  complete(virtualHosts: readonly VirtualHostConfig[]): RouteConfiguration;
}

export function routeFrame(message: RouteConfigurationMessage, path: string, scope: Scope): RouteFrame {
  const around: RouteSurroundings = {
    plugins: plugins(message, path),
    maxDirectResponseBytes: message.maxDirectResponseBodySizeBytes ?? DEFAULT_MAX_DIRECT_RESPONSE_BYTES,
  };
  const inherited = filterOverrides(message.typedPerFilterConfig, path, scope);
  return {
    around,
    inherited,
    complete(virtualHosts) {
      checkDomains(virtualHosts, path);
      const discovered = vhds(message, path, scope, inherited);
      return {
        name: message.name,
        virtualHosts,
        headers: headerMutation(message, path),
        mostSpecificHeaderMutationsWins: message.mostSpecificHeaderMutationsWins,
        ignorePortInHostMatching: message.ignorePortInHostMatching,
        maxDirectResponseBytes: around.maxDirectResponseBytes,
        ...(discovered && { vhds: discovered }),
      };
    },
  };
}

/** Within another message. `path` is the field of that message. */
export function routeConfiguration(message: RouteConfigurationMessage, path: string, scope: Scope): RouteConfiguration {
  const { around, inherited, complete } = routeFrame(message, path, scope);
  return complete(message.virtualHosts.map((host, i) => virtualHost(host, join(path, `virtual_hosts[${i}]`), scope, around, inherited)));
}
