/** Secrets from a SPIRE agent: SDS on a unix socket beside the control plane, bundles by trust domain, names that nobody may have. */
import { createServer as createSecureServer } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { TestCa } from '../../src/control-plane/ca/ca.ts';
import { createTestCa } from '../../src/control-plane/ca/ca.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import { silentLogger } from '../../src/core/log.ts';
import type { Mesh } from '../../src/index.ts';
import { createMesh } from '../../src/index.ts';
import { listen, track, until } from '../support/http-servers.ts';
import { closing } from '../support/mesh-app.ts';
import { cluster, endpoints, listener, routeConfig, to } from '../support/mesh-raw.ts';
import { folder } from '../support/mesh-process.ts';
import { startSpireAgent } from '../support/spire-agent.ts';

type Json = Readonly<Record<string, unknown>>;

const TLS = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3';
const clock = new RealClock();
const [ca, partner] = [createTestCa({ trustDomain: 'dev', clock }), createTestCa({ trustDomain: 'partner', clock })];

/** An HTTPS server that asks for certificates of `ca`; `seen`: what it was shown. */
async function server(issuer: TestCa, spiffeId: string): Promise<{ readonly port: number; readonly seen: string[] }> {
  const own = issuer.issue({ spiffeId });
  const seen: string[] = [];
  const web = createSecureServer(
    { cert: own.certificateChainPem, key: own.privateKeyPem, ca: ca.certificatePem, requestCert: true, rejectUnauthorized: true },
    (request, response) => {
      const { subjectaltname, serialNumber } = (request.socket as TLSSocket).getPeerCertificate();
      seen.push(`${subjectaltname} ${serialNumber}`);
      response.setHeader('connection', 'close');
      response.end('secure');
    },
  );
  track(web);
  return { port: await listen(web), seen };
}

const sds = {
  api_config_source: { api_type: 'GRPC', transport_api_version: 'V3', grpc_services: [{ envoy_grpc: { cluster_name: 'spire' } }] },
};
const secret = (name: string): Json => ({ name, sds_config: { ...sds, resource_api_version: 'V3' } });

function secured(name: string, port: number, certificate: string, trust: string): Json {
  const common_tls_context = {
    tls_certificate_sds_secret_configs: [secret(certificate)],
    combined_validation_context: { default_validation_context: {}, validation_context_sds_secret_config: secret(trust) },
  };
  const transport_socket = {
    name: 'envoy.transport_sockets.tls',
    typed_config: { '@type': `${TLS}.UpstreamTlsContext`, common_tls_context },
  };
  return cluster(name, {
    type: 'STATIC',
    load_assignment: { ...endpoints(name, port), '@type': undefined },
    eds_cluster_config: undefined,
    transport_socket,
  });
}

/** Everything in Envoy's bootstrap, but the secrets. */
async function meshWith(socket: string, clusters: readonly Json[]): Promise<Mesh> {
  const plain = (json: Json): unknown => JSON.parse(JSON.stringify({ ...json, '@type': undefined }));
  const hosts = clusters.map(({ name }) => listener(`${String(name)}.test`, routeConfig('r', [to(String(name))])));
  const spire = {
    name: 'spire',
    type: 'STATIC',
    load_assignment: { cluster_name: 'spire', endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path: socket } } } }] }] },
  };
  const bootstrap = {
    node: { id: 'app', cluster: 'c' },
    static_resources: { listeners: hosts.map(plain), clusters: [spire, ...clusters.map(plain)] },
  };
  return closing(await createMesh({ bootstrap, include: ['*.test'], logger: silentLogger, startTimeout: 3000 }));
}

async function get(mesh: Mesh, name: string): Promise<string> {
  const response = await mesh.fetch(`http://${name}.test/`);
  return response.status === 200 ? response.text() : `${response.headers.get('x-inmesh-failure')}: ${await response.text()}`;
}

const socketPath = (): string => join(folder({}), 'agent.sock');

test('certificate and bundle over a unix socket; a certificate that is rotated; nobody is refused an answer', async () => {
  const path = socketPath();
  const agent = await startSpireAgent(path, ca, 'spiffe://dev/app');
  const { port, seen } = await server(ca, 'spiffe://dev/shop');
  const mesh = await meshWith(path, [secured('shop', port, 'default', 'ROOTCA')]);
  expect(await get(mesh, 'shop')).toBe('secure');
  agent.rotate();
  await until(() => mesh.describe().source?.resources.find(({ name }) => name === 'default')?.version === '2');
  expect(await get(mesh, 'shop')).toBe('secure');
  expect(seen.map((shown) => shown.split(' ')[0])).toEqual(['URI:spiffe://dev/app', 'URI:spiffe://dev/app']);
  expect(new Set(seen).size).toBe(2);
  expect(agent.nacks).toEqual([]);
  expect(JSON.stringify(mesh.describe())).not.toContain('PRIVATE KEY');
});

test('federation: each domain by its own bundle (ALL), and one domain alone', async () => {
  const path = socketPath();
  await startSpireAgent(path, ca, 'spiffe://dev/app', [partner]);
  const [own, theirs, forged] = [
    await server(ca, 'spiffe://dev/shop'),
    await server(partner, 'spiffe://partner/shop'),
    await server(partner, 'spiffe://dev/shop'),
  ];
  const mesh = await meshWith(path, [
    secured('own', own.port, 'default', 'ALL'),
    secured('theirs', theirs.port, 'spiffe://dev/app', 'ALL'),
    secured('forged', forged.port, 'default', 'ALL'),
    secured('alone', theirs.port, 'default', 'spiffe://partner'),
    secured('wrong', own.port, 'default', 'spiffe://partner'),
  ]);
  expect([await get(mesh, 'own'), await get(mesh, 'theirs'), await get(mesh, 'alone')]).toEqual(['secure', 'secure', 'secure']);
  expect(await get(mesh, 'forged')).toMatch(/^UF upstream_tls_failure: .*no chain leads to the bundle of trust domain "dev"/s);
  expect(await get(mesh, 'wrong')).toMatch(/^UF upstream_tls_failure/);
});

test('a name that this workload may not have costs its own clusters only', async () => {
  const path = socketPath();
  const agent = await startSpireAgent(path, ca, 'spiffe://dev/app');
  const { port } = await server(ca, 'spiffe://dev/shop');
  const mesh = await meshWith(path, [secured('bad', port, 'spiffe://dev/admin', 'ROOTCA'), secured('good', port, 'default', 'ROOTCA')]);
  const bad = get(mesh, 'bad');
  expect(await get(mesh, 'good')).toBe('secure');
  expect(await bad).toMatch(/secret "spiffe:\/\/dev\/admin"/);
  agent.rotate();
  await until(() => mesh.describe().source?.resources.find(({ name }) => name === 'default')?.version === '2');
  expect(await get(mesh, 'good')).toBe('secure');
  expect(
    mesh
      .describe()
      .source?.servers?.map(({ problem }) => problem)
      .join(),
  ).toContain('not authorized');
});
