/** Secrets over SDS (Envoy X-93, T-7): mutual TLS with certificates and trust anchors that the control plane sends, on both sides of HTTP and gRPC. */
import { X509Certificate } from 'node:crypto';
import { createServer as createSecureServer } from 'node:https';
import { expect, test } from 'vitest';
import type { TestCa } from '../../src/control-plane/ca/ca.ts';
import { createTestCa } from '../../src/control-plane/ca/ca.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import type { MeshOptions } from '../../src/index.ts';
import type { BothSides } from '../support/both-sides.ts';
import { bothSides, freePorts, underLoad } from '../support/both-sides.ts';
import { listen, serve, track, until } from '../support/http-servers.ts';
import { expectIdle, meshOver, planeOf } from '../support/mesh-app.ts';
import { HTTP2, cluster, endpoints, listener, meshFile, routeConfig, serverListener, to } from '../support/mesh-raw.ts';

type Json = Readonly<Record<string, unknown>>;

const SECRET = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret';
const TLS = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3';
const ads = { ads: {}, resource_api_version: 'V3' };
const ca = createTestCa({ trustDomain: 'dev', clock: new RealClock() });
const foreign = createTestCa({ trustDomain: 'dev', clock: new RealClock() });

function certificate(name: string, spiffeId: string, issuer: TestCa = ca): Json {
  const { certificateChainPem, privateKeyPem } = issuer.issue({ spiffeId });
  return {
    '@type': SECRET,
    name,
    tls_certificate: { certificate_chain: { inline_string: certificateChainPem }, private_key: { inline_string: privateKeyPem } },
  };
}

function roots(name: string, issuer: TestCa = ca, ids: readonly string[] = []): Json {
  return {
    '@type': SECRET,
    name,
    validation_context: {
      trusted_ca: { inline_string: issuer.certificatePem },
      match_typed_subject_alt_names: ids.map((id) => ({ san_type: 'URI', matcher: { exact: id } })),
    },
  };
}

function socket(side: 'UpstreamTlsContext' | 'DownstreamTlsContext', identity: string, trust: string, change: Json = {}): Json {
  return {
    transport_socket: {
      name: 'envoy.transport_sockets.tls',
      typed_config: {
        '@type': `${TLS}.${side}`,
        common_tls_context: {
          tls_certificate_sds_secret_configs: [{ name: identity, sds_config: ads }],
          combined_validation_context: {
            default_validation_context: {},
            validation_context_sds_secret_config: { name: trust, sds_config: ads },
          },
          alpn_protocols: side === 'DownstreamTlsContext' ? ['h2', 'http/1.1'] : [],
        },
        ...change,
      },
    },
  };
}

interface World extends BothSides {
  /** Serves these secrets from now on. */
  secrets(...list: readonly Json[]): void;
}

const GOOD = (): Json[] => [certificate('client', 'spiffe://dev/app'), certificate('server', 'spiffe://dev/server'), roots('trust')];

async function world(secrets: readonly Json[], options: MeshOptions = {}): Promise<World> {
  const ports = await freePorts();
  const { web, rpc } = ports;
  const client = socket('UpstreamTlsContext', 'client', 'trust');
  const chain = socket('DownstreamTlsContext', 'server', 'trust', { require_client_certificate: true });
  const fixed = [
    listener('shop', routeConfig('shop', [to('shop')])),
    listener('echo', routeConfig('echo', [to('echo')])),
    cluster('shop', client),
    cluster('echo', { ...client, ...HTTP2 }),
    endpoints('shop', web),
    endpoints('echo', rpc),
    serverListener(web, { chain }),
    serverListener(rpc, { chain }),
  ];
  const plane = await planeOf(meshFile([...fixed, ...secrets]));
  const sides = await bothSides(plane, ports, options);
  return {
    ...sides,
    secrets: (...list) => expect(plane.update(meshFile([...fixed, ...list])).ok).toBe(true),
  };
}

const OK = '200 spiffe://dev/app 0 hi';

