/** TlsContexts: where material comes from, when there is a context, and that nothing is verified less than configured (Envoy T-2, T-5, gRFC A29, A101). */
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PeerCertificate } from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { CertificateProviderConfig } from '../../../src/config/bootstrap.ts';
import type { DownstreamTlsConfig, SanMatcherConfig, TlsSourceConfig, UpstreamTlsConfig } from '../../../src/config/tls.ts';
import { createTestCa } from '../../../src/control-plane/ca/ca.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { TlsContexts } from '../../../src/security/tls-context.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';

const made = new FakeClock();
const ca = createTestCa({ trustDomain: 'td', clock: made });
const leaf = ca.issue({ spiffeId: 'spiffe://td/a', dnsNames: ['a.example'] });
const other = ca.issue({ spiffeId: 'spiffe://td/b' });

const inline = (pem: string): TlsSourceConfig => ({ kind: 'inline', pem });
const pair = (issued = leaf): UpstreamTlsConfig['identity'] => ({
  kind: 'pair',
  certificateChain: inline(issued.certificateChainPem),
  privateKey: inline(issued.privateKeyPem),
});
const uri = (value: string): SanMatcherConfig => ({ type: 'uri', matcher: { kind: 'exact', value, ignoreCase: false } });

const upstream = (over: Partial<UpstreamTlsConfig> = {}): UpstreamTlsConfig => ({
  identity: pair(),
  roots: inline(ca.certificatePem),
  sanMatchers: [],
  alpn: [],
  minVersion: undefined,
  maxVersion: undefined,
  sni: '',
  autoHostSni: false,
  autoSniSanValidation: false,
  ...over,
});

const downstream = (over: Partial<DownstreamTlsConfig> = {}): DownstreamTlsConfig => ({
  identity: pair(),
  roots: inline(ca.certificatePem),
  sanMatchers: [],
  alpn: ['h2'],
  minVersion: undefined,
  maxVersion: undefined,
  requireClientCertificate: true,
  ...over,
});

function contexts(clock = new FakeClock(), providers: Readonly<Record<string, CertificateProviderConfig>> = {}): TlsContexts {
  const all = new TlsContexts({ providers, clock, log: silentLogger });
  onTestFinished(() => {
    all.close();
    expect(clock.pending).toBe(0);
  });
  return all;
}

