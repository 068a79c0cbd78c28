/** Start and end of a mesh over real sockets: waiting, passing by, failing with its own code, draining. */
import { createServer } from 'node:http';
import { ChannelCredentials } from '@grpc/grpc-js';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createMesh, MeshError } from '../../src/index.ts';
import { silentLogger } from '../../src/core/log.ts';
import { echoStub, unary } from '../support/echo-grpc.ts';
import { deadPort, serve, track, until } from '../support/http-servers.ts';
import { closing, expectIdle, freePort, meshOf, meshOver, planeOf, rawGet } from '../support/mesh-app.ts';

const yaml = (port: number): string =>
  `version: 1\nservices: { shop: { endpoints: ["127.0.0.1:${port}"] }, echo: { endpoints: ["127.0.0.1:${port}"], protocol: grpc } }\n`;

describe('while the control plane is silent', () => {
  test('createMesh resolves, calls to the mesh wait, and go through when it speaks', async () => {
    const { port } = await serve((_request, response) => response.end('ok'));
    const plane = await planeOf(yaml(port));
    plane.pause();
    const mesh = await meshOver(plane, ['shop']);
    const began = performance.now();
    const waiting = Promise.all([
      mesh.fetch('http://shop/'),
      fetch('http://shop/', { dispatcher: mesh.dispatcher } as RequestInit),
      mesh.ready(),
    ]);
    setTimeout(() => plane.resume(), 150);
    const [first, second] = await waiting;
    expect([await first.text(), await second.text()]).toEqual(['ok', 'ok']);
    expect(performance.now() - began).toBeGreaterThan(140);
    expectIdle(mesh);
  });

  test('after startTimeout they fail with a code of their own, for every kind of caller', async () => {
    const plane = await planeOf(yaml(1));
    plane.pause();
    const mesh = await meshOver(plane, ['shop', 'echo'], undefined, { startTimeout: 100 });
    const throwing = await meshOver(plane, ['shop'], undefined, { startTimeout: 100, onFailure: 'throw' });
    const stub = echoStub('xds:///echo', mesh.grpc.channelOptions(), ChannelCredentials.createInsecure());
    onTestFinished(() => stub.close());
    const began = performance.now();
    const [response, thrown, grpc, ready] = await Promise.all([
      mesh.fetch('http://shop/').then(async (r) => ({ status: r.status, flag: r.headers.get('x-inmesh-failure'), text: await r.text() })),
      throwing.fetch('http://shop/').then(
        () => undefined,
        (error: unknown) => error,
      ),
      unary(stub, 'x'),
      mesh.ready().then(
        () => undefined,
        (error: unknown) => error,
      ),
    ]);
    expect(performance.now() - began).toBeLessThan(2000);
    expect(response).toEqual({
      status: 503,
      flag: 'NC configuration_timeout',
      text: expect.stringContaining('no configuration for "shop" within 100 ms') as string,
    });
    const own = thrown instanceof MeshError ? thrown : (thrown as Error).cause;
    expect(own).toMatchObject({ code: 'ERR_MESH_FAILURE', failure: { kind: { details: 'configuration_timeout' } } });
    expect(grpc).toMatchObject({ code: 14, details: expect.stringContaining('[NC] configuration_timeout') as string });
    expect(ready).toMatchObject({ code: 'ERR_MESH_START_TIMEOUT' });
    expectIdle(mesh);
  });

  test('hosts outside the mesh pass through: at once, and exactly as without a mesh', async () => {
    const { port, seen } = await serve((_request, response) => response.end('outside'));
    const plane = await planeOf(yaml(1));
    plane.pause();
    const mesh = await meshOver(plane, ['shop', '*.svc.cluster.local']);
    const began = performance.now();
    const init = { method: 'POST', body: 'b', headers: { 'x-own': '1' } };
    for (const call of [
      fetch,
      mesh.fetch,
      (url: string, options: object) => fetch(url, { ...options, dispatcher: mesh.dispatcher } as RequestInit),
    ]) {
      expect(await (await call(`http://127.0.0.1:${port}/p?q=1`, init)).text()).toBe('outside');
    }
    expect(performance.now() - began).toBeLessThan(3000);
    const [plain, ...others] = seen.map(({ rawHeaders, body, method, url }) => ({ rawHeaders, body, method, url }));
    expect(others).toEqual([plain, plain]);
    expect(mesh.describe().metrics).toEqual([]);
    // And an error stays the error that it was.
    await expect(mesh.fetch(`http://127.0.0.1:${await deadPort()}/`)).rejects.toThrow(TypeError);
  });
});

