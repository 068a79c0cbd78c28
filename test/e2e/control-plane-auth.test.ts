/** Meshes that must prove who they are to their control plane, against real gRPC servers that check it; and a connection that goes dead. */
import { ServerCredentials } from '@grpc/grpc-js';
import type { Metadata } from '@grpc/grpc-js';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createTestCa } from '../../src/control-plane/ca/ca.ts';
import type { Logger } from '../../src/core/log.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import type { Mesh, MeshOptions } from '../../src/index.ts';
import { createMesh } from '../../src/index.ts';
import { serve, until } from '../support/http-servers.ts';
import { folder, run, src } from '../support/mesh-process.ts';
import { startMiniAds } from '../support/mini-ads.ts';
import type { MiniAdsOptions } from '../support/mini-ads.ts';

const TOKEN = 'c5b1-very-secret';
const ca = createTestCa({ trustDomain: 'test', clock: new RealClock() });

function tlsCredentials(): ServerCredentials {
  const { certificateChainPem, privateKeyPem } = ca.issue({ dnsNames: ['localhost'] });
  return ServerCredentials.createSsl(null, [{ cert_chain: Buffer.from(certificateChainPem), private_key: Buffer.from(privateKeyPem) }]);
}

async function ads(options: MiniAdsOptions): Promise<number> {
  const backend = await serve((_request, response) => response.end('shop'));
  const plane = await startMiniAds('shop', backend.port, options);
  onTestFinished(() => plane.close());
  return plane.port;
}

/** Lets in whom `authorization` or another key names. */
const expecting =
  (key: string, value: () => string, seen: string[] = []) =>
  (metadata: Metadata) => {
    const found = metadata.get(key).map(String);
    seen.push(found.join());
    return found.length === 1 && found[0] === value() ? undefined : { code: 16, details: `${key} ${found.join()} is not known` };
  };

const insecure = (port: number): object => ({
  xds_servers: [{ server_uri: `127.0.0.1:${port}`, channel_creds: [{ type: 'insecure' }] }],
  node: { id: 'app' },
});

interface Running {
  readonly mesh: Mesh;
  readonly lines: readonly string[];
}

async function meshOf(bootstrap: object, options: MeshOptions = {}): Promise<Running> {
  const lines: string[] = [];
  const add = (message: string, fields?: object): void => void lines.push(`${message} ${JSON.stringify(fields ?? {})}`);
  const logger: Logger = { debug: add, info: add, warn: add, error: add };
  const mesh = await createMesh({ bootstrap, include: ['shop'], logger, ...options });
  onTestFinished(() => mesh.close());
  return { mesh, lines };
}

/** What a mesh says about itself, and what it logged: no secret may be in it. */
function told({ mesh, lines }: Running): string {
  return JSON.stringify(mesh.describe()) + lines.join('\n');
}

