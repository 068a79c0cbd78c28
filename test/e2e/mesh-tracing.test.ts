/** OpenTelemetry with a real SDK, through the whole mesh over real sockets: spans, context, propagation, metrics. */
import { createServer } from 'node:http';
import { context, metrics, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { Metadata } from '@grpc/grpc-js';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import { afterAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import type { Mesh } from '../../src/index.ts';
import { echoStub, expand, startEcho, unary } from '../support/echo-grpc.ts';
import { deadPort, serve, track, until } from '../support/http-servers.ts';
import { expectIdle, freePort, meshOf, rawGet } from '../support/mesh-app.ts';

const exporter = new InMemorySpanExporter();
const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
const measured = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const reader = new PeriodicExportingMetricReader({ exporter: measured, exportIntervalMillis: 1_000_000, exportTimeoutMillis: 1000 });
const meters = new MeterProvider({ readers: [reader] });
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
propagation.setGlobalPropagator(new W3CTraceContextPropagator());
trace.setGlobalTracerProvider(provider);
metrics.setGlobalMeterProvider(meters);
beforeEach(() => exporter.reset());
afterAll(async () => {
  await meters.shutdown();
  await provider.shutdown();
});

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';

async function spans(count: number): Promise<readonly ReadableSpan[]> {
  await until(() => exporter.getFinishedSpans().length >= count);
  const found = exporter.getFinishedSpans();
  expect(found.map((span) => `${span.kind} ${span.name}`)).toHaveLength(count);
  return found;
}

const parentOf = (span: ReadableSpan | undefined): string | undefined => span?.parentSpanContext?.spanId;
const idOf = (span: ReadableSpan | undefined): string => span?.spanContext().spanId ?? '';
const traceparentOf = (span: ReadableSpan | undefined): string => `00-${span?.spanContext().traceId}-${idOf(span)}-01`;

async function backend(answer: (number: number) => number = () => 200) {
  return serve((_request, response, number) => {
    response.statusCode = answer(number);
    response.end('ok');
  });
}

const shop = (port: number, rest = ''): string => `version: 1\nservices: { shop: { endpoints: ["127.0.0.1:${port}"]${rest} } }\n`;

test('one CLIENT span per call, with the stable names, and its context on the wire', async () => {
  const back = await backend();
  const mesh = await meshOf(shop(back.port));
  const response = await mesh.fetch('http://shop/cart?id=1', { method: 'POST', body: 'x' });
  expect(await response.text()).toBe('ok');
  const [span] = await spans(1);
  expect(span?.kind).toBe(SpanKind.CLIENT);
  expect(span?.name).toBe('POST');
  expect(span?.attributes).toMatchObject({
    'http.request.method': 'POST',
    'http.response.status_code': 200,
    'server.address': 'shop',
    'server.port': 80,
    'url.full': 'http://shop/cart?id=1',
    'inmesh.cluster': 'shop',
  });
  expect(span?.attributes).not.toHaveProperty('error.type');
  expect(span?.attributes).not.toHaveProperty('http.request.resend_count');
  expect(span?.status.code).toBe(SpanStatusCode.UNSET);
  expect(back.seen[0]?.headers['traceparent']).toBe(traceparentOf(span));
  expectIdle(mesh);
});

test('a child per attempt, only when there is more than one; each upstream is a child of its attempt', async () => {
  const back = await backend((number) => (number < 3 ? 503 : 200));
  const mesh = await meshOf(shop(back.port, ', retries: { attempts: 3, on: [503], backoff: { base: 1ms } }'));
  expect((await mesh.fetch('http://shop/')).status).toBe(200);
  const all = await spans(4);
  const call = all.find((span) => parentOf(span) === undefined);
  const tries = all
    .filter((span) => span !== call)
    .sort((a, b) => Number(a.attributes['http.request.resend_count'] ?? 0) - Number(b.attributes['http.request.resend_count'] ?? 0));
  expect(call?.attributes).toMatchObject({ 'http.response.status_code': 200, 'inmesh.attempts': 3 });
  expect(
    tries.map((span) => [
      parentOf(span),
      span.attributes['http.request.resend_count'],
      span.attributes['http.response.status_code'],
      span.attributes['error.type'],
      span.status.code,
    ]),
  ).toEqual([
    [idOf(call), undefined, 503, '503', SpanStatusCode.ERROR],
    [idOf(call), 1, 503, '503', SpanStatusCode.ERROR],
    [idOf(call), 2, 200, undefined, SpanStatusCode.UNSET],
  ]);
  expect(tries.every((span) => span.attributes['network.peer.port'] === back.port)).toBe(true);
  // The first was sent before anybody knew that there would be more: it names the call.
  expect(back.seen.map(({ headers }) => headers['traceparent'])).toEqual([
    traceparentOf(call),
    traceparentOf(tries[1]),
    traceparentOf(tries[2]),
  ]);
  // Attempts lie within the call, in order.
  const time = ([s, n]: readonly [number, number]): number => s * 1e9 + n;
  for (const span of tries) expect(time(span.startTime)).toBeGreaterThanOrEqual(time(call?.startTime ?? [0, 0]) - 1e6);
  expect(time(tries[0]?.endTime ?? [0, 0])).toBeLessThanOrEqual(time(tries[1]?.startTime ?? [0, 0]) + 1e6);
});

test('failures carry error.type and the response flag', async () => {
  const mesh = await meshOf(
    `version: 1\nservices:\n  shop: { endpoints: ["127.0.0.1:${await deadPort()}"] }\n  empty: { endpoints: [] }\n  other: { endpoints: [], routes: [{ match: { path: /only } }] }\n`,
  );
  for (const url of ['http://shop/', 'http://empty/', 'http://other/']) await (await mesh.fetch(url)).text();
  expect(
    (await spans(3)).map(({ attributes: a, status }) => [
      a['error.type'],
      a['inmesh.response_flag'],
      a['http.response.status_code'],
      status.code,
    ]),
  ).toEqual([
    ['upstream_connection_failure', 'UF', 503, SpanStatusCode.ERROR],
    ['no_healthy_upstream', 'UH', 503, SpanStatusCode.ERROR],
    ['route_not_found', 'NR', 404, SpanStatusCode.ERROR],
  ]);
});

async function frontOf(mesh: Mesh, port: number, handle: () => Promise<unknown>): Promise<void> {
  const server = createServer((_request, response) => {
    handle().then(
      () => response.end('front'),
      (error: unknown) => {
        response.statusCode = 500;
        response.end(String(error));
      },
    );
  });
  track(server);
  mesh.http.server(server);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', () => resolve()));
}

test('one trace from the caller over a SERVER span to fetch and gRPC, by AsyncLocalStorage; an own span of the application lies between', async () => {
  const back = await backend();
  const echo = await startEcho();
  onTestFinished(() => echo.close());
  const port = await freePort();
  const mesh = await meshOf(
    `version: 1\nservices:\n  shop: { endpoints: ["127.0.0.1:${back.port}"] }\n  echo: { endpoints: ["127.0.0.1:${echo.port}"], protocol: grpc }\ninbound: [{ port: ${port} }]\n`,
  );
  const stub = echoStub('echo', mesh.grpc.channelOptions());
  onTestFinished(() => stub.close());
  await frontOf(mesh, port, async () => {
    await (await mesh.fetch('http://shop/')).text();
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect((await unary(stub, 'hi')).code).toBe(0);
    await trace.getTracer('app').startActiveSpan('work', async (span) => {
      await (await mesh.fetch('http://shop/second')).text();
      span.end();
    });
  });
  expect(await rawGet(port, '/page?q=1', { traceparent: `00-${TRACE}-${PARENT}-01`, 'user-agent': 'test/1' })).toMatchObject({
    status: 200,
    body: 'front',
  });
  const all = await spans(5);
  expect(new Set(all.map((span) => span.spanContext().traceId))).toEqual(new Set([TRACE]));
  const server = all.find((span) => span.kind === SpanKind.SERVER);
  expect(parentOf(server)).toBe(PARENT);
  expect(server?.attributes).toMatchObject({
    'http.request.method': 'GET',
    'url.path': '/page',
    'url.query': 'q=1',
    'url.scheme': 'http',
    'http.response.status_code': 200,
    'client.address': '127.0.0.1',
    'user_agent.original': 'test/1',
  });
  const work = all.find((span) => span.name === 'work');
  expect(all.filter((span) => span.kind === SpanKind.CLIENT).map((span) => [span.name, parentOf(span)])).toEqual([
    ['GET', idOf(server)],
    ['echo.Echo/Unary', idOf(server)],
    ['GET', idOf(work)],
  ]);
  expect(echo.state.lastMetadata?.get('traceparent')).toEqual([traceparentOf(all.find((span) => span.name === 'echo.Echo/Unary'))]);
  await until(() => mesh.describe().callsInFlight === 0);
  expectIdle(mesh);
});

test('gRPC on both sides: RPC conventions, context in and out, streams', async () => {
  const port = await freePort();
  const mesh = await meshOf(
    `version: 1\nservices: { echo: { endpoints: ["127.0.0.1:${port}"], protocol: grpc } }\ninbound: [{ port: ${port} }]\n`,
  );
  const echo = await startEcho({ interceptors: mesh.grpc.serverInterceptors() }, mesh.grpc.serverCredentials(), port);
  onTestFinished(() => echo.close());
  const stub = echoStub('echo', mesh.grpc.channelOptions());
  onTestFinished(() => stub.close());
  const metadata = new Metadata();
  metadata.set('traceparent', `00-${TRACE}-${PARENT}-01`);
  expect((await unary(stub, 'hi', metadata)).code).toBe(0);
  const [first, second] = await spans(2);
  const client = first?.kind === SpanKind.CLIENT ? first : second;
  const server = first?.kind === SpanKind.SERVER ? first : second;
  for (const span of [client, server]) {
    expect(span?.name).toBe('echo.Echo/Unary');
    expect(span?.attributes).toMatchObject({ 'rpc.system.name': 'grpc', 'rpc.method': 'echo.Echo/Unary', 'rpc.status_code': 'OK' });
    expect(span?.attributes).not.toHaveProperty('http.request.method');
  }
  expect(parentOf(server)).toBe(idOf(client));
  exporter.reset();
  echo.state.fail.push(5);
  expect((await unary(stub, 'hi')).code).toBe(5);
  expect((await expand(stub, 3)).values).toHaveLength(3);
  const all = await spans(4);
  // NOT_FOUND is an error for the client, and none of the server's.
  expect(
    all
      .slice(0, 2)
      .sort((a, b) => a.kind - b.kind)
      .map((s) => [s.kind, s.attributes['rpc.status_code'], s.attributes['error.type'], s.status.code]),
  ).toEqual([
    [SpanKind.SERVER, 'NOT_FOUND', undefined, SpanStatusCode.UNSET],
    [SpanKind.CLIENT, 'NOT_FOUND', 'NOT_FOUND', SpanStatusCode.ERROR],
  ]);
});

test('metrics: duration histograms under the stable names, counters as observables', async () => {
  const back = await backend((number) => (number === 1 ? 500 : 200));
  const port = await freePort();
  const mesh = await meshOf(
    `version: 1\nservices:\n  metered: { endpoints: ["127.0.0.1:${back.port}"], routes: [{ name: main }] }\n  none: { endpoints: [] }\ninbound: [{ port: ${port} }]\n`,
  );
  await frontOf(mesh, port, () => Promise.resolve());
  for (let i = 0; i < 3; i++) await (await mesh.fetch('http://metered/')).text();
  await (await mesh.fetch('http://none/')).text();
  await rawGet(port);
  await until(() => mesh.describe().callsInFlight === 0);
  measured.reset();
  await reader.forceFlush();
  const found = measured.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
  const points = (name: string) =>
    found
      .filter((m) => m.descriptor.name === name)
      .flatMap((m) => m.dataPoints as readonly { attributes: Record<string, unknown>; value: unknown }[]);
  const duration = points('http.client.request.duration').filter(({ attributes }) => attributes['server.address'] === 'metered');
  expect(found.find((m) => m.descriptor.name === 'http.client.request.duration')?.descriptor).toMatchObject({ unit: 's' });
  expect(
    duration
      .map(({ attributes, value }) => [
        attributes['http.response.status_code'],
        attributes['error.type'],
        (value as { count: number }).count,
      ])
      .sort(),
  ).toEqual([
    [200, undefined, 2],
    [500, '500', 1],
  ]);
  const server = points('http.server.request.duration');
  expect(server.at(-1)?.attributes).toMatchObject({ 'http.request.method': 'GET', 'url.scheme': 'http', 'http.response.status_code': 200 });
  const count = (name: string, match: Record<string, unknown>) =>
    points(name)
      .filter(({ attributes }) => Object.entries(match).every(([k, v]) => attributes[k] === v))
      .reduce((sum, { value }) => sum + Number(value), 0);
  expect(count('inmesh.calls.started', { direction: 'outbound', route: 'main' })).toBe(3);
  expect([
    count('inmesh.calls.ended', { route: 'main', class: '2xx' }),
    count('inmesh.calls.ended', { route: 'main', class: '5xx' }),
  ]).toEqual([2, 1]);
  expect(count('inmesh.calls.failed', { flag: 'UH' })).toBe(1);
  expect([
    count('inmesh.attempts', { route: 'main' }),
    count('inmesh.retries', { route: 'main' }),
    count('inmesh.calls.active', {}),
  ]).toEqual([3, 0, 0]);
});
