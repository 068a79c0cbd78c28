/** Load reports of running meshes (gRFC A27, A32, A64): what a real server was told adds up to what the test itself counted. */
import type { EventEmitter } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { sendUnaryData, ServerUnaryCall } from '@grpc/grpc-js';
import { ChannelCredentials, Server } from '@grpc/grpc-js';
import { expect, onTestFinished, test } from 'vitest';
import { ControlPlane } from '../../src/control-plane/control-plane.ts';
import type { LoadReportingOptions } from '../../src/control-plane/load-reports.ts';
import { silentLogger } from '../../src/core/log.ts';
import type { Mesh, MeshOptions } from '../../src/index.ts';
import { createMesh } from '../../src/index.ts';
import type { ResourceJson } from '../../src/sources/xds-snapshot.ts';
import { echoService, echoStub, startEcho, unary } from '../support/echo-grpc.ts';
import { track, until } from '../support/http-servers.ts';
import { expectIdle } from '../support/mesh-app.ts';
import { run, src } from '../support/mesh-process.ts';
import { HTTP2, cluster, endpoints, listener, routeConfig, to } from '../support/mesh-raw.ts';
import { portOf } from '../support/byte-server.ts';

type Json = Readonly<Record<string, unknown>>;

const LRS = { lrs_server: { self: {} } };

async function planeOf(resources: readonly Json[], loadReporting: LoadReportingOptions): Promise<ControlPlane> {
  const plane = await ControlPlane.start({ resources: resources as readonly ResourceJson[], loadReporting });
  onTestFinished(() => plane.close());
  return plane;
}

async function start(plane: ControlPlane, include: readonly string[], options: MeshOptions = {}): Promise<Mesh> {
  const mesh = await createMesh({ bootstrap: plane.bootstrap('app', 'app'), include, logger: silentLogger, ...options });
  onTestFinished(() => mesh.close());
  return mesh;
}

