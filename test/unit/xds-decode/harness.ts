/** Resources written as JSON, decoded as if they had come over the wire. */
import type { ResourceKind, ResourceTypes } from '../../../src/config/resource.ts';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import type { FilterFactory, LbPolicyFactory } from '../../../src/core/extension.ts';
import { ON_DEMAND } from '../../../src/filters/on-demand.ts';
import { ROUTER } from '../../../src/filters/router.ts';
import { jsonToAny } from '../../../src/proto/any.ts';
import type { DecodeContext, Decoded } from '../../../src/xds/resource-type.ts';
import { RESOURCE_TYPES } from '../../../src/xds/resource-types.ts';

export type Json = Record<string, unknown>;

export const POLICIES = 'type.googleapis.com/envoy.extensions.load_balancing_policies';
export const HCM_TYPE = 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';
export const TLS = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3';
export const ROUTER_FILTER = { name: 'router', typed_config: { '@type': ROUTER.typeUrls[0] } };

/** A policy that keeps its message, to see what reached it. */
function policy(path: string, name: string): LbPolicyFactory<unknown> {
  return {
    typeUrl: `${POLICIES}.${path}`,
    name,
    parse: (any, context) => context.unpack(any),
    create: () => {
      throw new Error('not in these tests');
    },
  };
}

export const LB_POLICIES: readonly LbPolicyFactory<unknown>[] = [
  policy('round_robin.v3.RoundRobin', 'round_robin'),
  policy('least_request.v3.LeastRequest', 'least_request'),
  policy('ring_hash.v3.RingHash', 'ring_hash'),
  policy('maglev.v3.Maglev', 'maglev'),
  policy('random.v3.Random', 'random'),
];

/** Fault as the example of a filter with overrides; the route configuration's own message type is the same. */
export const FAULT: FilterFactory<unknown> = {
  typeUrls: ['type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault'],
  directions: ['outbound'],
  parse: (any, context) => context.unpack(any),
  parseOverride: (any, context) => context.unpack(any),
  layer: () => undefined,
};

export interface Outcome<K extends ResourceKind> {
  readonly decoded: Decoded<ResourceTypes[K]>;
  readonly unsupported: readonly string[];
}

export function decodeBytes<K extends ResourceKind>(kind: K, bytes: Uint8Array, given: Partial<DecodeContext> = {}): Outcome<K> {
  const type = RESOURCE_TYPES.find((candidate) => candidate.kind === kind);
  if (type === undefined) throw new Error(`no resource type ${kind}`);
  const unsupported: string[] = [];
  const context: DecodeContext = {
    filters: [ROUTER, FAULT, ON_DEMAND],
    lbPolicies: LB_POLICIES,
    certificateProviders: new Set(['default']),
    unsupported: (_kind, field) => void unsupported.push(field),
    ...given,
  };
  return { decoded: type.decode(bytes, context) as Decoded<ResourceTypes[K]>, unsupported };
}

export function bytesOf(kind: ResourceKind, json: Json): Uint8Array {
  const plain = JSON.parse(JSON.stringify(json)) as Json; // without the keys that are undefined
  return jsonToAny({ '@type': TYPE_URLS[kind], ...plain }).value;
}

export function decode<K extends ResourceKind>(kind: K, json: Json, given: Partial<DecodeContext> = {}): Outcome<K> {
  return decodeBytes(kind, bytesOf(kind, json), given);
}

/** The value, or an error with the reasons. */
export function accepted<K extends ResourceKind>(kind: K, json: Json, given: Partial<DecodeContext> = {}): ResourceTypes[K] {
  const { decoded } = decode(kind, json, given);
  if (!decoded.ok) throw new Error(decoded.errors.map((error) => `${error.field}: ${error.reason}`).join('; '));
  return decoded.value;
}

/** `field: reason` of a rejected resource; `accepted` for one that was not. */
export function rejection<K extends ResourceKind>(kind: K, json: Json, given: Partial<DecodeContext> = {}): string {
  const { decoded } = decode(kind, json, given);
  return decoded.ok ? 'accepted' : decoded.errors.map((error) => `${error.field}: ${error.reason}`).join('; ');
}

export function manager(more: Json = {}): Json {
  return {
    '@type': HCM_TYPE,
    stat_prefix: 'x',
    rds: { route_config_name: 'web', config_source: { ads: {} } },
    http_filters: [ROUTER_FILTER],
    ...more,
  };
}

export function apiListener(hcm: Json = {}, more: Json = {}): Json {
  return { name: 'web.local', api_listener: { api_listener: manager(hcm) }, ...more };
}

export function chain(more: Json = {}, hcm: Json = {}): Json {
  return { filters: [{ name: 'hcm', typed_config: manager(hcm) }], ...more };
}

export function socketListener(more: Json = {}): Json {
  return {
    name: 'in',
    address: { socket_address: { address: '127.0.0.1', port_value: 8080 } },
    traffic_direction: 'INBOUND',
    filter_chains: [chain()],
    ...more,
  };
}

/** One virtual host with one route. */
export function routes(route: Json, host: Json = {}, config: Json = {}): Json {
  return {
    name: 'web',
    virtual_hosts: [{ name: 'v', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'c' }, ...route }], ...host }],
    ...config,
  };
}

export function edsCluster(more: Json = {}): Json {
  return { name: 'c', type: 'EDS', eds_cluster_config: { eds_config: { ads: {} } }, ...more };
}

export function endpoint(port: number, more: Json = {}): Json {
  return { endpoint: { address: { socket_address: { address: '10.0.0.1', port_value: port } } }, ...more };
}
