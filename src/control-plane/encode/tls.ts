/** TLS settings as UpstreamTlsContext and DownstreamTlsContext (envoy.extensions.transport_sockets.tls.v3) in a transport socket. */
import type {
  CommonTlsConfig,
  DownstreamTlsConfig,
  IdentitySourceConfig,
  SanMatcherConfig,
  TlsSourceConfig,
  UpstreamTlsConfig,
} from '../../config/tls.ts';
import type { Json, JsonObject } from './json.ts';
import { ADS_SOURCE, list, object } from './json.ts';
import { encodeString } from './matchers.ts';

/** Certificates of one identity with its trust anchor. */
export interface InlineCertificates {
  readonly certificateChainPem: string;
  readonly privateKeyPem: string;
  readonly rootsPem: string;
}

/** How the certificates that a `mesh.yaml` asks for come to a node. */
export type TlsMaterial =
  /** By files that its bootstrap names (gRFC A29). */
  | { readonly kind: 'provider' }
  /** In the resources themselves. */
  | { readonly kind: 'inline'; readonly certificates: InlineCertificates }
  /** As secrets over the aggregated stream (Envoy T-7, X-93). */
  | { readonly kind: 'sds' };

export const PROVIDER: TlsMaterial = Object.freeze({ kind: 'provider' });
export const SDS: TlsMaterial = Object.freeze({ kind: 'sds' });
/** The secrets that TLS contexts name: the node's own certificate, and the trust anchors. */
export const OWN_SECRET = 'default';
export const ROOTS_SECRET = 'ROOTCA';

const TLS_PACKAGE = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3';
const SAN_TYPES = { dns: 'DNS', uri: 'URI', email: 'EMAIL', ip: 'IP_ADDRESS' } as const;

function socket(type: string, config: JsonObject): JsonObject {
  return { name: 'envoy.transport_sockets.tls', typed_config: { '@type': `${TLS_PACKAGE}.${type}`, ...config } };
}

export function encodeUpstreamTls(tls: UpstreamTlsConfig, material: TlsMaterial): JsonObject {
  return socket(
    'UpstreamTlsContext',
    object({
      common_tls_context: encodeCommon(tls, material),
      sni: tls.sni === '' ? undefined : tls.sni,
      auto_host_sni: tls.autoHostSni ? true : undefined,
      auto_sni_san_validation: tls.autoSniSanValidation ? true : undefined,
    }),
  );
}

export function encodeDownstreamTls(tls: DownstreamTlsConfig, material: TlsMaterial): JsonObject {
  return socket('DownstreamTlsContext', {
    common_tls_context: encodeCommon(tls, material),
    require_client_certificate: tls.requireClientCertificate,
  });
}

function encodeCommon(tls: CommonTlsConfig, material: TlsMaterial): JsonObject {
  const versions = { 'TLSv1.2': 'TLSv1_2', 'TLSv1.3': 'TLSv1_3' } as const;
  const limits = object({
    tls_minimum_protocol_version: tls.minVersion === undefined ? undefined : versions[tls.minVersion],
    tls_maximum_protocol_version: tls.maxVersion === undefined ? undefined : versions[tls.maxVersion],
  });
  return object({
    ...(tls.identity === undefined ? {} : encodeIdentity(tls.identity, material)),
    ...encodeValidation(tls, material),
    alpn_protocols: list(tls.alpn),
    tls_params: Object.keys(limits).length === 0 ? undefined : limits,
  });
}

function provider(instance: string, certificateName: string): JsonObject {
  return object({ instance_name: instance, certificate_name: certificateName === '' ? undefined : certificateName });
}

function encodeIdentity(identity: IdentitySourceConfig, material: TlsMaterial): JsonObject {
  if (identity.kind === 'pair') {
    return {
      tls_certificates: [{ certificate_chain: dataSource(identity.certificateChain), private_key: dataSource(identity.privateKey) }],
    };
  }
  if (identity.kind === 'sds') return { tls_certificate_sds_secret_configs: [secretConfig(identity.name)] };
  switch (material.kind) {
    case 'provider':
      return { tls_certificate_provider_instance: provider(identity.instance, identity.certificateName) };
    case 'sds':
      return { tls_certificate_sds_secret_configs: [secretConfig(OWN_SECRET)] };
    case 'inline':
      return { tls_certificates: [encodePair(material.certificates)] };
  }
}

export function encodePair({ certificateChainPem, privateKeyPem }: InlineCertificates): JsonObject {
  return { certificate_chain: { inline_string: certificateChainPem }, private_key: { inline_string: privateKeyPem } };
}

function secretConfig(name: string): JsonObject {
  return { name, sds_config: ADS_SOURCE };
}

function encodeValidation(tls: CommonTlsConfig, material: TlsMaterial): JsonObject {
  const { roots } = tls;
  if (roots === undefined) return {};
  const sans = list(tls.sanMatchers.map(encodeSan));
  const context = (fields: JsonObject): JsonObject => ({
    validation_context: object({ ...fields, match_typed_subject_alt_names: sans }),
  });
  switch (roots.kind) {
    case 'system':
      return context({ system_root_certs: {} });
    case 'sds':
      return encodeSecretRoots(roots.name, sans);
    case 'provider':
      if (material.kind === 'sds') return encodeSecretRoots(ROOTS_SECRET, sans);
      return context(
        material.kind === 'inline'
          ? { trusted_ca: { inline_string: material.certificates.rootsPem } }
          : { ca_certificate_provider_instance: provider(roots.instance, roots.certificateName) },
      );
    default:
      return context({ trusted_ca: dataSource(roots) });
  }
}

/** Whom to accept is said here and not by the secret, which is the same for all (Envoy T-1). */
function encodeSecretRoots(name: string, sans: readonly Json[] | undefined): JsonObject {
  if (sans === undefined) return { validation_context_sds_secret_config: secretConfig(name) };
  return {
    combined_validation_context: {
      default_validation_context: { match_typed_subject_alt_names: sans },
      validation_context_sds_secret_config: secretConfig(name),
    },
  };
}

function encodeSan(san: SanMatcherConfig): JsonObject {
  return { san_type: SAN_TYPES[san.type === 'any' ? 'uri' : san.type], matcher: encodeString(san.matcher) };
}

function dataSource(source: TlsSourceConfig): JsonObject {
  switch (source.kind) {
    case 'file':
      return object({
        filename: source.path,
        watched_directory: source.watchedDirectory === undefined ? undefined : { path: source.watchedDirectory },
      });
    case 'inline':
      return { inline_string: source.pem };
    default:
      throw new TypeError(`a TLS source of kind ${source.kind} is no data source`);
  }
}
