/** Mutual TLS between real sockets: who is let in, who is not, and what the other side learns (issue 3 §5, gRFC A29, Envoy T-2 to T-5). */
import { once } from 'node:events';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { Client } from 'undici';
import { describe, expect, it, onTestFinished } from 'vitest';
import type {
  DownstreamTlsConfig,
  IdentitySourceConfig,
  SanMatcherConfig,
  TlsSourceConfig,
  UpstreamTlsConfig,
} from '../../src/config/tls.ts';
import { createTestCa } from '../../src/control-plane/ca/ca.ts';
import type { LeafRequest, TestCa } from '../../src/control-plane/ca/ca.ts';
import { silentLogger } from '../../src/core/log.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import type { ClientSecurity, ServerSecurity } from '../../src/core/tls.ts';
import { TlsContexts } from '../../src/security/tls-context.ts';
import { echo, openTls, startTlsPeer } from '../support/tls-peers.ts';

const clock = new RealClock();
const ours = createTestCa({ trustDomain: 'cluster.local', clock });
const foreign = createTestCa({ trustDomain: 'cluster.local', clock });
const CART = 'spiffe://cluster.local/ns/shop/sa/cart';
const WEB = 'spiffe://cluster.local/ns/shop/sa/web';

const inline = (pem: string): TlsSourceConfig => ({ kind: 'inline', pem });
const uri = (value: string): SanMatcherConfig => ({ type: 'uri', matcher: { kind: 'exact', value, ignoreCase: false } });
const common = { alpn: [], minVersion: undefined, maxVersion: undefined, sanMatchers: [] as readonly SanMatcherConfig[] };

function identity(ca: TestCa, request: LeafRequest): IdentitySourceConfig {
  const issued = ca.issue(request);
  return { kind: 'pair', certificateChain: inline(issued.certificateChainPem), privateKey: inline(issued.privateKeyPem) };
}

const upstream = (over: Partial<UpstreamTlsConfig> = {}): UpstreamTlsConfig => ({
  ...common,
  identity: identity(ours, { spiffeId: WEB }),
  roots: inline(ours.certificatePem),
  sanMatchers: [uri(CART)],
  sni: '',
  autoHostSni: false,
  autoSniSanValidation: false,
  ...over,
});

const downstream = (over: Partial<DownstreamTlsConfig> = {}): DownstreamTlsConfig => ({
  ...common,
  identity: identity(ours, { spiffeId: CART, dnsNames: ['cart.shop'] }),
  roots: inline(ours.certificatePem),
  requireClientCertificate: true,
  ...over,
});

function sides(
  client: Partial<UpstreamTlsConfig>,
  server: Partial<DownstreamTlsConfig>,
): { readonly client: ClientSecurity; readonly server: ServerSecurity } {
  const contexts = new TlsContexts({ providers: {}, clock, log: silentLogger });
  onTestFinished(() => contexts.close());
  return { client: contexts.client(upstream(client)), server: contexts.server(downstream(server)) };
}

