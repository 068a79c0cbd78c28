/** Routes with defaults, for tests of this folder, the conformance tables and the bench. */
import type {
  ForwardActionConfig,
  HeaderMatcherConfig,
  HeaderMutationConfig,
  HeaderValueConfig,
  RouteConfiguration,
  RouteEntryConfig,
  RouteMatchConfig,
  VirtualHostConfig,
} from '../../../src/config/routes.ts';
import { NO_HEADER_MUTATION } from '../../../src/config/routes.ts';
import type { RequestHead } from '../../../src/core/call.ts';
import { HeaderList } from '../../../src/core/headers.ts';
import type { RouteContext } from '../../../src/routing/route-table.ts';

export function requestHead(head: Partial<Omit<RequestHead, 'headers'>> = {}, headers: Readonly<Record<string, string>> = {}): RequestHead {
  return {
    protocol: 'http',
    method: 'GET',
    scheme: 'http',
    authority: 'shop.test',
    path: '/',
    ...head,
    headers: new HeaderList(Object.entries(headers)),
  };
}

export function forward(action: Partial<ForwardActionConfig> = {}): ForwardActionConfig {
  return {
    kind: 'forward',
    cluster: { kind: 'cluster', name: 'c' },
    clusterNotFoundStatus: 503,
    timeoutMs: undefined,
    maxStreamDuration: undefined,
    retry: undefined,
    pathRewrite: undefined,
    hostRewrite: undefined,
    appendXForwardedHost: false,
    priority: 'default',
    hashPolicies: [],
    ...action,
  };
}

export function routeMatch(match: Partial<RouteMatchConfig> = {}): RouteMatchConfig {
  return { path: { kind: 'prefix', value: '/', caseSensitive: true }, headers: [], query: [], fraction: undefined, grpc: false, ...match };
}

export function route(
  entry: Partial<Omit<RouteEntryConfig, 'match'>> & { readonly match?: Partial<RouteMatchConfig> } = {},
): RouteEntryConfig {
  return { name: '', action: forward(), headers: NO_HEADER_MUTATION, filterOverrides: {}, ...entry, match: routeMatch(entry.match) };
}

export function virtualHost(host: Partial<VirtualHostConfig> = {}): VirtualHostConfig {
  return {
    name: 'vh',
    domains: ['*'],
    routes: [],
    headers: NO_HEADER_MUTATION,
    retry: undefined,
    filterOverrides: {},
    requireTls: 'none',
    includeAttemptCount: false,
    ...host,
  };
}

export function routeConfig(config: Partial<RouteConfiguration> = {}): RouteConfiguration {
  return {
    name: 'rc',
    virtualHosts: [],
    headers: NO_HEADER_MUTATION,
    mostSpecificHeaderMutationsWins: false,
    ignorePortInHostMatching: false,
    maxDirectResponseBytes: 4096,
    ...config,
  };
}

export function exactHeader(name: string, value: string): HeaderMatcherConfig {
  return {
    name,
    match: { kind: 'string', matcher: { kind: 'exact', value, ignoreCase: false } },
    invert: false,
    treatMissingAsEmpty: false,
  };
}

export function headerValue(
  name: string,
  value: string,
  action: HeaderValueConfig['action'] = 'append',
  keepEmpty = false,
): HeaderValueConfig {
  return { name, value, action, keepEmpty };
}

export function mutation(change: Partial<HeaderMutationConfig>): HeaderMutationConfig {
  return { ...NO_HEADER_MUTATION, ...change };
}

export function where(entry: RouteEntryConfig, rest: Partial<RouteContext> = {}): RouteContext {
  const host = virtualHost({ routes: [entry] });
  return {
    routeConfig: routeConfig({ virtualHosts: [host] }),
    virtualHost: host,
    route: entry,
    weighted: undefined,
    clusterName: entry.action.kind === 'forward' ? 'c' : '',
    ...rest,
  };
}