test('a control plane that starts three tries later is found', async () => {
  const { port } = await serve((_request, response) => response.end('late'));
  const address = await freePort();
  const mesh = closing(
    await createMesh({
      bootstrap: { xds_servers: [{ server_uri: `127.0.0.1:${address}`, channel_creds: [{ type: 'insecure' }] }], node: { id: 'x' } },
      include: ['shop'],
      logger: silentLogger,
    }),
  );
  const call = mesh.fetch('http://shop/');
  await until(() => mesh.describe().source?.problem !== undefined);
  await planeOf(yaml(port), { port: address });
  expect(await (await call).text()).toBe('late');
});

describe('close', () => {
  test('drains: what is being served and called ends, new work is refused, then everything is shut', async () => {
    const slow = await serve((_request, response) => {
      response.write('one ');
      setTimeout(() => response.end('two'), 200);
    });
    const port = await freePort();
    const mesh = await meshOf(`version: 1\nservices: { shop: { endpoints: ["127.0.0.1:${slow.port}"] } }\ninbound: [{ port: ${port} }]\n`);
    const server = createServer((_request, response) => {
      mesh.fetch('http://shop/').then(
        async (inner) => response.end(await inner.text()),
        (error: unknown) => response.end(String(error)),
      );
    });
    track(server);
    mesh.http.server(server);
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', () => resolve()));
    const served = rawGet(port);
    await until(() => slow.seen.length === 1);
    const closed = mesh.close({ drainMs: 5000 });
    expect(mesh.describe().state).toBe('draining');
    // A new connection is closed without a byte, or told to go.
    const refused = await rawGet(port).then(
      ({ status }) => status,
      () => 'reset',
    );
    expect(refused === 'reset' || refused === 503).toBe(true);
    expect((await served).body).toBe('one two');
    await closed;
    expect(mesh.describe().state).toBe('closed');
    await until(() => slow.sockets.size === 0);
    expect((await mesh.fetch('http://shop/')).headers.get('x-inmesh-failure')).toBe('SI mesh_closed');
  });

  test('without drainMs calls in flight are cut at once, as failures of the catalogue', async () => {
    const slow = await serve(() => undefined);
    const mesh = await meshOf(`version: 1\nservices: { shop: { endpoints: ["127.0.0.1:${slow.port}"] } }\n`);
    const call = mesh.fetch('http://shop/').then(
      (r) => r.headers.get('x-inmesh-failure'),
      (error: unknown) => String(error),
    );
    await until(() => slow.seen.length === 1);
    const began = performance.now();
    await mesh.close();
    expect(await call).toMatch(/^[A-Z]+ /);
    expect(performance.now() - began).toBeLessThan(1000);
    await until(() => slow.sockets.size === 0);
    expectIdle(mesh);
  });

  test('await using, options that are wrong, closing twice', async () => {
    const mesh = await meshOf(yaml(1));
    await expect(mesh.close({ drainMs: -1 })).rejects.toMatchObject({ code: 'ERR_MESH_OPTION' });
    await expect(mesh.close({ drainMs: Number.NaN })).rejects.toMatchObject({ code: 'ERR_MESH_OPTION' });
    await mesh[Symbol.asyncDispose]();
    await mesh.close({ drainMs: 100 });
    await expect(mesh.ready()).rejects.toMatchObject({ code: 'ERR_MESH_CLOSED' });
  });
});
