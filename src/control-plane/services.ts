/** Names of the xDS services and their methods (Envoy §1.1): one stream for all types, or one for each, in both dialects. */
import { TYPE_URLS } from '../config/resource.ts';
import type { Dialect } from './messages.ts';

export interface StreamMethod {
  readonly path: string;
  readonly dialect: Dialect;
  /** Undefined: all types. */
  readonly typeUrl: string | undefined;
}

const PACKAGE = 'envoy.service';
const SINGLE: readonly (readonly [typeUrl: string, service: string, noun: string, dialects?: readonly Dialect[]])[] = [
  [TYPE_URLS.listener, 'listener.v3.ListenerDiscoveryService', 'Listeners'],
  [TYPE_URLS.routes, 'route.v3.RouteDiscoveryService', 'Routes'],
  [TYPE_URLS['scoped-routes'], 'route.v3.ScopedRoutesDiscoveryService', 'ScopedRoutes'],
  // Envoy X-90: incrementally or not at all.
  [TYPE_URLS['virtual-host'], 'route.v3.VirtualHostDiscoveryService', 'VirtualHosts', ['delta']],
  [TYPE_URLS.cluster, 'cluster.v3.ClusterDiscoveryService', 'Clusters'],
  [TYPE_URLS.endpoints, 'endpoint.v3.EndpointDiscoveryService', 'Endpoints'],
  [
    'type.googleapis.com/envoy.config.endpoint.v3.LbEndpoint',
    'endpoint.v3.LocalityEndpointDiscoveryService',
    'LocalityEndpoints',
    ['delta'],
  ],
  [TYPE_URLS.secret, 'secret.v3.SecretDiscoveryService', 'Secrets'],
  [TYPE_URLS['extension-config'], 'extension.v3.ExtensionConfigDiscoveryService', 'ExtensionConfigs'],
  [TYPE_URLS.runtime, 'runtime.v3.RuntimeDiscoveryService', 'Runtime'],
];

export const STREAM_METHODS: readonly StreamMethod[] = [
  method('discovery.v3.AggregatedDiscoveryService', 'AggregatedResources', 'sotw', undefined),
  method('discovery.v3.AggregatedDiscoveryService', 'AggregatedResources', 'delta', undefined),
  ...SINGLE.flatMap(([typeUrl, service, noun, dialects = ['sotw', 'delta']]) =>
    dialects.map((dialect) => method(service, noun, dialect, typeUrl)),
  ),
];

function method(service: string, noun: string, dialect: Dialect, typeUrl: string | undefined): StreamMethod {
  return { path: `/${PACKAGE}.${service}/${dialect === 'delta' ? 'Delta' : 'Stream'}${noun}`, dialect, typeUrl };
}

export const LOAD_STATS_PATH = `/${PACKAGE}.load_stats.v3.LoadReportingService/StreamLoadStats`;
