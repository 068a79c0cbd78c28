/** A mesh from an Envoy bootstrap whose configuration is in files (`path_config_source`, Envoy ). */
import { createServer as createSecureServer } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { createTestCa } from '../../src/control-plane/ca/ca.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import { silentLogger } from '../../src/core/log.ts';
import type { Mesh } from '../../src/index.ts';
import { createMesh } from '../../src/index.ts';
import { listen, serve, track } from '../support/http-servers.ts';
import { closing, expectIdle } from '../support/mesh-app.ts';
import { folder } from '../support/mesh-process.ts';
import { cluster, endpoints, listener, routeConfig, to } from '../support/mesh-raw.ts';

const until = <T>(check: () => T | Promise<T>): Promise<T> => vi.waitUntil(check, { timeout: 8000, interval: 10 }) as Promise<T>;

type Json = Readonly<Record<string, unknown>>;

const file = (resources: readonly Json[], version?: string): string => JSON.stringify({ version_info: version, resources });

/** Replaced as a whole, as the rule wants it. */
function move(path: string, text: string): void {
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}

const bootstrapOf = (directory: string, watched?: string): object => ({
  node: { id: 'app', cluster: 'c' },
  dynamic_resources: Object.fromEntries(
    ['lds', 'cds'].map((name) => [
      `${name}_config`,
      {
        resource_api_version: 'V3',
        path_config_source: {
          path: join(directory, `${name}.yaml`),
          ...(watched !== undefined && { watched_directory: { path: watched } }),
        },
      },
    ]),
  ),
});

const meshOf = async (bootstrap: object): Promise<Mesh> =>
  closing(await createMesh({ bootstrap, include: ['shop.test'], logger: silentLogger }));

async function get(mesh: Mesh): Promise<string> {
  const response = await mesh.fetch('http://shop.test/');
  return response.headers.get('x-inmesh-failure') ?? (await response.text());
}

/** A cluster whose endpoints are in a file of their own. */
const edsFrom = (name: string, path: string): Json =>
  cluster(name, { eds_cluster_config: { eds_config: { path_config_source: { path }, resource_api_version: 'V3' } } });

const shop = (to_: string): Json => listener('shop.test', routeConfig('r', [to(to_)]));

async function servers(...names: readonly string[]): Promise<readonly number[]> {
  return Promise.all(names.map(async (name) => (await serve((_request, response) => response.end(name))).port));
}

test('files moved into place while calls run; a broken one is told and keeps the last good; mended, it counts at once', async () => {
  const [a = 0, b = 0] = await servers('a', 'b');
  const directory = folder({});
  const [lds, cds, eds] = ['lds.yaml', 'cds.yaml', 'eds.json'].map((name) => join(directory, name)) as [string, string, string];
  move(lds, file([shop('one')], '1'));
  move(cds, file([edsFrom('one', eds)]));
  move(eds, file([endpoints('one', a)]));
  const mesh = await meshOf(bootstrapOf(directory));
  await mesh.ready();
  expect(await get(mesh)).toBe('a');

  const answers: string[] = [];
  let running = true;
  const load = Promise.all(
    Array.from({ length: 4 }, async () => {
      while (running) answers.push(await get(mesh));
    }),
  );
  move(eds, file([endpoints('one', b)]));
  await until(async () => (await get(mesh)) === 'b');
  running = false;
  await load;
  expect(new Set(answers)).toEqual(new Set(['a', 'b']));

  // Written in place: not noticed, not even when something else moves in the folder (Envoy X-102).
  writeFileSync(eds, file([endpoints('one', a)]));
  move(join(directory, 'other'), '');
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(await get(mesh)).toBe('b');

  move(lds, 'resources: [');
  const problem = await until(() => mesh.describe().source?.problem);
  expect(problem).toContain(`file ${lds}: INVALID_ARGUMENT: configuration file ${lds}:1:13: not YAML`);
  expect(await get(mesh)).toBe('b');
  move(cds, file([edsFrom('one', eds), edsFrom('two', join(directory, 'none.json'))]));
  move(lds, file([shop('two')], '2'));
  await until(() => mesh.describe().source?.resources.some(({ name, version }) => name === 'shop.test' && version === '2'));
  // The new cluster's endpoints are not there yet, so the old one stays in use.
  expect(await get(mesh)).toBe('b');
  move(join(directory, 'none.json'), file([endpoints('two', a)]));
  await until(async () => (await get(mesh)) === 'a');
  await until(() => mesh.describe().source?.problem === undefined);
  expectIdle(mesh);
});

