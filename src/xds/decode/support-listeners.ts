/** The part of the support table that concerns listeners and the connection manager. See `support.ts`. */
import { notes, read, reject, skip } from './support-kinds.ts';
import type { MessageSupport } from './support-kinds.ts';

const SOCKET = 'The application owns its sockets.';

export const LISTENER_SUPPORT: Readonly<Record<string, MessageSupport>> = {
  'envoy.config.listener.v3.Listener': {
    fields: {
      ...read('name', 'filter_chains', 'default_filter_chain', 'traffic_direction', 'api_listener'),
      ...notes({
        address: 'A TCP `socket_address` with a number as port; needed unless there is an `api_listener`.',
        additional_addresses: 'In the sidecar view, for servers that are bound to one of them.',
        listener_filters:
          '`tls_inspector`, `http_inspector` and `original_dst` have no effect and are recorded; others reject, on outbound listeners they are recorded.',
      }),
      ...reject({ filter_chain_matcher: 'matching filter chains by a matcher tree is not supported' }),
      ...skip(
        SOCKET,
        'per_connection_buffer_limit_bytes',
        'deprecated_v1',
        'drain_type',
        'listener_filters_timeout',
        'continue_on_listener_filters_timeout',
        'transparent',
        'freebind',
        'socket_options',
        'tcp_fast_open_queue_length',
        'connection_balance_config',
        'reuse_port',
        'enable_reuse_port',
        'tcp_backlog_size',
        'max_connections_to_accept_per_socket_event',
        'bind_to_port',
        'enable_mptcp',
        'ignore_global_conn_limit',
        'bypass_overload_manager',
      ),
      ...skip('Statistics only.', 'stat_prefix'),
      ...skip('Not traffic.', 'metadata'),
    },
  },
  'envoy.config.listener.v3.ApiListener': { fields: notes({ api_listener: 'An HttpConnectionManager.' }) },
  'envoy.config.listener.v3.FilterChain': {
    fields: {
      ...read('filter_chain_match', 'name'),
      ...notes({
        filters:
          'One HttpConnectionManager, last. A chain without one is left alone and recorded. Filters before it reject on the inbound side.',
        transport_socket: 'TLS or raw_buffer; any other rejects.',
      }),
      ...reject({ use_proxy_proto: 'the PROXY protocol is not supported' }),
      ...skip(SOCKET, 'transport_socket_connect_timeout', 'on_demand_configuration'),
      ...skip('Not traffic.', 'metadata'),
    },
  },
  'envoy.config.listener.v3.FilterChainMatch': {
    fields: {
      ...read(
        'destination_port',
        'prefix_ranges',
        'direct_source_prefix_ranges',
        'source_type',
        'source_prefix_ranges',
        'source_ports',
        'server_names',
        'transport_protocol',
        'application_protocols',
      ),
      ...reject({ address_suffix: 'is not implemented, in Envoy neither', suffix_len: 'is not implemented, in Envoy neither' }),
    },
  },
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager': {
    fields: {
      ...read('stat_prefix', 'route_config'),
      ...notes({
        http_filters:
          '`router`, `rbac`, `on_demand`, also over ECDS. Without effect, and recorded: `grpc_stats`, `grpc_web`, `grpc_http1_bridge`, `cors`, `compressor`, `fault`, `health_check`, `header_to_metadata`, `stateful_session`, and Istio’s `peer_metadata`, `stats` and `alpn`. Others reject unless they are optional; on outbound socket listeners they are recorded.',
        rds: 'From any config source.',
        scoped_routes: 'Scopes by headers; a key that two scopes have belongs to the first.',
        common_http_protocol_options: 'Only `max_stream_duration`.',
        xff_num_trusted_hops: 'Rejects the resource, on outbound socket listeners it is recorded (gRPC rule 5).',
        original_ip_detection_extensions: 'As `xff_num_trusted_hops`.',
      }),
      ...skip(
        'The libraries of the application speak HTTP.',
        'codec_type',
        'http_protocol_options',
        'http2_protocol_options',
        'http3_protocol_options',
        'server_name',
        'server_header_transformation',
        'max_request_headers_kb',
        'drain_timeout',
        'delayed_close_timeout',
        'add_user_agent',
        'proxy_100_continue',
        'stream_error_on_invalid_http_message',
        'upgrade_configs',
        'via',
        'represent_ipv4_remote_address_as_ipv4_mapped_ipv6',
        'skip_xff_append',
        'append_x_forwarded_port',
        'append_local_overload',
        'proxy_status_config',
      ),
      ...skip(
        "Tracing is the application's OpenTelemetry.",
        'tracing',
        'generate_request_id',
        'preserve_external_request_id',
        'always_set_request_id_in_response',
        'request_id_extension',
      ),
    },
  },
  'envoy.config.core.v3.HttpProtocolOptions': {
    fields: {
      ...read('max_stream_duration'),
      ...notes({ max_requests_per_connection: 'Of clusters.' }),
      ...skip('Pools of the adapters.', 'idle_timeout', 'headers_with_underscores_action', 'max_headers_count'),
    },
  },
  'envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter': {
    fields: {
      ...read('name', 'typed_config', 'disabled'),
      ...notes({
        is_optional: 'A filter that is not known is then left out, and recorded.',
        config_discovery:
          'A filter over ECDS. Without its configuration calls fail with `filter_config_missing`; `on_demand` works as well.',
      }),
    },
  },
  'envoy.config.core.v3.ExtensionConfigSource': {
    fields: {
      ...read('config_source', 'default_config', 'apply_default_config_without_warming'),
      ...notes({ type_urls: 'One that is not supported rejects, as such a filter does without ECDS. All terminal, or none.' }),
    },
  },
  'envoy.config.core.v3.TypedExtensionConfig': {
    fields: { ...read('name'), ...notes({ typed_config: 'Over ECDS: an HTTP filter; one that is not supported rejects.' }) },
  },
  'envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes': {
    fields: {
      ...read('name', 'scope_key_builder', 'rds_config_source', 'scoped_rds'),
      ...notes({ scoped_route_configurations_list: 'Two scopes with one key reject the resource.' }),
    },
  },
  'envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes.ScopeKeyBuilder': { fields: read('fragments') },
  'envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder': {
    fields: read('header_value_extractor'),
  },
  'envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder.HeaderValueExtractor': {
    fields: { ...read('name', 'element_separator', 'element'), ...notes({ index: 'Above 0 only with an `element_separator`.' }) },
  },
  'envoy.extensions.filters.network.http_connection_manager.v3.ScopedRoutes.ScopeKeyBuilder.FragmentBuilder.HeaderValueExtractor.KvElement':
    {
      fields: read('separator', 'key'),
    },
  'envoy.extensions.filters.network.http_connection_manager.v3.ScopedRouteConfigurationsList': {
    fields: read('scoped_route_configurations'),
  },
  'envoy.extensions.filters.network.http_connection_manager.v3.ScopedRds': {
    fields: read('scoped_rds_config_source', 'srds_resources_locator'),
  },
  'envoy.extensions.filters.network.http_connection_manager.v3.Rds': { fields: read('config_source', 'route_config_name') },
};
