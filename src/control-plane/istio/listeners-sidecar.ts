/**
 * Listeners as istiod writes them for a sidecar: one for each port (`0.0.0.0_9080`), those for captured traffic (`virtualOutbound`,
 * `virtualInbound`), or real inbound ports with `INTERCEPTION_MODE=NONE`; full of Istio's own filters.
 */
import type { AnyMessage } from '../../core/extension.ts';
import { TYPE_URLS } from '../../config/resource.ts';
import { jsonToAny } from '../../proto/any.ts';
import { compileInbound } from '../../sources/mesh-yaml/compile-inbound.ts';
import type { InboundSpec, MeshFile } from '../../sources/mesh-yaml/types.ts';
import { encodeListener } from '../encode/listener.ts';
import type { JsonObject } from '../encode/json.ts';
import { ADS_SOURCE, object } from '../encode/json.ts';
import { PROVIDER } from '../encode/tls.ts';
import { rbacOf } from './listeners-grpc.ts';
import type { IstioNode } from './node.ts';
import { listenerWithManagers, managerWithPrivateFilters } from './private-filters.ts';
import type { Registry } from './registry.ts';
import { sidecarDownstream } from './tls.ts';

const TYPE = 'type.googleapis.com/envoy.extensions.filters';
const MANAGER = `${TYPE}.network.http_connection_manager.v3.HttpConnectionManager`;
const typed = (name: string, type: string, config: JsonObject = {}): JsonObject => ({
  name,
  typed_config: { '@type': `${TYPE}.${type}`, ...config },
});
const ROUTER = typed('envoy.filters.http.router', 'http.router.v3.Router');
const OUTBOUND_FILTERS = [
  typed('envoy.filters.http.grpc_stats', 'http.grpc_stats.v3.FilterConfig', { emit_filter_state: true, stats_for_all_methods: false }),
  typed('envoy.filters.http.fault', 'http.fault.v3.HTTPFault'),
  typed('envoy.filters.http.cors', 'http.cors.v3.Cors'),
  ROUTER,
];
const INSPECTORS = [
  typed('envoy.filters.listener.tls_inspector', 'listener.tls_inspector.v3.TlsInspector'),
  typed('envoy.filters.listener.http_inspector', 'listener.http_inspector.v3.HttpInspector'),
];
const ORIGINAL_DST = typed('envoy.filters.listener.original_dst', 'listener.original_dst.v3.OriginalDst');
/** The protocols by which peers with Istio's own TLS are known. */
const ISTIO_ALPN = ['istio', 'istio-peer-exchange', 'istio-http/1.0', 'istio-http/1.1', 'istio-h2'];
const OUTBOUND_PORT = 15_001;
const INBOUND_PORT = 15_006;

function tcp(cluster: string): JsonObject {
  return typed('envoy.filters.network.tcp_proxy', 'network.tcp_proxy.v3.TcpProxy', { stat_prefix: cluster, cluster });
}

function address(host: string, port: number): JsonObject {
  return { socket_address: { address: host, port_value: port } };
}

/** All of them, by name. */
export function sidecarListeners(registry: Registry, file: MeshFile, node: IstioNode): ReadonlyMap<string, AnyMessage> {
  const found = new Map<string, AnyMessage>();
  for (const port of registry.portNumbers) found.set(`0.0.0.0_${port}`, outbound(port));
  found.set('virtualOutbound', virtualOutbound());
  if (node.bindsPorts) {
    for (const spec of file.inbound) {
      const host = node.addresses[0] ?? '0.0.0.0';
      found.set(`${host}_${spec.port}`, inbound(`${host}_${spec.port}`, address(host, spec.port), [spec], false));
    }
  } else found.set('virtualInbound', inbound('virtualInbound', address('0.0.0.0', INBOUND_PORT), file.inbound, true));
  return found;
}

