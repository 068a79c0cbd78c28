/** Secrets (Envoy X-93, T-3): what SDS may bring. */
import { describe } from 'vitest';
import { check } from './rows.ts';

const PEM = { inline_string: 'pem' };

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
    ['X-93', 'session ticket keys', { name: 's', session_ticket_keys: { keys: [PEM] } }, 'accepted'],
    ['X-93', 'a generic secret', { name: 's', generic_secret: { secret: PEM } }, 'accepted'],
    ['X-93', 'nothing in it', { name: 's' }, ': is empty'],
    ['1', 'no name', { tls_certificate: { certificate_chain: PEM, private_key: PEM } }, 'name: must not be empty'],
  ]);
});
