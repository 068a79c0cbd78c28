/** inmesh under istiod's dialect, as the development control plane speaks it: proxyless gRPC's view and the sidecar's, calls and servers, mutual TLS. */
import { createServer } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { ChannelCredentials } from '@grpc/grpc-js';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ControlPlane } from '../../src/control-plane/control-plane.ts';
import type { ControlPlaneOptions } from '../../src/control-plane/control-plane.ts';
import { silentLogger } from '../../src/core/log.ts';
import type { Mesh, MeshOptions } from '../../src/index.ts';
import { createMesh } from '../../src/index.ts';
import { echoStub, startEcho, unary } from '../support/echo-grpc.ts';
import { serve, track } from '../support/http-servers.ts';
import { closing, freePort } from '../support/mesh-app.ts';

const REVIEWS = 'reviews.default.svc.cluster.local';
const ECHO = 'echo.default.svc.cluster.local';

/** Two versions of a service behind the split; `strict` asks for certificates on both sides. */
async function world(view: 'grpc' | 'sidecar', mtls: 'strict' | 'off', options: Partial<ControlPlaneOptions> = {}) {
  const ports = { v1: await freePort(), v2: await freePort(), echo: await freePort() };
  const file = (weight: number): string => `version: 1
services:
  reviews:
    hosts: ["${REVIEWS}:9080"]
    endpoints:
      - { address: "127.0.0.1:${ports.v1}", labels: { version: v1 } }
      - { address: "127.0.0.1:${ports.v2}", labels: { version: v2 } }
    mtls: ${mtls}
    routes:
      - { match: { headers: { x-user: ana } }, to: { labels: { version: v2 } } }
      - { split: [{ weight: ${100 - weight}, labels: { version: v1 } }, { weight: ${weight}, labels: { version: v2 } }] }
  echo: { hosts: ["${ECHO}:7070"], endpoints: ["127.0.0.1:${ports.echo}"], protocol: grpc, mtls: ${mtls}, timeout: 5s }
inbound:
  - { port: ${ports.v1}, mtls: ${mtls}, deny: [{ methods: [DELETE] }] }
  - { port: ${ports.v2}, mtls: ${mtls}, deny: [{ methods: [DELETE] }] }
  - { port: ${ports.echo}, mtls: ${mtls} }
`;
  const plane = await ControlPlane.start({ text: file(0), dialect: 'istio', ...options });
  onTestFinished(() => plane.close());
  const mesh = async (name: string, more: MeshOptions = {}): Promise<Mesh> => {
    const bootstrap = plane.bootstrap(name, name, view);
    const subscribe: MeshOptions = view === 'sidecar' ? { subscribe: 'routes' } : {};
    return closing(await createMesh({ bootstrap, include: ['*.svc.cluster.local'], logger: silentLogger, ...subscribe, ...more }));
  };
  return { plane, file, ports, mesh };
}

/** A server of `inmesh` by the proxyless view, which is the only one that has server listeners by name. */
async function server(plane: ControlPlane, identity: string, port: number, body: string, seen: Set<string> = new Set()): Promise<void> {
  const mesh = closing(
    await createMesh({ bootstrap: plane.bootstrap(`${identity}-${port}`, identity), include: [], logger: silentLogger }),
  );
  const http = createServer((request, response) => {
    const { tls } = mesh.http.peerOf(request) ?? {};
    if (tls !== undefined) seen.add(`${tls.uriSans.join()} ${(request.socket as TLSSocket).getProtocol()}`);
    response.end(body);
  });
  track(http);
  mesh.http.server(http);
  await new Promise<void>((resolve) => http.listen(port, '127.0.0.1', resolve));
}

async function answers(mesh: Mesh, url: string, init: RequestInit = {}, count = 1): Promise<Readonly<Record<string, number>>> {
  const found: Record<string, number> = {};
  for (let i = 0; i < count; i++) {
    const response = await mesh.fetch(url, init);
    const text = `${response.status} ${response.headers.get('x-inmesh-failure') ?? (await response.text())}`;
    found[text] = (found[text] ?? 0) + 1;
  }
  return found;
}

