/** What a route does: forward, redirect, answer itself, or serve here (gRPC rules 22 to 24; Envoy §2.4 to §2.7, §2.10). */
import type {
  DirectResponseAction,
  RedirectAction,
  Route,
  RouteAction,
  RouteAction_HashPolicy,
  WeightedCluster,
} from '../../proto/gen/envoy/config/route/v3/route_components_pb.js';
import { ConfigProblem } from '../../config/resource.ts';
import type {
  ForwardActionConfig,
  HashPolicyConfig,
  RedirectActionConfig,
  RouteActionConfig,
  WeightedClusterConfig,
} from '../../config/routes.ts';
import { filterOverrides } from './filters.ts';
import { headerMutation } from './headers.ts';
import { regexRewrite } from './matchers.ts';
import { retryPolicy } from './retry-policy.ts';
import type { Scope } from './scope.ts';
import { enumName, inlineText, milliseconds } from './values.ts';

const CHANNEL_ID_KEY = 'io.grpc.channel_id';
const REDIRECT_CODES = [301, 302, 303, 307, 308] as const;
const NOT_FOUND_CODES = [503, 404, 500] as const;
const MAX_UINT32 = 0xffff_ffff;

/** What actions need to know of their route configuration. */
export interface RouteSurroundings {
  /** The `cluster_specifier_plugins`; all of them may be skipped. */
  readonly plugins: { has(name: string): boolean };
  readonly maxDirectResponseBytes: number;
}

function named(name: string, path: string): string {
  if (name === '') throw new ConfigProblem(path, 'must not be empty');
  return name;
}

function weightedClusters(weighted: WeightedCluster, path: string, scope: Scope): ForwardActionConfig['cluster'] {
  const clusters: WeightedClusterConfig[] = [];
  const prefix = weighted.runtimeKeyPrefix;
  let total = 0;
  for (const [i, entry] of weighted.clusters.entries()) {
    const at = `${path}.clusters[${i}]`;
    const weight = entry.weight ?? 0;
    // Envoy R-31, gRPC rule 22: never chosen, unless a runtime value says otherwise.
    if (weight === 0 && prefix === '') continue;
    if (entry.clusterHeader !== '') throw new ConfigProblem(`${at}.cluster_header`, 'a weighted cluster is named by name only');
    total += weight;
    clusters.push({
      name: named(entry.name, `${at}.name`),
      weight,
      headers: headerMutation(entry, at),
      filterOverrides: filterOverrides(entry.typedPerFilterConfig, at, scope),
      hostRewriteLiteral: entry.hostRewriteSpecifier.case === 'hostRewriteLiteral' ? entry.hostRewriteSpecifier.value : undefined,
    });
  }
  if (total === 0) throw new ConfigProblem(`${path}.clusters`, 'the weights add up to zero');
  if (total > MAX_UINT32) throw new ConfigProblem(`${path}.clusters`, `the weights add up to ${total}, more than 4294967295`);
  return { kind: 'weighted', clusters, total, ...(prefix !== '' && { runtimeKeyPrefix: prefix }) };
}

/** Undefined: a specifier that we know and cannot use, so the route is skipped (gRPC rule 22). */
function clusterOf(action: RouteAction, path: string, scope: Scope, around: RouteSurroundings): ForwardActionConfig['cluster'] | undefined {
  const specifier = action.clusterSpecifier;
  switch (specifier.case) {
    case 'cluster':
      return { kind: 'cluster', name: named(specifier.value, `${path}.cluster`) };
    case 'clusterHeader':
      return { kind: 'cluster-header', header: named(specifier.value, `${path}.cluster_header`).toLowerCase() };
    case 'weightedClusters':
      return weightedClusters(specifier.value, `${path}.weighted_clusters`, scope);
    case 'clusterSpecifierPlugin':
      if (!around.plugins.has(specifier.value)) {
        throw new ConfigProblem(
          `${path}.cluster_specifier_plugin`,
          `plugin "${specifier.value}" is not declared in cluster_specifier_plugins`,
        );
      }
      scope.unsupported(`${path}.cluster_specifier_plugin`);
      return undefined;
    case 'inlineClusterSpecifierPlugin':
      scope.unsupported(`${path}.inline_cluster_specifier_plugin`);
      return undefined;
    default:
      if (action.$unknown !== undefined && action.$unknown.length > 0) return undefined;
      throw new ConfigProblem(path, 'the route names no cluster');
  }
}

