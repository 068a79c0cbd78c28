/**
 * Bootstraps of Istio's agent: the one for proxyless gRPC, a JSON dump with its quirks; and what a sidecar's Envoy gets, as far as it is about
 * xDS and secrets.
 */
import type { BootstrapParts } from '../bootstrap.ts';
import type { JsonObject } from '../encode/json.ts';
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
  const { nodeId, address, certificates, rootsFile } = parts;
  const pair =
    certificates === undefined ? {} : { certificate_file: certificates.certificateFile, private_key_file: certificates.privateKeyFile };
  return {
    xds_servers: [{ server_uri: address, channel_creds: [{ type: 'insecure' }], server_features: ['xds_v3'] }],
    node: { id: nodeId, locality: {}, metadata: { GENERATOR: 'grpc', ...nodeOf(nodeId).metadata }, UserAgentVersionType: null },
    certificate_providers: {
      [ISTIO_PROVIDER]: { plugin_name: 'file_watcher', config: { ...pair, ca_certificate_file: rootsFile, refresh_interval: '1s' } },
    },
    server_listener_resource_name_template: `${SERVER_PREFIX}%s`,
  };
}

/** Envoy's format: delta ADS over the cluster `xds-grpc`, secrets over `sds-grpc`. */
export function sidecarBootstrap({ nodeId, address }: BootstrapParts): Readonly<Record<string, unknown>> {
  const at = /^\[?(.*?)\]?:(\d+)$/.exec(address);
  const socket = { socket_address: { address: at?.[1] ?? '', port_value: Number(at?.[2] ?? 0) } };
  const cluster = (name: string): JsonObject => ({
    name,
    type: 'STATIC',
    connect_timeout: '1s',
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
