/** Listeners as istiod's generator for proxyless gRPC writes them: by the names that are asked for, and no others. */
import { compileInbound } from '../../sources/mesh-yaml/compile-inbound.ts';
import type { MeshFile } from '../../sources/mesh-yaml/types.ts';
import { encodeListener } from '../encode/listener.ts';
import type { JsonObject } from '../encode/json.ts';
import { object } from '../encode/json.ts';
import { PROVIDER } from '../encode/tls.ts';
import type { IstioNode } from './node.ts';
import type { Registry, Service } from './registry.ts';
import { clusterKey } from './registry.ts';
import { grpcDownstream } from './tls.ts';

export const SERVER_PREFIX = 'xds.istio.io/grpc/lds/inbound/';
const MANAGER = 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';
const FAULT = {
  name: 'envoy.filters.http.fault',
  typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault' },
};
const ROUTER = {
  name: 'envoy.filters.http.router',
  typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
};
const RBAC_NAMES: Readonly<Record<string, string>> = { DENY: 'envoy.filters.http.rbac.DENY', ALLOW: 'envoy.filters.http.rbac' };

/**
 * Names of the listeners that a requested name stands for: itself with its port, or one for each port of a host without. Nothing: there is no
 * such service. Short names are looked for in the node's own namespace only.
 */
export function expandListener(registry: Registry, node: IstioNode, name: string): readonly string[] {
  if (name.startsWith(SERVER_PREFIX)) return [name];
  const { host, port } = split(name);
  const service = lookUp(registry, node, host);
  return (service?.ports ?? []).filter(({ number }) => port === undefined || number === port).map(({ number }) => `${host}:${number}`);
}

/** Answered under the spelling that was asked for. */
export function clientListener(registry: Registry, node: IstioNode, name: string): JsonObject | undefined {
  const { host, port } = split(name);
  const service = lookUp(registry, node, host);
  if (service === undefined || port === undefined || !service.ports.some(({ number }) => number === port)) return undefined;
  return {
    name,
    address: { socket_address: { address: service.address, port_value: port } },
    api_listener: {
      api_listener: {
        '@type': MANAGER,
        rds: { config_source: { ads: {} }, route_config_name: clusterKey(port, '', service.host) },
        http_filters: [FAULT, ROUTER],
      },
    },
  };
}

/** `xds.istio.io/grpc/lds/inbound/IP:PORT`: only for a port that the node serves. */
export function serverListener(file: MeshFile, node: IstioNode, name: string): JsonObject | undefined {
  const match = /^(.+):(\d+)$/.exec(name.slice(SERVER_PREFIX.length));
  if (match === null) return undefined;
  const [, host = '', digits = ''] = match;
  const port = Number(digits);
  const spec = file.inbound.find((one) => one.port === port) ?? servedBy(file, node, port);
  if (spec === undefined) return undefined;
  const [chain] = encodeListener(compileInbound({ ...spec, mtls: 'off' }, { kind: 'none' }), PROVIDER)[
    'filter_chains'
  ] as readonly JsonObject[];
  const strict = spec.mtls === 'strict';
  const suffix = strict ? 'mtls' : 'plaintext';
  const manager: JsonObject = {
    '@type': MANAGER,
    route_config: {
      name: 'inbound',
      // No name: nobody but Envoy wants one here.
      virtual_hosts: [{ domains: ['*'], routes: [{ match: { prefix: '/' }, non_forwarding_action: {} }] }],
    },
    http_filters: [...rbacOf(chain), ROUTER],
  };
  return {
    name,
    address: { socket_address: { address: host.replace(/^\[|\]$/g, ''), port_value: port } },
    filter_chains: [
      object({
        name: `inbound-${suffix}`,
        filters: [{ name: `inbound-hcm${suffix}`, typed_config: manager }],
        transport_socket: strict ? grpcDownstream() : undefined,
      }),
    ],
  };
}

/** The authorization policies of a compiled chain, under istiod's names, deny first. */
export function rbacOf(chain: JsonObject | undefined): readonly JsonObject[] {
  const [filter] = (chain?.['filters'] ?? []) as readonly { readonly typed_config: { readonly http_filters: readonly JsonObject[] } }[];
  return (filter?.typed_config.http_filters ?? []).flatMap((one) => {
    const { rules } = one['typed_config'] as { readonly rules?: { readonly action: string } };
    const name = rules === undefined ? undefined : RBAC_NAMES[rules.action];
    return name === undefined ? [] : [{ ...one, name }];
  });
}

/** A workload of a service whose endpoint is at the node's address. */
function servedBy(file: MeshFile, node: IstioNode, port: number) {
  for (const { endpoints, mtls } of file.services.values()) {
    if (endpoints.some((endpoint) => endpoint.port === port && node.addresses.includes(endpoint.host))) return { port, mtls };
  }
  return undefined;
}

function split(name: string): { readonly host: string; readonly port: number | undefined } {
  const match = /^(.+):(\d+)$/.exec(name);
  return match === null ? { host: name, port: undefined } : { host: match[1] ?? '', port: Number(match[2]) };
}

/** `foo`, `foo.NAMESPACE` and `foo.NAMESPACE.svc` of the node's own namespace, and whole names. */
function lookUp(registry: Registry, node: IstioNode, host: string): Service | undefined {
  const exact = registry.get(host);
  if (exact !== undefined) return exact;
  if (!host.includes('.')) return registry.get(`${host}.${node.dnsDomain}`);
  for (const suffix of [`.${node.namespace}`, `.${node.namespace}.svc`]) {
    if (host.endsWith(suffix) && node.dnsDomain.startsWith(suffix.slice(1)))
      return registry.get(`${host.slice(0, -suffix.length)}.${node.dnsDomain}`);
  }
  return undefined;
}
