/** The part of the support table that concerns clusters and their endpoints. See `support.ts`. */
import { notes, read, reject, skip } from './support-kinds.ts';
import type { MessageSupport } from './support-kinds.ts';

const DNS = 'There are no DNS clusters.';

export const CLUSTER_SUPPORT: Readonly<Record<string, MessageSupport>> = {
  'envoy.config.cluster.v3.Cluster': {
    fields: {
      ...read(
        'name',
        'eds_cluster_config',
        'outlier_detection',
        'circuit_breakers',
        'load_balancing_policy',
        'common_lb_config',
        'typed_extension_protocol_options',
      ),
      ...read('ring_hash_lb_config', 'maglev_lb_config', 'least_request_lb_config', 'round_robin_lb_config', 'max_requests_per_connection'),
      ...notes({
        type: '`EDS`, `STATIC`, and `ORIGINAL_DST`, which dials the host of the request; `STRICT_DNS` and `LOGICAL_DNS` are accepted and recorded, and calls to them fail with the reason.',
        cluster_type: 'Accepted and recorded (`envoy.clusters.aggregate` too); calls to it fail with the reason.',
        connect_timeout: 'Default 5 s.',
        lb_policy: 'Used without `load_balancing_policy`; `CLUSTER_PROVIDED` rejects unless the type is `ORIGINAL_DST`.',
        load_assignment: 'Of a STATIC cluster.',
        http2_protocol_options: 'Deprecated: HTTP/2, without its settings.',
        transport_socket: 'TLS or raw_buffer; any other rejects.',
        transport_socket_matches: 'By the metadata of endpoints; that of localities is not looked at.',
        metadata: 'Only `filter_metadata.inmesh.breaker`.',
        lrs_report_endpoint_metrics: 'Empty: all named metrics, under their bare names (gRFC A64).',
        lrs_server: 'Only `self`, anything else rejects; see [load reports](load-reports.md).',
      }),
      ...skip('Statistics only.', 'alt_stat_name', 'track_timeout_budgets', 'track_cluster_stats'),
      ...skip(
        DNS,
        'dns_refresh_rate',
        'dns_failure_refresh_rate',
        'respect_dns_ttl',
        'dns_lookup_family',
        'dns_resolvers',
        'use_tcp_for_dns_lookups',
        'dns_resolution_config',
        'typed_dns_resolver_config',
      ),
      ...skip(
        'Pools of the adapters.',
        'per_connection_buffer_limit_bytes',
        'upstream_connection_options',
        'connection_pool_per_downstream_connection',
        'http_protocol_options',
        'wait_for_warm_on_init',
        'cleanup_interval',
      ),
    },
  },
  'envoy.config.cluster.v3.Cluster.EdsClusterConfig': { fields: read('eds_config', 'service_name') },
  'envoy.config.cluster.v3.Cluster.CommonLbConfig': {
    fields: {
      ...read('healthy_panic_threshold', 'locality_weighted_lb_config', 'consistent_hashing_lb_config'),
      ...skip('Updates are cheap here and come one by one.', 'update_merge_window'),
    },
  },
  'envoy.config.cluster.v3.CircuitBreakers': { fields: { ...notes({ thresholds: 'The first entry of each priority.' }) } },
  'envoy.config.cluster.v3.CircuitBreakers.Thresholds': {
    fields: {
      ...read('priority', 'max_pending_requests', 'max_requests', 'max_retries', 'retry_budget'),
      ...skip('Statistics only.', 'track_remaining'),
    },
  },
  'envoy.config.cluster.v3.OutlierDetection': {
    fields: {
      ...read(
        'consecutive_5xx',
        'interval',
        'base_ejection_time',
        'max_ejection_percent',
        'enforcing_consecutive_5xx',
        'enforcing_success_rate',
        'success_rate_minimum_hosts',
        'success_rate_request_volume',
        'success_rate_stdev_factor',
        'consecutive_gateway_failure',
        'enforcing_consecutive_gateway_failure',
        'split_external_local_origin_errors',
        'consecutive_local_origin_failure',
        'enforcing_consecutive_local_origin_failure',
        'failure_percentage_threshold',
        'enforcing_failure_percentage',
        'failure_percentage_minimum_hosts',
        'failure_percentage_request_volume',
        'max_ejection_time',
        'max_ejection_time_jitter',
        'always_eject_one_host',
      ),
      ...skip('There are no active health checks.', 'successful_active_health_check_uneject_host'),
    },
  },
  'envoy.config.cluster.v3.LoadBalancingPolicy': {
    fields: notes({
      policies: 'The first that is known; `wrr_locality` goes by its `endpoint_picking_policy`; none known rejects (gRFC A52).',
    }),
  },
  'envoy.config.cluster.v3.LoadBalancingPolicy.Policy': { fields: read('typed_extension_config') },
  'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
    fields: {
      ...notes({
        explicit_http_config: 'HTTP/1 or HTTP/2, without their settings; HTTP/3 rejects.',
        use_downstream_protocol_config: 'HTTP/1 for HTTP calls; recorded.',
        auto_config: 'HTTP/1 for HTTP calls; recorded.',
        common_http_protocol_options: '`max_requests_per_connection`.',
        upstream_http_protocol_options: '`auto_san_validation` rejects, the others are recorded.',
      }),
    },
  },
  'envoy.config.core.v3.UpstreamHttpProtocolOptions': {
    fields: reject({ auto_san_validation: 'validating the peer by the name of the request is not supported' }),
  },
  'envoy.config.endpoint.v3.ClusterLoadAssignment': {
    fields: { ...read('cluster_name', 'endpoints', 'policy') },
  },
  'envoy.config.endpoint.v3.ClusterLoadAssignment.Policy': { fields: read('drop_overloads', 'overprovisioning_factor') },
  'envoy.config.endpoint.v3.LocalityLbEndpoints': {
    fields: {
      ...notes({
        load_balancing_weight: '0 leaves the locality out (gRFC A27).',
        locality: 'May be absent; the same one twice in a priority rejects.',
      }),
      ...read('lb_endpoints', 'load_balancer_endpoints', 'priority'),
      ...skip('Not traffic.', 'metadata'),
    },
  },
  'envoy.config.endpoint.v3.LocalityLbEndpoints.LbEndpointList': { fields: read('lb_endpoints') },
  'envoy.config.endpoint.v3.LbEndpoint': { fields: read('endpoint', 'health_status', 'metadata', 'load_balancing_weight') },
  'envoy.config.endpoint.v3.Endpoint': {
    fields: {
      ...notes({ address: 'A `socket_address` with a number as port; any other rejects.' }),
      ...read('hostname'),
      ...skip('There are no active health checks.', 'health_check_config'),
    },
  },
};
