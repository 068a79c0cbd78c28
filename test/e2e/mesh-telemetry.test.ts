/** What the mesh counts and forwards without any OpenTelemetry, over real sockets. */
import { createServer } from 'node:http';
import { Metadata } from '@grpc/grpc-js';
import { expect, onTestFinished, test } from 'vitest';
import { echoStub, expand, startEcho, unary } from '../support/echo-grpc.ts';
import { deadPort, serve, track, until } from '../support/http-servers.ts';
import { counters, expectIdle, freePort, meshOf, rawGet } from '../support/mesh-app.ts';
import { run, src } from '../support/mesh-process.ts';
import { FORWARDED_HEADERS } from '../../src/telemetry/inbound-context.ts';

test('describe() counts exactly what was sent, by route and cluster, out and in, HTTP and gRPC', async () => {
  const [httpPort, grpcPort] = [await freePort(), await freePort()];
  const mesh = await meshOf(`version: 1
services:
  shop:
    endpoints: ["127.0.0.1:${httpPort}"]
    routes:
      - { name: flaky, match: { path: /flaky }, retries: { attempts: 2, on: [503], backoff: { base: 1ms } } }
      - { name: all }
  echo: { endpoints: ["127.0.0.1:${grpcPort}"], protocol: grpc, retries: { attempts: 3, on: [unavailable], backoff: { base: 1ms } } }
  dead: { endpoints: ["127.0.0.1:${await deadPort()}"] }
inbound: [{ port: ${httpPort}, deny: [{ paths: [/denied] }] }, { port: ${grpcPort} }]
`);
  let flaky = 0;
  const server = createServer((request, response) => {
    if (request.url === '/flaky') response.statusCode = flaky++ === 0 ? 503 : 200;
    if (request.url === '/missing') response.statusCode = 404;
    response.end();
  });
  track(server);
  mesh.http.server(server);
  await new Promise<void>((resolve) => server.listen(httpPort, '127.0.0.1', () => resolve()));
  const echo = await startEcho({ interceptors: mesh.grpc.serverInterceptors() }, mesh.grpc.serverCredentials(), grpcPort);
  onTestFinished(() => echo.close());
  const stub = echoStub('echo', mesh.grpc.channelOptions());
  onTestFinished(() => stub.close());

  for (const path of ['/', '/', '/missing', '/denied', '/flaky']) await (await mesh.fetch(`http://shop${path}`)).text();
  await (await mesh.fetch('http://dead/')).text();
  echo.state.fail.push(14, 14);
  expect((await unary(stub, 'x')).code).toBe(0);
  echo.state.fail.push(5);
  expect((await unary(stub, 'x')).code).toBe(5);
  expect((await expand(stub, 2)).code).toBe(0);
  await until(() => mesh.describe().callsInFlight === 0);

  const found = Object.fromEntries(
    counters(mesh).map(({ direction, route, cluster, started, byClass, byGrpcStatus, failures, attempts, retries, attemptFailures }) => [
      `${direction} ${route} ${cluster}`.trim(),
      { started, byClass, byGrpcStatus, failures, attempts, retries, attemptFailures },
    ]),
  );
  const none = { byGrpcStatus: {}, failures: {}, attemptFailures: {}, retries: 0 };
  expect(found['outbound all shop']).toEqual({ ...none, started: 4, byClass: { '2xx': 2, '4xx': 2 }, attempts: 4 });
  expect(found['outbound flaky shop']).toEqual({ ...none, started: 1, byClass: { '2xx': 1 }, attempts: 2, retries: 1 });
  expect(Object.entries(found).find(([name]) => name.endsWith('dead'))?.[1]).toMatchObject({
    started: 1,
    byClass: { '5xx': 1 },
    failures: { UF: 1 },
  });
  expect(Object.entries(found).find(([name]) => name.startsWith('outbound') && name.endsWith('echo'))?.[1]).toMatchObject({
    started: 3,
    byGrpcStatus: { 0: 2, 5: 1 },
    failures: {},
    attempts: 5,
    retries: 2,
  });
  const inbound = counters(mesh).filter(({ direction }) => direction === 'inbound');
  const sum = (pick: (one: (typeof inbound)[number]) => number): number => inbound.reduce((total, one) => total + pick(one), 0);
  // 5 calls and one retry over HTTP, 3 calls and two retries over gRPC.
  expect(sum((one) => one.started)).toBe(11);
  expect(sum((one) => one.failures['rbac_access_denied'] ?? 0)).toBe(1);
  expect([sum((one) => one.byGrpcStatus[14] ?? 0), sum((one) => one.byGrpcStatus[5] ?? 0), sum((one) => one.byGrpcStatus[0] ?? 0)]).toEqual(
    [2, 1, 2],
  );
  for (const one of counters(mesh)) expect(one.latencyMs.count).toBe(one.ended);
  expectIdle(mesh);
  // Plain data all through.
  expect(JSON.parse(JSON.stringify(mesh.describe()))).toMatchObject({ state: 'running', callsInFlight: 0 });
});

