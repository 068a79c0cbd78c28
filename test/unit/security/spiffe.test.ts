/** Trust by SPIFFE trust domain (Envoy T-6), over real handshakes: whose bundle counts, what is no identity, and what is not taken for a chain. */
import { X509Certificate } from 'node:crypto';
import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { connect, createServer, TLSSocket } from 'node:tls';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { TlsSourceConfig } from '../../../src/config/tls.ts';
import type { IssuedCertificate, TestCa } from '../../../src/control-plane/ca/ca.ts';
import { createTestCa } from '../../../src/control-plane/ca/ca.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { RealClock } from '../../../src/core/real-clock.ts';
import type { ClientSecurity, ServerSecurity } from '../../../src/core/tls.ts';
import { TlsContexts } from '../../../src/security/tls-context.ts';
import { certificateExtensions } from '../../../src/security/x509-extensions.ts';

const clock = new RealClock();
const caOf = (trustDomain: string): TestCa => createTestCa({ trustDomain, clock });
const [dev, other, foreign] = [caOf('dev'), caOf('other'), caOf('dev')];
const middle = dev.subordinate();
const inline = (pem: string): TlsSourceConfig => ({ kind: 'inline', pem });
const spiffe = (domains: Readonly<Record<string, string>>): TlsSourceConfig => ({
  kind: 'spiffe',
  domains: Object.entries(domains).map(([name, pem]) => ({ name, bundle: inline(pem) })),
});
const BOTH = spiffe({ dev: dev.certificatePem, other: other.certificatePem });
const common = { alpn: [], minVersion: undefined, maxVersion: undefined, sanMatchers: [] };

function contexts(): TlsContexts {
  const made = new TlsContexts({ providers: {}, clock, log: silentLogger });
  onTestFinished(() => made.close());
  return made;
}

function clientOf(roots: TlsSourceConfig, change: object = {}): ClientSecurity {
  return contexts().client({ ...common, identity: undefined, roots, sni: '', autoHostSni: false, autoSniSanValidation: false, ...change });
}

function serverOf(roots: TlsSourceConfig, change: object = {}): ServerSecurity {
  const { certificateChainPem, privateKeyPem } = dev.issue({ spiffeId: 'spiffe://dev/server' });
  const identity = { kind: 'pair', certificateChain: inline(certificateChainPem), privateKey: inline(privateKeyPem) } as const;
  return contexts().server({ ...common, identity, roots, requireClientCertificate: false, ...change });
}

/** What a client with this security says of a server with this certificate, as the adapters ask it; `ok` if nothing. */
async function callTo(security: ClientSecurity, shown: IssuedCertificate): Promise<string> {
  const server = createServer({ cert: shown.certificateChainPem, key: shown.privateKeyPem });
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const secureContext = security.secureContext();
  if (secureContext === undefined) return security.problem;
  return new Promise((resolve) => {
    const { port } = server.address() as AddressInfo;
    const checkServerIdentity = (_host: string, certificate: Parameters<ClientSecurity['verifyPeer']>[1]): Error | undefined =>
      security.verifyPeer('127.0.0.1', certificate);
    const socket = connect({ host: '127.0.0.1', port, secureContext, checkServerIdentity }, () => {
      resolve('ok');
      socket.destroy();
    });
    socket.on('error', (error) => resolve(error.message));
  });
}