function outbound(port: number): AnyMessage {
  const manager = managerWithPrivateFilters(
    {
      '@type': MANAGER,
      stat_prefix: `outbound_0.0.0.0_${port};`,
      rds: { config_source: { ...ADS_SOURCE, initial_fetch_timeout: '0s' }, route_config_name: String(port) },
      http_filters: OUTBOUND_FILTERS,
      use_remote_address: false,
      upgrade_configs: [{ upgrade_type: 'websocket' }],
      normalize_path: true,
    },
    'outbound',
  );
  const listener: JsonObject = {
    '@type': TYPE_URLS.listener,
    name: `0.0.0.0_${port}`,
    address: address('0.0.0.0', port),
    traffic_direction: 'OUTBOUND',
    bind_to_port: false,
    listener_filters: INSPECTORS,
    listener_filters_timeout: '0s',
    continue_on_listener_filters_timeout: true,
    filter_chains: [{ filter_chain_match: { transport_protocol: 'raw_buffer', application_protocols: ['http/1.1', 'h2c'] } }],
    default_filter_chain: { name: 'PassthroughFilterChain', filters: [tcp('PassthroughCluster')] },
  };
  return listenerWithManagers(listener, [manager]);
}

function virtualOutbound(): AnyMessage {
  return jsonToAny({
    '@type': TYPE_URLS.listener,
    name: 'virtualOutbound',
    address: address('0.0.0.0', OUTBOUND_PORT),
    traffic_direction: 'OUTBOUND',
    use_original_dst: true,
    filter_chains: [
      { name: 'virtualOutbound-blackhole', filter_chain_match: { destination_port: OUTBOUND_PORT }, filters: [tcp('BlackHoleCluster')] },
      { name: 'virtualOutbound-catchall-tcp', filters: [tcp('PassthroughCluster')] },
    ],
  });
}

function inbound(name: string, at: JsonObject, specs: readonly InboundSpec[], captured: boolean): AnyMessage {
  const chains: JsonObject[] = [];
  const managers: (AnyMessage | undefined)[] = [];
  for (const spec of specs) {
    const strict = spec.mtls === 'strict';
    chains.push(
      object({
        name: `0.0.0.0_${spec.port}`,
        filter_chain_match: object({
          destination_port: captured ? spec.port : undefined,
          transport_protocol: strict ? 'tls' : 'raw_buffer',
          application_protocols: strict ? ISTIO_ALPN : undefined,
        }),
        transport_socket: strict ? sidecarDownstream() : undefined,
      }),
    );
    managers.push(inboundManager(spec));
  }
  if (captured) {
    chains.push({
      name: 'virtualInbound-blackhole',
      filter_chain_match: { destination_port: INBOUND_PORT },
      filters: [tcp('BlackHoleCluster')],
    });
  }
  return listenerWithManagers(
    object({
      '@type': TYPE_URLS.listener,
      name,
      address: at,
      traffic_direction: 'INBOUND',
      listener_filters: [...(captured ? [ORIGINAL_DST] : []), ...INSPECTORS],
      listener_filters_timeout: '0s',
      continue_on_listener_filters_timeout: true,
      filter_chains: chains,
    }),
    managers,
  );
}

function inboundManager(spec: InboundSpec): AnyMessage {
  const [chain] = encodeListener(compileInbound({ ...spec, mtls: 'off' }, { kind: 'none' }), PROVIDER)[
    'filter_chains'
  ] as readonly JsonObject[];
  const cluster = `inbound|${spec.port}||`;
  return managerWithPrivateFilters(
    {
      '@type': MANAGER,
      stat_prefix: `inbound_0.0.0.0_${spec.port};`,
      route_config: {
        name: cluster,
        virtual_hosts: [
          {
            name: `inbound|http|${spec.port}`,
            domains: ['*'],
            routes: [
              {
                name: 'default',
                match: { prefix: '/' },
                route: { cluster, timeout: '0s', max_stream_duration: { max_stream_duration: '0s', grpc_timeout_header_max: '0s' } },
              },
            ],
          },
        ],
        validate_clusters: false,
      },
      http_filters: [
        typed('envoy.filters.http.grpc_stats', 'http.grpc_stats.v3.FilterConfig', {
          emit_filter_state: true,
          stats_for_all_methods: false,
        }),
        ...rbacOf(chain),
        typed('envoy.filters.http.cors', 'http.cors.v3.Cors'),
        ROUTER,
      ],
      use_remote_address: false,
      forward_client_cert_details: 'APPEND_FORWARD',
      set_current_client_cert_details: { subject: true, dns: true, uri: true },
    },
    'inbound',
  );
}