test('trace headers of the caller go on to fetch and gRPC, untouched, when there is no SDK', async () => {
  const back = await serve((_request, response) => response.end('ok'));
  const echo = await startEcho();
  onTestFinished(() => echo.close());
  const port = await freePort();
  const mesh = await meshOf(
    `version: 1\nservices: { shop: { endpoints: ["127.0.0.1:${back.port}"] }, echo: { endpoints: ["127.0.0.1:${echo.port}"], protocol: grpc } }\ninbound: [{ port: ${port} }]\n`,
  );
  const stub = echoStub('echo', mesh.grpc.channelOptions());
  onTestFinished(() => stub.close());
  const server = createServer((request, response) => {
    const own = new Metadata();
    own.set('x-request-id', 'own');
    Promise.all([
      mesh.fetch('http://shop/'),
      fetch('http://shop/', { dispatcher: mesh.dispatcher } as RequestInit),
      unary(stub, 'x', request.url === '/own' ? own : undefined),
    ]).then(
      () => response.end(),
      (error: unknown) => response.end(String(error)),
    );
  });
  track(server);
  mesh.http.server(server);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', () => resolve()));
  const headers = Object.fromEntries(FORWARDED_HEADERS.map((name) => [name, `v-${name}`]));
  expect((await rawGet(port, '/', { ...headers, 'x-secret': 'stays' })).body).toBe('');
  for (const { headers: got } of back.seen) {
    expect(got).toMatchObject(headers);
    expect(got).not.toHaveProperty('x-secret');
  }
  expect(back.seen).toHaveLength(2);
  for (const [name, value] of Object.entries(headers)) expect([name, echo.state.lastMetadata?.get(name)]).toEqual([name, [value]]);
  // What the application sets itself stays; without an inbound call nothing is added.
  await rawGet(port, '/own', headers);
  expect([echo.state.lastMetadata?.get('x-request-id'), echo.state.lastMetadata?.get('traceparent')]).toEqual([['own'], ['v-traceparent']]);
  await (await mesh.fetch('http://shop/')).text();
  expect(FORWARDED_HEADERS.filter((name) => back.seen.at(-1)?.headers[name] !== undefined)).toEqual([]);
});

test('without an SDK nothing of OpenTelemetry is loaded, on either side', async () => {
  const back = await serve((_request, response) => response.end('ok'));
  const port = await freePort();
  const app = `
    import { createServer, get } from 'node:http';
    import { createMesh } from ${JSON.stringify(src('index.ts'))};
    const mesh = await createMesh('mesh.yaml');
    const server = mesh.http.server(createServer((request, response) => mesh.fetch('http://shop/').then((r) => r.text()).then((text) => response.end(text))));
    await new Promise((resolve) => server.listen(${port}, '127.0.0.1', resolve));
    const status = await new Promise((resolve) => get({ host: '127.0.0.1', port: ${port}, headers: { traceparent: 't' } }, (r) => { r.resume().on('end', () => resolve(r.statusCode)); }));
    console.log(status, JSON.stringify(globalThis.loaded.filter((url) => url.includes('opentelemetry'))));
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    await mesh.close();
  `;
  const watch = `data:text/javascript,import{registerHooks}from'node:module';globalThis.loaded=[];registerHooks({load(u,c,n){globalThis.loaded.push(u);return n(u,c)}})`;
  const { out, err, code } = await run(app, {
    flags: ['--import', watch],
    files: { 'mesh.yaml': `version: 1\nservices: { shop: { endpoints: ["127.0.0.1:${back.port}"] } }\ninbound: [{ port: ${port} }]\n` },
  });
  expect([err, code, out.trim()]).toEqual(['', 0, '200 []']);
  expect(back.seen[0]?.headers['traceparent']).toBe('t');
});