function certificateFiles(): { readonly directory: string; readonly config: CertificateProviderConfig } {
  const directory = mkdtempSync(join(tmpdir(), 'inmesh-tls-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const file = (name: string): string => join(directory, name);
  return {
    directory,
    config: {
      plugin: 'file_watcher',
      certificateFile: file('cert.pem'),
      privateKeyFile: file('key.pem'),
      caCertificateFile: file('ca.pem'),
      refreshIntervalMs: 5000,
    },
  };
}

function fill(directory: string, issued = leaf): void {
  writeFileSync(join(directory, 'cert.pem'), issued.certificateChainPem);
  writeFileSync(join(directory, 'key.pem'), issued.privateKeyPem);
  writeFileSync(join(directory, 'ca.pem'), ca.certificatePem);
}

const certificateOf = (pem: string): PeerCertificate => {
  const certificate = new X509Certificate(pem);
  return { raw: certificate.raw, subjectaltname: certificate.subjectAltName } as PeerCertificate;
};

describe('a context', () => {
  it('is made of inline material', () => {
    const security = contexts().client(upstream());
    expect(security.secureContext()).toBeDefined();
    expect(security.problem).toBe('');
    expect(security.material()?.roots?.toString()).toBe(ca.certificatePem);
    expect(security.material()?.privateKey?.toString()).toBe(leaf.privateKeyPem);
  });

  it('is made once per generation', async () => {
    const clock = new FakeClock();
    const { directory, config } = certificateFiles();
    fill(directory);
    const source = { kind: 'provider', instance: 'default', certificateName: '' } as const;
    const security = contexts(clock, { default: config }).server(downstream({ identity: source, roots: source }));
    const [context, generation] = [security.secureContext(), security.generation];
    expect(context).toBeDefined();
    expect(security.secureContext()).toBe(context);
    let rotations = 0;
    const stop = security.onRotate(() => rotations++);
    fill(directory, other);
    await clock.advance(5000);
    expect(rotations).toBe(1);
    expect(security.generation).toBe(generation + 1);
    expect(security.secureContext()).not.toBe(context);
    expect(security.material()?.certificateChain?.toString()).toBe(other.certificateChainPem);
    stop();
    fill(directory);
    await clock.advance(5000);
    expect(rotations).toBe(1);
    expect(security.generation).toBe(generation + 2);
  });

  it('is not there while the files of the provider are not, and comes with them', async () => {
    const clock = new FakeClock();
    const { directory, config } = certificateFiles();
    const source = { kind: 'provider', instance: 'default', certificateName: '' } as const;
    const security = contexts(clock, { default: config }).client(upstream({ identity: source, roots: source }));
    expect([security.secureContext(), security.material()]).toEqual([undefined, undefined]);
    expect(security.problem).toMatch(/cert\.pem.*ca\.pem/);
    let rotations = 0;
    security.onRotate(() => rotations++);
    fill(directory);
    await clock.advance(1000);
    expect(rotations).toBe(2);
    expect(security.secureContext()).toBeDefined();
    expect(security.problem).toBe('');
  });

  it('is made of files that the resource names, watched as well', async () => {
    const clock = new FakeClock();
    const { directory } = certificateFiles();
    fill(directory);
    const file = (name: string): TlsSourceConfig => ({ kind: 'file', path: join(directory, name), watchedDirectory: directory });
    const security = contexts(clock).client(
      upstream({ identity: { kind: 'pair', certificateChain: file('cert.pem'), privateKey: file('key.pem') }, roots: file('ca.pem') }),
    );
    expect(security.material()?.certificateChain?.toString()).toBe(leaf.certificateChainPem);
    fill(directory, other);
    await clock.advance(600_000);
    expect(security.material()?.certificateChain?.toString()).toBe(other.certificateChainPem);
  });

  it('goes when the last trust anchor expires', async () => {
    const clock = new FakeClock();
    const short = createTestCa({ trustDomain: 'td', clock, validForMs: 60_000 });
    const security = contexts(clock).client(
      upstream({ roots: inline(short.certificatePem + createTestCa({ trustDomain: 'td', clock, validForMs: 30_000 }).certificatePem) }),
    );
    await clock.advance(59_000);
    expect(security.secureContext()).toBeDefined();
    await clock.advance(1000);
    expect(security.secureContext()).toBeUndefined();
    expect(security.material()).toBeUndefined();
    expect(security.problem).toBe('all trust anchors have expired');
  });

  it('is shared by equal configurations, not by others, nor by the two sides', () => {
    const all = contexts();
    const client = all.client(upstream());
    expect(all.client(upstream())).toBe(client);
    expect(all.client(upstream({ sni: 'x' }))).not.toBe(client);
    expect(all.server(downstream())).not.toBe(client);
    expect(all.server(downstream())).toBe(all.server(downstream()));
  });
});

describe('there is never a context', () => {
  const provider = { kind: 'provider', instance: 'nowhere', certificateName: '' } as const;
  it.each<[string, Partial<UpstreamTlsConfig>, RegExp]>([
    ['with SAN matchers and no trust anchors', { roots: undefined, sanMatchers: [uri('spiffe://td/a')] }, /would verify nothing/],
    [
      'with auto_sni_san_validation and no trust anchors',
      { roots: undefined, autoSniSanValidation: true, sni: 'a' },
      /would verify nothing/,
    ],
    ['for an unknown provider of certificates', { identity: provider }, /"nowhere" is not in the bootstrap/],
    ['for an unknown provider of roots', { roots: provider }, /"nowhere" is not in the bootstrap/],
    ['for a provider named like a property of objects', { roots: { ...provider, instance: 'constructor' } }, /"constructor" is not in/],
    ['for roots over SDS', { roots: { kind: 'sds', name: 'ROOTCA' } }, /SDS/],
    [
      'for a certificate over SDS',
      { identity: { kind: 'pair', certificateChain: { kind: 'sds', name: 'x' }, privateKey: { kind: 'sds', name: 'x' } } },
      /not supported/,
    ],
    [
      'for mixed sources',
      {
        identity: {
          kind: 'pair',
          certificateChain: inline(leaf.certificateChainPem),
          privateKey: { kind: 'file', path: '/k', watchedDirectory: undefined },
        },
      },
      /not supported/,
    ],
    [
      'for a mismatched pair',
      { identity: { kind: 'pair', certificateChain: inline(leaf.certificateChainPem), privateKey: inline(other.privateKeyPem) } },
      /belong together/,
    ],
    ['for empty trust anchors', { roots: inline('') }, /no PEM certificate/],
    ['for broken trust anchors', { roots: inline('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----') }, /cannot be read/],
    ['for a missing file', { roots: { kind: 'file', path: '/nonexistent/ca.pem', watchedDirectory: undefined } }, /ENOENT/],
  ])('on the client side %s', (_what, over, problem) => {
    const security = contexts().client(upstream(over));
    expect([security.secureContext(), security.material()]).toEqual([undefined, undefined]);
    expect(security.problem).toMatch(problem);
  });

  it.each<[string, Partial<DownstreamTlsConfig>, RegExp]>([
    ['without a certificate', { identity: undefined }, /needs a certificate/],
    ['when client certificates are required and nothing can verify them', { roots: undefined }, /no trust anchors/],
    [
      'with SAN matchers and no trust anchors',
      { roots: undefined, requireClientCertificate: false, sanMatchers: [uri('spiffe://td/a')] },
      /would verify nothing/,
    ],
    ['with the roots of the system', { roots: { kind: 'system' } }, /A82/],
  ])('on the server side %s', (_what, over, problem) => {
    const security = contexts().server(downstream(over));
    expect([security.secureContext(), security.material()]).toEqual([undefined, undefined]);
    expect(security.problem).toMatch(problem);
  });
});

describe('what is verified', () => {
  it('on the client side: the chain only with trust anchors (Envoy T-2)', () => {
    const all = contexts();
    expect(all.client(upstream()).verifiesChain).toBe(true);
    expect(all.client(upstream({ roots: { kind: 'system' } })).verifiesChain).toBe(true);
    const none = all.client(upstream({ roots: undefined }));
    expect(none.verifiesChain).toBe(false);
    expect(none.secureContext()).toBeDefined();
  });

  it('on the server side: clients only with trust anchors (Envoy T-5)', () => {
    const all = contexts();
    expect(all.server(downstream()).verifiesClients).toBe(true);
    const open = all.server(downstream({ roots: undefined, requireClientCertificate: false }));
    expect([open.verifiesClients, open.requireClientCertificate, open.problem]).toEqual([false, false, '']);
  });

  it.each<[string, Partial<UpstreamTlsConfig>, string, string, RegExp | undefined]>([
    ['any identity without matchers', {}, '10.0.0.1', leaf.certificateChainPem, undefined],
    ['the right identity', { sanMatchers: [uri('spiffe://td/a')] }, '10.0.0.1', leaf.certificateChainPem, undefined],
    [
      'a wrong identity',
      { sanMatchers: [uri('spiffe://td/a')] },
      '10.0.0.1',
      other.certificateChainPem,
      /presents uri:"spiffe:\/\/td\/b", which no SAN matcher/,
    ],
    ['a name that was sent', { sni: 'a.example', autoSniSanValidation: true }, 'a.example', leaf.certificateChainPem, undefined],
    [
      'a name that was sent and is not in the certificate',
      { sni: 'b.example', autoSniSanValidation: true },
      'b.example',
      leaf.certificateChainPem,
      /not the name "b.example"/,
    ],
    [
      'the name instead of the matchers',
      { sni: 'b.example', autoSniSanValidation: true, sanMatchers: [uri('spiffe://td/a')] },
      'b.example',
      leaf.certificateChainPem,
      /not the name/,
    ],
    [
      'the SNI and not the address that was dialled',
      { sni: 'b.example', autoSniSanValidation: true },
      'a.example',
      leaf.certificateChainPem,
      /not the name "b.example"/,
    ],
    [
      'the host name with auto_host_sni',
      { sni: 'b.example', autoHostSni: true, autoSniSanValidation: true },
      'a.example',
      leaf.certificateChainPem,
      undefined,
    ],
    [
      'the matchers with auto_host_sni but an endpoint without a name',
      { autoHostSni: true, autoSniSanValidation: true, sanMatchers: [uri('spiffe://td/a')] },
      '10.0.0.1:443',
      leaf.certificateChainPem,
      undefined,
    ],
    [
      'no name was sent, only an address dialled',
      { autoHostSni: true, autoSniSanValidation: true },
      '[::1]:443',
      leaf.certificateChainPem,
      /none was sent/,
    ],
    ['no name was sent', { autoSniSanValidation: true }, '10.0.0.1', leaf.certificateChainPem, /none was sent/],
    [
      'no name was sent, but there are matchers',
      { autoSniSanValidation: true, sanMatchers: [uri('spiffe://td/a')] },
      '10.0.0.1',
      leaf.certificateChainPem,
      undefined,
    ],
  ])('on the client side: %s', (_what, over, hostname, pem, problem) => {
    const error = contexts().client(upstream(over)).verifyPeer(hostname, certificateOf(pem));
    if (problem === undefined) expect(error).toBeUndefined();
    else expect(error).toMatchObject({ message: expect.stringMatching(problem), code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  });

  it('refuses a certificate without names, or with names that cannot be read', () => {
    const security = contexts().client(upstream({ sanMatchers: [uri('spiffe://td/a')] }));
    expect(security.verifyPeer('', {} as PeerCertificate)?.message).toMatch(/without names/);
    expect(security.verifyPeer('', { subjectaltname: 'URI:spiffe://td/a, x' } as PeerCertificate)?.message).toMatch(/cannot be read/);
  });

  it('on the server side: the SAN of the client', () => {
    const all = contexts();
    const strict = all.server(downstream({ sanMatchers: [uri('spiffe://td/a')] }));
    expect(strict.verifyPeer(certificateOf(leaf.certificateChainPem))).toBeUndefined();
    expect(strict.verifyPeer(certificateOf(other.certificateChainPem))?.message).toMatch(/no SAN matcher accepts/);
    expect(strict.verifyPeer({} as PeerCertificate)?.message).toMatch(/no certificate/);
    const optional = all.server(downstream({ requireClientCertificate: false, sanMatchers: [uri('spiffe://td/a')] }));
    expect(optional.verifyPeer({} as PeerCertificate)).toBeUndefined();
    expect(optional.verifyPeer(certificateOf(other.certificateChainPem))).toBeDefined();
  });

  it.each([
    ['a.example', 'a.example'],
    ['', undefined],
    ['10.0.0.1', undefined],
    ['::1', undefined],
  ])('SNI %j is sent as %j', (sni, sent) => {
    expect(contexts().client(upstream({ sni })).serverName).toBe(sent);
  });
});
