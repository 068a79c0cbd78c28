/** Secrets (Envoy X-93, T-3): what SDS may bring. */
import { describe } from 'vitest';
import type { Json } from '../../unit/xds-decode/harness.ts';
import { check } from './rows.ts';

const PEM = { inline_string: 'pem' };
const DOMAIN = { name: 'example.org', trust_bundle: PEM };
const VALIDATOR = 'validation_context.custom_validator_config.typed_config';
const spiffe = (config: Json): Json => ({
  name: 's',
  validation_context: {
    custom_validator_config: {
      name: 'envoy.tls.cert_validator.spiffe',
      typed_config: { '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig', ...config },
    },
  },
});

describe('secrets', () => {
  check('secret', [
    ['X-93', 'a certificate', { name: 's', tls_certificate: { certificate_chain: PEM, private_key: PEM } }, 'accepted'],
    [
      'X-93',
      'a certificate in files',
      { name: 's', tls_certificate: { certificate_chain: { filename: '/c' }, private_key: { filename: '/k' } } },
      'accepted',
    ],
    ['X-93', 'a certificate without its key', { name: 's', tls_certificate: { certificate_chain: PEM } }, 'tls_certificate[0].private_key'],
    [
      'X-93',
      'an empty chain',
      { name: 's', tls_certificate: { certificate_chain: { inline_string: '' }, private_key: PEM } },
      'tls_certificate[0].certificate_chain',
    ],
    ['X-93', 'a validation context', { name: 's', validation_context: { trusted_ca: PEM } }, 'accepted'],
    [
      'X-93',
      'SAN matchers alone: the trust anchors may be those of the default context',
      { name: 's', validation_context: { match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: 'x' } }] } },
      'accepted',
    ],
    [
      'T-3',
      'pinning',
      { name: 's', validation_context: { verify_certificate_hash: ['aa'] } },
      'validation_context.verify_certificate_hash',
    ],
    ['T-3', 'a revocation list', { name: 's', validation_context: { trusted_ca: PEM, crl: PEM } }, 'validation_context.crl'],
    ['T-6', 'bundles by SPIFFE trust domain', spiffe({ trust_domains: [DOMAIN, { ...DOMAIN, name: 'other.org' }] }), 'accepted'],
    ['T-6', 'no trust domain', spiffe({}), `${VALIDATOR}.trust_domains: must not be empty`],
    [
      'T-6',
      'one twice',
      spiffe({ trust_domains: [DOMAIN, DOMAIN] }),
      `${VALIDATOR}.trust_domains[1].name: trust domain "example.org" is there twice`,
    ],
    [
      'T-6',
      'a URI as its name',
      spiffe({ trust_domains: [{ ...DOMAIN, name: 'spiffe://a' }] }),
      `${VALIDATOR}.trust_domains[0].name: "spiffe://a"`,
    ],
    ['T-6', 'without its bundle', spiffe({ trust_domains: [{ name: 'a' }] }), `${VALIDATOR}.trust_domains[0].trust_bundle: needs`],
    ['T-6', 'a map of bundles', spiffe({ trust_bundles: { filename: '/b' } }), `${VALIDATOR}.trust_bundles: bundle maps`],
    [
      'T-6',
      'another validator',
      {
        name: 's',
        validation_context: {
          custom_validator_config: { name: 'x', typed_config: { '@type': 'type.googleapis.com/google.protobuf.Struct', value: {} } },
        },
      },
      `${VALIDATOR}: certificate validator google.protobuf.Struct is not supported`,
    ],
    ['X-93', 'session ticket keys', { name: 's', session_ticket_keys: { keys: [PEM] } }, 'accepted'],
    ['X-93', 'a generic secret', { name: 's', generic_secret: { secret: PEM } }, 'accepted'],
    ['X-93', 'nothing in it', { name: 's' }, ': is empty'],
    ['1', 'no name', { tls_certificate: { certificate_chain: PEM, private_key: PEM } }, 'name: must not be empty'],
  ]);
});