/** Answers with the status that the path names, after a pause where it says so. */
async function backend(held: (() => void)[] = []): Promise<number> {
  const server = createServer((request, response) => {
    if (request.url === '/held') return void held.push(() => response.end('x'));
    const [, status, pause] = (request.url ?? '').split('/');
    setTimeout(() => response.writeHead(Number(status)).end('x'), Number(pause ?? 0));
  });
  track(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

const get = async (mesh: Mesh, path: string, host = 'shop'): Promise<number> => {
  const response = await mesh.fetch(`http://${host}${path}`);
  await response.text();
  return response.status;
};

interface Sums {
  issued: number;
  successful: number;
  errors: number;
  dropped: number;
  droppedBy: Record<string, number>;
}

function sums(plane: ControlPlane, name: string): Sums {
  const total: Sums = { issued: 0, successful: 0, errors: 0, dropped: 0, droppedBy: {} };
  for (const { cluster: of, service, localities, dropped, droppedBy } of plane.loadReports.flatMap(({ clusters }) => clusters)) {
    if (of !== name) continue;
    expect(service).toBe('');
    total.dropped += dropped;
    for (const [category, n] of Object.entries(droppedBy)) total.droppedBy[category] = (total.droppedBy[category] ?? 0) + n;
    for (const { issued, successful, errors, zone } of localities) {
      expect(zone).toBe('z');
      total.issued += issued;
      total.successful += successful;
      total.errors += errors;
    }
  }
  return total;
}

const lastRunning = (plane: ControlPlane, name: string): number | undefined =>
  plane.loadReports
    .flatMap(({ clusters }) => clusters)
    .findLast(({ cluster: of }) => of === name)
    ?.localities.reduce((sum, { inProgress }) => sum + inProgress, 0);

function shop(port: number, change: Json = LRS, assignment: Json = {}): readonly Json[] {
  return [listener('shop', routeConfig('shop', [to('shop')])), cluster('shop', change), { ...endpoints('shop', port), ...assignment }];
}

test('HTTP and gRPC calls across reports, a call that runs meanwhile, and the final report of close()', async () => {
  const held: (() => void)[] = [];
  const [port, echo] = [await backend(held), await startEcho()];
  onTestFinished(() => echo.close());
  const plane = await planeOf(
    [
      ...shop(port),
      listener('echo', routeConfig('echo', [to('echo')])),
      cluster('echo', { ...HTTP2, ...LRS }),
      endpoints('echo', echo.port),
      listener('quiet', routeConfig('quiet', [to('quiet')])),
      cluster('quiet'),
      endpoints('quiet', port),
    ],
    { intervalMs: 100 },
  );
  const mesh = await start(plane, ['shop', 'echo', 'quiet']);
  const stub = echoStub('xds:///echo', mesh.grpc.channelOptions(), ChannelCredentials.createInsecure());
  onTestFinished(() => stub.close());
  echo.state.fail.push(14, 5);
  const counted: Record<number, number> = {};
  const slow = get(mesh, '/held');
  for (let round = 0; round < 6; round++) {
    const answers = await Promise.all([200, 200, 404, 500, 503].map((status) => get(mesh, `/${status}`)));
    for (const status of answers) counted[status] = (counted[status] ?? 0) + 1;
    await Promise.all(Array.from({ length: 4 }, () => unary(stub, 'hi')));
    await get(mesh, '/200', 'quiet');
    await new Promise((resolve) => setTimeout(resolve, 70));
  }
  await until(() => lastRunning(plane, 'shop') === 1);
  expect(mesh.describe().source?.loadReports).toEqual([{ uri: plane.address, connected: true, problem: undefined }]);
  held[0]?.();
  expect(await slow).toBe(200);
  expect(counted).toEqual({ 200: 12, 404: 6, 500: 6, 503: 6 });
  await until(() => plane.loadReports.length >= 4);
  await get(mesh, '/200');
  stub.close();
  await mesh.close();
  await until(() => sums(plane, 'shop').issued === 32);
  expect(sums(plane, 'shop')).toEqual({ issued: 32, successful: 20, errors: 12, dropped: 0, droppedBy: {} });
  expect(sums(plane, 'echo')).toEqual({ issued: 24, successful: 22, errors: 2, dropped: 0, droppedBy: {} });
  expect(sums(plane, 'quiet').issued).toBe(0);
  expect(lastRunning(plane, 'shop')).toBe(0);
  expect(new Set(plane.loadReports.map(({ nodeId }) => nodeId)).size).toBe(1);
});

test('a mesh that is closed at once reports all the same', async () => {
  const plane = await planeOf(shop(await backend()), { intervalMs: 60_000 });
  const mesh = await start(plane, ['shop']);
  expect(await get(mesh, '/200')).toBe(200);
  await mesh.close();
  await until(() => sums(plane, 'shop').successful === 1);
});

test('two meshes of one process add up, and the one that stays goes on', async () => {
  const plane = await planeOf(shop(await backend()), { intervalMs: 100 });
  const [one, two] = [await start(plane, ['shop']), await start(plane, ['shop'])];
  await Promise.all([get(one, '/200'), get(one, '/200'), get(two, '/500')]);
  await one.close();
  await get(two, '/200');
  await two.close();
  await until(() => sums(plane, 'shop').issued === 4);
  expect(sums(plane, 'shop')).toMatchObject({ successful: 3, errors: 1 });
});

test('drop_overloads are reported by category, a circuit breaker only in the total', async () => {
  const drop = (category: string, numerator: number): Json => ({ category, drop_percentage: { numerator, denominator: 'HUNDRED' } });
  const limits = { circuit_breakers: { thresholds: [{ max_requests: 1 }] } };
  const port = await backend();
  const policy = { drop_overloads: [drop('none', 0), drop('some', 50), drop('rest', 100)] };
  const plane = await planeOf(
    [
      ...shop(port, LRS, { policy }),
      listener('tight', routeConfig('tight', [to('tight')])),
      cluster('tight', { ...LRS, ...limits }),
      endpoints('tight', port),
    ],
    { intervalMs: 100 },
  );
  const mesh = await start(plane, ['shop', 'tight']);
  for (let i = 0; i < 40; i++) {
    const response = await mesh.fetch('http://shop/200');
    await response.text();
    expect(response.headers.get('x-inmesh-failure')).toBe('DO drop_overload');
    expect(response.headers.get('x-envoy-drop-overload')).toBe('true');
    expect(response.status).toBe(503);
  }
  const answers = await Promise.all(Array.from({ length: 5 }, () => get(mesh, '/200/50', 'tight')));
  expect(answers.toSorted()).toEqual([200, 503, 503, 503, 503]);
  expectIdle(mesh);
  await mesh.close();
  await until(() => sums(plane, 'shop').dropped === 40 && sums(plane, 'tight').issued === 1);
  const { droppedBy, issued } = sums(plane, 'shop');
  const { some = 0, rest = 0, ...others } = droppedBy;
  expect(others).toEqual({});
  expect(some + rest).toBe(40);
  expect(Math.min(some, rest)).toBeGreaterThan(3);
  expect(issued).toBe(0);
  expect(sums(plane, 'tight')).toEqual({ issued: 1, successful: 1, errors: 0, dropped: 4, droppedBy: {} });
});

test('metrics of endpoints: those that a grpc-js server records, and those in the headers of an HTTP response', async () => {
  const server = new Server({ 'grpc.server_call_metric_recording': 1 });
  onTestFinished(() => server.forceShutdown());
  let calls = 0;
  server.addService(echoService, {
    unary(call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) {
      const recorder = call.getMetricsRecorder();
      recorder.recordNamedMetric('queue', ++calls);
      recorder.recordCPUUtilizationMetric(0.25);
      done(null, call.request);
    },
  });
  const grpcPort = await portOf(server);
  let asked = 0;
  const http = createServer((_request, response) => {
    // The first one is tried again: its metrics count, too.
    response.writeHead(asked++ === 0 ? 503 : 200, { 'endpoint-load-metrics': 'TEXT named_metrics.depth=3,cpu_utilization=0.5' }).end('x');
  });
  track(http);
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
  const retrying = to('shop', { prefix: '/' }, { retry_policy: { retry_on: '5xx', num_retries: 1 } });
  const plane = await planeOf(
    [
      listener('shop', routeConfig('shop', [retrying])),
      cluster('shop', { ...LRS, lrs_report_endpoint_metrics: ['named_metrics.*', 'cpu_utilization'] }),
      endpoints('shop', (http.address() as AddressInfo).port),
      listener('echo', routeConfig('echo', [to('echo')])),
      cluster('echo', { ...HTTP2, ...LRS }),
      endpoints('echo', grpcPort),
    ],
    { intervalMs: 60_000 },
  );
  const mesh = await start(plane, ['shop', 'echo']);
  const stub = echoStub('xds:///echo', mesh.grpc.channelOptions(), ChannelCredentials.createInsecure());
  for (let i = 0; i < 3; i++) expect((await unary(stub, 'hi')).code).toBe(0);
  expect([await get(mesh, '/'), await get(mesh, '/')]).toEqual([200, 200]);
  stub.close();
  await mesh.close();
  await until(() => plane.loadReports.length > 0);
  const metrics = Object.fromEntries(
    plane.loadReports.flatMap(({ clusters }) =>
      clusters.map(({ cluster: of, localities }) => [of, localities.flatMap((place) => place.metrics)]),
    ),
  );
  expect(metrics['echo']).toEqual([{ name: 'queue', requests: 3, total: 6 }]);
  expect(metrics['shop']).toEqual([
    { name: 'cpu_utilization', requests: 3, total: 1.5 },
    { name: 'named_metrics.depth', requests: 3, total: 9 },
  ]);
});

test('a process ends by itself although the server of reports has not said a word', async () => {
  const server = new Server();
  const lines: string[] = [];
  const silent = { path: '/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats', requestStream: true, responseStream: true };
  const same = (bytes: Buffer): Buffer => bytes;
  const codec = { requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same };
  server.addService(
    { stream: { ...silent, ...codec } },
    { stream: (call: EventEmitter) => void call.on('data', () => lines.push('asked')) },
  );
  onTestFinished(() => server.forceShutdown());
  const port = await portOf(server);
  const { code, out, err, lingeredMs } = await run(`
    import { createAdsTransport } from ${JSON.stringify(src('adapters/grpc/ads-stream.ts'))};
    import { RealClock } from ${JSON.stringify(src('core/real-clock.ts'))};
    import { realRandom } from ${JSON.stringify(src('core/random.ts'))};
    import { quietLogger } from ${JSON.stringify(src('core/log.ts'))};
    import { LoadReporter } from ${JSON.stringify(src('xds/load-reporter.ts'))};
    const locality = { region: '', zone: '', subZone: '' };
    const node = { id: 'n', cluster: '', locality, metadata: {}, userAgentName: '', userAgentVersion: '', clientFeatures: [] };
    const server = { uri: '127.0.0.1:${port}', credentials: { type: 'insecure' } };
    const transport = () => createAdsTransport(server, { background: true });
    const reporter = new LoadReporter({ clock: new RealClock(), random: realRandom, log: quietLogger, uri: 'x', node, transport });
    const place = reporter.open('a', '').load.at('//', 0);
    place.start();
    place.end(true);
    setTimeout(() => console.log('done'), 500);
  `);
  expect([code, err, out.trim(), lines]).toEqual([0, '', 'done', ['asked']]);
  expect(lingeredMs).toBeLessThan(2000);
});

test('negative control: without lrs_server there is no stream', async () => {
  const plane = await planeOf(shop(await backend(), {}), { intervalMs: 100 });
  const mesh = await start(plane, ['shop']);
  for (let i = 0; i < 5; i++) await get(mesh, '/200');
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(plane.loadReports).toEqual([]);
  expect(mesh.describe().source).not.toHaveProperty('loadReports');
  await mesh.close();
  expect(plane.loadReports).toEqual([]);
});
