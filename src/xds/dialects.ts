/** The two dialects as a stream needs them: method names (Envoy §1.1), sessions, and messages to and from bytes. */
import type { ResourceKind } from '../config/resource.ts';
import {
  decodeDeltaDiscoveryResponse,
  decodeDiscoveryResponse,
  encodeDeltaDiscoveryRequest,
  encodeDiscoveryRequest,
} from '../proto/discovery.ts';
import type { DeltaDiscoveryRequest, DiscoveryRequest } from '../proto/discovery.ts';
import { DeltaSession } from './delta.ts';
import type { Session, SessionOptions, XdsRequest, XdsResponse } from './session.ts';
import { SotwSession } from './sotw.ts';

export interface Dialect {
  /** A first request may stay without a response, since the client has everything. */
  readonly silent: boolean;
  /** Path of the RPC: aggregated, or a type's own; undefined where the type has none in this dialect. */
  method(kind: ResourceKind | undefined): string | undefined;
  session(options: SessionOptions): Session;
  encode(request: XdsRequest): Uint8Array;
  /** Throws on bytes that are no such message. */
  decode(bytes: Uint8Array): XdsResponse;
}

/** Service and the noun of its methods, by type. */
const SERVICES: Readonly<Record<ResourceKind, readonly [service: string, noun: string]>> = {
  listener: ['listener.v3.ListenerDiscoveryService', 'Listeners'],
  routes: ['route.v3.RouteDiscoveryService', 'Routes'],
  'scoped-routes': ['route.v3.ScopedRoutesDiscoveryService', 'ScopedRoutes'],
  'virtual-host': ['route.v3.VirtualHostDiscoveryService', 'VirtualHosts'],
  cluster: ['cluster.v3.ClusterDiscoveryService', 'Clusters'],
  endpoints: ['endpoint.v3.EndpointDiscoveryService', 'Endpoints'],
  secret: ['secret.v3.SecretDiscoveryService', 'Secrets'],
  'extension-config': ['extension.v3.ExtensionConfigDiscoveryService', 'ExtensionConfigs'],
  runtime: ['runtime.v3.RuntimeDiscoveryService', 'Runtime'],
};

function methodOf(kind: ResourceKind | undefined, verb: 'Stream' | 'Delta'): string {
  if (kind === undefined) return `/envoy.service.discovery.v3.AggregatedDiscoveryService/${verb}AggregatedResources`;
  const [service, noun] = SERVICES[kind];
  return `/envoy.service.${service}/${verb}${noun}`;
}

export const DIALECTS: Readonly<Record<'sotw' | 'delta', Dialect>> = {
  sotw: {
    silent: false,
    // Virtual hosts are discovered incrementally or not at all (Envoy X-90).
    method: (kind) => (kind === 'virtual-host' ? undefined : methodOf(kind, 'Stream')),
    session: (options) => new SotwSession(options),
    encode: (request) => encodeDiscoveryRequest(request as DiscoveryRequest),
    decode: decodeDiscoveryResponse,
  },
  delta: {
    silent: true,
    method: (kind) => methodOf(kind, 'Delta'),
    session: (options) => new DeltaSession(options),
    encode: (request) => encodeDeltaDiscoveryRequest(request as DeltaDiscoveryRequest),
    decode: decodeDeltaDiscoveryResponse,
  },
};
