/** The defects of the nearest competitor (reference peer-grpc-js-xds.md §6.2), server side: 2, 3, 13, 14, 15, 16, 17, 19, on real sockets. */
import { Agent, createServer, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { ChannelCredentials, Server } from '@grpc/grpc-js';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { ControlPlane } from '../../src/control-plane/control-plane.ts';
import type { Mesh } from '../../src/index.ts';
import { echoStub, expand, startEcho, unary } from '../support/echo-grpc.ts';
import type { Echo } from '../support/echo-grpc.ts';
import { track, until } from '../support/http-servers.ts';
import { freePort, meshOver, planeOf, rawGet } from '../support/mesh-app.ts';
import { meshFile, RBAC, RBAC_PER_ROUTE, ROUTER, serverListener } from '../support/mesh-raw.ts';

type Change = Parameters<typeof serverListener>[1];

interface World {
  readonly port: number;
  readonly plane: ControlPlane;
  readonly mesh: Mesh;
  serve(change: Change): void;
}

async function world(change: Change): Promise<World> {
  const port = await freePort();
  const file = (c: Change): string => meshFile([serverListener(port, c)]);
  const plane = await planeOf(file(change));
  const mesh = await meshOver(plane, []);
  return { port, plane, mesh, serve: (c) => expect(plane.update(file(c)).ok).toBe(true) };
}

async function httpOn({ mesh, port }: World): Promise<void> {
  const server = createServer((request, response) => response.end(`served ${request.url}`));
  track(server);
  mesh.http.server(server);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', () => resolve()));
  await until(() => mesh.describe().listeners.some(({ status }) => status === 'ready'));
}

async function grpcOn({ mesh, port }: World): Promise<Echo> {
  const echo = await startEcho({ interceptors: mesh.grpc.serverInterceptors() }, mesh.grpc.serverCredentials(), port);
  onTestFinished(() => echo.close());
  await until(() => mesh.describe().listeners.some(({ status }) => status === 'ready'));
  return echo;
}

function plainStub(port: number): ReturnType<typeof echoStub> {
  const stub = echoStub(`127.0.0.1:${port}`, {}, ChannelCredentials.createInsecure());
  onTestFinished(() => stub.close());
  return stub;
}

const principal = (regex: string): object => ({ header: { name: 'x-user', string_match: { safe_regex: { regex } } } });
const rules = (action: string, ...principals: readonly object[]): object => ({
  action,
  policies: { p: { permissions: [{ any: true }], principals } },
});
const rbac = (config: object): Change => ({
  hcm: { http_filters: [{ name: 'rbac', typed_config: { '@type': RBAC, ...config } }, ROUTER] },
});

test('defect 2: RBAC anchors a regex with an alternative as a whole', async () => {
  const w = await world(rbac({ rules: rules('ALLOW', principal('alice|bob')) }));
  await httpOn(w);
  const status = async (user: string): Promise<number> => (await rawGet(w.port, '/', { 'x-user': user })).status;
  expect([await status('alice'), await status('bob')]).toEqual([200, 200]);
  expect([await status('alice-evil'), await status('evil-bob'), await status('alicebob')]).toEqual([403, 403, 403]);
});

describe('defect 3: an RBACPerRoute override holds, at the route and at the virtual host', () => {
  const deny = { rbac: { '@type': RBAC_PER_ROUTE, rbac: { rules: rules('DENY', { any: true }) } } };
  const allowAll = rbac({ rules: rules('ALLOW', { any: true }) });

  test('at the route, HTTP and gRPC', async () => {
    const w = await world({
      ...allowAll,
      routes: [
        { match: { prefix: '/closed' }, non_forwarding_action: {}, typed_per_filter_config: deny },
        { match: { path: '/echo.Echo/Expand' }, non_forwarding_action: {}, typed_per_filter_config: deny },
        { match: { prefix: '/' }, non_forwarding_action: {} },
      ],
    });
    await httpOn(w);
    expect([(await rawGet(w.port, '/open')).status, (await rawGet(w.port, '/closed')).status]).toEqual([200, 403]);
    const g = await world({
      ...allowAll,
      routes: [
        { match: { path: '/echo.Echo/Expand' }, non_forwarding_action: {}, typed_per_filter_config: deny },
        { match: { prefix: '/' }, non_forwarding_action: {} },
      ],
    });
    await grpcOn(g);
    expect(await unary(plainStub(g.port), 'x')).toMatchObject({ code: 0 });
    expect(await expand(plainStub(g.port), 2)).toMatchObject({ code: 7, values: [] });
  });

  test('at the virtual host; an override without rules at a route lifts it', async () => {
    const routes = [
      { match: { prefix: '/lifted' }, non_forwarding_action: {}, typed_per_filter_config: { rbac: { '@type': RBAC_PER_ROUTE } } },
      { match: { prefix: '/' }, non_forwarding_action: {} },
    ];
    const w = await world({
      hcm: {
        ...allowAll?.hcm,
        route_config: { name: 'in', virtual_hosts: [{ name: 'all', domains: ['*'], routes, typed_per_filter_config: deny }] },
      },
    });
    await httpOn(w);
    expect([(await rawGet(w.port, '/')).status, (await rawGet(w.port, '/lifted')).status]).toEqual([403, 200]);
  });
});

const reaches = (host: string, port: number): Promise<string> =>
  new Promise((resolve) => {
    const socket = connect(port, host, () => {
      resolve('connected');
      socket.destroy();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'failed'));
  });

test('defect 13: a server bound to 127.0.0.1 listens there only', async () => {
  const w = await world({});
  await grpcOn(w);
  expect([await reaches('127.0.0.1', w.port), await reaches('127.0.0.2', w.port), await reaches('::1', w.port)]).toEqual([
    'connected',
    'ECONNREFUSED',
    'ECONNREFUSED',
  ]);
  // Negative control: on every interface, the second address answers.
  const everywhere = createServer();
  track(everywhere);
  await new Promise<void>((resolve) => everywhere.listen(0, '0.0.0.0', () => resolve()));
  expect(await reaches('127.0.0.2', (everywhere.address() as { port: number }).port)).toBe('connected');
});

test('defect 14: a port in use fails the bind with its error, and nothing is thrown past it', async () => {
  const uncaught: unknown[] = [];
  const listener = (error: unknown): void => void uncaught.push(error);
  process.on('uncaughtException', listener);
  process.on('unhandledRejection', listener);
  onTestFinished(() => void process.off('uncaughtException', listener).off('unhandledRejection', listener));
  const w = await world({});
  const taken = createServer();
  track(taken);
  await new Promise<void>((resolve) => taken.listen(w.port, '127.0.0.1', () => resolve()));
  const server = new Server({ interceptors: w.mesh.grpc.serverInterceptors() });
  onTestFinished(() => server.forceShutdown());
  const error = await new Promise<Error | null>((resolve) =>
    server.bindAsync(`127.0.0.1:${w.port}`, w.mesh.grpc.serverCredentials(), resolve),
  );
  expect(error?.message).toMatch(/EADDRINUSE|address already in use|No address added/i);
  // The same for node:http, through the server's own event.
  const http = w.mesh.http.server(createServer());
  const failed = await new Promise<NodeJS.ErrnoException>((resolve) => {
    http.once('error', resolve);
    http.listen(w.port, '127.0.0.1');
  });
  expect(failed.code).toBe('EADDRINUSE');
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(uncaught).toEqual([]);
});

test('defect 15: a filter chain whose match leaves transport_protocol open takes plaintext connections', async () => {
  const w = await world({ chain: { filter_chain_match: { source_type: 'SAME_IP_OR_LOOPBACK' } } });
  await httpOn(w);
  expect((await rawGet(w.port)).status).toBe(200);
  const g = await world({ chain: { filter_chain_match: { source_type: 'SAME_IP_OR_LOOPBACK' } } });
  await grpcOn(g);
  expect(await unary(plainStub(g.port), 'x')).toMatchObject({ code: 0 });
  // Negative control: a chain for others only.
  const other = await world({ chain: { filter_chain_match: { source_type: 'EXTERNAL' } } });
  await httpOn(other);
  await expect(rawGet(other.port)).rejects.toThrow();
});

describe('defect 16: a listener update without effect on connections drops none', () => {
  const get = (agent: Agent, port: number): Promise<{ status: number; localPort: number }> =>
    new Promise((resolve, reject) => {
      const request = httpRequest({ host: '127.0.0.1', port, agent }, (response) => {
        const { localPort = 0 } = response.socket;
        response.resume().on('end', () => resolve({ status: response.statusCode ?? 0, localPort }));
      });
      request.on('error', reject);
      request.end();
    });
  const versionOf = (w: World): string =>
    w.mesh.describe().source?.resources.find(({ name }) => name === `inbound/127.0.0.1:${w.port}`)?.version ?? '';
  const change = async (w: World, to: Change): Promise<void> => {
    const before = versionOf(w);
    w.serve(to);
    await until(() => versionOf(w) !== before);
    await new Promise((resolve) => setTimeout(resolve, 30));
  };

  test('node:http', async () => {
    const w = await world({ hcm: { stat_prefix: 'one' } });
    await httpOn(w);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => agent.destroy());
    const first = await get(agent, w.port);
    await change(w, { hcm: { stat_prefix: 'two' } });
    expect(await get(agent, w.port)).toEqual(first);
  });

  test('gRPC, also with a stream that is open', async () => {
    const w = await world({ hcm: { stat_prefix: 'one' } });
    const echo = await grpcOn(w);
    const stub = plainStub(w.port);
    await unary(stub, 'x');
    const { lastPeer } = echo.state;
    echo.state.delayMs = 40;
    const stream = expand(stub, 5);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await change(w, { hcm: { stat_prefix: 'two' } });
    expect(await stream).toMatchObject({ code: 0, values: ['m0', 'm1', 'm2', 'm3', 'm4'] });
    expect((await unary(stub, 'x')).code).toBe(0);
    expect(echo.state.lastPeer).toBe(lastPeer);
  });

  test('negative control: a change of the rules does reach connections that are open', async () => {
    const w = await world({});
    await httpOn(w);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    onTestFinished(() => agent.destroy());
    expect((await get(agent, w.port)).status).toBe(200);
    await change(w, rbac({ rules: rules('DENY', { any: true }) }));
    await until(() => w.mesh.describe().listeners.length > 0);
    const status = await get(agent, w.port).then(
      ({ status: s }) => s,
      () => 0,
    );
    expect([0, 403, 503]).toContain(status);
    expect((await rawGet(w.port)).status).toBe(403);
  });
});

describe('defect 17: RBAC that asks for nothing is a no-op, not a rejected listener', () => {
  test.each([
    ['no rules', {}],
    ['action LOG', { rules: rules('LOG', { any: true }) }],
  ])('%s', async (_name, config) => {
    const w = await world(rbac(config));
    await httpOn(w);
    expect((await rawGet(w.port)).status).toBe(200);
    expect(w.plane.nacks).toEqual([]);
  });

  test('negative control: ALLOW without a policy lets nobody in', async () => {
    const w = await world(rbac({ rules: { action: 'ALLOW' } }));
    await httpOn(w);
    expect((await rawGet(w.port)).status).toBe(403);
  });
});

test('defect 19: a server listener that is deleted stays in use where it may (gRFC A88), and the mesh says that it is gone', async () => {
  const w = await world({});
  await httpOn(w);
  w.plane.update('version: 1\nservices: {}\n');
  const state = (): string | undefined =>
    w.mesh.describe().source?.resources.find(({ name }) => name === `inbound/127.0.0.1:${w.port}`)?.status;
  await until(() => state() === 'DOES_NOT_EXIST');
  expect((await rawGet(w.port)).status).toBe(200);
});
