/** Certificates that change on disk: new connections use the new ones, running ones live on, nothing fails in between (issue 3 §5, Envoy T-7). */
import { X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { CertificateProviderConfig } from '../../src/config/bootstrap.ts';
import type { SanMatcherConfig } from '../../src/config/tls.ts';
import { createTestCa } from '../../src/control-plane/ca/ca.ts';
import type { IssuedCertificate } from '../../src/control-plane/ca/ca.ts';
import { silentLogger } from '../../src/core/log.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import type { ClientSecurity, ServerSecurity } from '../../src/core/tls.ts';
import { TlsContexts } from '../../src/security/tls-context.ts';
import { echo, openTls, serialOf, startTlsPeer } from '../support/tls-peers.ts';

const clock = new RealClock();
const ID = 'spiffe://td/ns/shop/sa/cart';
const SAN: SanMatcherConfig = { type: 'uri', matcher: { kind: 'exact', value: ID, ignoreCase: false } };

/** One workload's certificate directory, filled and rotated as a Kubernetes volume is: by swapping the link `..data`. */
class Volume {
  readonly directory = mkdtempSync(join(tmpdir(), 'inmesh-rotation-'));
  #version = 0;

  constructor(issued: IssuedCertificate, roots: string) {
    onTestFinished(() => rmSync(this.directory, { recursive: true, force: true }));
    this.swap(issued.certificateChainPem, issued.privateKeyPem, roots);
    for (const name of ['cert.pem', 'key.pem', 'ca.pem']) symlinkSync(join('..data', name), join(this.directory, name));
  }

  swap(certificate: string, key: string, roots: string): void {
    const version = `..v${++this.#version}`;
    mkdirSync(join(this.directory, version));
    writeFileSync(join(this.directory, version, 'cert.pem'), certificate);
    writeFileSync(join(this.directory, version, 'key.pem'), key);
    writeFileSync(join(this.directory, version, 'ca.pem'), roots);
    symlinkSync(version, join(this.directory, '..data_tmp'));
    renameSync(join(this.directory, '..data_tmp'), join(this.directory, '..data'));
  }

  get provider(): CertificateProviderConfig {
    const file = (name: string): string => join(this.directory, name);
    return {
      plugin: 'file_watcher',
      certificateFile: file('cert.pem'),
      privateKeyFile: file('key.pem'),
      caCertificateFile: file('ca.pem'),
      refreshIntervalMs: 600_000,
    };
  }
}

function workload(
  volume: Volume,
  onWarning: () => void = () => undefined,
): { readonly client: ClientSecurity; readonly server: ServerSecurity } {
  const contexts = new TlsContexts({ providers: { default: volume.provider }, clock, log: { ...silentLogger, warn: onWarning } });
  onTestFinished(() => contexts.close());
  const source = { kind: 'provider', instance: 'default', certificateName: '' } as const;
  const common = { identity: source, roots: source, alpn: [], minVersion: undefined, maxVersion: undefined };
  return {
    client: contexts.client({ ...common, sanMatchers: [SAN], sni: '', autoHostSni: false, autoSniSanValidation: false }),
    server: contexts.server({ ...common, sanMatchers: [], requireClientCertificate: true }),
  };
}

const rotated = (security: ClientSecurity | ServerSecurity): Promise<void> =>
  new Promise((resolve) => {
    const stop = security.onRotate(() => {
      stop();
      resolve();
    });
  });
const serial = (issued: IssuedCertificate): string => new X509Certificate(issued.certificateChainPem).serialNumber;

describe('rotation on disk', () => {
  it('serves new connections with the new certificate while old ones live on', async () => {
    const ca = createTestCa({ trustDomain: 'td', clock });
    const [first, second] = [ca.issue({ spiffeId: ID }), ca.issue({ spiffeId: ID })];
    const volume = new Volume(first, ca.certificatePem);
    const { client, server } = workload(volume);
    const peer = await startTlsPeer(() => server);
    const old = await openTls(client, peer.port);
    expect(serialOf(old)).toBe(serial(first));

    const generations = [client.generation, server.generation];
    const seen = Promise.all([rotated(client), rotated(server)]);
    volume.swap(second.certificateChainPem, second.privateKeyPem, ca.certificatePem);
    await seen;
    expect(client.generation).toBeGreaterThan(generations[0] ?? 0);
    expect(server.generation).toBeGreaterThan(generations[1] ?? 0);
    const young = await openTls(client, peer.port);
    expect(serialOf(young)).toBe(serial(second));
    await echo(old, 'still here');
    expect(serialOf(old)).toBe(serial(first));
  });

  it('loses no connection while certificates rotate again and again', async () => {
    const ca = createTestCa({ trustDomain: 'td', clock });
    const issued = Array.from({ length: 5 }, () => ca.issue({ spiffeId: ID }));
    const volume = new Volume(issued[0] as IssuedCertificate, ca.certificatePem);
    const { client, server } = workload(volume);
    const peer = await startTlsPeer(() => server);
    const serials = new Set<string>();
    for (const next of issued.slice(1)) {
      let done = false;
      const seen = rotated(server).then(() => (done = true));
      volume.swap(next.certificateChainPem, next.privateKeyPem, ca.certificatePem);
      // Connections are opened all the time, before, while and after the change is noticed.
      while (!done) serials.add(serialOf(await openTls(client, peer.port)));
      await seen;
      expect(serialOf(await openTls(client, peer.port))).toBe(serial(next));
    }
    expect(serials.size).toBeGreaterThanOrEqual(4);
    expect(peer.refused).toEqual([]);
  });

  it('moves to another CA through a bundle of both, and refuses the old one afterwards', async () => {
    const [before, after] = [createTestCa({ trustDomain: 'td', clock }), createTestCa({ trustDomain: 'td', clock })];
    const [old, young] = [before.issue({ spiffeId: ID }), after.issue({ spiffeId: ID })];
    const volume = new Volume(old, before.certificatePem);
    const { client, server } = workload(volume);
    const laggard = workload(new Volume(old, before.certificatePem + after.certificatePem)).client;
    const peer = await startTlsPeer(() => server);
    for (const [issued, roots] of [
      [old, before.certificatePem + after.certificatePem],
      [young, before.certificatePem + after.certificatePem],
    ] as const) {
      const seen = rotated(server);
      volume.swap(issued.certificateChainPem, issued.privateKeyPem, roots);
      await seen;
      expect(serialOf(await openTls(client, peer.port))).toBe(serial(issued));
      await openTls(laggard, peer.port);
    }
    const seen = rotated(server);
    volume.swap(young.certificateChainPem, young.privateKeyPem, after.certificatePem);
    await seen;
    await openTls(client, peer.port);
    await expect(openTls(laggard, peer.port)).rejects.toThrow();
    expect(peer.refused).toEqual([expect.stringMatching(/unable to|self-signed/)]);
  });

  it('keeps the old pair when certificate and key do not belong together', async () => {
    const ca = createTestCa({ trustDomain: 'td', clock });
    const [first, second] = [ca.issue({ spiffeId: ID }), ca.issue({ spiffeId: ID })];
    const volume = new Volume(first, ca.certificatePem);
    let warned: () => void = () => undefined;
    const warning = new Promise<void>((resolve) => (warned = resolve));
    const { client, server } = workload(volume, () => warned());
    const peer = await startTlsPeer(() => server);
    volume.swap(second.certificateChainPem, first.privateKeyPem, ca.certificatePem);
    await warning;
    expect(serialOf(await openTls(client, peer.port))).toBe(serial(first));
    expect(peer.refused).toEqual([]);
    const seen = rotated(server);
    volume.swap(second.certificateChainPem, second.privateKeyPem, ca.certificatePem);
    await seen;
    expect(serialOf(await openTls(client, peer.port))).toBe(serial(second));
  });

  it('does not resume sessions of the certificates before', async () => {
    const ca = createTestCa({ trustDomain: 'td', clock });
    const [first, second] = [ca.issue({ spiffeId: ID }), ca.issue({ spiffeId: ID })];
    const volume = new Volume(first, ca.certificatePem);
    const { client, server } = workload(volume);
    const peer = await startTlsPeer(() => server);
    const old = await openTls(client, peer.port);
    const session = old.getSession();
    expect((await openTls(client, peer.port, session)).isSessionReused()).toBe(true);
    const seen = rotated(server);
    volume.swap(second.certificateChainPem, second.privateKeyPem, ca.certificatePem);
    await seen;
    const young = await openTls(client, peer.port, session);
    expect(young.isSessionReused()).toBe(false);
    expect(serialOf(young)).toBe(serial(second));
  });
});