describe('metadata of the option controlPlane', () => {
  test('a token from a file over a plaintext channel: let in, warned of once, told to nobody; without it refused', async () => {
    const file = join(folder({ token: `${TOKEN}\n` }), 'token');
    const port = await ads({ admit: expecting('x-consul-token', () => TOKEN) });
    const running = await meshOf(insecure(port), { controlPlane: { metadata: { 'X-Consul-Token': { file } } } });
    expect(await (await running.mesh.fetch('http://shop/')).text()).toBe('shop');
    expect(running.lines.filter((line) => line.includes('insecure channel'))).toEqual([
      `metadata for the control plane goes over an insecure channel: x-consul-token {"server":"127.0.0.1:${port}"}`,
    ]);
    expect(told(running)).not.toContain(TOKEN);

    const none = await meshOf(insecure(port));
    await until(() => none.mesh.describe().source?.problem !== undefined);
    expect(none.mesh.describe().source?.problem).toBe(
      `127.0.0.1:${port}: UNAUTHENTICATED: x-consul-token  is not known (no credentials were sent)`,
    );
  });

  test('a wrong token: the problem says what was sent and not its value, trying goes on, and the right one gets in', async () => {
    const file = join(folder({ token: TOKEN }), 'token');
    const seen: string[] = [];
    const port = await ads({ admit: expecting('authorization', () => 'kuma-good', seen) });
    const running = await meshOf(insecure(port), { controlPlane: { metadata: { authorization: { file } } } });
    await until(() => running.mesh.describe().source?.problem !== undefined);
    expect(running.mesh.describe().source?.problem).toBe(
      `127.0.0.1:${port}: UNAUTHENTICATED: authorization [redacted] is not known (sent: authorization (from ${file}))`,
    );
    writeFileSync(file, 'kuma-good');
    expect(await (await running.mesh.fetch('http://shop/')).text()).toBe('shop');
    expect(seen.slice(0, 1)).toEqual([TOKEN]);
    expect(seen.at(-1)).toBe('kuma-good');
    expect(told(running)).not.toContain(TOKEN);
  });

  test('two meshes of one process with two identities have two streams; with one identity, one', async () => {
    const seen: string[] = [];
    const port = await ads({ admit: (metadata) => void seen.push(metadata.get('x-token').join()) });
    const as = (token: string): Promise<Running> => meshOf(insecure(port), { controlPlane: { metadata: { 'x-token': token } } });
    for (const { mesh } of [await as('one'), await as('two'), await as('one')]) {
      expect(await (await mesh.fetch('http://shop/')).text()).toBe('shop');
    }
    expect(seen.toSorted()).toEqual(['one', 'two']);
    for (const line of Object.keys(Object.fromEntries(registry()))) expect(line).not.toMatch(/one|two/);
  });
});

function registry(): Map<string, unknown> {
  return Reflect.get(globalThis, Symbol.for('inmesh.xds.1')) as Map<string, unknown>;
}

const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const jwt = (name: string): string => `${part({ alg: 'none' })}.${part({ sub: name, exp: Date.now() / 1000 + 3600 })}.c2ln`;

