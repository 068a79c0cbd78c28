/**
 * Clusters and endpoints as istiod writes them. For proxyless gRPC: EDS and little else, since its generator translates only balancing,
 * `max_requests` and explicit TLS. For sidecars: everything, with auto mTLS, and the clusters that lead nowhere, anywhere and to the pod.
 */
import { compileCluster, compileEndpoints } from '../../sources/mesh-yaml/compile.ts';
import { hasLabels } from '../../sources/mesh-yaml/route-checks.ts';
import type { InboundSpec } from '../../sources/mesh-yaml/types.ts';
import { encodeCluster, encodeEndpoints } from '../encode/cluster.ts';
import type { Json, JsonObject } from '../encode/json.ts';
import { ADS_SOURCE, object } from '../encode/json.ts';
import { PROVIDER } from '../encode/tls.ts';
import type { IstioNode } from './node.ts';
import type { Registry, Service, ServicePort, Subset } from './registry.ts';
import { clusterKey, parseClusterKey } from './registry.ts';
import { grpcUpstream, sidecarMatches } from './tls.ts';

const HTTP_OPTIONS = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
/** istiod's word for no limit. */
const NO_LIMIT = 4_294_967_295;
const NO_CERTIFICATES = { kind: 'none' } as const;
/** What istiod takes over from a DestinationRule's outlierDetection. */
const OUTLIER_KEYS = ['consecutive_5xx', 'interval', 'base_ejection_time', 'max_ejection_percent'] as const;

interface Found {
  readonly service: Service;
  readonly port: ServicePort;
  readonly subset: Subset;
}

function find(registry: Registry, name: string): Found | undefined {
  const key = parseClusterKey(name);
  const service = key === undefined ? undefined : registry.get(key.host);
  const port = service?.ports.find(({ number }) => number === key?.port);
  const subset = port?.subsets.find((one) => one.name === key?.subset);
  return service === undefined || port === undefined || subset === undefined ? undefined : { service, port, subset };
}

/** Names of all outbound clusters. */
export function clusterNames(registry: Registry): readonly string[] {
  return registry.services.flatMap(({ host, ports }) =>
    ports.flatMap(({ number, subsets }) => subsets.map(({ name }) => clusterKey(number, name, host))),
  );
}

/** The parts of our own encoding that say the same in both worlds. */
function ours({ port }: Found): JsonObject {
  return encodeCluster(compileCluster('any', { ...port.spec, mtls: 'off' }, undefined, NO_CERTIFICATES), PROVIDER);
}

export function grpcCluster(registry: Registry, name: string): JsonObject | undefined {
  const found = find(registry, name);
  if (found === undefined) return undefined;
  const { spec } = found.port;
  const { lb_policy } = ours(found);
  const most = spec.limits?.maxRequests;
  return object({
    name,
    type: 'EDS',
    eds_cluster_config: { service_name: name, eds_config: { ads: {} } },
    lb_policy: lb_policy === 'LEAST_REQUEST' ? lb_policy : undefined,
    circuit_breakers: most === undefined ? undefined : { thresholds: [{ max_requests: most }] },
    transport_socket: spec.mtls === 'strict' ? grpcUpstream(spec.identity) : undefined,
  });
}

export function sidecarCluster(registry: Registry, name: string): JsonObject | undefined {
  const found = find(registry, name);
  if (found === undefined) return undefined;
  const { service, port, subset } = found;
  const { spec } = port;
  const encoded = ours(found);
  const http2 = spec.protocol !== 'http';
  const sni = `outbound_.${port.number}_.${subset.name}_.${service.host}`;
  const limits = spec.limits ?? {};
  const outlier = encoded['outlier_detection'] as JsonObject | undefined;
  return object({
    name,
    type: 'EDS',
    eds_cluster_config: { service_name: name, eds_config: { ...ADS_SOURCE, initial_fetch_timeout: '0s' } },
    connect_timeout: spec.connectTimeout === undefined ? '10s' : encoded['connect_timeout'],
    // Istio's default is not Envoy's.
    lb_policy: spec.lb === 'random' ? 'RANDOM' : 'LEAST_REQUEST',
    circuit_breakers: {
      thresholds: [
        {
          max_connections: NO_LIMIT,
          max_pending_requests: limits.maxPending ?? NO_LIMIT,
          max_requests: limits.maxRequests ?? NO_LIMIT,
          max_retries: limits.maxRetries ?? NO_LIMIT,
          track_remaining: true,
        },
      ],
    },
    outlier_detection:
      outlier === undefined
        ? undefined
        : object({
            ...Object.fromEntries(OUTLIER_KEYS.map((key) => [key, outlier[key]])),
            enforcing_consecutive_5xx: 100,
            enforcing_success_rate: 0,
          }),
    typed_extension_protocol_options: http2
      ? {
          [HTTP_OPTIONS]: {
            '@type': `type.googleapis.com/${HTTP_OPTIONS}`,
            explicit_http_config: { http2_protocol_options: { max_concurrent_streams: 1_073_741_824 } },
          },
        }
      : undefined,
    common_lb_config: { healthy_panic_threshold: {} },
    metadata: {
      filter_metadata: { istio: { services: [object({ host: service.host, ...service.kubernetes })], default_original_port: port.number } },
    },
    transport_socket_matches: spec.mtls === 'strict' ? sidecarMatches(spec.identity, sni, http2) : undefined,
  });
}

/** What every sidecar has besides. */
export function sidecarExtras(inbound: readonly InboundSpec[]): ReadonlyMap<string, JsonObject> {
  const original = (name: string, from?: string): JsonObject =>
    object({
      name,
      type: 'ORIGINAL_DST',
      connect_timeout: '10s',
      lb_policy: 'CLUSTER_PROVIDED',
      upstream_bind_config: from === undefined ? undefined : { source_address: { address: from, port_value: 0 } },
    });
  const extras = [
    { name: 'BlackHoleCluster', type: 'STATIC', connect_timeout: '10s' },
    original('PassthroughCluster'),
    original('InboundPassthroughCluster', '127.0.0.6'),
    ...inbound.map(({ port }) => original(`inbound|${port}||`, '127.0.0.6')),
  ];
  return new Map(extras.map((cluster) => [String(cluster['name']), cluster]));
}

export function endpointsOf(registry: Registry, name: string, node: IstioNode): JsonObject | undefined {
  const found = find(registry, name);
  if (found === undefined) return undefined;
  const { service, port, subset } = found;
  const { spec } = port;
  const { labels } = subset;
  const endpoints = labels === undefined ? spec.endpoints : spec.endpoints.filter((endpoint) => hasLabels(endpoint.labels, labels));
  const encoded = encodeEndpoints(compileEndpoints(name, endpoints));
  const { name: workload = port.name, namespace = node.namespace } = service.kubernetes ?? {};
  const metadata: JsonObject = {
    filter_metadata: object({
      istio: { workload: `${workload};${namespace};${workload};;Kubernetes` },
      'envoy.transport_socket_match': spec.mtls === 'strict' ? { tlsMode: 'istio' } : undefined,
    }),
  };
  const localities = (encoded['endpoints'] ?? []) as readonly { readonly lb_endpoints: readonly JsonObject[] }[];
  const marked: readonly Json[] = localities.map((locality) => ({
    ...(locality as unknown as JsonObject),
    lb_endpoints: locality.lb_endpoints.map((endpoint) => ({ ...endpoint, metadata })),
  }));
  return { ...encoded, endpoints: marked };
}
