/** The part of the support table that concerns routes. See `support.ts`. */
import { notes, read, reject, skip } from './support-kinds.ts';
import type { MessageSupport } from './support-kinds.ts';

const MUTATIONS = ['request_headers_to_add', 'request_headers_to_remove', 'response_headers_to_add', 'response_headers_to_remove'];
const ROUTE = 'envoy.config.route.v3';

export const ROUTE_SUPPORT: Readonly<Record<string, MessageSupport>> = {
  'envoy.service.runtime.v3.Runtime': {
    fields: { ...read('name'), ...notes({ layer: 'Keys that `runtime_fraction` of routes names; others have no effect.' }) },
  },
  [`${ROUTE}.RouteConfiguration`]: {
    fields: {
      ...read(
        'name',
        'virtual_hosts',
        ...MUTATIONS,
        'most_specific_header_mutations_wins',
        'max_direct_response_body_size_bytes',
        'ignore_port_in_host_matching',
      ),
      ...notes({
        cluster_specifier_plugins:
          'No plugin is supported: one that is not optional rejects the resource, routes of an optional one are skipped (gRPC rule 22).',
        typed_per_filter_config: 'The outermost level; the most specific one wins whole.',
        vhds: 'By delta; outbound, where the `on_demand` filter is on.',
      }),
      ...skip('Clusters are asked for by name; one that does not exist fails its calls.', 'validate_clusters'),
      ...skip('Not traffic.', 'metadata'),
    },
  },
  [`${ROUTE}.Vhds`]: { fields: read('config_source') },
  [`${ROUTE}.ScopedRouteConfiguration`]: {
    fields: {
      ...read('name', 'route_configuration_name', 'route_configuration', 'key'),
      ...notes({ on_demand: 'The routes are asked for with the first call of the scope; on the inbound side at once.' }),
    },
  },
  [`${ROUTE}.ScopedRouteConfiguration.Key`]: { fields: read('fragments') },
  [`${ROUTE}.ScopedRouteConfiguration.Key.Fragment`]: { fields: read('string_key') },
  [`${ROUTE}.VirtualHost`]: {
    fields: {
      ...read('name', 'routes', 'require_tls', ...MUTATIONS, 'typed_per_filter_config', 'include_request_attempt_count'),
      ...notes({
        domains: 'One that is taken twice rejects the resource (Envoy R-5).',
        retry_policy: 'Used where the route has none; never merged.',
      }),
      ...skip('Statistics only.', 'virtual_clusters'),
      ...skip('Not traffic.', 'metadata'),
      ...skip('Bodies are replayed within the limits of the adapters.', 'per_request_buffer_limit_bytes'),
    },
  },
  [`${ROUTE}.Route`]: {
    fields: {
      ...read('name', 'match', 'route', 'redirect', 'direct_response', 'non_forwarding_action', ...MUTATIONS, 'typed_per_filter_config'),
      ...notes({ filter_action: 'Accepted; a call that meets it fails (gRFC A28).' }),
      ...skip('Statistics only.', 'stat_prefix'),
      ...skip('Not traffic.', 'metadata'),
      ...skip('Bodies are replayed within the limits of the adapters.', 'per_request_buffer_limit_bytes'),
    },
  },
  [`${ROUTE}.RouteMatch`]: {
    fields: {
      ...read('prefix', 'path', 'safe_regex', 'path_separated_prefix', 'case_sensitive', 'headers', 'grpc'),
      ...notes({
        runtime_fraction: 'gRPC calls: only `default_value` (gRFC A28).',
        query_parameters: 'Applied to HTTP and gRPC calls alike, where gRPC would skip the route.',
        connect_matcher: 'The route is skipped and recorded.',
        path_match_policy: 'Rejects the resource.',
      }),
    },
  },
  [`${ROUTE}.HeaderMatcher`]: {
    fields: {
      ...read(
        'name',
        'safe_regex_match',
        'range_match',
        'present_match',
        'prefix_match',
        'suffix_match',
        'contains_match',
        'string_match',
        'invert_match',
      ),
      ...notes({ exact_match: 'An empty text accepts every value of a header that is there (Envoy D9).' }),
      ...read('treat_missing_header_as_empty'),
    },
  },
  [`${ROUTE}.QueryParameterMatcher`]: { fields: read('name', 'string_match', 'present_match') },
  'envoy.type.matcher.v3.StringMatcher': {
    fields: {
      ...read('exact', 'prefix', 'suffix', 'safe_regex', 'contains', 'ignore_case'),
      ...reject({ custom: 'custom string matchers are not supported' }),
    },
  },
  'envoy.type.matcher.v3.RegexMatcher': { fields: { ...read('regex'), ...skip('RE2 is the only engine.', 'google_re2') } },
  'envoy.type.matcher.v3.RegexMatchAndSubstitute': { fields: read('pattern', 'substitution') },
  [`${ROUTE}.RouteAction`]: {
    fields: {
      ...read(
        'cluster',
        'cluster_header',
        'weighted_clusters',
        'cluster_not_found_response_code',
        'prefix_rewrite',
        'regex_rewrite',
        'host_rewrite_literal',
        'auto_host_rewrite',
        'host_rewrite_header',
        'host_rewrite_path_regex',
        'append_x_forwarded_host',
        'priority',
        'max_stream_duration',
      ),
      ...notes({
        timeout: 'HTTP calls only (gRFC A31).',
        retry_policy: 'Replaces that of the virtual host.',
        cluster_specifier_plugin: 'See `RouteConfiguration.cluster_specifier_plugins`.',
        inline_cluster_specifier_plugin: 'The route is skipped and recorded.',
      }),
      ...skip('Statistics of another filter.', 'include_vh_rate_limits'),
    },
  },
  [`${ROUTE}.RouteAction.MaxStreamDuration`]: {
    fields: read('max_stream_duration', 'grpc_timeout_header_max', 'grpc_timeout_header_offset'),
  },
  [`${ROUTE}.RouteAction.HashPolicy`]: {
    fields: read('header', 'cookie', 'connection_properties', 'query_parameter', 'filter_state', 'terminal'),
  },
  [`${ROUTE}.RouteAction.HashPolicy.Header`]: { fields: read('header_name', 'regex_rewrite') },
  [`${ROUTE}.RouteAction.HashPolicy.Cookie`]: { fields: read('name') },
  [`${ROUTE}.RouteAction.HashPolicy.ConnectionProperties`]: { fields: read('source_ip') },
  [`${ROUTE}.RouteAction.HashPolicy.QueryParameter`]: { fields: read('name') },
  [`${ROUTE}.RouteAction.HashPolicy.FilterState`]: { fields: read('key') },
  [`${ROUTE}.WeightedCluster`]: {
    fields: {
      ...notes({
        clusters: 'Entries with weight 0 are left out unless there is a `runtime_key_prefix`; a sum of 0 rejects.',
        runtime_key_prefix: 'Weights from the runtime, for HTTP calls; the configured ones count where those add up to 0.',
      }),
      ...skip('Replaced by the sum of the weights.', 'total_weight'),
    },
  },
  [`${ROUTE}.WeightedCluster.ClusterWeight`]: {
    fields: {
      ...read('name', 'weight', ...MUTATIONS, 'typed_per_filter_config', 'host_rewrite_literal'),
      ...notes({ cluster_header: 'Rejects the resource where the weight is above 0.' }),
    },
  },
  [`${ROUTE}.RetryPolicy`]: {
    fields: {
      ...read(
        'per_try_timeout',
        'host_selection_retry_max_attempts',
        'retriable_status_codes',
        'retriable_headers',
        'retriable_request_headers',
      ),
      ...notes({
        retry_on: 'HTTP and gRPC conditions; tokens that are not known are recorded.',
        num_retries: '0 is accepted and means none (gRPC would reject it).',
        retry_back_off: 'A `max_interval` below the base is raised to it (gRFC A44).',
        rate_limited_retry_back_off: '',
        retry_host_predicate: 'Only `previous_hosts`.',
      }),
    },
  },
  [`${ROUTE}.RetryPolicy.RetryBackOff`]: { fields: read('base_interval', 'max_interval') },
  [`${ROUTE}.RetryPolicy.RateLimitedRetryBackOff`]: { fields: read('reset_headers', 'max_interval') },
  [`${ROUTE}.RetryPolicy.ResetHeader`]: { fields: read('name', 'format') },
  [`${ROUTE}.RedirectAction`]: {
    fields: read(
      'https_redirect',
      'scheme_redirect',
      'host_redirect',
      'port_redirect',
      'path_redirect',
      'prefix_rewrite',
      'regex_rewrite',
      'response_code',
      'strip_query',
    ),
  },
  [`${ROUTE}.DirectResponseAction`]: {
    fields: { ...read('status'), ...notes({ body: '`inline_string` and `inline_bytes`; others reject.' }) },
  },
  [`${ROUTE}.FilterConfig`]: { fields: read('config', 'is_optional', 'disabled') },
  'envoy.config.core.v3.HeaderValueOption': {
    fields: { ...read('header', 'append_action', 'keep_empty_value'), ...notes({ append: '`false` means overwrite.' }) },
  },
  'envoy.config.core.v3.HeaderValue': { fields: read('key', 'value', 'raw_value') },
  'envoy.config.core.v3.RuntimeFractionalPercent': {
    fields: read('default_value', 'runtime_key'),
  },
};
