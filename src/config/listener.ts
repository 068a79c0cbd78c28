/** envoy.config.listener.v3.Listener and the HttpConnectionManager in it, as plain frozen types. */
import type { ConfigSourceConfig } from './config-source.ts';
import type { CidrConfig } from './matchers.ts';
import type { RouteConfiguration } from './routes.ts';
import type { ScopedRoutesRefConfig } from './scoped-routes.ts';
import type { DownstreamTlsConfig } from './tls.ts';

export interface SocketAddress {
  readonly host: string;
  readonly port: number;
}

export interface ListenerConfig {
  readonly name: string;
  /** The client side's connection manager: from `api_listener`. Undefined for a socket listener. */
  readonly api: HttpManagerConfig | undefined;
  /** Address of a socket listener: what an Envoy or a gRPC server would bind. */
  readonly address: SocketAddress | undefined;
  /** `additional_addresses` that are TCP; absent: none. */
  readonly moreAddresses?: readonly SocketAddress[];
  /** `traffic_direction`; tells the outbound listeners of the sidecar view from inbound ones. */
  readonly direction: 'unspecified' | 'inbound' | 'outbound';
  readonly filterChains: readonly FilterChainConfig[];
  readonly defaultFilterChain: FilterChainConfig | undefined;
}

export interface HttpManagerConfig {
  /** One of three: a name to ask RDS for, the routes themselves, or `scopedRoutes`. */
  readonly routeConfigName: string | undefined;
  readonly routeConfig: RouteConfiguration | undefined;
  /** Where `routeConfigName` is fetched; absent: the aggregated stream. */
  readonly routesSource?: ConfigSourceConfig;
  /** `waitMs` of the `ResourceKey` of `routeConfigName`. */
  readonly routesWaitMs?: number;
  /** Routes that are chosen by headers of the request (Envoy X-91). */
  readonly scopedRoutes?: ScopedRoutesRefConfig;
  /** In order, the router (terminal) last and included. */
  readonly filters: readonly HttpFilterConfig[];
  /** `common_http_protocol_options.max_stream_duration`; undefined: none. */
  readonly maxStreamDurationMs: number | undefined;
  readonly stripPort: 'none' | 'any' | 'matching';
  readonly statPrefix: string;
}

export interface HttpFilterConfig {
  /** The configured name: the key of `typed_per_filter_config`. */
  readonly name: string;
  readonly typeUrl: string;
  readonly disabled: boolean;
  readonly terminal: boolean;
  /** Whatever the filter's factory parsed. */
  readonly config: unknown;
  /** The configuration comes by ECDS (Envoy X-92); in a listener `typeUrl` is then empty, a snapshot has the filter with what came. */
  readonly discovery?: FilterDiscoveryConfig;
  /** A filter of the same list that could have written dynamic metadata and has no effect: what decides by metadata lets nothing pass. */
  readonly metadataWriter?: string;
  /** Why a discovered filter has no configuration: calls that meet it fail. */
  readonly missing?: string;
  /** Why the newest configuration of a discovered filter is not in use, another one is. */
  readonly problem?: string;
}

/** HttpFilter.config_discovery (envoy.config.core.v3.ExtensionConfigSource). The resource has the filter's name. */
export interface FilterDiscoveryConfig {
  /** Absent: the aggregated stream. */
  readonly source?: ConfigSourceConfig;
  /** Types that may come; all of them known, and all or none terminal. */
  readonly typeUrls: readonly string[];
  /** `default_config`: counts while there is no other. */
  readonly fallback: { readonly typeUrl: string; readonly config: unknown } | undefined;
  /** The default counts at once, nothing is waited for. */
  readonly withoutWarming: boolean;
}

export interface FilterChainConfig {
  readonly name: string;
  readonly match: FilterChainMatchConfig;
  /** Undefined: plaintext. */
  readonly tls: DownstreamTlsConfig | undefined;
  /** Undefined for a chain that is not HTTP (e.g. `tcp_proxy`), which the mesh leaves alone. */
  readonly http: HttpManagerConfig | undefined;
}

export interface FilterChainMatchConfig {
  readonly destinationPort: number | undefined;
  readonly prefixRanges: readonly CidrConfig[];
  readonly serverNames: readonly string[];
  readonly transportProtocol: '' | 'raw_buffer' | 'tls' | string;
  readonly applicationProtocols: readonly string[];
  readonly directSourcePrefixRanges: readonly CidrConfig[];
  readonly sourceType: 'any' | 'same-ip-or-loopback' | 'external';
  readonly sourcePrefixRanges: readonly CidrConfig[];
  readonly sourcePorts: readonly number[];
}