test.each(['sotw', 'sotw-per-type'] as const)(
  'certificates and trust anchors over SDS, on both sides of fetch and gRPC (%s server side)',
  async () => {
    const { mesh, plane, both } = await world(GOOD());
    await mesh.ready();
    expect(await both()).toBe(OK);
    expect(plane.nacks).toEqual([]);
    const kinds = mesh.describe().source?.resources.filter(({ typeUrl }) => typeUrl === SECRET);
    expect(kinds?.map(({ name, status }) => `${name} ${status}`).sort()).toEqual(['client ACKED', 'trust ACKED']);
    expect(JSON.stringify(mesh.describe())).not.toContain('PRIVATE KEY');
  },
);

/** As SPIRE's agent writes it. */
function federated(name: string, domains: Readonly<Record<string, TestCa>>): Json {
  const trust_domains = Object.entries(domains).map(([domain, issuer]) => ({
    name: domain,
    trust_bundle: { inline_string: issuer.certificatePem },
  }));
  const typed_config = { '@type': `${TLS}.SPIFFECertValidatorConfig`, trust_domains };
  return {
    '@type': SECRET,
    name,
    validation_context: { custom_validator_config: { name: 'envoy.tls.cert_validator.spiffe', typed_config } },
  };
}

const partner = createTestCa({ trustDomain: 'partner', clock: new RealClock() });

// In the last two the handshake alone would let the peer in: the partner signs for names of ours.
test.each([
  ['of two domains', ['spiffe://partner/app', partner.subordinate()], ca, '200 spiffe://partner/app 0 hi'],
  ['a client whose name is signed by the other domain', ['spiffe://dev/app', partner], ca, /^503 .* 14 /s],
  ['a server whose name is', ['spiffe://dev/app', ca], partner, /^503 .* 14 /s],
] as const)('bundles by SPIFFE trust domain: %s', async (_title, [name, issuer], server, expected) => {
  const trust = federated('trust', { dev: ca, partner });
  const { mesh, plane, both } = await world([
    certificate('client', name, issuer),
    certificate('server', 'spiffe://dev/server', server),
    trust,
  ]);
  await mesh.ready();
  const got = await both();
  if (typeof expected === 'string') expect(got).toBe(expected);
  else expect(got).toMatch(expected);
  expect(plane.nacks).toEqual([]);
});

test('rotation under load, on both sides: new certificates are used for new connections, and no call fails', async () => {
  const { mesh, shown, both, secrets } = await world(GOOD());
  await mesh.ready();
  const load = underLoad(both, OK);
  for (let round = 0; round < 3; round++) {
    const next = GOOD();
    secrets(...next);
    const { tls_certificate: own } = next[0] as { tls_certificate: { certificate_chain: { inline_string: string } } };
    const { serialNumber } = new X509Certificate(own.certificate_chain.inline_string);
    await until(() => shown.has(serialNumber), 8000);
    await load.tenMore();
  }
  expect(await load.stop()).toEqual([]);
  expect(shown.size).toBeGreaterThanOrEqual(4);
  expectIdle(mesh);
});

test('a secret that is not there holds its clusters up; calls go when it comes, never in the clear', async () => {
  const good = GOOD();
  const { mesh, both, secrets } = await world(good.slice(1), { startTimeout: 8000 });
  await expect(mesh.ready(200)).rejects.toMatchObject({ code: 'ERR_MESH_START_TIMEOUT' });
  expect(mesh.describe().listeners.flatMap(({ missing }) => missing)).toContain('secret "client"');
  const calls = both();
  secrets(...good);
  expect(await calls).toBe(OK);
});

test.each([
  ['trust anchors of somebody else', (good: readonly Json[]) => [...good.slice(0, 2), roots('trust', foreign)]],
  ['a certificate of somebody else', (good: readonly Json[]) => [certificate('client', 'spiffe://dev/app', foreign), ...good.slice(1)]],
  [
    'SAN matchers in the secret that the server does not meet',
    (good: readonly Json[]) => [...good.slice(0, 2), roots('trust', ca, ['spiffe://dev/other'])],
  ],
  ['a validation context where a certificate was meant', (good: readonly Json[]) => [roots('client'), ...good.slice(1)]],
  [
    'a validation context without trust anchors',
    (good: readonly Json[]) => [...good.slice(0, 2), { '@type': SECRET, name: 'trust', validation_context: {} }],
  ],
])('negative controls: with %s every call fails', async (_title, change) => {
  const { both } = await world(change(GOOD()), { startTimeout: 2000 });
  const got = await both();
  expect(got).toMatch(/^503 .* 14 /s);
});

