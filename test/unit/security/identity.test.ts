/** SPIFFE IDs and the identity in a certificate. */
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createTestCa } from '../../../src/control-plane/ca/ca.ts';
import { RealClock } from '../../../src/core/real-clock.ts';
import { peerTlsOf, peerTlsOfCertificate, rfc2253 } from '../../../src/core/peer-identity.ts';
import { parseSpiffeId } from '../../../src/security/identity.ts';

describe('parseSpiffeId', () => {
  it.each([
    ['spiffe://cluster.local/ns/a/sa/b', { trustDomain: 'cluster.local', path: '/ns/a/sa/b' }],
    ['spiffe://td', { trustDomain: 'td', path: '' }],
    ['spiffe://td_1-x.y/...', { trustDomain: 'td_1-x.y', path: '/...' }],
    ['spiffe://td/.a', { trustDomain: 'td', path: '/.a' }],
  ])('takes %s', (text, id) => {
    expect(parseSpiffeId(text)).toEqual(id);
  });

  it.each([
    '',
    'td/a',
    'http://td/a',
    'SPIFFE://td/a',
    'spiffe:///a',
    'spiffe://TD/a',
    'spiffe://td/',
    'spiffe://td/a/',
    'spiffe://td//a',
    'spiffe://td/./a',
    'spiffe://td/..',
    'spiffe://td/a/../b',
    'spiffe://td:80/a',
    'spiffe://u@td/a',
    'spiffe://td/a?x',
    'spiffe://td/a#x',
    'spiffe://td/%61',
    'spiffe://td/a\n',
    'spiffe://td/a b',
  ])('refuses %j', (text) => {
    expect(parseSpiffeId(text)).toBeUndefined();
  });

  it('refuses what is too long', () => {
    const path = `/${'a'.repeat(2048 - 'spiffe://td/'.length)}`;
    expect(parseSpiffeId(`spiffe://td${path}`)).toEqual({ trustDomain: 'td', path });
    expect(parseSpiffeId(`spiffe://td${path}a`)).toBeUndefined();
    expect(parseSpiffeId(`spiffe://${'a'.repeat(256)}/a`)).toBeUndefined();
  });
});

describe('the identity of a peer', () => {
  const ca = createTestCa({ trustDomain: 'td', clock: new RealClock() });
  const certificate = new X509Certificate(
    ca.issue({ spiffeId: 'spiffe://td/a', dnsNames: ['a.example', 'b.example'], ipAddresses: ['10.0.0.1'], commonName: 'a, b+c' })
      .certificateChainPem,
  );

  it('is what the certificate says', () => {
    expect(peerTlsOfCertificate(certificate)).toEqual({
      authenticated: true,
      uriSans: ['spiffe://td/a'],
      dnsSans: ['a.example', 'b.example'],
      subject: 'CN=a\\, b\\+c',
    });
  });

  it('is nobody when the certificate was not verified, whatever it says', () => {
    const socket = (authorized: boolean): never =>
      ({ authorized, servername: 'x.example', getPeerX509Certificate: () => certificate }) as never;
    expect(peerTlsOf(socket(true))).toMatchObject({ authenticated: true, uriSans: ['spiffe://td/a'], serverName: 'x.example' });
    expect(peerTlsOf(socket(false))).toEqual({ authenticated: false, uriSans: [], dnsSans: [], subject: '', serverName: 'x.example' });
  });

  it('is nobody without a certificate', () => {
    const socket = { authorized: true, servername: false, getPeerX509Certificate: () => undefined } as never;
    expect(peerTlsOf(socket)).toEqual({ authenticated: false, uriSans: [], dnsSans: [], subject: '' });
  });

  it.each([
    ['O=x\nCN=a', 'CN=a,O=x'],
    ['C=DE\nO=a + OU=b\nCN=c\\+d', 'CN=c\\+d,OU=b+O=a,C=DE'],
    ['', ''],
    [undefined, ''],
  ])('has the subject of %j as RFC 2253 text', (node, text) => {
    expect(rfc2253(node)).toBe(text);
  });

  const openssl = spawnSync('openssl', ['version']).status === 0;
  it.runIf(openssl)('writes subjects as openssl does', () => {
    const directory = mkdtempSync(join(tmpdir(), 'inmesh-subject-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const args = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      join(directory, 'key.pem'),
      '-multivalue-rdn',
    ];
    const made = spawnSync('openssl', [...args, '-subj', '/C=DE/O=A, "Inc" <x>/OU=p+L=q/CN=c;d']);
    expect(made.status).toBe(0);
    const pem = made.stdout.toString();
    const printed = spawnSync('openssl', ['x509', '-noout', '-subject', '-nameopt', 'RFC2253'], { input: pem }).stdout.toString();
    expect(rfc2253(new X509Certificate(pem).subject)).toBe(printed.trim().replace(/^subject=\s*/, ''));
  });
});
