/** Mutual TLS with grpc-go, go-spiffe and Envoy on the other side, and with the control plane: who is let in, who is not (gRFCs A29, A41). */
import { createServer } from 'node:http';
import { Client, credentials } from '@grpc/grpc-js';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createTestCa } from '../../src/control-plane/ca/ca.ts';
import type { Mesh } from '../../src/index.ts';
import { echoClient, echoServer } from './echo.ts';
import type { ControlPlane, Identity } from './harness.ts';
import {
  edit,
  freePort,
  identityFiles,
  peers,
  providersOf,
  runGo,
  snapshotText,
  startBackend,
  startControlPlane,
  startEchoServer,
  startEnvoy,
  startGo,
  startMesh,
  tally,
  until,
} from './harness.ts';

const clock = { wallTime: () => Date.now() };
const ca = createTestCa({ trustDomain: 'mesh.test', clock });
const foreign = createTestCa({ trustDomain: 'mesh.test', clock });
const SERVER = 'spiffe://mesh.test/ns/default/sa/server';
const CLIENT = 'spiffe://mesh.test/ns/default/sa/client';
const OTHER = 'spiffe://mesh.test/ns/default/sa/other';

/** As clients: who calls, whether the server is asked, and what the caller learns. */
const CALLERS = [
  { title: 'the right id', make: () => identityFiles(ca, CLIENT), ours: 'ok', theirs: 'OK' },
  { title: 'another id of the same CA', make: () => identityFiles(ca, OTHER), ours: 'PERMISSION_DENIED', theirs: 'PermissionDenied' },
  { title: 'a certificate of a foreign CA', make: () => identityFiles(foreign, CLIENT, ca), ours: 'UNAVAILABLE', theirs: 'Unavailable' },
  { title: 'trust in a foreign CA', make: () => identityFiles(ca, CLIENT, foreign), ours: 'UNAVAILABLE', theirs: 'Unavailable' },
];

const meshOf = (plane: ControlPlane, node: string, identity: Identity, include: readonly string[] = []): Promise<Mesh> =>
  startMesh({ bootstrap: plane.bootstrap(node, providersOf(identity)), include });

async function grpcScene(): Promise<{ readonly plane: ControlPlane; readonly port: number }> {
  const port = await freePort();
  return { plane: await startControlPlane(snapshotText('e-grpc-mtls', { 50062: port })), port };
}

async function goServer(plane: ControlPlane, port: number, identity: Identity): Promise<void> {
  const { running } = await startEchoServer(
    '',
    ['--xds', '--xds-server', plane.address, '--node', 'go-server', '--certs', identity.folder],
    port,
  );
  await until('grpc-go serves', () => /serving mode of .*: serving/i.test(running.output()));
}

describe.skipIf(peers.go === undefined)('grpc-js through the mesh, grpc-go server with xDS mTLS', () => {
  test.each(CALLERS)('$title: $ours', async ({ make, ours }) => {
    const { plane, port } = await grpcScene();
    await goServer(plane, port, identityFiles(ca, SERVER));
    const mesh = await meshOf(plane, 'app', make());
    const echo = echoClient(mesh, 'xds:///mtls.local');
    if (ours !== 'ok') {
      expect(await tally(5, () => echo.answer(), 1)).toEqual({ [ours]: 5 });
      return;
    }
    expect(await echo.say()).toMatchObject({ server: 'grpcgo', peer_id: CLIENT });
    expect(await echo.chat(['a', 'b'])).toMatchObject([{ text: 'a', peer_id: CLIENT }, { text: 'b' }]);
  });

  test('a server with another id is not spoken to', async () => {
    const { plane, port } = await grpcScene();
    await goServer(plane, port, identityFiles(ca, OTHER));
    const echo = echoClient(await meshOf(plane, 'app', identityFiles(ca, CLIENT)), 'xds:///mtls.local');
    await expect(echo.say()).rejects.toMatchObject({ code: 14, details: expect.stringMatching(/upstream_tls_failure.*sa\/other/s) });
  });

  test('a server without TLS is not spoken to', async () => {
    const { plane, port } = await grpcScene();
    await startEchoServer('plain', [], port);
    const echo = echoClient(await meshOf(plane, 'app', identityFiles(ca, CLIENT)), 'xds:///mtls.local');
    expect(await tally(5, () => echo.answer(), 1)).toEqual({ UNAVAILABLE: 5 });
  });
});