test('a bad secret is refused, the last good one stays; one that is deleted stays, too (gRFC A88)', async () => {
  const good = GOOD();
  const { mesh, plane, both, secrets } = await world(good);
  await mesh.ready();
  expect(await both()).toBe(OK);
  // An inline value that is empty cannot be used at all: the mesh.yaml of the plane refuses it, so it comes as a mismatched pair.
  const [own, other] = [certificate('client', 'spiffe://dev/app'), certificate('client', 'spiffe://dev/app')] as unknown as readonly {
    readonly tls_certificate: { readonly certificate_chain: Json; readonly private_key: Json };
  }[];
  secrets(
    {
      '@type': SECRET,
      name: 'client',
      tls_certificate: { certificate_chain: own?.tls_certificate.certificate_chain, private_key: other?.tls_certificate.private_key },
    },
    ...good.slice(1),
  );
  await until(() => mesh.describe().source?.resources.some(({ name, version }) => name === 'client' && version !== '1') === true);
  expect(await both()).toBe(OK);
  secrets(...good.slice(1));
  await new Promise((resolve) => setImmediate(resolve));
  expect(await both()).toBe(OK);
  expect(plane.nacks).toEqual([]);
});

test('TLS by endpoint: transport_socket_matches by metadata, the cluster’s own socket for the others (Istio’s auto-mTLS)', async () => {
  const own = ca.issue({ spiffeId: 'spiffe://dev/server' });
  const secured = createSecureServer({ cert: own.certificateChainPem, key: own.privateKeyPem }, (_request, response) =>
    response.end('secured'),
  );
  track(secured);
  const plain = await serve((_request, response) => response.end('plain'));
  const other = await serve((_request, response) => response.end('other'));
  const securedPort = await listen(secured);
  const raw = { name: 'raw', typed_config: { '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer' } };
  const matches = [
    { name: 'mtls', match: { tlsMode: 'istio' }, ...socket('UpstreamTlsContext', 'client', 'trust') },
    { name: 'other', match: { tlsMode: 'none' }, transport_socket: raw },
  ];
  const endpoint = (port: number, tlsMode?: string): Json => ({
    endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } },
    ...(tlsMode !== undefined && { metadata: { filter_metadata: { 'envoy.transport_socket_match': { tlsMode } } } }),
  });
  const assignment = (...list: readonly Json[]): Json => ({
    ...endpoints('shop', 1),
    endpoints: [{ locality: { zone: 'z' }, lb_endpoints: list }],
  });
  const fixed = [listener('shop', routeConfig('shop', [to('shop')])), cluster('shop', { transport_socket_matches: matches }), ...GOOD()];
  const plane = await planeOf(
    meshFile([...fixed, assignment(endpoint(securedPort, 'istio'), endpoint(plain.port), endpoint(other.port, 'none'))]),
  );
  const mesh = await meshOver(plane, ['shop']);
  await mesh.ready();
  const answers = new Set<string>();
  for (let i = 0; i < 9; i++) answers.add(await (await mesh.fetch('http://shop/')).text());
  expect([...answers].sort()).toEqual(['other', 'plain', 'secured']);
  // Negative control: without its label the secured server is called in plaintext, which it refuses; labelled, the plain one is never sent a request.
  expect(plane.update(meshFile([...fixed, assignment(endpoint(plain.port, 'istio'))])).ok).toBe(true);
  await until(() => mesh.describe().clusters[0]?.endpoints.length === 1);
  const before = plain.seen.length;
  expect((await mesh.fetch('http://shop/')).status).toBe(503);
  expect(plain.seen.length).toBe(before);
});
