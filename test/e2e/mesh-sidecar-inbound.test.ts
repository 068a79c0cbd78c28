/** The serving side of the sidecar view: a server gets the inbound socket listener of the address that it is bound to (wildcard LDS). */
import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { createServer } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { TYPE_URLS } from '../../src/config/resource.ts';
import { silentLogger } from '../../src/core/log.ts';
import type { Mesh, MeshOptions } from '../../src/index.ts';
import { createMesh } from '../../src/index.ts';
import { jsonToAny, pack } from '../../src/proto/any.ts';
import { decodeRequest } from '../../src/proto/discovery-json.ts';
import { track } from '../support/http-servers.ts';
import { closing, freePort, planeOf, rawGet } from '../support/mesh-app.ts';
import { RBAC, ROUTER, meshFile, serverListener } from '../support/mesh-raw.ts';
import { SOTW_ADS } from '../support/raw-xds.ts';

type Json = Readonly<Record<string, unknown>>;

const DENY: Json = {
  name: 'rbac',
  typed_config: { '@type': RBAC, rules: { action: 'ALLOW', policies: {} } },
};

/** As Consul, Kuma or istiod send it; `denies`: lets nobody in. */
function inbound(name: string, host: string, port: number, denies: boolean, direction = 'INBOUND'): Json {
  return {
    ...serverListener(port, { hcm: { http_filters: denies ? [DENY, ROUTER] : [ROUTER] } }),
    name,
    address: { socket_address: { address: host, port_value: port } },
    traffic_direction: direction,
  };
}

/** Without a template, as control planes for sidecars have none. */
async function meshTo(port: number, options: MeshOptions = {}): Promise<Mesh> {
  const bootstrap = { xds_servers: [{ server_uri: `127.0.0.1:${port}`, channel_creds: [{ type: 'insecure' }] }], node: { id: 'app' } };
  return closing(await createMesh({ bootstrap, include: ['none.test'], logger: silentLogger, ...options }));
}

async function served(mesh: Mesh, port: number, host = '127.0.0.1'): Promise<void> {
  const server = createServer((_request, response) => response.end('application'));
  track(server);
  mesh.http.server(server);
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
}

const status = async (port: number): Promise<number | string> => (await rawGet(port).catch(() => ({ status: 'refused' }))).status;

async function becomes(port: number, wanted: number): Promise<void> {
  while ((await status(port)) !== wanted) await new Promise((resolve) => setTimeout(resolve, 10));
}

test.each(['sotw', 'delta'] as const)(
  'by %s: the listener on the very address counts; other ports are left alone; what was guarded is not let go with its listener',
  async (protocol) => {
    const [own, other, all] = [await freePort(), await freePort(), await freePort()];
    const plane = await planeOf(
      meshFile([
        inbound('public_listener', '127.0.0.1', own, true),
        inbound('any', '0.0.0.0', own, false),
        // For calls on the port, not for servers.
        inbound('out', '127.0.0.1', other, true, 'OUTBOUND'),
        inbound('unspecified', '127.0.0.1', other, true, 'UNSPECIFIED'),
        inbound('pod', '127.0.0.1', all, true),
      ]),
    );
    const mesh = await meshTo(plane.port, { subscribe: 'wildcard', protocol });
    await served(mesh, own);
    await served(mesh, other);
    await served(mesh, all, '0.0.0.0');
    // Until the first list, nobody is served.
    await becomes(own, 403);
    expect([await status(own), await status(other), await status(all)]).toEqual([403, 200, 403]);

    plane.update(meshFile([inbound('renamed', '127.0.0.1', own, false)]));
    await becomes(own, 200);
    plane.update(meshFile([inbound('renamed', '127.0.0.1', own, true)]));
    await becomes(own, 403);
    plane.update(meshFile([inbound('later', '127.0.0.1', other, true)]));
    await becomes(other, 403);
    // Its listener is gone: the rules stay (gRFC A88), or nobody is served, but never without rules.
    expect([403, 'refused']).toContain(await status(own));
  },
);

test('before the control plane has said anything nobody is served; then, where it has no listener at all, the server is left alone', async () => {
  const [plane, port] = [await freePort(), await freePort()];
  const mesh = await meshTo(plane, { subscribe: 'wildcard' });
  await served(mesh, port);
  expect(await status(port)).toBe('refused');
  await planeOf(meshFile([]), { port: plane });
  await becomes(port, 200);
});

test('a listener serves its additional addresses as well', async () => {
  const [first, second] = [await freePort(), await freePort()];
  const additional_addresses = [{ address: { socket_address: { address: '127.0.0.1', port_value: second } } }];
  const plane = await planeOf(meshFile([{ ...inbound('public_listener', '127.0.0.1', first, true), additional_addresses }]));
  const mesh = await meshTo(plane.port, { subscribe: 'wildcard' });
  await served(mesh, first);
  await served(mesh, second);
  await becomes(first, 403);
  expect(await status(second)).toBe(403);
});

test('negative control: by names, without a template, servers are left alone', async () => {
  const port = await freePort();
  const plane = await planeOf(meshFile([inbound('public_listener', '127.0.0.1', port, true)]));
  const mesh = await meshTo(plane.port);
  await served(mesh, port);
  expect(await status(port)).toBe(200);
});

/** A control plane that sends what inmesh refuses; its own kind would not. */
async function planeWith(...listeners: readonly Json[]): Promise<number> {
  const same = (bytes: Buffer): Buffer => bytes;
  const bytes = { requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same };
  const server = new Server();
  server.addService(
    { ads: { ...bytes, path: SOTW_ADS, requestStream: true, responseStream: true } },
    {
      ads: (call: ServerDuplexStream<Buffer, Buffer>) => {
        call.on('data', (request: Buffer) => {
          const { typeUrl, responseNonce } = decodeRequest(request) as { readonly typeUrl: string; readonly responseNonce?: string };
          if (typeUrl !== TYPE_URLS.listener || responseNonce !== '') return;
          const resources = listeners.map((listener) => jsonToAny({ '@type': TYPE_URLS.listener, ...listener }));
          const response = { typeUrl, versionInfo: '1', nonce: '1', resources };
          call.write(Buffer.from(pack('envoy.service.discovery.v3.DiscoveryResponse', response).value));
        });
      },
    },
  );
  onTestFinished(() => server.forceShutdown());
  return new Promise((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => (error === null ? resolve(port) : reject(error))),
  );
}

test('a server whose listener was refused is not served, neither on its other addresses; others are', async () => {
  const [own, second, free] = [await freePort(), await freePort(), await freePort()];
  const refused = {
    listener_filters: [{ name: 'keeps callers out' }],
    additional_addresses: [{ address: { socket_address: { address: '0.0.0.0', port_value: second } } }],
  };
  const plane = await planeWith(
    { ...inbound('public_listener', '127.0.0.1', own, true), ...refused },
    { ...inbound('out', '127.0.0.1', free, true, 'OUTBOUND'), filter_chain_matcher: {} },
  );
  const mesh = await meshTo(plane, { subscribe: 'wildcard' });
  await served(mesh, own);
  await served(mesh, second);
  await served(mesh, free);
  await becomes(free, 200);
  expect([await status(own), await status(second)]).toEqual(['refused', 'refused']);
});