test('a file that is not there: said by name; it comes: used', async () => {
  const [a = 0] = await servers('a');
  const directory = folder({});
  const cds = join(directory, 'cds.yaml');
  move(cds, file([edsFrom('one', join(directory, 'eds.json'))]));
  move(join(directory, 'eds.json'), file([endpoints('one', a)]));
  const mesh = await meshOf(bootstrapOf(directory));
  const problem = await until(() => mesh.describe().source?.problem);
  expect(problem).toBe(`file ${join(directory, 'lds.yaml')}: NOT_FOUND: the file does not exist`);
  move(join(directory, 'lds.yaml'), file([shop('one')]));
  await mesh.ready();
  expect(await get(mesh)).toBe('a');
});

test('a volume of Kubernetes: the link ..data is swapped in the watched directory', async () => {
  const [a = 0, b = 0] = await servers('a', 'b');
  const volume = folder({});
  const generation = (name: string, port: number): void => {
    const directory = join(volume, name);
    mkdirSync(directory);
    writeFileSync(join(directory, 'lds.yaml'), file([shop('one')]));
    writeFileSync(
      join(directory, 'cds.yaml'),
      file([cluster('one', { type: 'STATIC', load_assignment: endpoints('one', port), eds_cluster_config: undefined })].map(plain)),
    );
    symlinkSync(name, join(volume, '..data_tmp'));
    renameSync(join(volume, '..data_tmp'), join(volume, '..data'));
  };
  generation('..1', a);
  for (const name of ['lds.yaml', 'cds.yaml']) symlinkSync(`..data/${name}`, join(volume, name));
  const mesh = await meshOf(bootstrapOf(volume, volume));
  await mesh.ready();
  expect(await get(mesh)).toBe('a');
  generation('..2', b);
  rmSync(join(volume, '..1'), { recursive: true });
  await until(async () => (await get(mesh)) === 'b');
});

/** Without the `@type` of an assignment that stands in a cluster. */
function plain(resource: Json): Json {
  const { '@type': _type, ...assignment } = resource['load_assignment'] as Json;
  return { ...resource, load_assignment: assignment };
}

test('secrets in a file: mutual TLS, and the certificate that is moved in next', async () => {
  const ca = createTestCa({ trustDomain: 'dev', clock: new RealClock() });
  const server = ca.issue({ spiffeId: 'spiffe://dev/server' });
  const shown: string[] = [];
  const web = createSecureServer(
    { cert: server.certificateChainPem, key: server.privateKeyPem, ca: ca.certificatePem, requestCert: true, rejectUnauthorized: true },
    (request, response) => {
      shown.push((request.socket as TLSSocket).getPeerCertificate().subjectaltname ?? '');
      response.setHeader('connection', 'close');
      response.end('secure');
    },
  );
  track(web);
  const port = await listen(web);
  const directory = folder({});
  const secrets = join(directory, 'secrets.yaml');
  const type = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3';
  const put = (spiffeId: string): void => {
    const { certificateChainPem, privateKeyPem } = ca.issue({ spiffeId });
    const pem = (text: string): Json => ({ inline_string: text });
    move(
      secrets,
      file([
        {
          '@type': `${type}.Secret`,
          name: 'me',
          tls_certificate: { certificate_chain: pem(certificateChainPem), private_key: pem(privateKeyPem) },
        },
        { '@type': `${type}.Secret`, name: 'trust', validation_context: { trusted_ca: pem(ca.certificatePem) } },
      ]),
    );
  };
  const sds_config = { path_config_source: { path: secrets }, resource_api_version: 'V3' };
  const common_tls_context = {
    tls_certificate_sds_secret_configs: [{ name: 'me', sds_config }],
    combined_validation_context: { default_validation_context: {}, validation_context_sds_secret_config: { name: 'trust', sds_config } },
  };
  const transport_socket = {
    name: 'envoy.transport_sockets.tls',
    typed_config: { '@type': `${type}.UpstreamTlsContext`, common_tls_context },
  };
  put('spiffe://dev/first');
  move(join(directory, 'lds.yaml'), file([shop('one')]));
  const load_assignment = endpoints('one', port);
  move(
    join(directory, 'cds.yaml'),
    file([plain(cluster('one', { type: 'STATIC', load_assignment, eds_cluster_config: undefined, transport_socket }))]),
  );
  const mesh = await meshOf(bootstrapOf(directory));
  expect(await get(mesh)).toBe('secure');
  put('spiffe://dev/second');
  await until(async () => (await get(mesh)) === 'secure' && shown.at(-1) === 'URI:spiffe://dev/second');
  expect(new Set(shown)).toEqual(new Set(['URI:spiffe://dev/first', 'URI:spiffe://dev/second']));
  expect(JSON.stringify(mesh.describe())).not.toContain('PRIVATE KEY');
});
