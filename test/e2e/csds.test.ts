/** CSDS (gRFC A40): a server of the application tells of every resource of this process, with bytes and errors, and of no key. */
import { ChannelCredentials, Client, Server, status } from '@grpc/grpc-js';
import { expect, onTestFinished, test } from 'vitest';
import { createTestCa } from '../../src/control-plane/ca/ca.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import type { Mesh } from '../../src/index.ts';
import { pack, unpack } from '../../src/proto/any.ts';
import { until } from '../support/http-servers.ts';
import { meshOf, meshOver, planeOf } from '../support/mesh-app.ts';
import { cluster, endpoints, listener, meshFile, routeResource, to } from '../support/mesh-raw.ts';
import { portOf } from '../support/byte-server.ts';

const PREFIX = 'type.googleapis.com/';
const TLS = `${PREFIX}envoy.extensions.transport_sockets.tls.v3`;
const CDS = `${PREFIX}envoy.config.cluster.v3.Cluster`;
const ads = { ads: {}, resource_api_version: 'V3' };

interface Config {
  readonly typeUrl: string;
  readonly name: string;
  readonly versionInfo: string;
  readonly xdsConfig: { readonly typeUrl: string; readonly value: Uint8Array } | undefined;
  readonly lastUpdated: { readonly seconds: bigint } | undefined;
  readonly clientStatus: number;
  readonly errorState: { readonly details: string; readonly versionInfo: string; readonly lastUpdateAttempt: unknown } | undefined;
}
interface Answer {
  readonly config: readonly {
    readonly node: { readonly id: string; readonly userAgentName: string } | undefined;
    readonly genericXdsConfigs: readonly Config[];
  }[];
}

const SERVICE = '/envoy.service.status.v3.ClientStatusDiscoveryService/';
const same = (bytes: Buffer): Buffer => bytes;
const request = (init: Readonly<Record<string, unknown>> = {}): Buffer =>
  Buffer.from(pack('envoy.service.status.v3.ClientStatusRequest', init).value);
const read = (bytes: Uint8Array): Answer =>
  unpack<Answer>({ typeUrl: `${PREFIX}envoy.service.status.v3.ClientStatusResponse`, value: bytes });

async function adminOf(mesh: Mesh) {
  const server = new Server();
  mesh.grpc.addAdminServices(server);
  const port = await portOf(server);
  const client = new Client(`127.0.0.1:${port}`, ChannelCredentials.createInsecure());
  onTestFinished(() => {
    client.close();
    server.forceShutdown();
  });
  return {
    client,
    fetch: (init?: Readonly<Record<string, unknown>>): Promise<Buffer> =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(`${SERVICE}FetchClientStatus`, same, same, request(init), (error, answer) =>
          answer === undefined ? reject(error ?? new Error('no answer')) : resolve(answer),
        );
      }),
  };
}

const fixed = [listener('shop', 'r'), routeResource('r', [to('shop')]), endpoints('shop', 9)];

test('resources with their bytes and versions; a refused update keeps them and says why; the node is ours', async () => {
  const plane = await planeOf(meshFile([...fixed, cluster('shop')]));
  const mesh = await meshOver(plane, ['shop']);
  await mesh.ready();
  const admin = await adminOf(mesh);
  const first = read(await admin.fetch()).config[0];
  expect(first?.node).toMatchObject({ id: 'app', userAgentName: 'inmesh' });
  const short = first?.genericXdsConfigs.map(({ typeUrl, name, clientStatus }) => `${typeUrl.split('.').at(-1)} ${name} ${clientStatus}`);
  expect(short?.sort()).toEqual(['Cluster shop 3', 'ClusterLoadAssignment shop 3', 'Listener shop 3', 'RouteConfiguration r 3']);
  const good = first?.genericXdsConfigs.find(({ typeUrl }) => typeUrl === CDS);
  expect(good?.xdsConfig && unpack<{ name: string }>(good.xdsConfig).name).toBe('shop');
  expect(good?.versionInfo).not.toBe('');
  expect(Number(good?.lastUpdated?.seconds)).toBeGreaterThan(Date.now() / 1000 - 60);
  expect(good?.errorState).toBeUndefined();

  plane.replace([...fixed, cluster('shop', { connect_timeout: '-1s' })]);
  await until(() => plane.nacks.length > 0);
  const refused = read(await admin.fetch()).config[0]?.genericXdsConfigs.find(({ typeUrl }) => typeUrl === CDS);
  expect(refused).toMatchObject({ clientStatus: 4, versionInfo: good?.versionInfo, xdsConfig: good?.xdsConfig });
  expect(refused?.errorState?.details).toContain('connect_timeout');
  expect(refused?.errorState?.versionInfo).not.toBe(good?.versionInfo);
});