describe('tokens', () => {
  test("istiod's way: TLS, and a JWT file in the bootstrap (gRFC A97)", async () => {
    const token = jwt('app');
    const paths = folder({ ca: ca.certificatePem, jwt: `${token}\n` });
    const port = await ads({ credentials: tlsCredentials(), admit: expecting('authorization', () => `Bearer ${token}`) });
    const running = await meshOf({
      xds_servers: [
        {
          server_uri: `localhost:${port}`,
          channel_creds: [{ type: 'tls', config: { ca_certificate_file: join(paths, 'ca') } }],
          call_creds: [{ type: 'jwt_token_file', config: { jwt_token_file: join(paths, 'jwt') } }],
        },
      ],
      node: { id: 'app' },
    });
    expect(await (await running.mesh.fetch('http://shop/')).text()).toBe('shop');
    expect(told(running)).not.toContain(token);
  });

  test('the same by the option tokenFile; over plaintext the mesh does not start', async () => {
    const token = jwt('app');
    const paths = folder({ ca: ca.certificatePem, jwt: token });
    const port = await ads({ credentials: tlsCredentials(), admit: expecting('authorization', () => `Bearer ${token}`) });
    const xds_servers = [
      { server_uri: `localhost:${port}`, channel_creds: [{ type: 'tls', config: { ca_certificate_file: join(paths, 'ca') } }] },
    ];
    const controlPlane = { tokenFile: join(paths, 'jwt') };
    const { mesh } = await meshOf({ xds_servers, node: { id: 'app' } }, { controlPlane });
    expect(await (await mesh.fetch('http://shop/')).text()).toBe('shop');
    await expect(meshOf(insecure(port), { controlPlane })).rejects.toMatchObject({ code: 'ERR_MESH_OPTION' });
  });

  test('google_default: no token from the metadata server, no connection; and the system roots decide who is trusted', async () => {
    let asked = 0;
    const metadataServer = createHttpServer((_request, response) => {
      asked++;
      response.writeHead(asked === 1 ? 503 : 200, { 'metadata-flavor': 'Google' });
      response.end(JSON.stringify({ access_token: TOKEN, expires_in: 3600 }));
    }).listen(0, '127.0.0.1');
    await once(metadataServer, 'listening');
    onTestFinished(() => void metadataServer.close());
    const environment = { ...process.env };
    onTestFinished(() => void (process.env = environment));
    process.env = { ...environment, HOME: '/nowhere', GCE_METADATA_HOST: `127.0.0.1:${(metadataServer.address() as AddressInfo).port}` };
    let streams = 0;
    const port = await ads({ credentials: tlsCredentials(), admit: () => void streams++ });
    const xds_servers = [{ server_uri: `localhost:${port}`, channel_creds: [{ type: 'google_default' }, { type: 'insecure' }] }];
    const running = await meshOf({ xds_servers, node: { id: 'app' } });
    const problem = (): string => running.mesh.describe().source?.problem ?? '';
    await until(() => problem() !== '');
    expect(problem()).toMatch(/UNAVAILABLE: no credentials: the metadata server 127\.0\.0\.1:\d+ answered 503$/);
    // Two back-offs of about a second each may miss each other once.
    await until(() => problem().includes('TLS handshake'), 8000);
    expect(problem()).toMatch(/unable to verify|self.signed|issuer/);
    expect([asked, streams]).toEqual([2, 0]);
    expect(told(running)).not.toContain(TOKEN);
  });

  test('google_default from end to end: the token of the metadata server, a server that the system trusts, a call', async () => {
    const asked: unknown[] = [];
    const metadataServer = createHttpServer((request, response) => {
      asked.push(request.headers['metadata-flavor']);
      response.writeHead(200, { 'metadata-flavor': 'Google' });
      response.end(JSON.stringify({ access_token: TOKEN, expires_in: 3600, token_type: 'Bearer' }));
    }).listen(0, '127.0.0.1');
    await once(metadataServer, 'listening');
    onTestFinished(() => void metadataServer.close());
    const port = await ads({ credentials: tlsCredentials(), admit: expecting('authorization', () => `Bearer ${TOKEN}`) });
    const script = `
      import { createMesh } from '${src('index.ts')}';
      const bootstrap = { xds_servers: [{ server_uri: 'localhost:${port}', channel_creds: [{ type: 'google_default' }] }], node: { id: 'app' } };
      const mesh = await createMesh({ bootstrap, include: ['shop'] });
      console.log(await (await mesh.fetch('http://shop/')).text());
      await mesh.close();`;
    // Trust of the system is read when a process starts.
    const trusted = folder({ 'ca.pem': ca.certificatePem });
    const env = {
      HOME: '/nowhere',
      GCE_METADATA_HOST: `127.0.0.1:${(metadataServer.address() as AddressInfo).port}`,
      NODE_EXTRA_CA_CERTS: join(trusted, 'ca.pem'),
    };
    const { code, out, err } = await run(script, { env });
    expect([code, out.trim(), asked]).toEqual([0, 'shop', ['Google']]);
    expect(err).not.toContain(TOKEN);
  });
});

describe('a connection that swallows everything', () => {
  async function blackHole(port: number): Promise<{ readonly port: number; readonly connections: () => number; swallow(): void }> {
    const sockets: Socket[] = [];
    const deaf = new Set<Socket>();
    let connections = 0;
    const proxy = createServer((near) => {
      connections++;
      const far = connect(port, '127.0.0.1');
      sockets.push(near, far);
      near.on('data', (bytes: Buffer) => deaf.has(near) || far.write(bytes)).on('error', () => undefined);
      far.on('data', (bytes: Buffer) => deaf.has(near) || near.write(bytes)).on('error', () => undefined);
    }).listen(0, '127.0.0.1');
    await once(proxy, 'listening');
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    });
    return {
      port: (proxy.address() as AddressInfo).port,
      connections: () => connections,
      swallow: () => sockets.forEach((socket) => deaf.add(socket)),
    };
  }

  test.each([
    ['noticed with keep-alive, and replaced', { keepalive: { interval: 1000, timeout: 300 } }, 2],
    ['not noticed within that time with the default, which pings every five minutes', undefined, 1],
  ])('%s', async (_name, controlPlane, expected) => {
    let streams = 0;
    const proxy = await blackHole(await ads({ admit: () => void streams++ }));
    const { mesh } = await meshOf(insecure(proxy.port), controlPlane === undefined ? {} : { controlPlane });
    expect(await (await mesh.fetch('http://shop/')).text()).toBe('shop');
    expect([proxy.connections(), streams]).toEqual([1, 1]);
    proxy.swallow();
    if (expected === 2) await until(() => streams === 2);
    else await new Promise((resolve) => setTimeout(resolve, 3000));
    expect([proxy.connections(), streams]).toEqual([expected, expected]);
    expect(await (await mesh.fetch('http://shop/')).text()).toBe('shop');
  });
});

