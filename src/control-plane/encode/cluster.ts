/** ClusterConfig as envoy.config.cluster.v3.Cluster, EndpointsConfig as envoy.config.endpoint.v3.ClusterLoadAssignment. */
import type { ClusterConfig, OutlierConfig, ThresholdsConfig } from '../../config/cluster.ts';
import { DEFAULT_THRESHOLDS } from '../../config/cluster.ts';
import type { EndpointConfig, EndpointsConfig, LocalityConfig } from '../../config/endpoints.ts';
import type { Json, JsonObject } from './json.ts';
import { ADS_SOURCE, duration, list, object } from './json.ts';
import type { TlsMaterial } from './tls.ts';
import { encodeUpstreamTls } from './tls.ts';

const HTTP_OPTIONS = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
const LB_POLICIES: Readonly<Record<string, string>> = { round_robin: 'ROUND_ROBIN', least_request: 'LEAST_REQUEST', random: 'RANDOM' };

export function encodeCluster(cluster: ClusterConfig, material: TlsMaterial): JsonObject {
  const { discovery } = cluster;
  const policy = LB_POLICIES[cluster.lb.policy];
  if (policy === undefined) throw new TypeError(`LB policy "${cluster.lb.policy}" cannot be encoded`);
  return object({
    name: cluster.name,
    ...encodeDiscovery(cluster),
    lb_policy: discovery.kind === 'original-dst' ? 'CLUSTER_PROVIDED' : policy === 'ROUND_ROBIN' ? undefined : policy,
    connect_timeout: duration(cluster.connectTimeoutMs),
    circuit_breakers: encodeThresholds(cluster.thresholds),
    outlier_detection: cluster.outlier === undefined ? undefined : encodeOutlier(cluster.outlier),
    transport_socket: cluster.tls === undefined ? undefined : encodeUpstreamTls(cluster.tls, material),
    typed_extension_protocol_options: encodeHttpOptions(cluster),
    metadata: cluster.breaker === undefined ? undefined : { filter_metadata: { inmesh: { breaker: { ...cluster.breaker } } } },
    lrs_server: cluster.reportLoad ? { self: {} } : undefined,
    common_lb_config: encodeCommonLb(cluster),
  });
}

function encodeDiscovery({ name, discovery }: ClusterConfig): JsonObject {
  if (discovery.kind === 'original-dst') return { type: 'ORIGINAL_DST' };
  if (discovery.kind === 'static') return { type: 'STATIC', load_assignment: encodeEndpoints(discovery.endpoints) };
  if (discovery.kind === 'unavailable') throw new TypeError(`cluster "${name}" cannot be encoded: ${discovery.reason}`);
  const service_name = discovery.serviceName === name ? undefined : discovery.serviceName;
  return { type: 'EDS', eds_cluster_config: object({ eds_config: ADS_SOURCE, service_name }) };
}

function encodeCommonLb(cluster: ClusterConfig): JsonObject | undefined {
  if (cluster.panicThreshold === 50 && !cluster.localityWeighted) return undefined;
  return object({
    healthy_panic_threshold: cluster.panicThreshold === 50 ? undefined : { value: cluster.panicThreshold },
    locality_weighted_lb_config: cluster.localityWeighted ? {} : undefined,
  });
}

function encodeHttpOptions(cluster: ClusterConfig): JsonObject | undefined {
  const most = cluster.maxRequestsPerConnection;
  if (!cluster.http2 && most === undefined) return undefined;
  return {
    [HTTP_OPTIONS]: object({
      '@type': `type.googleapis.com/${HTTP_OPTIONS}`,
      explicit_http_config: cluster.http2 ? { http2_protocol_options: {} } : { http_protocol_options: {} },
      common_http_protocol_options: most === undefined ? undefined : { max_requests_per_connection: most },
    }),
  };
}

function encodeThresholds(thresholds: ClusterConfig['thresholds']): JsonObject | undefined {
  const entries: Json[] = [];
  for (const [priority, values] of Object.entries(thresholds)) {
    if (isDefault(values)) continue;
    entries.push(
      object({
        priority: priority.toUpperCase(),
        // Said only where it says something: inmesh itself does not limit connections yet.
        max_connections: values.maxConnections === DEFAULT_THRESHOLDS.maxConnections ? undefined : values.maxConnections,
        max_pending_requests: values.maxPendingRequests,
        max_requests: values.maxRequests,
        max_retries: values.maxRetries,
        retry_budget:
          values.retryBudget === undefined
            ? undefined
            : { budget_percent: { value: values.retryBudget.percent }, min_retry_concurrency: values.retryBudget.minConcurrency },
      }),
    );
  }
  return entries.length === 0 ? undefined : { thresholds: entries };
}