/** The same for a server, of a client with this certificate. */
async function callFrom(security: ServerSecurity, shown: IssuedCertificate | undefined): Promise<string> {
  const secureContext = security.secureContext();
  if (secureContext === undefined) return security.problem;
  const server = createTcpServer();
  const said = new Promise<string>((resolve) => {
    server.on('connection', (raw) => {
      const socket = new TLSSocket(raw, { isServer: true, secureContext, requestCert: true, rejectUnauthorized: false });
      socket.on('error', () => undefined);
      socket.once('secure', () => resolve(security.verifyPeer(socket.getPeerCertificate(true))?.message ?? 'ok'));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const own = shown === undefined ? {} : { cert: shown.certificateChainPem, key: shown.privateKeyPem };
  const socket = connect({ host: '127.0.0.1', port, servername: 'server.test', rejectUnauthorized: false, ...own });
  socket.on('error', () => undefined);
  onTestFinished(() => void socket.destroy());
  return said;
}

describe('a server is one of the trust domains', () => {
  test.each<[string, TlsSourceConfig, IssuedCertificate, string | RegExp]>([
    ['the only domain', spiffe({ dev: dev.certificatePem }), dev.issue({ spiffeId: 'spiffe://dev/a' }), 'ok'],
    ['one of two', BOTH, dev.issue({ spiffeId: 'spiffe://dev/a' }), 'ok'],
    ['the other one', BOTH, other.issue({ spiffeId: 'spiffe://other/a' }), 'ok'],
    ['behind an intermediate', BOTH, other.subordinate().issue({ spiffeId: 'spiffe://other/a' }), 'ok'],
    ['behind two', BOTH, other.subordinate().subordinate().issue({ spiffeId: 'spiffe://other/a' }), 'ok'],
    [
      'the bundle has an intermediate only',
      spiffe({ dev: middle.certificatePem, other: other.certificatePem }),
      middle.issue({ spiffeId: 'spiffe://dev/a' }),
      'ok',
    ],
    // The one that verification against all bundles together would let in.
    [
      'a CA of one domain signs for the other',
      BOTH,
      other.issue({ spiffeId: 'spiffe://dev/a' }),
      /no chain leads to the bundle of trust domain "dev"/,
    ],
    [
      'the same behind an intermediate',
      BOTH,
      other.subordinate().issue({ spiffeId: 'spiffe://dev/a' }),
      /no chain leads to the bundle of trust domain "dev"/,
    ],
    ['a CA of nobody', BOTH, foreign.issue({ spiffeId: 'spiffe://dev/a' }), /unable to|self-signed|not trusted/i],
    [
      'a domain without a bundle',
      spiffe({ other: dev.certificatePem }),
      dev.issue({ spiffeId: 'spiffe://dev/a' }),
      /no bundle of trust domain "dev"/,
    ],
    ['no URI', BOTH, dev.issue({ dnsNames: ['dev'] }), /exactly one URI/],
    ['not SPIFFE', BOTH, dev.issue({ spiffeId: 'https://dev/a' }), /not the SPIFFE ID of a workload/],
    ['the domain itself', BOTH, dev.issue({ spiffeId: 'spiffe://dev' }), /not the SPIFFE ID of a workload/],
  ])('%s', async (_name, roots, shown, expected) => {
    const said = await callTo(clientOf(roots), shown);
    if (typeof expected === 'string') expect(said).toBe(expected);
    else expect(said).toMatch(expected);
  });

  test('SAN matchers look at the URI only', async () => {
    const shown = dev.issue({ spiffeId: 'spiffe://dev/a', dnsNames: ['a.test'] });
    const matchers = (type: 'uri' | 'dns' | 'any', value: string): object => ({
      sanMatchers: [{ type, matcher: { kind: 'exact', value, ignoreCase: false } }],
    });
    expect(await callTo(clientOf(BOTH, matchers('uri', 'spiffe://dev/a')), shown)).toBe('ok');
    expect(await callTo(clientOf(BOTH, matchers('any', 'spiffe://dev/a')), shown)).toBe('ok');
    expect(await callTo(clientOf(BOTH, matchers('uri', 'spiffe://dev/b')), shown)).toMatch(/no SAN matcher/);
    expect(await callTo(clientOf(BOTH, matchers('dns', 'a.test')), shown)).toMatch(/no SAN matcher/);
    expect(await callTo(clientOf(BOTH, matchers('any', 'a.test')), shown)).toMatch(/no SAN matcher/);
  });

  test('negative control: without domains the same certificates pass', async () => {
    const roots = inline(dev.certificatePem + other.certificatePem);
    for (const shown of [other.issue({ spiffeId: 'spiffe://dev/a' }), dev.issue({ dnsNames: ['dev'] })])
      expect(await callTo(clientOf(roots), shown)).toBe('ok');
  });
});

describe('limits of intermediates', () => {
  test.each<[string, IssuedCertificate, string | RegExp]>([
    ['no CA below it, and none is', dev.subordinate({ pathLength: 0 }).issue({ spiffeId: 'spiffe://dev/a' }), 'ok'],
    // OpenSSL refuses it already.
    ['no CA below it, but one is', dev.subordinate({ pathLength: 0 }).subordinate().issue({ spiffeId: 'spiffe://dev/a' }), /path length/],
    [
      'names are limited: not looked into, so refused',
      dev.subordinate({ permittedHost: 'dev' }).issue({ spiffeId: 'spiffe://dev/a' }),
      /no chain leads/,
    ],
  ])('%s', async (_name, shown, expected) => {
    const said = await callTo(clientOf(BOTH), shown);
    if (typeof expected === 'string') expect(said).toBe(expected);
    else expect(said).toMatch(expected);
  });

  test('with one domain OpenSSL looks into names', async () => {
    const one = clientOf(spiffe({ dev: dev.certificatePem }));
    expect(await callTo(one, dev.subordinate({ permittedHost: 'dev' }).issue({ spiffeId: 'spiffe://dev/a' }))).toBe('ok');
    expect(await callTo(one, dev.subordinate({ permittedHost: 'elsewhere' }).issue({ spiffeId: 'spiffe://dev/a' }))).toMatch(
      /permitted subtree/,
    );
  });
});

test('clients: the same rules, and one without a certificate is refused whatever else is said', async () => {
  expect(await callFrom(serverOf(BOTH), other.subordinate().issue({ spiffeId: 'spiffe://other/a' }))).toBe('ok');
  expect(await callFrom(serverOf(BOTH), other.issue({ spiffeId: 'spiffe://dev/a' }))).toMatch(/no chain leads/);
  expect(await callFrom(serverOf(BOTH), undefined)).toBe('the client presents no certificate');
  expect(await callFrom(serverOf(inline(dev.certificatePem)), undefined)).toBe('ok');
});

test('a bundle that cannot be read: nothing is trusted, and the reason names the domain', () => {
  const security = clientOf(spiffe({ dev: dev.certificatePem, broken: 'not a certificate' }));
  expect(security.secureContext()).toBeUndefined();
  expect(security.problem).toBe('trust domain "broken": the trust anchors hold no PEM certificate');
});

describe('extensions of certificates', () => {
  const raw = (pem: string): Buffer => new X509Certificate(pem).raw;
  test.each<[string, string, object]>([
    [
      'a leaf',
      dev.issue({ spiffeId: 'spiffe://dev/a' }).certificateChainPem,
      { signsOthers: false, pathLength: undefined, nameConstraints: false },
    ],
    ['a CA', dev.certificatePem, { signsOthers: true, pathLength: undefined, nameConstraints: false }],
    [
      'a limited CA',
      dev.subordinate({ pathLength: 2, permittedHost: 'dev' }).certificatePem,
      { signsOthers: true, pathLength: 2, nameConstraints: true },
    ],
    // Bytes that look like an extension, in a name.
    [
      'a leaf with a name that looks like key usage',
      dev.issue({ spiffeId: 'spiffe://dev/a', commonName: '\u0006\u0003U\u001d\u000f\u0004\u0004\u0003\u0002\u0001\u0006' })
        .certificateChainPem,
      { signsOthers: false, pathLength: undefined, nameConstraints: false },
    ],
  ])('%s', (_name, pem, expected) => {
    expect(certificateExtensions(raw(pem))).toEqual(expected);
  });

  test('anything else is undefined or an answer, never an exception', () => {
    const whole = raw(dev.subordinate({ pathLength: 1 }).certificatePem);
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.nat(whole.length), (at, byte, length) => {
        const changed = Buffer.from(whole);
        changed[at] = byte;
        certificateExtensions(changed.subarray(0, length));
        certificateExtensions(changed);
        expect(certificateExtensions(whole.subarray(0, Math.min(length, whole.length - 1)))).toBeUndefined();
      }),
    );
    expect(certificateExtensions(Buffer.alloc(0))).toBeUndefined();
  });
});
