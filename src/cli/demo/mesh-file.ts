/** The mesh.yaml of the demo as it changes: the split, and how far mutual TLS has got. */

export interface MeshState {
  readonly ports: readonly { readonly name: string; readonly role: 'web' | 'cart' | 'stock' | 'prices'; readonly port: number }[];
  /** Weights of prices v1 and v2. */
  readonly split: readonly [v1: number, v2: number];
  /** What servers take, and whether callers use TLS: `off`, then `accept`, then `use`, then `strict`. */
  readonly mtls: 'off' | 'accept' | 'use' | 'strict';
}

export const TRUST_DOMAIN = 'demo';
/** Who calls whom: identity of the caller, by role of the called. */
export const CALLERS = { cart: 'web', stock: 'cart', prices: 'stock' } as const;

export function spiffeId(identity: string): string {
  return `spiffe://${TRUST_DOMAIN}/${identity}`;
}

export const EJECTION_MS = 3000;

export function meshFile({ ports, split, mtls }: MeshState): string {
  const at = (role: string): string[] => ports.filter((one) => one.role === role).map(({ port }) => `127.0.0.1:${port}`);
  const tls = mtls === 'use' || mtls === 'strict' ? 'strict' : 'off';
  const prices = ports
    .filter(({ role }) => role === 'prices')
    .map(({ name, port }) => `      - { address: "127.0.0.1:${port}", labels: { version: ${/v\d/.exec(name)?.[0]} } }`);
  return `version: 1
identity: { trustDomain: ${TRUST_DOMAIN} }
services:
  cart:
    endpoints: [${at('cart').join(', ')}]
    mtls: ${tls}
    retries: { attempts: 3, on: [connect-failure, refused-stream] }
  stock:
    protocol: grpc
    endpoints: [${at('stock').join(', ')}]
    mtls: ${tls}
    retries: { attempts: 3, on: [unavailable] }
  prices:
    endpoints:
${prices.join('\n')}
    mtls: ${tls}
    routes:
      - split:
          - { weight: ${split[0]}, labels: { version: v1 } }
          - { weight: ${split[1]}, labels: { version: v2 } }
        timeout: 2s
        retries: { attempts: 4, on: [connect-failure, refused-stream, 503] }
    outlier: { consecutive5xx: 5, ejection: ${EJECTION_MS / 1000}s, maxEjected: 50%, interval: 200ms }
    limits: { maxRetries: 100 }
${inbound(mtls, ports)}`;
}

type Port = MeshState['ports'][number];

function inbound(mtls: MeshState['mtls'], ports: readonly Port[]): string {
  const between = mtls === 'accept' || mtls === 'use';
  const entries: string[] = [];
  const resources: string[] = [];
  for (const one of ports) {
    // Users come in without a certificate.
    if (one.role === 'web' || mtls === 'off') entries.push(`  - { port: ${one.port} }`);
    else if (between) resources.push(`  - ${JSON.stringify(bothListener(one.port))}`);
    else entries.push(`  - { port: ${one.port}, mtls: strict, allow: [{ from: ["${spiffeId(CALLERS[one.role])}"] }] }`);
  }
  return `inbound:\n${entries.join('\n')}\n${between ? `resources:\n${resources.join('\n')}\n` : ''}`;
}

const TYPES = 'type.googleapis.com/envoy.extensions';

/** An Envoy listener that takes TLS and plaintext: the step between, so that callers can change over one by one. */
function bothListener(port: number): object {
  const name = `inbound/127.0.0.1:${port}`;
  const instance = { instance_name: 'inmesh' };
  const manager = {
    '@type': `${TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    route_config: { name, virtual_hosts: [{ name, domains: ['*'], routes: [{ match: { prefix: '/' }, non_forwarding_action: {} }] }] },
    http_filters: [{ name: 'envoy.filters.http.router', typed_config: { '@type': `${TYPES}.filters.http.router.v3.Router` } }],
  };
  const filters = [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }];
  const tls = {
    '@type': `${TYPES}.transport_sockets.tls.v3.DownstreamTlsContext`,
    require_client_certificate: true,
    common_tls_context: { tls_certificate_provider_instance: instance, validation_context: { ca_certificate_provider_instance: instance } },
  };
  return {
    '@type': 'type.googleapis.com/envoy.config.listener.v3.Listener',
    name,
    traffic_direction: 'INBOUND',
    address: { socket_address: { address: '127.0.0.1', port_value: port } },
    filter_chains: [
      {
        name: 'tls',
        filter_chain_match: { transport_protocol: 'tls' },
        filters,
        transport_socket: { name: 'envoy.transport_sockets.tls', typed_config: tls },
      },
      { name: 'plaintext', filter_chain_match: { transport_protocol: 'raw_buffer' }, filters },
    ],
  };
}