describe.skipIf(peers.go === undefined)('grpc-go client, grpc-js server behind the mesh with xDS mTLS', () => {
  test.each(CALLERS)('$title: $theirs', async ({ make, theirs }) => {
    const { plane, port } = await grpcScene();
    await echoServer(await meshOf(plane, 'server', identityFiles(ca, SERVER)), 'ours', port);
    const output = await runGo('grpcgo', [
      'client',
      '--xds-server',
      plane.address,
      '--target',
      'xds:///mtls.local',
      '--certs',
      make().folder,
      '--n',
      '5',
      '--concurrency',
      '1',
      '--wait=false',
    ]);
    const result = JSON.parse(output.slice(output.indexOf('{\n'))) as { codes: unknown; servers: unknown; peer_id?: string };
    expect(result.codes, output).toEqual({ [theirs]: 5 });
    expect(result.servers).toEqual(theirs === 'OK' ? { ours: 5 } : {});
    if (theirs === 'OK') expect(result.peer_id).toBe(CLIENT);
  });

  test('a server of ours with another id is refused by grpc-go; plaintext is refused by us', async () => {
    const { plane, port } = await grpcScene();
    await echoServer(await meshOf(plane, 'server', identityFiles(ca, OTHER)), 'ours', port);
    const client = ['client', '--xds-server', plane.address, '--n', '3', '--concurrency', '1', '--wait=false', '--timeout', '2s'];
    const wrong = await runGo('grpcgo', [...client, '--target', 'xds:///mtls.local', '--certs', identityFiles(ca, CLIENT).folder]);
    expect(wrong).toContain('"Unavailable": 3');
    const plain = await runGo('grpcgo', [...client, '--target', `dns:///127.0.0.1:${port}`]);
    expect(plain).toContain('"Unavailable": 3');
  });
});

describe.skipIf(peers.go === undefined)('TLS switched on under a plaintext listener', () => {
  test('open plaintext connections end, and no plaintext call is served any more', async () => {
    const { plane, port } = await grpcScene();
    const secured = snapshotText('e-grpc-mtls', { 50062: port });
    const plain = edit(
      secured,
      [/ {6}transport_socket:\n {8}name: envoy\.transport_sockets\.tls\n[\s\S]*?(?= {6}filters:)/, ''],
      ['principals: [{authenticated: {principal_name: {exact: spiffe://mesh.test/ns/default/sa/client}}}]', 'principals: [{any: true}]'],
      ['version: "e1"', 'version: "e0"'],
    );
    await plane.put(plain);
    await echoServer(await meshOf(plane, 'server', identityFiles(ca, SERVER)), 'ours', port);
    const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
    onTestFinished(() => client.close());
    const same = (bytes: Buffer): Buffer => bytes;
    const say = (): Promise<number> =>
      new Promise(
        (resolve) =>
          void client.makeUnaryRequest('/inmesh.peers.v1.Echo/Say', same, same, Buffer.alloc(0), (error) => resolve(error?.code ?? 0)),
      );
    expect(await say()).toBe(0);
    await plane.put(edit(secured, ['version: "e1"', 'version: "e2"']));
    await until('refused', async () => (await say()) === 14);
    for (let i = 0; i < 5; i++) expect(await say()).toBe(14);
    const right = echoClient(await meshOf(plane, 'app', identityFiles(ca, CLIENT)), 'xds:///mtls.local');
    expect(await right.answer()).toBe('ours');
  });
});

const HTTP_CALLERS = [
  { title: 'the right id', make: () => identityFiles(ca, CLIENT), status: 200 },
  { title: 'another id of the same CA', make: () => identityFiles(ca, OTHER), status: 403 },
  { title: 'a certificate of a foreign CA', make: () => identityFiles(foreign, CLIENT, ca), status: 0 },
];

interface HttpScene {
  readonly plane: ControlPlane;
  readonly peerPort: number;
  readonly ownPort: number;
}

async function httpScene(): Promise<HttpScene> {
  const [peerPort, ownPort] = [await freePort(), await freePort()];
  return { plane: await startControlPlane(snapshotText('f-http-mtls', { 18443: peerPort, 18444: ownPort })), peerPort, ownPort };
}

/** A `node:http` server behind the mesh: answers whom the proxy in front of it named, if any. */
async function ownServer(plane: ControlPlane, port: number, identity: Identity): Promise<void> {
  const mesh = await meshOf(plane, 'server', identity);
  const server = mesh.http.server(createServer((request, response) => response.end(JSON.stringify({ path: request.url }))));
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await until('the listener is configured', () => mesh.describe().listeners.some(({ status }) => status === 'ready'));
}

