/** The development CA, judged by Node's own X.509 code and, where it is installed, by the openssl program. */
import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createTestCa } from '../../../src/control-plane/ca/ca.ts';
import { element, integer, oid, time } from '../../../src/control-plane/ca/der.ts';
import { RealClock } from '../../../src/core/real-clock.ts';

const clock = new RealClock();
const SPIFFE = 'spiffe://cluster.local/ns/shop/sa/cart';

describe('DER', () => {
  it.each([
    [[0], '020100'],
    [[0x7f], '02017f'],
    [[0x80], '02020080'],
    [[0, 0, 1], '020101'],
    [[], '020100'],
  ])('writes the integer %j', (bytes, hex) => {
    expect(integer(Buffer.from(bytes)).toString('hex')).toBe(hex);
  });

  it.each([
    ['2.5.29.17', '0603551d11'],
    ['1.2.840.10045.4.3.2', '06082a8648ce3d040302'],
    ['1.3.6.1.4.1.311', '06072b060104018237'],
  ])('writes the object identifier %s', (dotted, hex) => {
    expect(oid(dotted).toString('hex')).toBe(hex);
  });

  it.each([
    [127, '047f'],
    [128, '048180'],
    [255, '0481ff'],
    [256, '04820100'],
    [70_000, '0483011170'],
  ])('writes the length %i', (size, hex) => {
    expect(
      element(0x04, Buffer.alloc(size))
        .subarray(0, hex.length / 2)
        .toString('hex'),
    ).toBe(hex);
  });

  it('writes times as Date reads them, UTCTime before 2050', () => {
    for (const iso of [
      '1970-01-01T00:00:00',
      '1999-12-31T23:59:59',
      '2000-02-29T12:00:01',
      '2024-02-29T00:00:00',
      '2026-11-22T06:07:08',
      '2049-12-31T23:59:59',
      '2050-01-01T00:00:00',
      '2100-03-01T00:00:00',
    ]) {
      const der = time(Date.parse(`${iso}Z`));
      const digits = iso.replaceAll(/[-T:]/g, '');
      const utc = iso < '2050';
      expect([der[0], der.subarray(2).toString('latin1')]).toEqual([utc ? 0x17 : 0x18, `${utc ? digits.slice(2) : digits}Z`]);
    }
  });
});

describe('the test CA', () => {
  it('issues SPIFFE certificates that verify', () => {
    const ca = createTestCa({ trustDomain: 'cluster.local', clock });
    const issued = ca.issue({ spiffeId: SPIFFE, dnsNames: ['cart.shop.svc'], ipAddresses: ['127.0.0.1', '2001:db8::5'] });
    const root = new X509Certificate(ca.certificatePem);
    const leaf = new X509Certificate(issued.certificateChainPem);
    expect(root.ca).toBe(true);
    expect(root.subjectAltName).toBe('URI:spiffe://cluster.local');
    expect(root.verify(root.publicKey)).toBe(true);
    expect(leaf.ca).toBe(false);
    // BasicConstraints, critical, CA:FALSE.
    expect(leaf.raw.toString('hex')).toContain('0603551d130101ff04023000');
    expect(leaf.verify(root.publicKey)).toBe(true);
    expect(leaf.checkIssued(root)).toBe(true);
    expect(leaf.subject ?? '').toBe('');
    expect(leaf.subjectAltName).toBe(`URI:${SPIFFE}, DNS:cart.shop.svc, IP Address:127.0.0.1, IP Address:2001:DB8:0:0:0:0:0:5`);
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    expect(issued.privateKeyPem).toContain('BEGIN PRIVATE KEY');
  });

  it('keeps two CAs of one trust domain apart', () => {
    const [one, other] = [createTestCa({ trustDomain: 'a', clock }), createTestCa({ trustDomain: 'a', clock })];
    const leaf = new X509Certificate(one.issue({ spiffeId: 'spiffe://a/x' }).certificateChainPem);
    expect(leaf.verify(new X509Certificate(other.certificatePem).publicKey)).toBe(false);
    expect(leaf.checkIssued(new X509Certificate(other.certificatePem))).toBe(false);
  });

  it('backdates, and issues certificates that have expired when asked to', () => {
    const ca = createTestCa({ trustDomain: 'a', clock });
    const fresh = new X509Certificate(ca.issue({ spiffeId: 'spiffe://a/x' }).certificateChainPem);
    expect(fresh.validFromDate.getTime()).toBeLessThan(clock.wallTime() - 299_000);
    const old = new X509Certificate(ca.issue({ spiffeId: 'spiffe://a/x', validForMs: -1000 }).certificateChainPem);
    expect(old.validToDate.getTime()).toBeLessThan(clock.wallTime());
    expect(old.validToDate.getTime()).toBeGreaterThan(old.validFromDate.getTime());
  });

  it('refuses an IP SAN that is no address', () => {
    expect(() => createTestCa({ trustDomain: 'a', clock }).issue({ ipAddresses: ['localhost'] })).toThrow(/not an IP address/);
  });

  const openssl = spawnSync('openssl', ['version']).status === 0;
  it.runIf(openssl)('is accepted by openssl verify -x509_strict, for both purposes and for no other CA', () => {
    const directory = mkdtempSync(join(tmpdir(), 'inmesh-ca-'));
    onTestFinished(() => rmSync(directory, { recursive: true }));
    const ca = createTestCa({ trustDomain: 'cluster.local', clock });
    writeFileSync(join(directory, 'ca.pem'), ca.certificatePem);
    writeFileSync(join(directory, 'other.pem'), createTestCa({ trustDomain: 'cluster.local', clock }).certificatePem);
    writeFileSync(join(directory, 'leaf.pem'), ca.issue({ spiffeId: SPIFFE }).certificateChainPem);
    const verify = (anchors: string, purpose: string): number | null =>
      spawnSync('openssl', ['verify', '-x509_strict', '-purpose', purpose, '-CAfile', anchors, 'leaf.pem'], { cwd: directory }).status;
    expect([verify('ca.pem', 'sslclient'), verify('ca.pem', 'sslserver')]).toEqual([0, 0]);
    expect(verify('other.pem', 'sslserver')).not.toBe(0);
  });
});