describe("Envoy's bootstrap", () => {
  /** YAML as people write it: one cluster with mutual TLS by files, a token from a file, ADS for listeners and clusters. */
  const yaml = (port: number, rest = ''): string => `
node: { id: app, cluster: shop }
admin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }
dynamic_resources:
  ads_config:
    api_type: GRPC
    transport_api_version: V3
    grpc_services:
    - envoy_grpc: { cluster_name: xds }
      initial_metadata: [{ key: authorization, value: "Bearer %FILE_CONTENT(DIR/token)%" }]
  lds_config: { ads: {}, resource_api_version: V3 }
  cds_config: { ads: {}, resource_api_version: V3 }
static_resources:
  clusters:
  - name: xds
    type: STATIC
    load_assignment:
      cluster_name: xds
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: ${port} } } } }] }]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: { connection_keepalive: { interval: 30s, timeout: 5s } } }
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: localhost
        common_tls_context:
          tls_certificates: [{ certificate_chain: { filename: DIR/cert }, private_key: { filename: DIR/key } }]
          validation_context:
            trusted_ca: { filename: DIR/ca }
            match_typed_subject_alt_names: [{ san_type: DNS, matcher: { exact: localhost } }]
${rest}`;

  async function start(port: number, token: string, change = (text: string): string => text): Promise<Running> {
    const { certificateChainPem: cert, privateKeyPem: key } = ca.issue({ spiffeId: 'spiffe://test/app' });
    const files = folder({ ca: ca.certificatePem, cert, key, token });
    const config = join(files, 'envoy.yaml');
    writeFileSync(config, change(yaml(port)).replaceAll('DIR', files));
    const lines: string[] = [];
    const add = (message: string, fields?: object): void => void lines.push(`${message} ${JSON.stringify(fields ?? {})}`);
    const logger: Logger = { debug: add, info: add, warn: add, error: add };
    const mesh = await createMesh({ config, include: ['shop'], logger });
    onTestFinished(() => mesh.close());
    return { mesh, lines };
  }

  function mutual(): ServerCredentials {
    const { certificateChainPem, privateKeyPem } = ca.issue({ dnsNames: ['localhost'] });
    const pair = { cert_chain: Buffer.from(certificateChainPem), private_key: Buffer.from(privateKeyPem) };
    return ServerCredentials.createSsl(Buffer.from(ca.certificatePem), [pair], true);
  }

  test('YAML, mutual TLS, a token from a file, all listeners and clusters', async () => {
    const port = await ads({ credentials: mutual(), admit: expecting('authorization', () => `Bearer ${TOKEN}`) });
    const running = await start(port, TOKEN);
    expect(await (await running.mesh.fetch('http://shop/')).text()).toBe('shop');
    expect(running.mesh.describe().source?.unsupported).toContainEqual(expect.objectContaining({ kind: 'bootstrap', field: 'admin' }));
    expect(told(running)).not.toContain(TOKEN);
  });

  test.each<[string, (text: string) => string, RegExp]>([
    [
      'another name than the one that is expected',
      (text) => text.replace('exact: localhost', 'exact: elsewhere'),
      /no SAN matcher of the cluster accepts/,
    ],
    ['no certificate of our own', (text) => text.replace(/^ *tls_certificates.*\n/m, ''), /UNAVAILABLE/],
  ])('%s: nothing is configured', async (_name, change, problem) => {
    let streams = 0;
    const port = await ads({ credentials: mutual(), admit: () => void streams++ });
    const { mesh } = await start(port, TOKEN, change);
    await until(() => mesh.describe().source?.problem !== undefined);
    expect(mesh.describe().source?.problem).toMatch(problem);
    expect(streams).toBe(0);
  });
});