describe.skipIf(peers.go === undefined)('go-spiffe', () => {
  const files = ({ cert, key, ca: bundle }: Identity): string[] => ['--cert', cert, '--key', key, '--bundle', bundle];

  async function spiffeServer(port: number, identity: Identity, accepts: string): Promise<void> {
    const running = startGo('spiffepeer', ['server', ...files(identity), '--listen', `127.0.0.1:${port}`, '--authorize', accepts]);
    await until('spiffepeer listens', () => running.output().includes('spiffepeer server on'));
  }

  test('mesh.fetch and its server: both know each other', async () => {
    const { plane, peerPort } = await httpScene();
    await spiffeServer(peerPort, identityFiles(ca, SERVER), CLIENT);
    const mesh = await meshOf(plane, 'app', identityFiles(ca, CLIENT), ['peer.local']);
    const response = await mesh.fetch('http://peer.local/hello?x=1', { method: 'POST', body: 'text', headers: { 'x-a': 'b' } });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      peer_id: CLIENT,
      tls: 'TLS 1.3',
      method: 'POST',
      path: '/hello',
      body: 'text',
      headers: { 'X-A': ['b'] },
    });
  });

  test.each([
    {
      title: 'a server with another id',
      server: () => identityFiles(ca, OTHER),
      client: () => identityFiles(ca, CLIENT),
      accepts: 'any',
      failure: 'upstream_tls_failure',
      reason: OTHER,
    },
    {
      title: 'a server of a foreign CA',
      server: () => identityFiles(foreign, SERVER, ca),
      client: () => identityFiles(ca, CLIENT),
      accepts: 'any',
      failure: 'upstream_tls_failure',
      reason: 'issuer',
    },
    // With TLS 1.3 a server refuses its client only after the client's handshake, so these look like a connection that breaks.
    {
      title: 'a server that expects another client',
      server: () => identityFiles(ca, SERVER),
      client: () => identityFiles(ca, OTHER),
      accepts: CLIENT,
      failure: 'upstream_',
      reason: '',
    },
    {
      title: 'a client of a foreign CA',
      server: () => identityFiles(ca, SERVER),
      client: () => identityFiles(foreign, CLIENT, ca),
      accepts: 'any',
      failure: 'upstream_',
      reason: '',
    },
  ])('mesh.fetch and $title: 503 with the reason', async ({ server, client, accepts, failure, reason }) => {
    const { plane, peerPort } = await httpScene();
    await spiffeServer(peerPort, server(), accepts);
    const mesh = await meshOf(plane, 'app', client(), ['peer.local']);
    const response = await mesh.fetch('http://peer.local/');
    expect(response.status).toBe(503);
    expect(response.headers.get('x-inmesh-failure')).toContain(failure);
    expect(await response.text()).toContain(reason);
  });

  test.each(HTTP_CALLERS)('its client with $title and an HTTP server behind the mesh: $status', async ({ make, status }) => {
    const { plane, ownPort } = await httpScene();
    await ownServer(plane, ownPort, identityFiles(ca, SERVER));
    const call = async (path: string): Promise<unknown> =>
      JSON.parse(
        (
          await runGo('spiffepeer', ['client', ...files(make()), '--authorize', SERVER, '--url', `https://127.0.0.1:${ownPort}${path}`])
        ).split('\n')[0] ?? '',
      );
    const line = await call('/hello');
    if (status === 0) {
      expect(line).toMatchObject({ error: expect.stringMatching(/unknown certificate|bad certificate|EOF|reset|certificate/) });
      return;
    }
    expect(line).toMatchObject({ status, peer_id: SERVER });
    expect(await call('/admin/x')).toMatchObject({ status: 403 });
  });

  test('its client refuses a server of ours that has another id', async () => {
    const { plane, ownPort } = await httpScene();
    await ownServer(plane, ownPort, identityFiles(ca, OTHER));
    const output = await runGo('spiffepeer', [
      'client',
      ...files(identityFiles(ca, CLIENT)),
      '--authorize',
      SERVER,
      '--url',
      `https://127.0.0.1:${ownPort}/`,
    ]);
    expect(output).toContain('unexpected ID');
  });
});