test('the stream answers each request; contents can be left out; node matchers are refused', async () => {
  const plane = await planeOf(meshFile([...fixed, cluster('shop')]));
  const mesh = await meshOver(plane, ['shop']);
  await mesh.ready();
  const admin = await adminOf(mesh);
  const stream = admin.client.makeBidiStreamRequest(`${SERVICE}StreamClientStatus`, same, same);
  const answers: Answer[] = [];
  stream.on('data', (bytes: Buffer) => answers.push(read(bytes)));
  const ended = new Promise((resolve) => stream.on('status', resolve));
  stream.write(request({ excludeResourceContents: true }));
  stream.write(request());
  await until(() => answers.length === 2);
  stream.end();
  expect(await ended).toMatchObject({ code: status.OK });
  const bodies = answers.map(({ config }) => config[0]?.genericXdsConfigs.filter(({ xdsConfig }) => xdsConfig !== undefined).length);
  expect(bodies).toEqual([0, 4]);
  await expect(admin.fetch({ nodeMatchers: [{}] })).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    details: expect.stringContaining('node_matchers') as string,
  });
  // Junk is the caller's mistake, not a crash.
  const junk = new Promise((resolve) => {
    admin.client.makeUnaryRequest(`${SERVICE}FetchClientStatus`, same, same, Buffer.from([0xff, 1]), (error) => resolve(error));
  });
  expect(await junk).toMatchObject({ code: status.INVALID_ARGUMENT });
});

test('no key leaves the process: neither of a secret, nor inside a cluster', async () => {
  const ca = createTestCa({ trustDomain: 'dev', clock: new RealClock() });
  const { certificateChainPem, privateKeyPem } = ca.issue({ spiffeId: 'spiffe://dev/app' });
  const lines = privateKeyPem.split('\n').filter((line) => line !== '' && !line.startsWith('-'));
  const pair = { certificate_chain: { inline_string: certificateChainPem }, private_key: { inline_string: privateKeyPem } };
  const tls = (common: Readonly<Record<string, unknown>>) => ({
    transport_socket: {
      name: 'tls',
      typed_config: {
        '@type': `${TLS}.UpstreamTlsContext`,
        common_tls_context: { ...common, validation_context: { trusted_ca: { inline_string: ca.certificatePem } } },
      },
    },
  });
  // A key of JSON is base64, here inside a text.
  const encoded = Buffer.from(privateKeyPem).toString('base64');
  const struct = {
    '@type': `${PREFIX}xds.type.v3.TypedStruct`,
    type_url: `${TLS}.UpstreamTlsContext`,
    value: { common_tls_context: { tls_certificates: [{ ...pair, private_key: { inline_bytes: encoded } }] } },
  };
  const plane = await planeOf(
    meshFile([
      listener('shop', 'r'),
      routeResource('r', [to('sds'), to('inline', { prefix: '/2' }), to('json', { prefix: '/3' })]),
      ...['sds', 'inline', 'json'].map((name) => endpoints(name, 9)),
      cluster('sds', tls({ tls_certificate_sds_secret_configs: [{ name: 'id', sds_config: ads }] })),
      cluster('inline', tls({ tls_certificates: [pair] })),
      cluster('json', { transport_socket: { name: 'tls', typed_config: struct } }),
      { '@type': `${TLS}.Secret`, name: 'id', tls_certificate: pair },
    ]),
  );
  const mesh = await meshOver(plane, ['shop']);
  const secretOf = () => mesh.describe().source?.resources.find(({ name }) => name === 'id')?.status;
  await until(() => secretOf() === 'ACKED');
  const bytes = await (await adminOf(mesh)).fetch();
  const text = bytes.toString('latin1');
  expect(lines.filter((line) => text.includes(line))).toEqual([]);
  expect(text).not.toContain(encoded.slice(60, 100));
  expect(mesh.describe().source?.resources.find(({ name, typeUrl }) => name === 'json' && typeUrl === CDS)?.status).toBe('ACKED');
  // Certificates are shown, and the bytes around the keys still say what they said.
  expect(text.split(certificateChainPem).length).toBe(3);
  const configs = read(bytes).config[0]?.genericXdsConfigs ?? [];
  for (const { xdsConfig } of configs) if (xdsConfig !== undefined) unpack(xdsConfig);
  expect(configs.filter(({ xdsConfig }) => xdsConfig !== undefined).length).toBeGreaterThanOrEqual(7);
});

test('a mesh.yaml has resources without bytes', async () => {
  const mesh = await meshOf(meshFile([...fixed, cluster('shop')]));
  await mesh.ready();
  const configs = read(await (await adminOf(mesh)).fetch()).config[0]?.genericXdsConfigs ?? [];
  const short = configs.map(({ name, clientStatus, xdsConfig }) => `${name} ${clientStatus} ${xdsConfig === undefined}`);
  expect(short.sort()).toEqual(['r 3 true', 'shop 3 true', 'shop 3 true', 'shop 3 true']);
});

test('fields without effect are listed', async () => {
  const plane = await planeOf(meshFile([...fixed, cluster('shop', { preconnect_policy: { per_upstream_preconnect_ratio: 2 } })]));
  const mesh = await meshOver(plane, ['shop']);
  await mesh.ready();
  const configs = read(await (await adminOf(mesh)).fetch()).config[0]?.genericXdsConfigs ?? [];
  expect(configs.map(({ name }) => name)).toEqual(expect.arrayContaining(['shop', 'r', 'inmesh/unsupported-fields']));
  const listed = configs.find(({ name }) => name === 'inmesh/unsupported-fields');
  expect(listed?.xdsConfig && JSON.stringify(unpack(listed.xdsConfig))).toContain('preconnect_policy');
});
