/** RouteConfiguration as envoy.config.route.v3.RouteConfiguration. Filter overrides are not encoded: `mesh.yaml` has none. */
import type {
  ForwardActionConfig,
  HeaderMutationConfig,
  HeaderValueConfig,
  RedirectActionConfig,
  RetryPolicyConfig,
  RouteActionConfig,
  RouteConfiguration,
  RouteEntryConfig,
  RouteMatchConfig,
  VirtualHostConfig,
} from '../../config/routes.ts';
import type { Json, JsonObject } from './json.ts';
import { duration, list, object, optionalDuration } from './json.ts';
import { encodeHeader, encodeQuery } from './matchers.ts';

const PREVIOUS_HOSTS: JsonObject = {
  name: 'envoy.retry_host_predicates.previous_hosts',
  typed_config: { '@type': 'type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate' },
};

export function encodeRoutes(config: RouteConfiguration): JsonObject {
  return object({
    name: config.name,
    virtual_hosts: config.virtualHosts.map(encodeVirtualHost),
    ...encodeMutation(config.headers),
    most_specific_header_mutations_wins: config.mostSpecificHeaderMutationsWins ? true : undefined,
    ignore_port_in_host_matching: config.ignorePortInHostMatching ? true : undefined,
    max_direct_response_body_size_bytes: config.maxDirectResponseBytes === 4096 ? undefined : config.maxDirectResponseBytes,
  });
}

function encodeVirtualHost(host: VirtualHostConfig): JsonObject {
  return object({
    name: host.name,
    domains: host.domains,
    routes: host.routes.map(encodeRoute),
    ...encodeMutation(host.headers),
    retry_policy: host.retry === undefined ? undefined : encodeRetry(host.retry),
    require_tls: host.requireTls === 'none' ? undefined : host.requireTls === 'all' ? 'ALL' : 'EXTERNAL_ONLY',
    include_request_attempt_count: host.includeAttemptCount ? true : undefined,
  });
}

function encodeRoute(route: RouteEntryConfig): JsonObject {
  return object({
    name: route.name === '' ? undefined : route.name,
    match: encodeMatch(route.match),
    ...encodeAction(route.action),
    ...encodeMutation(route.headers),
  });
}

const PATH_FIELDS = { prefix: 'prefix', exact: 'path', 'separated-prefix': 'path_separated_prefix' } as const;

function encodeMatch(match: RouteMatchConfig): JsonObject {
  const { path, fraction } = match;
  return object({
    ...(path.kind === 'regex'
      ? { safe_regex: { regex: path.value } }
      : { [PATH_FIELDS[path.kind]]: path.value, case_sensitive: path.caseSensitive ? undefined : false }),
    headers: list(match.headers.map(encodeHeader)),
    query_parameters: list(match.query.map(encodeQuery)),
    runtime_fraction:
      fraction === undefined
        ? undefined
        : {
            default_value: {
              numerator: fraction.numerator,
              denominator: { 100: 'HUNDRED', 10_000: 'TEN_THOUSAND', 1_000_000: 'MILLION' }[fraction.denominator],
            },
          },
    grpc: match.grpc ? {} : undefined,
  });
}

function encodeAction(action: RouteActionConfig): Readonly<Record<string, Json | undefined>> {
  switch (action.kind) {
    case 'forward':
      return { route: encodeForward(action) };
    case 'redirect':
      return { redirect: encodeRedirect(action) };
    case 'direct-response':
      return { direct_response: object({ status: action.status, body: action.body === '' ? undefined : { inline_string: action.body } }) };
    case 'serve':
      return { non_forwarding_action: {} };
    case 'unsupported':
      return {};
  }
}

const NOT_FOUND = { 404: 'NOT_FOUND', 500: 'INTERNAL_SERVER_ERROR', 503: undefined } as const;