describe('mutual TLS', () => {
  it('lets the right identities in, and tells the server who called', async () => {
    const { client, server } = sides({}, {});
    const peer = await startTlsPeer(() => server);
    const socket = await openTls(client, peer.port);
    expect(socket.authorized).toBe(true);
    expect(peer.accepted).toEqual([{ authenticated: true, uriSans: [WEB], dnsSans: [], subject: '' }]);
    expect(peer.refused).toEqual([]);
  });

  it.each<[string, Partial<UpstreamTlsConfig>, Partial<DownstreamTlsConfig>, RegExp]>([
    ['a server of another CA', {}, { identity: identity(foreign, { spiffeId: CART }) }, /unable to (verify|get)|self.signed/],
    [
      'a server with another SPIFFE ID',
      {},
      { identity: identity(ours, { spiffeId: `${CART}2` }) },
      /no SAN matcher of the cluster accepts/,
    ],
    [
      'a server whose DNS name looks like the SPIFFE ID',
      {},
      { identity: identity(ours, { spiffeId: WEB, dnsNames: [`x, URI:${CART}`, CART] }) },
      /no SAN matcher of the cluster accepts/,
    ],
    ['a server without SPIFFE ID', {}, { identity: identity(ours, { dnsNames: ['cart.shop'] }) }, /no SAN matcher/],
    [
      'a server whose certificate has expired',
      {},
      { identity: identity(ours, { spiffeId: CART, validForMs: -1000 }) },
      /certificate has expired/,
    ],
    ['a server that has not the name that was sent', { sni: 'db.shop', autoSniSanValidation: true }, {}, /not the name "db.shop"/],
  ])('the client refuses %s', async (_what, client, server, reason) => {
    const both = sides(client, server);
    const peer = await startTlsPeer(() => both.server);
    await expect(openTls(both.client, peer.port)).rejects.toThrow(reason);
  });

  it.each<[string, Partial<UpstreamTlsConfig>, Partial<DownstreamTlsConfig>, RegExp]>([
    ['a client without certificate', { identity: undefined }, {}, /presents no certificate/],
    ['a client of another CA', { identity: identity(foreign, { spiffeId: WEB }) }, {}, /unable to verify|unable to get/],
    [
      'a client whose certificate has expired',
      { identity: identity(ours, { spiffeId: WEB, validForMs: -1000 }) },
      {},
      /certificate has expired/,
    ],
    ['a client with another SPIFFE ID, where the server has SAN matchers', {}, { sanMatchers: [uri(`${WEB}2`)] }, /no SAN matcher accepts/],
    [
      'a client of another CA even where certificates are optional',
      { identity: identity(foreign, { spiffeId: WEB }) },
      { requireClientCertificate: false },
      /unable to/,
    ],
  ])('the server refuses %s', async (_what, client, server, reason) => {
    const both = sides(client, server);
    const peer = await startTlsPeer(() => both.server);
    await expect(openTls(both.client, peer.port)).rejects.toThrow();
    expect(peer.refused).toEqual([expect.stringMatching(reason)]);
    expect(peer.accepted).toEqual([]);
  });

  it('takes a client without certificate where it is optional, as nobody', async () => {
    const { client, server } = sides(
      { identity: undefined, sni: 'cart.shop', autoSniSanValidation: true },
      { requireClientCertificate: false },
    );
    const peer = await startTlsPeer(() => server);
    await openTls(client, peer.port);
    expect(peer.accepted).toEqual([{ authenticated: false, uriSans: [], dnsSans: [], subject: '', serverName: 'cart.shop' }]);
  });

  it('does not take the word of a certificate that nobody verified (Envoy T-5)', async () => {
    const { client, server } = sides({}, { roots: undefined, requireClientCertificate: false });
    const peer = await startTlsPeer(() => server);
    await openTls(client, peer.port);
    expect(peer.accepted).toEqual([{ authenticated: false, uriSans: [], dnsSans: [], subject: '' }]);
  });

  it('verifies nothing of the server only where no trust anchors are configured (Envoy T-2)', async () => {
    const { client, server } = sides({ roots: undefined, sanMatchers: [] }, { identity: identity(foreign, { spiffeId: WEB }) });
    const peer = await startTlsPeer(() => server);
    expect((await openTls(client, peer.port)).authorized).toBe(false);
  });

  it('never speaks plaintext: a client without context has no socket, a server without context closes', async () => {
    const broken = sides({ roots: undefined }, { identity: undefined });
    expect(broken.client.secureContext()).toBeUndefined();
    const peer = await startTlsPeer(() => broken.server);
    await expect(openTls(sides({}, {}).client, peer.port)).rejects.toThrow();
    expect(peer.refused).toEqual(['a TLS server needs a certificate']);
  });

  it('resumes sessions, and the resumed peer is still who it was', async () => {
    const { client, server } = sides({ maxVersion: 'TLSv1.3' }, {});
    const peer = await startTlsPeer(() => server);
    const first = await openTls(client, peer.port);
    const [ticket] = (first.getSession() === undefined ? [] : [first.getSession()]) as Buffer[];
    const session = await new Promise<Buffer>((resolve) => {
      if (first.isSessionReused() || ticket === undefined) first.once('session', resolve);
      else resolve(ticket);
    });
    const second = await openTls(client, peer.port, session);
    expect(second.isSessionReused()).toBe(true);
    expect(second.authorized).toBe(true);
    expect(peer.accepted.map((who) => who.uriSans)).toEqual([[WEB], [WEB]]);
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('keeps to %s when told so', async (version) => {
    const { client, server } = sides({ minVersion: version, maxVersion: version }, {});
    const peer = await startTlsPeer(() => server);
    expect((await openTls(client, peer.port)).getProtocol()).toBe(version);
  });

  it('does not downgrade', async () => {
    const { client, server } = sides({ maxVersion: 'TLSv1.2' }, { minVersion: 'TLSv1.3' });
    const peer = await startTlsPeer(() => server);
    await expect(openTls(client, peer.port)).rejects.toThrow();
  });
});

describe('mutual TLS under undici', () => {
  it('answers over HTTP, and a wrong identity fails the request', async () => {
    const { client, server } = sides({}, {});
    const material = server.material();
    const https = createHttpsServer(
      { cert: material?.certificateChain, key: material?.privateKey, ca: material?.roots, requestCert: true, rejectUnauthorized: true },
      (request, response) => response.end(`${(request.socket as TLSSocket).getPeerX509Certificate()?.subjectAltName} asked`),
    );
    https.listen(0, '127.0.0.1');
    await once(https, 'listening');
    onTestFinished(() => {
      https.closeAllConnections();
      https.close();
    });
    const { port } = https.address() as AddressInfo;
    const request = async (security: ClientSecurity): Promise<string> => {
      const http = new Client(`https://127.0.0.1:${port}`, {
        connect: (_options, done) => {
          const socket = connect(
            {
              host: '127.0.0.1',
              port,
              secureContext: security.secureContext(),
              rejectUnauthorized: security.verifiesChain,
              checkServerIdentity: (host, certificate) => security.verifyPeer(host, certificate),
            },
            () => done(null, socket),
          );
          socket.once('error', (error) => done(error, null));
        },
      });
      onTestFinished(() => http.destroy());
      return (await http.request({ method: 'GET', path: '/' })).body.text();
    };
    expect(await request(client)).toBe(`URI:${WEB} asked`);
    await expect(request(sides({ sanMatchers: [uri('spiffe://cluster.local/ns/shop/sa/other')] }, {}).client)).rejects.toThrow(
      /no SAN matcher/,
    );
    await expect(request(sides({ roots: inline(foreign.certificatePem) }, {}).client)).rejects.toThrow(/unable to|self-signed/);
  });
});

it('echo notices a closed connection', async () => {
  const { client, server } = sides({}, {});
  const peer = await startTlsPeer(() => server);
  const socket = await openTls(client, peer.port);
  socket.destroy();
  await expect(echo(socket, 'x')).rejects.toThrow();
});