function pathRewrite(action: RouteAction, path: string): ForwardActionConfig['pathRewrite'] {
  if (action.regexRewrite === undefined) return action.prefixRewrite === '' ? undefined : { kind: 'prefix', value: action.prefixRewrite };
  if (action.prefixRewrite !== '') throw new ConfigProblem(path, 'only one of prefix_rewrite and regex_rewrite may be set'); // Envoy R-40
  return { kind: 'regex', ...regexRewrite(action.regexRewrite, `${path}.regex_rewrite`) };
}

function hostRewrite(action: RouteAction, path: string): ForwardActionConfig['hostRewrite'] {
  const specifier = action.hostRewriteSpecifier;
  switch (specifier.case) {
    case 'hostRewriteLiteral':
      return specifier.value === '' ? undefined : { kind: 'literal', value: specifier.value };
    case 'hostRewriteHeader':
      return { kind: 'header', name: named(specifier.value, `${path}.host_rewrite_header`).toLowerCase() };
    case 'autoHostRewrite':
      return specifier.value.value ? { kind: 'auto' } : undefined; // a BoolValue: wrappers in a oneof stay messages
    case 'hostRewritePathRegex':
      return { kind: 'path-regex', ...regexRewrite(specifier.value, `${path}.host_rewrite_path_regex`) };
    default:
      return undefined;
  }
}

/** Undefined: yields no hash here (gRFC A42: kinds that are not known are ignored). */
function hashPolicy(policy: RouteAction_HashPolicy, path: string, scope: Scope): HashPolicyConfig | undefined {
  const specifier = policy.policySpecifier;
  const { terminal } = policy;
  switch (specifier.case) {
    case 'header': {
      const { regexRewrite: rewrite } = specifier.value;
      return {
        kind: 'header',
        name: named(specifier.value.headerName, `${path}.header.header_name`).toLowerCase(),
        rewrite: rewrite === undefined ? undefined : regexRewrite(rewrite, `${path}.header.regex_rewrite`),
        terminal,
      };
    }
    case 'cookie':
      return { kind: 'cookie', name: named(specifier.value.name, `${path}.cookie.name`), rewrite: undefined, terminal };
    case 'queryParameter':
      return { kind: 'query', name: named(specifier.value.name, `${path}.query_parameter.name`), rewrite: undefined, terminal };
    case 'connectionProperties':
      return specifier.value.sourceIp ? { kind: 'source-ip', name: '', rewrite: undefined, terminal } : undefined;
    case 'filterState':
      if (specifier.value.key === CHANNEL_ID_KEY) return { kind: 'channel-id', name: '', rewrite: undefined, terminal };
      scope.unsupported(`${path}.filter_state.key=${specifier.value.key}`);
      return undefined;
    default:
      return undefined;
  }
}

function hashPolicies(policies: readonly RouteAction_HashPolicy[], path: string, scope: Scope): HashPolicyConfig[] {
  return policies.flatMap((policy, i) => hashPolicy(policy, `${path}[${i}]`, scope) ?? []);
}