function encodeForward(action: ForwardActionConfig): JsonObject {
  const { pathRewrite, hostRewrite, maxStreamDuration: limit } = action;
  return object({
    ...encodeDestination(action.cluster),
    cluster_not_found_response_code: NOT_FOUND[action.clusterNotFoundStatus],
    timeout: optionalDuration(action.timeoutMs),
    max_stream_duration:
      limit === undefined
        ? undefined
        : object({
            max_stream_duration: optionalDuration(limit.maxStreamDurationMs),
            grpc_timeout_header_max: optionalDuration(limit.grpcTimeoutHeaderMaxMs),
            grpc_timeout_header_offset: optionalDuration(limit.grpcTimeoutHeaderOffsetMs),
          }),
    retry_policy: action.retry === undefined ? undefined : encodeRetry(action.retry),
    prefix_rewrite: pathRewrite?.kind === 'prefix' ? pathRewrite.value : undefined,
    regex_rewrite: pathRewrite?.kind === 'regex' ? encodeRewrite(pathRewrite) : undefined,
    host_rewrite_literal: hostRewrite?.kind === 'literal' ? hostRewrite.value : undefined,
    host_rewrite_header: hostRewrite?.kind === 'header' ? hostRewrite.name : undefined,
    auto_host_rewrite: hostRewrite?.kind === 'auto' ? true : undefined,
    host_rewrite_path_regex: hostRewrite?.kind === 'path-regex' ? encodeRewrite(hostRewrite) : undefined,
    append_x_forwarded_host: action.appendXForwardedHost ? true : undefined,
    priority: action.priority === 'high' ? 'HIGH' : undefined,
  });
}

function encodeRewrite(rewrite: { readonly pattern: string; readonly substitution: string }): JsonObject {
  return { pattern: { regex: rewrite.pattern }, substitution: rewrite.substitution };
}

function encodeDestination(cluster: ForwardActionConfig['cluster']): JsonObject {
  switch (cluster.kind) {
    case 'cluster':
      return { cluster: cluster.name };
    case 'cluster-header':
      return { cluster_header: cluster.header };
    case 'weighted':
      return {
        weighted_clusters: {
          clusters: cluster.clusters.map((entry) =>
            object({
              name: entry.name,
              weight: entry.weight,
              ...encodeMutation(entry.headers),
              host_rewrite_literal: entry.hostRewriteLiteral,
            }),
          ),
        },
      };
  }
}

function encodeRetry(retry: RetryPolicyConfig): JsonObject {
  return object({
    retry_on: retry.on.join(','),
    num_retries: retry.numRetries,
    per_try_timeout: retry.perTryTimeoutMs === 0 ? undefined : duration(retry.perTryTimeoutMs),
    retry_back_off: { base_interval: duration(retry.baseIntervalMs), max_interval: duration(retry.maxIntervalMs) },
    retriable_status_codes: list(retry.retriableStatusCodes),
    retriable_headers: list(retry.retriableHeaders.map(encodeHeader)),
    retriable_request_headers: list(retry.retriableRequestHeaders.map(encodeHeader)),
    retry_host_predicate: retry.avoidPreviousHosts ? [PREVIOUS_HOSTS] : undefined,
    host_selection_retry_max_attempts: String(retry.hostSelectionMaxAttempts),
  });
}

function encodeRedirect(redirect: RedirectActionConfig): JsonObject {
  const codes = { 301: undefined, 302: 'FOUND', 303: 'SEE_OTHER', 307: 'TEMPORARY_REDIRECT', 308: 'PERMANENT_REDIRECT' } as const;
  const { path } = redirect;
  return object({
    response_code: codes[redirect.status],
    scheme_redirect: redirect.scheme,
    https_redirect: redirect.httpsRedirect ? true : undefined,
    host_redirect: redirect.host,
    port_redirect: redirect.port,
    path_redirect: path?.kind === 'full' ? path.value : undefined,
    prefix_rewrite: path?.kind === 'prefix' ? path.value : undefined,
    regex_rewrite: path?.kind === 'regex' ? encodeRewrite(path) : undefined,
    strip_query: redirect.stripQuery ? true : undefined,
  });
}

const HEADER_ACTIONS = {
  append: 'APPEND_IF_EXISTS_OR_ADD',
  'add-if-absent': 'ADD_IF_ABSENT',
  overwrite: 'OVERWRITE_IF_EXISTS_OR_ADD',
  'overwrite-if-exists': 'OVERWRITE_IF_EXISTS',
} as const;

function encodeHeaderValue(value: HeaderValueConfig): JsonObject {
  return object({
    header: { key: value.name, value: value.value },
    append_action: HEADER_ACTIONS[value.action],
    keep_empty_value: value.keepEmpty ? true : undefined,
  });
}

function encodeMutation(headers: HeaderMutationConfig): Readonly<Record<string, Json | undefined>> {
  return {
    request_headers_to_add: list(headers.requestAdd.map(encodeHeaderValue)),
    request_headers_to_remove: list(headers.requestRemove),
    response_headers_to_add: list(headers.responseAdd.map(encodeHeaderValue)),
    response_headers_to_remove: list(headers.responseRemove),
  };
}
