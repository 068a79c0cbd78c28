/** TLS contexts as istiod writes them: for proxyless gRPC by certificate providers, in both generations of the fields; for sidecars by SDS. */
import type { JsonObject } from '../encode/json.ts';
import { list, object } from '../encode/json.ts';
import { OWN_SECRET, ROOTS_SECRET } from '../encode/tls.ts';

const TLS = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3';
const NAME = 'envoy.transport_sockets.tls';
/** The static cluster of a sidecar's bootstrap that leads to the agent's SDS socket. */
export const SDS_CLUSTER = 'sds-grpc';
/** `certificate_providers` of the bootstrap that the agent writes. */
export const ISTIO_PROVIDER = 'default';

/** The deprecated field for names, untyped: grpc-go reads no other. */
const exactly = (identities: readonly string[]) => list(identities.map((exact) => ({ exact })));

function providerContext(identities: readonly string[]): JsonObject {
  const own = { instance_name: ISTIO_PROVIDER, certificate_name: OWN_SECRET };
  const roots = { instance_name: ISTIO_PROVIDER, certificate_name: ROOTS_SECRET };
  return {
    tls_certificate_certificate_provider_instance: own,
    tls_certificate_provider_instance: own,
    combined_validation_context: {
      default_validation_context: object({ match_subject_alt_names: exactly(identities), ca_certificate_provider_instance: roots }),
      validation_context_certificate_provider_instance: roots,
    },
  };
}

export function grpcUpstream(identities: readonly string[]): JsonObject {
  return {
    name: NAME,
    typed_config: { '@type': `${TLS}.UpstreamTlsContext`, common_tls_context: providerContext(identities) },
  };
}

export function grpcDownstream(): JsonObject {
  return {
    name: NAME,
    typed_config: {
      '@type': `${TLS}.DownstreamTlsContext`,
      common_tls_context: providerContext([]),
      require_client_certificate: true,
    },
  };
}

function secret(name: string): JsonObject {
  return {
    name,
    sds_config: {
      api_config_source: {
        api_type: 'GRPC',
        transport_api_version: 'V3',
        set_node_on_first_message_only: true,
        grpc_services: [{ envoy_grpc: { cluster_name: SDS_CLUSTER } }],
      },
      initial_fetch_timeout: '0s',
      resource_api_version: 'V3',
    },
  };
}

function secretContext(identities: readonly string[], alpn: readonly string[]): JsonObject {
  return {
    tls_params: { tls_minimum_protocol_version: 'TLSv1_2', tls_maximum_protocol_version: 'TLSv1_3' },
    alpn_protocols: alpn,
    tls_certificate_sds_secret_configs: [secret(OWN_SECRET)],
    combined_validation_context: {
      default_validation_context: object({ match_subject_alt_names: exactly(identities) }),
      validation_context_sds_secret_config: secret(ROOTS_SECRET),
    },
  };
}

/** Auto mTLS: TLS to endpoints that say so, plaintext to others. */
export function sidecarMatches(identities: readonly string[], sni: string, http2: boolean): readonly JsonObject[] {
  const alpn = ['istio-peer-exchange', 'istio', ...(http2 ? ['h2'] : [])];
  return [
    {
      name: 'tlsMode-istio',
      match: { tlsMode: 'istio' },
      transport_socket: {
        name: NAME,
        typed_config: { '@type': `${TLS}.UpstreamTlsContext`, common_tls_context: secretContext(identities, alpn), sni },
      },
    },
    {
      name: 'tlsMode-disabled',
      match: {},
      transport_socket: {
        name: 'envoy.transport_sockets.raw_buffer',
        typed_config: { '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer' },
      },
    },
  ];
}

export function sidecarDownstream(): JsonObject {
  return {
    name: NAME,
    typed_config: {
      '@type': `${TLS}.DownstreamTlsContext`,
      common_tls_context: secretContext([], ['istio-peer-exchange', 'h2', 'http/1.1']),
      require_client_certificate: true,
    },
  };
}