function forward(action: RouteAction, path: string, scope: Scope, around: RouteSurroundings): ForwardActionConfig | undefined {
  const cluster = clusterOf(action, path, scope, around);
  if (cluster === undefined) return undefined;
  const duration = action.maxStreamDuration;
  const at = `${path}.max_stream_duration`;
  return {
    kind: 'forward',
    cluster,
    clusterNotFoundStatus: NOT_FOUND_CODES[action.clusterNotFoundResponseCode] ?? 503,
    timeoutMs: milliseconds(action.timeout, `${path}.timeout`),
    maxStreamDuration: duration && {
      maxStreamDurationMs: milliseconds(duration.maxStreamDuration, `${at}.max_stream_duration`),
      grpcTimeoutHeaderMaxMs: milliseconds(duration.grpcTimeoutHeaderMax, `${at}.grpc_timeout_header_max`),
      grpcTimeoutHeaderOffsetMs: milliseconds(duration.grpcTimeoutHeaderOffset, `${at}.grpc_timeout_header_offset`),
    },
    retry: action.retryPolicy && retryPolicy(action.retryPolicy, `${path}.retry_policy`, scope),
    pathRewrite: pathRewrite(action, path),
    hostRewrite: hostRewrite(action, path),
    appendXForwardedHost: action.appendXForwardedHost,
    priority: enumName(['default', 'high'], action.priority, `${path}.priority`),
    hashPolicies: hashPolicies(action.hashPolicy, `${path}.hash_policy`, scope),
  };
}

function redirectPath(action: RedirectAction, path: string): RedirectActionConfig['path'] {
  const specifier = action.pathRewriteSpecifier;
  switch (specifier.case) {
    case 'pathRedirect':
      return { kind: 'full', value: specifier.value };
    case 'prefixRewrite':
      return { kind: 'prefix', value: specifier.value };
    case 'regexRewrite':
      return { kind: 'regex', ...regexRewrite(specifier.value, `${path}.regex_rewrite`) };
    default:
      return undefined;
  }
}

function redirect(action: RedirectAction, path: string): RedirectActionConfig {
  const status = REDIRECT_CODES[action.responseCode];
  if (status === undefined) throw new ConfigProblem(`${path}.response_code`, `unknown value ${action.responseCode}`);
  if (action.portRedirect > 65_535) throw new ConfigProblem(`${path}.port_redirect`, `${action.portRedirect} is not a port`);
  const scheme = action.schemeRewriteSpecifier;
  return {
    kind: 'redirect',
    status,
    scheme: scheme.case === 'schemeRedirect' && scheme.value !== '' ? scheme.value : undefined,
    httpsRedirect: scheme.case === 'httpsRedirect' && scheme.value,
    host: action.hostRedirect === '' ? undefined : action.hostRedirect,
    port: action.portRedirect === 0 ? undefined : action.portRedirect,
    path: redirectPath(action, path),
    stripQuery: action.stripQuery,
  };
}

/** Envoy R-53. */
function directResponse(action: DirectResponseAction, path: string, around: RouteSurroundings): RouteActionConfig {
  const { status } = action;
  if (status < 200 || status > 599) throw new ConfigProblem(`${path}.status`, `${status} is not from 200 to 599`);
  const body = action.body === undefined || action.body.specifier.case === undefined ? '' : inlineText(action.body);
  if (body === undefined) throw new ConfigProblem(`${path}.body`, 'only inline_string and inline_bytes are supported');
  const bytes = Buffer.byteLength(body);
  if (bytes > around.maxDirectResponseBytes)
    throw new ConfigProblem(`${path}.body`, `${bytes} bytes, more than ${around.maxDirectResponseBytes}`);
  return { kind: 'direct-response', status, body };
}

/** Undefined: the route is to be skipped. */
export function routeAction(route: Route, path: string, scope: Scope, around: RouteSurroundings): RouteActionConfig | undefined {
  const { action } = route;
  switch (action.case) {
    case 'route':
      return forward(action.value, `${path}.route`, scope, around);
    case 'redirect':
      return redirect(action.value, `${path}.redirect`);
    case 'directResponse':
      return directResponse(action.value, `${path}.direct_response`, around);
    case 'nonForwardingAction':
      return { kind: 'serve' };
    default: // gRFC A28: accepted, and the call that meets it fails
      return {
        kind: 'unsupported',
        reason: action.case === undefined ? 'the route has no action that is known' : `action ${action.case} is not supported`,
      };
  }
}