describe.skipIf(peers.go === undefined || peers.envoy === undefined)('Envoy', () => {
  async function withEnvoy(envoyIdentity: Identity): Promise<HttpScene & { readonly egress: number }> {
    const scene = await httpScene();
    const [egress, backend] = [await freePort(), await startBackend('behind envoy')];
    const own = snapshotText('g-envoy-mtls', { 18443: scene.peerPort, 18444: scene.ownPort, 15444: egress, 18081: backend });
    await scene.plane.put(edit(own, ['CERTIFICATES', envoyIdentity.folder]), 'envoy');
    await startEnvoy(scene.plane, 'delta', 'envoy');
    return { ...scene, egress };
  }

  test('mesh.fetch to Envoy by mTLS: Envoy tells who called; a wrong client is refused', async () => {
    const { plane } = await withEnvoy(identityFiles(ca, SERVER));
    const mesh = await meshOf(plane, 'app', identityFiles(ca, CLIENT), ['peer.local']);
    const response = await mesh.fetch('http://peer.local/hello');
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({
      name: 'behind envoy',
      headers: { 'x-forwarded-client-cert': expect.stringContaining(`URI=${CLIENT}`) },
    });
    const other = await meshOf(plane, 'other', identityFiles(ca, OTHER), ['peer.local']);
    expect((await other.fetch('http://peer.local/hello')).status).toBe(503);
  });

  test('mesh.fetch refuses an Envoy with another id', async () => {
    const { plane } = await withEnvoy(identityFiles(ca, OTHER));
    const mesh = await meshOf(plane, 'app', identityFiles(ca, CLIENT), ['peer.local']);
    const response = await mesh.fetch('http://peer.local/hello');
    expect(response.status).toBe(503);
    expect(response.headers.get('x-inmesh-failure')).toContain('upstream_tls_failure');
  });

  test.each(HTTP_CALLERS)('Envoy with $title calls an HTTP server behind the mesh', async ({ make, status }) => {
    const scene = await withEnvoy(make());
    await ownServer(scene.plane, scene.ownPort, identityFiles(ca, SERVER));
    const response = await fetch(`http://127.0.0.1:${scene.egress}/hello`);
    expect(response.status, await response.clone().text()).toBe(status === 0 ? 503 : status);
    expect((await fetch(`http://127.0.0.1:${scene.egress}/admin/x`)).status).toBe(status === 0 ? 503 : 403);
  });
});

describe.skipIf(peers.go === undefined)('mTLS to the control plane', () => {
  const scene = async (): Promise<{ readonly plane: ControlPlane; readonly server: Identity }> => {
    const server = identityFiles(ca, 'spiffe://mesh.test/control-plane', ca, { ipAddresses: ['127.0.0.1'] });
    const backend = await startBackend('v1');
    const snapshot = snapshotText('a-http-sidecar', { 18081: backend, 18082: backend });
    return {
      plane: await startControlPlane(snapshot, { flags: ['--tls-cert', server.cert, '--tls-key', server.key, '--client-ca', server.ca] }),
      server,
    };
  };
  const bootstrap = (plane: ControlPlane, identity: Partial<Identity>): object => ({
    ...plane.bootstrap('app'),
    xds_servers: [
      {
        server_uri: plane.address,
        channel_creds: [
          { type: 'tls', config: { ca_certificate_file: identity.ca, certificate_file: identity.cert, private_key_file: identity.key } },
        ],
      },
    ],
  });

  test('it knows us by our SPIFFE id', async () => {
    const { plane } = await scene();
    const mesh = await startMesh({ bootstrap: bootstrap(plane, identityFiles(ca, CLIENT)), include: ['web.local'] });
    expect((await mesh.fetch('http://web.local/')).status).toBe(200);
    expect((await plane.log('app')).find((entry) => entry.event === 'open')?.peer_id).toBe(CLIENT);
  });

  test.each([
    { title: 'no certificate', make: () => ({ ca: identityFiles(ca, CLIENT).ca }) },
    { title: 'a foreign certificate', make: () => identityFiles(foreign, CLIENT, ca) },
    { title: 'trust in a foreign CA', make: () => identityFiles(ca, CLIENT, foreign) },
  ])('$title: nothing is asked, and the reason is told', async ({ make }) => {
    const { plane } = await scene();
    const mesh = await startMesh({ bootstrap: bootstrap(plane, make()), include: ['web.local'], startTimeout: 1_500 });
    const response = await mesh.fetch('http://web.local/');
    expect(response.status).toBe(503);
    expect(await response.text()).toMatch(/control plane: .*(certificate|handshake|TLS|closed|reset)/i);
    expect(await plane.log('app')).toEqual([]);
  });
});
