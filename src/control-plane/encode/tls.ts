/** TLS settings as UpstreamTlsContext and DownstreamTlsContext (envoy.extensions.transport_sockets.tls.v3) in a transport socket. */
import type {
  CommonTlsConfig,
  DownstreamTlsConfig,
  IdentitySourceConfig,
  SanMatcherConfig,
  TlsSourceConfig,
  UpstreamTlsConfig,
} from '../../config/tls.ts';
import type { JsonObject } from './json.ts';
import { list, object } from './json.ts';
import { encodeString } from './matchers.ts';

/** Certificates to write into resources instead of the name of a provider. */
export interface InlineCertificates {
  readonly certificateChainPem: string;
  readonly privateKeyPem: string;
  readonly rootsPem: string;
}

const TLS_PACKAGE = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3';
const SAN_TYPES = { dns: 'DNS', uri: 'URI', email: 'EMAIL', ip: 'IP_ADDRESS' } as const;

function socket(type: string, config: JsonObject): JsonObject {
  return { name: 'envoy.transport_sockets.tls', typed_config: { '@type': `${TLS_PACKAGE}.${type}`, ...config } };
}

export function encodeUpstreamTls(tls: UpstreamTlsConfig, inline: InlineCertificates | undefined): JsonObject {
  return socket(
    'UpstreamTlsContext',
    object({
      common_tls_context: encodeCommon(tls, inline),
      sni: tls.sni === '' ? undefined : tls.sni,
      auto_host_sni: tls.autoHostSni ? true : undefined,
      auto_sni_san_validation: tls.autoSniSanValidation ? true : undefined,
    }),
  );
}

export function encodeDownstreamTls(tls: DownstreamTlsConfig, inline: InlineCertificates | undefined): JsonObject {
  return socket('DownstreamTlsContext', {
    common_tls_context: encodeCommon(tls, inline),
    require_client_certificate: tls.requireClientCertificate,
  });
}

function encodeCommon(tls: CommonTlsConfig, inline: InlineCertificates | undefined): JsonObject {
  const versions = { 'TLSv1.2': 'TLSv1_2', 'TLSv1.3': 'TLSv1_3' } as const;
  const limits = object({
    tls_minimum_protocol_version: tls.minVersion === undefined ? undefined : versions[tls.minVersion],
    tls_maximum_protocol_version: tls.maxVersion === undefined ? undefined : versions[tls.maxVersion],
  });
  return object({
    ...(tls.identity === undefined ? {} : encodeIdentity(tls.identity, inline)),
    validation_context: encodeValidation(tls, inline),
    alpn_protocols: list(tls.alpn),
    tls_params: Object.keys(limits).length === 0 ? undefined : limits,
  });
}

function provider(instance: string, certificateName: string): JsonObject {
  return object({ instance_name: instance, certificate_name: certificateName === '' ? undefined : certificateName });
}

function encodeIdentity(identity: IdentitySourceConfig, inline: InlineCertificates | undefined): JsonObject {
  if (identity.kind === 'pair') {
    return {
      tls_certificates: [{ certificate_chain: dataSource(identity.certificateChain), private_key: dataSource(identity.privateKey) }],
    };
  }
  if (identity.kind === 'sds')
    return { tls_certificate_sds_secret_configs: [{ name: identity.name, sds_config: { ads: {}, resource_api_version: 'V3' } }] };
  if (inline === undefined) return { tls_certificate_provider_instance: provider(identity.instance, identity.certificateName) };
  return {
    tls_certificates: [
      { certificate_chain: { inline_string: inline.certificateChainPem }, private_key: { inline_string: inline.privateKeyPem } },
    ],
  };
}

function encodeValidation(tls: CommonTlsConfig, inline: InlineCertificates | undefined): JsonObject | undefined {
  const { roots } = tls;
  if (roots === undefined) return undefined;
  const sans = list(tls.sanMatchers.map(encodeSan));
  if (roots.kind === 'provider' && inline === undefined) {
    return object({
      ca_certificate_provider_instance: provider(roots.instance, roots.certificateName),
      match_typed_subject_alt_names: sans,
    });
  }
  if (roots.kind === 'system') return object({ system_root_certs: {}, match_typed_subject_alt_names: sans });
  const trusted = roots.kind === 'provider' ? { inline_string: inline?.rootsPem ?? '' } : dataSource(roots);
  return object({ trusted_ca: trusted, match_typed_subject_alt_names: sans });
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
