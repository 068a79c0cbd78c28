import type { PeerCertificate } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { peerTls, unmapped } from '../../../src/adapters/grpc/peer.ts';

const certificate = (subjectaltname: string): PeerCertificate => ({ subjectaltname }) as PeerCertificate;

describe('peer of a certificate', () => {
  test.each([
    ['URI:spiffe://a/b', ['spiffe://a/b'], []],
    ['DNS:x.example, URI:spiffe://a/b, DNS:y', ['spiffe://a/b'], ['x.example', 'y']],
    // Node quotes what could be taken for two names (CVE-2021-44532).
    ['URI:"spiffe://evil, URI:spiffe://good", DNS:x', ['spiffe://evil, URI:spiffe://good'], ['x']],
    ['IP Address:127.0.0.1, email:a@b', [], []],
    ['', [], []],
  ])('%s', (text, uriSans, dnsSans) => {
    expect(peerTls(certificate(text), true, undefined)).toEqual({ authenticated: true, uriSans, dnsSans, subject: '' });
  });

  test('nothing is known of a certificate that was not verified', () => {
    expect(peerTls(certificate('URI:spiffe://a/b'), false, 'CN=x')).toEqual({
      authenticated: false,
      uriSans: [],
      dnsSans: [],
      subject: '',
    });
  });

  test('the subject is RFC 2253 text', () => {
    expect(peerTls(certificate(''), true, 'C=DE\nO=Shop\\, Inc\nCN=cart').subject).toBe('CN=cart,O=Shop\\, Inc,C=DE');
  });

  test.each([
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::1', '::1'],
    ['10.0.0.1', '10.0.0.1'],
  ])('%s', (address, expected) => {
    expect(unmapped(address)).toBe(expected);
  });
});
