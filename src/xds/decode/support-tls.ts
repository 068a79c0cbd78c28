/** The part of the support table that concerns TLS: strict, what is not understood rejects the resource. See `support.ts`. */
import { notes, read, reject, skip } from './support-kinds.ts';
import type { FieldSupport, MessageSupport } from './support-kinds.ts';

const TLS = 'envoy.extensions.transport_sockets.tls.v3';
const PLUGIN = 'certificate provider plugins in the resource are not supported; name an instance of the bootstrap';
const PINNING = 'certificate pinning is not supported';

function unless(harmless: unknown, reason: string): FieldSupport {
  return { kind: 'unless', harmless, reason };
}

export const TLS_SUPPORT: Readonly<Record<string, MessageSupport>> = {
  [`${TLS}.UpstreamTlsContext`]: {
    strict: true,
    fields: {
      ...read('common_tls_context', 'auto_host_sni', 'auto_sni_san_validation'),
      ...notes({ sni: 'At most 255 bytes.' }),
      ...skip('Asks for less than inmesh does.', 'allow_renegotiation', 'max_session_keys'),
      enforce_rsa_key_usage: unless(false, 'is not supported'),
    },
  },
  [`${TLS}.DownstreamTlsContext`]: {
    strict: true,
    fields: {
      ...read('common_tls_context'),
      ...notes({ require_client_certificate: 'Needs trust anchors (gRPC rule 16).' }),
      require_sni: unless(false, 'is not supported (gRPC rule 16)'),
      ocsp_staple_policy: unless(0, 'only LENIENT_STAPLING is supported (gRPC rule 16)'),
      ...skip(
        'Sessions are not resumed across processes.',
        'session_ticket_keys',
        'session_ticket_keys_sds_secret_config',
        'disable_stateless_session_resumption',
        'disable_stateful_session_resumption',
        'session_timeout',
      ),
      ...skip('There is one certificate.', 'full_scan_certs_on_sni_mismatch'),
    },
  },
  [`${TLS}.CommonTlsContext`]: {
    strict: true,
    fields: {
      ...read('tls_params', 'tls_certificate_provider_instance', 'validation_context', 'combined_validation_context', 'alpn_protocols'),
      ...notes({
        tls_certificates: 'One.',
        tls_certificate_sds_secret_configs: 'One.',
        validation_context_sds_secret_config: 'A secret without trust anchors verifies nothing, so its calls fail.',
        tls_certificate_certificate_provider_instance: 'Deprecated; read where the newer field is not set.',
        validation_context_certificate_provider_instance: 'Deprecated; read as trust anchors.',
      }),
      ...reject({
        tls_certificate_certificate_provider: PLUGIN,
        validation_context_certificate_provider: PLUGIN,
        custom_handshaker: 'is not supported',
      }),
      ...skip('Keys are never logged.', 'key_log'),
    },
  },
  [`${TLS}.CommonTlsContext.CombinedCertificateValidationContext`]: {
    strict: true,
    fields: {
      ...read('default_validation_context', 'validation_context_certificate_provider_instance'),
      ...notes({ validation_context_sds_secret_config: 'Its trust anchors replace the default ones, its SAN matchers are added.' }),
      ...reject({ validation_context_certificate_provider: PLUGIN }),
    },
  },
  [`${TLS}.CommonTlsContext.CertificateProviderInstance`]: { strict: true, fields: read('instance_name', 'certificate_name') },
  [`${TLS}.CertificateProviderPluginInstance`]: { strict: true, fields: read('instance_name', 'certificate_name') },
  [`${TLS}.TlsParameters`]: {
    strict: true,
    fields: notes({
      tls_minimum_protocol_version: 'TLS 1.2 is the least, whatever it says.',
      tls_maximum_protocol_version: 'TLS 1.2 or 1.3; older ones reject.',
    }),
  },
  [`${TLS}.TlsCertificate`]: {
    strict: true,
    fields: { ...read('certificate_chain', 'private_key', 'watched_directory') },
  },
  [`${TLS}.CertificateValidationContext`]: {
    strict: true,
    fields: {
      ...read('trusted_ca', 'ca_certificate_provider_instance', 'watched_directory', 'match_typed_subject_alt_names'),
      ...notes({
        custom_validator_config:
          'That of SPIFFE (`envoy.tls.cert_validator.spiffe`), as SPIRE sends it; it stands in for the trust anchors. Others reject.',
        system_root_certs: 'Of clusters (gRFC A82); on a listener it rejects.',
        match_subject_alt_names: 'Deprecated; both lists count.',
      }),
      ...reject({
        verify_certificate_spki: PINNING,
        verify_certificate_hash: PINNING,
        crl: 'revocation lists are not supported',
      }),
      require_signed_certificate_timestamp: unless(false, 'is not supported'),
      ...skip('Certificates are always verified, and expired ones refused.', 'allow_expired_certificate', 'trust_chain_verification'),
      ...skip('There are no revocation lists.', 'only_verify_leaf_cert_crl'),
    },
  },
  [`${TLS}.CertificateValidationContext.SystemRootCerts`]: { strict: true, fields: {} },
  [`${TLS}.SPIFFECertValidatorConfig`]: {
    strict: true,
    fields: {
      ...notes({ trust_domains: 'A peer shows one URI name, of one of them, and chains to the bundle of that one.' }),
      ...reject({ trust_bundles: 'bundle maps are not supported; give the bundles by trust_domains' }),
    },
  },
  [`${TLS}.SPIFFECertValidatorConfig.TrustDomain`]: { strict: true, fields: read('name', 'trust_bundle') },
  [`${TLS}.SdsSecretConfig`]: { strict: true, fields: read('name', 'sds_config') },
  [`${TLS}.Secret`]: {
    strict: true,
    fields: {
      ...read('name', 'tls_certificate', 'validation_context'),
      ...notes({ session_ticket_keys: 'Accepted; of no use here.', generic_secret: 'Accepted; of no use here.' }),
    },
  },
  'envoy.config.core.v3.WatchedDirectory': { strict: true, fields: read('path') },
  [`${TLS}.SubjectAltNameMatcher`]: { strict: true, fields: notes({ san_type: 'EMAIL, DNS, URI and IP_ADDRESS.', matcher: '' }) },
};
