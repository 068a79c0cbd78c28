/** ListenerConfig as envoy.config.listener.v3.Listener. Of filters, it knows those that `mesh.yaml` can ask for: router and RBAC. */
import type {
  FilterChainConfig,
  FilterChainMatchConfig,
  HttpFilterConfig,
  HttpManagerConfig,
  ListenerConfig,
} from '../../config/listener.ts';
import type { RbacConfig } from '../../config/rbac.ts';
import type { Json, JsonObject } from './json.ts';
import { ADS_SOURCE, list, object, optionalDuration } from './json.ts';
import { encodeCidr } from './matchers.ts';
import { encodeRbac } from './rbac.ts';
import { encodeRoutes } from './routes.ts';
import type { TlsMaterial } from './tls.ts';
import { encodeDownstreamTls } from './tls.ts';

const MANAGER_TYPE = 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';
const ROUTER_TYPE = 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router';
const RBAC_TYPE = 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC';

export function encodeListener(listener: ListenerConfig, material: TlsMaterial): JsonObject {
  const { address } = listener;
  return object({
    name: listener.name,
    api_listener: listener.api === undefined ? undefined : { api_listener: encodeManager(listener.api) },
    address: address === undefined ? undefined : { socket_address: { address: address.host, port_value: address.port } },
    traffic_direction: listener.direction === 'unspecified' ? undefined : listener.direction.toUpperCase(),
    filter_chains: list(listener.filterChains.map((chain) => encodeChain(chain, material))),
    default_filter_chain: listener.defaultFilterChain === undefined ? undefined : encodeChain(listener.defaultFilterChain, material),
  });
}

function encodeManager(manager: HttpManagerConfig): JsonObject {
  return object({
    '@type': MANAGER_TYPE,
    stat_prefix: manager.statPrefix === '' ? undefined : manager.statPrefix,
    rds: manager.routeConfigName === undefined ? undefined : { config_source: ADS_SOURCE, route_config_name: manager.routeConfigName },
    route_config: manager.routeConfig === undefined ? undefined : encodeRoutes(manager.routeConfig),
    http_filters: manager.filters.map(encodeFilter),
    common_http_protocol_options:
      manager.maxStreamDurationMs === undefined
        ? undefined
        : object({ max_stream_duration: optionalDuration(manager.maxStreamDurationMs) }),
    strip_any_host_port: manager.stripPort === 'any' ? true : undefined,
    strip_matching_host_port: manager.stripPort === 'matching' ? true : undefined,
  });
}

function encodeFilter(filter: HttpFilterConfig): JsonObject {
  return object({ name: filter.name, disabled: filter.disabled ? true : undefined, typed_config: encodeFilterConfig(filter) });
}

function encodeFilterConfig(filter: HttpFilterConfig): Json {
  switch (filter.typeUrl) {
    case ROUTER_TYPE:
      return { '@type': ROUTER_TYPE };
    case RBAC_TYPE:
      return { '@type': RBAC_TYPE, ...encodeRbac(filter.config as RbacConfig) };
    default:
      throw new TypeError(`filter "${filter.typeUrl}" cannot be encoded`);
  }
}

function encodeChain(chain: FilterChainConfig, material: TlsMaterial): JsonObject {
  return object({
    name: chain.name,
    filter_chain_match: encodeChainMatch(chain.match),
    filters:
      chain.http === undefined
        ? undefined
        : [{ name: 'envoy.filters.network.http_connection_manager', typed_config: encodeManager(chain.http) }],
    transport_socket: chain.tls === undefined ? undefined : encodeDownstreamTls(chain.tls, material),
  });
}

function encodeChainMatch(match: FilterChainMatchConfig): JsonObject | undefined {
  const types = { any: undefined, 'same-ip-or-loopback': 'SAME_IP_OR_LOOPBACK', external: 'EXTERNAL' } as const;
  const fields = object({
    destination_port: match.destinationPort,
    prefix_ranges: list(match.prefixRanges.map(encodeCidr)),
    server_names: list(match.serverNames),
    transport_protocol: match.transportProtocol === '' ? undefined : match.transportProtocol,
    application_protocols: list(match.applicationProtocols),
    direct_source_prefix_ranges: list(match.directSourcePrefixRanges.map(encodeCidr)),
    source_type: types[match.sourceType],
    source_prefix_ranges: list(match.sourcePrefixRanges.map(encodeCidr)),
    source_ports: list(match.sourcePorts),
  });
  return Object.keys(fields).length === 0 ? undefined : fields;
}
