/**
 * Route configurations as istiod writes them: `outbound|port||host` for proxyless gRPC, one for each port (`80`) for sidecars; virtual hosts
 * by the same builder for both.
 */
import { compileRoutes } from '../../sources/mesh-yaml/compile-routes.ts';
import type { Json, JsonObject } from '../encode/json.ts';
import { object } from '../encode/json.ts';
import { encodeRoutes } from '../encode/routes.ts';
import type { IstioNode } from './node.ts';
import type { Registry, Service, ServicePort } from './registry.ts';
import { parseClusterKey } from './registry.ts';

/** How hosts are served that no service has. */
export type OutboundPolicy = 'ALLOW_ANY' | 'REGISTRY_ONLY';

const DEFAULT_RETRY: JsonObject = {
  retry_on: 'connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes',
  num_retries: 2,
  retry_host_predicate: [
    {
      name: 'envoy.retry_host_predicates.previous_hosts',
      typed_config: { '@type': 'type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate' },
    },
  ],
  host_selection_retry_max_attempts: '5',
};

/** `outbound|9080||reviews.default.svc.cluster.local`: every virtual host of the port, as istiod up to 1.29 sends them. Undefined: no such port. */
export function grpcRoutes(registry: Registry, node: IstioNode, name: string): JsonObject | undefined {
  const key = parseClusterKey(name);
  if (key === undefined) return undefined;
  const hosts = registry.onPort(key.port);
  if (!hosts.some(({ service }) => service.host === key.host)) return undefined;
  return { name, virtual_hosts: hosts.map(({ service, port }) => virtualHost(registry, node, service, port)) };
}

/** `80`: what a sidecar's listener on that port asks for, also if no service listens there. Undefined: no number. */
export function sidecarRoutes(registry: Registry, node: IstioNode, name: string, policy: OutboundPolicy): JsonObject | undefined {
  if (!/^\d{1,5}$/.test(name)) return undefined;
  const hosts = registry.onPort(Number(name)).map(({ service, port }) => virtualHost(registry, node, service, port));
  return {
    name,
    virtual_hosts: [...hosts, catchAll(policy)],
    validate_clusters: false,
    max_direct_response_body_size_bytes: 1_048_576,
    ignore_port_in_host_matching: true,
  };
}

function catchAll(policy: OutboundPolicy): JsonObject {
  const allow = policy === 'ALLOW_ANY';
  const name = allow ? 'allow_any' : 'block_all';
  const action: JsonObject = allow
    ? { route: { cluster: 'PassthroughCluster', timeout: '0s', max_grpc_timeout: '0s' } }
    : { direct_response: { status: 502 } };
  return {
    name,
    domains: ['*'],
    routes: [{ name, match: { prefix: '/' }, ...action }],
    include_request_attempt_count: true,
  };
}

function virtualHost(registry: Registry, node: IstioNode, service: Service, port: ServicePort): JsonObject {
  const [compiled] = encodeRoutes(compileRoutes(port.name, port.spec))['virtual_hosts'] as readonly [JsonObject];
  const routes = compiled['routes'] as readonly JsonObject[];
  return {
    name: `${service.host}:${port.number}`,
    domains: domainsOf(node, service, port.number),
    routes: routes.map((route) => translate(route, registry, node, service, port)),
    include_request_attempt_count: true,
  };
}

/** The short forms are those of the node's namespace. Sidecars do not look at the port of the authority; gRPC has to. */
function domainsOf(node: IstioNode, service: Service, port: number): readonly string[] {
  const names = [service.host];
  if (node.generator === 'sidecar') names.push(`${service.host}.`);
  if (service.kubernetes !== undefined) {
    const { name, namespace } = service.kubernetes;
    if (namespace === node.namespace) names.push(name);
    names.push(`${name}.${namespace}`, `${name}.${namespace}.svc`);
  }
  names.push(service.address);
  return node.generator === 'sidecar' ? names : names.flatMap((name) => [name, `${name}:${port}`]);
}

function translate(route: JsonObject, registry: Registry, node: IstioNode, service: Service, port: ServicePort): JsonObject {
  const { route: action, match, ...rest } = route;
  const { grpc: _grpc, ...kept } = match as Record<string, Json>;
  return object({
    name: 'default',
    ...rest,
    match: kept,
    decorator: { operation: `${service.host}:${port.number}/*` },
    ...(action === undefined ? {} : { route: translateAction(action as JsonObject, registry, node, port.number) }),
  });
}

function translateAction(action: JsonObject, registry: Registry, node: IstioNode, port: number): JsonObject {
  const { cluster, weighted_clusters, timeout, max_stream_duration, retry_policy, ...rest } = action;
  const limit = (max_stream_duration as JsonObject | undefined)?.['max_stream_duration'] ?? timeout ?? '0s';
  const rename = (name: Json | undefined): string => registry.clusterOf(String(name), port) ?? 'BlackHoleCluster';
  const weighted = (weighted_clusters as { readonly clusters: readonly JsonObject[] } | undefined)?.clusters;
  return object({
    ...rest,
    ...(cluster === undefined ? {} : { cluster: rename(cluster) }),
    ...(weighted === undefined
      ? {}
      : { weighted_clusters: { clusters: weighted.map((entry) => ({ ...entry, name: rename(entry['name']) })) } }),
    timeout: limit,
    // gRPC reads only the newer field; for sidecars istiod keeps to the deprecated one.
    ...(node.generator === 'grpc' ? { max_stream_duration: { max_stream_duration: limit } } : { max_grpc_timeout: limit }),
    retry_policy: retry_policy ?? DEFAULT_RETRY,
  });
}
