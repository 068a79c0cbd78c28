/**
 * Bootstraps of Istio's agent: the one for proxyless gRPC, a JSON dump with its quirks; and what a sidecar's Envoy gets, as far as it is about
 * xDS and secrets.
 */
import type { BootstrapParts } from '../bootstrap.ts';
import { channelCredentials, fileWatcher } from '../bootstrap.ts';
import type { JsonObject } from '../encode/json.ts';
import { object } from '../encode/json.ts';
import { SERVER_PREFIX } from './listeners-grpc.ts';
import { DOMAIN } from './registry.ts';
import { ISTIO_PROVIDER, SDS_CLUSTER } from './tls.ts';

export interface IstioIdentity {
  readonly namespace: string;
  readonly address: string;
}

/** `web` as `sidecar~127.0.0.1~web.default~default.svc.cluster.local`; a whole node id stays. */
export function nodeIdOf(name: string, { namespace, address }: IstioIdentity): string {
  return name.includes('~') ? name : `sidecar~${address}~${name}.${namespace}~${namespace}.svc.${DOMAIN}`;
}

function nodeOf(nodeId: string): { readonly namespace: string; readonly address: string; readonly metadata: JsonObject } {
  const [, address = '', name = '', domain = ''] = nodeId.split('~');
  const namespace = domain.split('.')[0] ?? '';
  const metadata = {
    NAMESPACE: namespace,
    CLUSTER_ID: 'Kubernetes',
    INSTANCE_IPS: address,
    LABELS: {},
    SERVICE_ACCOUNT: name.split('.')[0] ?? '',
    ISTIO_VERSION: '1.29.6',
    // Booleans are texts in what the agent writes.
    METADATA_DISCOVERY: 'false',
  };
  return { namespace, address, metadata };
}

export function grpcBootstrap(parts: BootstrapParts): Readonly<Record<string, unknown>> {
  const { nodeId, address } = parts;
  return {
    xds_servers: [{ server_uri: address, channel_creds: [channelCredentials(parts)], server_features: ['xds_v3'] }],
    node: { id: nodeId, locality: {}, metadata: { GENERATOR: 'grpc', ...nodeOf(nodeId).metadata }, UserAgentVersionType: null },
    certificate_providers: { [ISTIO_PROVIDER]: fileWatcher(parts) },
    server_listener_resource_name_template: `${SERVER_PREFIX}%s`,
  };
}

/** TLS to the control plane in Envoy's format; undefined: plaintext. */
function transportSocket({ tls, certificates, rootsFile }: BootstrapParts): JsonObject | undefined {
  if (tls === undefined) return undefined;
  const file = (filename: string): JsonObject => ({ filename });
  const own =
    tls === 'mutual' && certificates !== undefined
      ? [{ certificate_chain: file(certificates.certificateFile), private_key: file(certificates.privateKeyFile) }]
      : undefined;
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
      sni: 'localhost',
      common_tls_context: object({
        tls_certificates: own,
        alpn_protocols: ['h2'],
        validation_context: {
          trusted_ca: file(rootsFile),
          match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: 'localhost' } }],
        },
      }),
    },
  };
}

/** Envoy's format: delta ADS over the cluster `xds-grpc`, secrets over `sds-grpc`. */
export function sidecarBootstrap(parts: BootstrapParts): Readonly<Record<string, unknown>> {
  const { nodeId, address } = parts;
  const at = /^\[?(.*?)\]?:(\d+)$/.exec(address);
  const socket = { socket_address: { address: at?.[1] ?? '', port_value: Number(at?.[2] ?? 0) } };
  const cluster = (name: string): JsonObject =>
    object({
      name,
      type: 'STATIC',
      connect_timeout: '1s',
      transport_socket: transportSocket(parts),
      typed_extension_protocol_options: {
        'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
          '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
          explicit_http_config: { http2_protocol_options: {} },
        },
      },
      load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address: socket } }] }] },
    });
  const ads = { ads: {}, initial_fetch_timeout: '0s', resource_api_version: 'V3' };
  return {
    node: { id: nodeId, cluster: 'inmesh', locality: {}, metadata: nodeOf(nodeId).metadata },
    dynamic_resources: {
      ads_config: {
        api_type: 'DELTA_GRPC',
        transport_api_version: 'V3',
        set_node_on_first_message_only: true,
        grpc_services: [{ envoy_grpc: { cluster_name: 'xds-grpc' } }],
      },
      lds_config: ads,
      cds_config: ads,
    },
    static_resources: { clusters: [cluster('xds-grpc'), cluster(SDS_CLUSTER)] },
  };
}