function isDefault(values: ThresholdsConfig): boolean {
  return (Object.keys(DEFAULT_THRESHOLDS) as (keyof ThresholdsConfig)[]).every((key) => values[key] === DEFAULT_THRESHOLDS[key]);
}

function encodeOutlier(outlier: OutlierConfig): JsonObject {
  const { successRate, failurePercentage } = outlier;
  return object({
    consecutive_5xx: outlier.consecutive5xx,
    enforcing_consecutive_5xx: outlier.enforcingConsecutive5xx,
    consecutive_gateway_failure: outlier.consecutiveGatewayFailure,
    enforcing_consecutive_gateway_failure: outlier.enforcingConsecutiveGatewayFailure,
    consecutive_local_origin_failure: outlier.consecutiveLocalOriginFailure,
    enforcing_consecutive_local_origin_failure: outlier.enforcingConsecutiveLocalOriginFailure,
    split_external_local_origin_errors: outlier.splitExternalLocalOriginErrors ? true : undefined,
    interval: duration(outlier.intervalMs),
    base_ejection_time: duration(outlier.baseEjectionTimeMs),
    max_ejection_time: duration(outlier.maxEjectionTimeMs),
    max_ejection_time_jitter: outlier.maxEjectionTimeJitterMs === 0 ? undefined : duration(outlier.maxEjectionTimeJitterMs),
    max_ejection_percent: outlier.maxEjectionPercent,
    always_eject_one_host: outlier.alwaysEjectOneHost ? true : undefined,
    // Off is said explicitly: unset means on, with 100 %.
    enforcing_success_rate: successRate?.enforcing ?? 0,
    success_rate_minimum_hosts: successRate?.minimumHosts,
    success_rate_request_volume: successRate?.requestVolume,
    success_rate_stdev_factor: successRate?.stdevFactor,
    enforcing_failure_percentage: failurePercentage?.enforcing ?? 0,
    failure_percentage_threshold: failurePercentage?.threshold,
    failure_percentage_minimum_hosts: failurePercentage?.minimumHosts,
    failure_percentage_request_volume: failurePercentage?.requestVolume,
  });
}

export function encodeEndpoints(endpoints: EndpointsConfig): JsonObject {
  return object({
    cluster_name: endpoints.clusterName,
    endpoints: endpoints.localities.map(encodeLocality),
    policy: encodePolicy(endpoints),
  });
}

function encodePolicy(endpoints: EndpointsConfig): JsonObject | undefined {
  const drops = endpoints.dropOverloads.map(({ category, numerator, denominator }) => ({
    category,
    drop_percentage: { numerator, denominator: denominator === 100 ? 'HUNDRED' : denominator === 10_000 ? 'TEN_THOUSAND' : 'MILLION' },
  }));
  const factor = endpoints.overprovisioningFactor === 140 ? undefined : endpoints.overprovisioningFactor;
  return drops.length === 0 && factor === undefined ? undefined : object({ drop_overloads: list(drops), overprovisioning_factor: factor });
}

function encodeLocality(locality: LocalityConfig): JsonObject {
  const [region = '', zone = '', subZone = ''] = locality.locality.split('/');
  return object({
    // Present even when empty: gRPC rejects an assignment without (gRPC rule 37).
    locality: { region, zone, sub_zone: subZone },
    priority: locality.priority,
    load_balancing_weight: locality.weight,
    lb_endpoints: locality.endpoints.map(encodeEndpoint),
  });
}

function encodeEndpoint(endpoint: EndpointConfig): JsonObject {
  return object({
    endpoint: object({
      address: { socket_address: { address: endpoint.host, port_value: endpoint.port } },
      hostname: endpoint.hostname === '' ? undefined : endpoint.hostname,
    }),
    health_status: endpoint.health === 'unknown' ? undefined : endpoint.health.toUpperCase(),
    load_balancing_weight: endpoint.weight,
  });
}