describe.each(['grpc', 'sidecar'] as const)('the %s view', (view) => {
  test.each(['off', 'strict'] as const)('mtls %s: a pinned subset, a split that moves, a denied method, gRPC', async (mtls) => {
    const { plane, file, ports, mesh: make } = await world(view, mtls);
    const seen = new Set<string>();
    await server(plane, 'reviews', ports.v1, 'v1', seen);
    await server(plane, 'reviews', ports.v2, 'v2', seen);
    const echoing = closing(await createMesh({ bootstrap: plane.bootstrap('echo', 'echo'), include: [], logger: silentLogger }));
    const echo = await startEcho({ interceptors: echoing.grpc.serverInterceptors() }, echoing.grpc.serverCredentials(), ports.echo);
    onTestFinished(() => echo.close());

    const mesh = await make('web');
    const url = `http://${REVIEWS}:9080/`;
    expect(await answers(mesh, url, {}, 5)).toEqual({ '200 v1': 5 });
    expect(await answers(mesh, url, { headers: { 'x-user': 'ana' } }, 3)).toEqual({ '200 v2': 3 });
    expect(Object.keys(await answers(mesh, url, { method: 'DELETE' }))).toEqual([expect.stringMatching(/^403 /)]);
    expect([...seen].every((peer) => peer.startsWith('spiffe://dev/web '))).toBe(true);
    expect(seen.size).toBe(mtls === 'strict' ? 1 : 0);

    const stub = echoStub(`xds:///${ECHO}:7070`, mesh.grpc.channelOptions(), ChannelCredentials.createInsecure());
    onTestFinished(() => stub.close());
    expect(await unary(stub, 'hi')).toMatchObject({ code: 0, value: 'hi' });

    plane.update(file(100));
    await expect.poll(() => answers(mesh, url)).toEqual({ '200 v2': 1 });
    expect(plane.nacks).toEqual([]);
  });
});

test('the sidecar view: a server behind a sidecar, which chooses by the protocols that only Istio knows', async () => {
  const { plane, ports, mesh } = await world('sidecar', 'strict');
  const { certificateChainPem, privateKeyPem, rootsPem } = plane.certificates.inline('reviews');
  const names: string[] = [];
  const sidecar = createSecureServer(
    { cert: certificateChainPem, key: privateKeyPem, ca: rootsPem, requestCert: true, ALPNProtocols: ['istio-http/1.1'] },
    (request, response) => {
      names.push(String((request.socket as TLSSocket).alpnProtocol));
      response.end('v1');
    },
  );
  track(sidecar);
  await new Promise<void>((resolve) => sidecar.listen(ports.v1, '127.0.0.1', resolve));
  expect(await answers(await mesh('web'), `http://${REVIEWS}:9080/`)).toEqual({ '200 v1': 1 });
  expect(names).toEqual(['istio-http/1.1']);
});

test('the sidecar view: hosts that no service has pass through, or do not with REGISTRY_ONLY', async () => {
  const outside = await serve((request, response) => response.end(`outside ${request.headers.host}`));
  const url = `http://127.0.0.1:${outside.port}/`;
  for (const [outboundTrafficPolicy, expected] of [
    ['ALLOW_ANY', { [`200 outside 127.0.0.1:${outside.port}`]: 1 }],
    ['REGISTRY_ONLY', { '502 ': 1 }],
  ] as const) {
    const { mesh } = await world('sidecar', 'off', { istio: { outboundTrafficPolicy } });
    expect(await answers(await mesh('web', { include: ['*'] }), url)).toEqual(expected);
  }
});

test.each(['grpc', 'sidecar'] as const)('over mutual TLS to the control plane, by both bootstraps: %s', async (view) => {
  const { plane, ports, mesh } = await world(view, 'off', { tls: 'mutual' });
  await server(plane, 'reviews', ports.v1, 'v1');
  expect(await answers(await mesh('web'), `http://${REVIEWS}:9080/`)).toEqual({ '200 v1': 1 });
});

test('the sidecar view by wildcard listeners: what is full of filters of others is accepted', async () => {
  const { plane, ports, mesh } = await world('sidecar', 'off');
  await server(plane, 'reviews', ports.v1, 'v1');
  const web = await mesh('web', { subscribe: 'wildcard' });
  await web.ready();
  expect(await answers(web, `http://${REVIEWS}:9080/`)).toEqual({ '200 v1': 1 });
  expect(plane.nacks).toEqual([]);
});

test('the agent allows one stream of a process: several meshes share it, and nothing flaps', async () => {
  const { plane, ports } = await world('grpc', 'off', { istio: { agent: true } });
  await server(plane, 'reviews', ports.v1, 'v1');
  const bootstrap = plane.bootstrap('web', 'web');
  const make = async (): Promise<Mesh> => closing(await createMesh({ bootstrap, include: ['*.svc.cluster.local'], logger: silentLogger }));
  const [one, two] = [await make(), await make()];
  expect(await answers(one, `http://${REVIEWS}:9080/`)).toEqual({ '200 v1': 1 });
  expect(await answers(two, `http://${REVIEWS}:9080/`)).toEqual({ '200 v1': 1 });
  expect(plane.nodes.filter((id) => id.includes('~web.'))).toHaveLength(1);
});
