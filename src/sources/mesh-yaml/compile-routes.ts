/** The routes of one service as a `RouteConfiguration` with one virtual host for everything: its listeners are found by host already. */
import type {
  ForwardActionConfig,
  HeaderMutationConfig,
  HeaderValueConfig,
  RedirectActionConfig,
  RetryPolicyConfig,
  RouteActionConfig,
  RouteConfiguration,
  RouteEntryConfig,
} from '../../config/routes.ts';
import { NO_HEADER_MUTATION } from '../../config/routes.ts';
import { compileMatch } from './compile-match.ts';
import { clusterName } from './names.ts';
import type { HeadersSpec, RedirectSpec, RetriesSpec, RouteSpec, ServiceSpec } from './types.ts';

const DEFAULT_RETRY_ON = ['connect-failure', 'refused-stream', 'unavailable'] as const;

export function compileRoutes(name: string, service: ServiceSpec): RouteConfiguration {
  const routes = (service.routes ?? [{}]).map((route) => compileRoute(name, service, route));
  return {
    name,
    virtualHosts: [
      {
        name,
        domains: ['*'],
        routes,
        headers: NO_HEADER_MUTATION,
        retry: undefined,
        filterOverrides: {},
        requireTls: 'none',
        includeAttemptCount: false,
      },
    ],
    headers: NO_HEADER_MUTATION,
    mostSpecificHeaderMutationsWins: false,
    ignorePortInHostMatching: false,
    maxDirectResponseBytes: 4096,
  };
}

function compileRoute(name: string, service: ServiceSpec, route: RouteSpec): RouteEntryConfig {
  const match = compileMatch(route.match, service.protocol === 'grpc');
  return {
    name: route.name ?? '',
    match,
    action: compileAction(name, service, route),
    headers: compileHeaderChanges(route),
    filterOverrides: {},
  };
}

function compileAction(name: string, service: ServiceSpec, route: RouteSpec): RouteActionConfig {
  if (route.respond !== undefined) return { kind: 'direct-response', status: route.respond.status, body: route.respond.body ?? '' };
  if (route.redirect !== undefined) return compileRedirect(route.redirect);
  const retries = route.retries ?? service.retries;
  const timeout = route.timeout ?? service.timeout;
  return {
    kind: 'forward',
    cluster: compileDestination(name, route),
    clusterNotFoundStatus: 503,
    // No limit unless asked: 0 is said explicitly, since an absent timeout means 15 s to Envoy.
    timeoutMs: service.protocol === 'grpc' ? 0 : (timeout ?? 0),
    // The field that gRPC calls look at (gRFC A31). Never both: with it there is no route timeout (Envoy §2.7).
    maxStreamDuration:
      service.protocol !== 'grpc' || timeout === undefined || timeout === 0
        ? undefined
        : { maxStreamDurationMs: timeout, grpcTimeoutHeaderMaxMs: undefined, grpcTimeoutHeaderOffsetMs: undefined },
    retry: retries === undefined ? undefined : compileRetries(retries),
    pathRewrite: compileRewrite(route),
    hostRewrite: route.rewrite?.host === undefined ? undefined : { kind: 'literal', value: route.rewrite.host },
    appendXForwardedHost: false,
    priority: 'default',
    hashPolicies: [],
  };
}

function compileDestination(name: string, route: RouteSpec): ForwardActionConfig['cluster'] {
  if (route.split === undefined) return { kind: 'cluster', name: clusterName(route.to?.service ?? name, route.to?.labels) };
  // Envoy R-31: entries of weight 0 get nothing; what is left of one entry is still a split, so that weights may come back.
  const clusters = route.split
    .filter((share) => share.weight > 0)
    .map((share) => ({
      name: clusterName(share.service ?? name, share.labels),
      weight: share.weight,
      headers: NO_HEADER_MUTATION,
      filterOverrides: {},
      hostRewriteLiteral: undefined,
    }));
  return { kind: 'weighted', clusters, total: clusters.reduce((sum, cluster) => sum + cluster.weight, 0) };
}

function compileRetries(spec: RetriesSpec): RetryPolicyConfig {
  const given = spec.on ?? DEFAULT_RETRY_ON;
  const codes = given.filter((entry) => typeof entry === 'number');
  const conditions = given.filter((entry) => typeof entry !== 'number');
  const base = spec.backoff?.base ?? 25;
  return {
    on: codes.length > 0 ? [...conditions, 'retriable-status-codes'] : conditions,
    numRetries: (spec.attempts ?? 2) - 1,
    perTryTimeoutMs: spec.perTry ?? 0,
    baseIntervalMs: base,
    maxIntervalMs: spec.backoff?.max ?? base * 10,
    retriableStatusCodes: codes,
    retriableHeaders: [],
    retriableRequestHeaders: [],
    avoidPreviousHosts: true,
    // As Istio does by default: enough to find another endpoint among a few.
    hostSelectionMaxAttempts: 5,
    rateLimitedBackOff: undefined,
  };
}

function compileRedirect(spec: RedirectSpec): RedirectActionConfig {
  return {
    kind: 'redirect',
    status: Number(spec.status ?? '301') as RedirectActionConfig['status'],
    scheme: spec.scheme,
    httpsRedirect: false,
    host: spec.host,
    port: spec.port,
    path:
      spec.path !== undefined
        ? { kind: 'full', value: spec.path }
        : spec.prefix !== undefined
          ? { kind: 'prefix', value: spec.prefix }
          : undefined,
    stripQuery: spec.stripQuery === true,
  };
}

function compileRewrite(route: RouteSpec): ForwardActionConfig['pathRewrite'] {
  const { rewrite } = route;
  if (rewrite?.regex !== undefined) return { kind: 'regex', ...rewrite.regex };
  if (rewrite?.path === undefined) return undefined;
  const path = route.match?.path;
  if (typeof path !== 'string' || !path.endsWith('/**') || path === '/**' || !rewrite.path.endsWith('/'))
    return { kind: 'prefix', value: rewrite.path };
  // `/x/**` to `/` as a prefix rewrite would make `//y` of `/x/y` (Envoy R-41): this takes the slash with it.
  return { kind: 'regex', pattern: `^${path.slice(0, -3).replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}/?`, substitution: rewrite.path };
}

function changes(spec: HeadersSpec | undefined): readonly HeaderValueConfig[] {
  const values: HeaderValueConfig[] = [];
  for (const [name, value] of spec?.set ?? []) values.push({ name, value, action: 'overwrite', keepEmpty: false });
  for (const [name, value] of spec?.add ?? []) values.push({ name, value, action: 'append', keepEmpty: false });
  return values;
}

function compileHeaderChanges(route: RouteSpec): HeaderMutationConfig {
  const { request, response } = route.headers ?? {};
  if (request === undefined && response === undefined) return NO_HEADER_MUTATION;
  return {
    requestAdd: changes(request),
    requestRemove: (request?.remove ?? []).map((name) => name.toLowerCase()),
    responseAdd: changes(response),
    responseRemove: (response?.remove ?? []).map((name) => name.toLowerCase()),
  };
}
