/** grpc-js stubs over the mesh's channel, against real grpc-js servers: every kind of call, on the direct path and on the promise path. */
import { createServer } from 'node:net';
import { compressionAlgorithms, connectivityState, CallCredentials, ChannelCredentials, Client, Metadata, status } from '@grpc/grpc-js';
import { describe, expect, onTestFinished, test } from 'vitest';
import { channelFactory } from '../../src/adapters/grpc/channel.ts';
import { failure, FAILURES } from '../../src/core/failure.ts';
import { failureReply } from '../../src/core/reply.ts';
import type { Echo, EchoStub } from '../support/echo-grpc.ts';
import { chat, collect, echoStub, expand, startEcho, startRelay, unary } from '../support/echo-grpc.ts';
import type { FakeSetting } from '../support/fake-grpc-engine.ts';
import { FakeGrpcEngine } from '../support/fake-grpc-engine.ts';

type Options = Parameters<typeof echoStub>[1];

async function setUp(
  setting: Partial<FakeSetting> = {},
  options: Options = {},
  servers = 1,
): Promise<{ echo: Echo; echoes: Echo[]; engine: FakeGrpcEngine; stub: EchoStub }> {
  const echoes = await Promise.all(Array.from({ length: servers }, () => startEcho()));
  const engine = new FakeGrpcEngine({ ports: echoes.map((e) => e.port), ...setting });
  const stub = echoStub('echo:1', { ...options, channelFactoryOverride: channelFactory(engine) });
  onTestFinished(async () => {
    stub.close();
    for (const echo of echoes) echo.close();
    await engine.close();
  });
  const echo = echoes[0];
  if (echo === undefined) throw new Error('no server');
  return { echo, echoes, engine, stub };
}

/** A port that nobody listens on. */
async function deadPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const asked = (value: string): Metadata => {
  const metadata = new Metadata();
  metadata.set('x-ask', value);
  return metadata;
};

describe.each([
  { path: 'direct', direct: true },
  { path: 'promise', direct: false },
])('on the $path path', ({ direct }) => {
  test('unary: value, metadata both ways, trailers, binary trailers', async () => {
    const { echo, engine, stub } = await setUp({ direct });
    const reply = await unary(stub, 'hello', asked('7'));
    expect(reply).toMatchObject({ code: 0, value: 'hello', peer: `127.0.0.1:${echo.port}` });
    expect(reply.head?.get('x-head')).toEqual(['7']);
    expect(reply.trailers?.get('x-trailer')).toEqual(['end']);
    expect(reply.trailers?.get('x-trailer-bin')).toEqual([Buffer.from([1, 2, 3])]);
    expect(engine.record.calls).toEqual([{ status: 200, grpcStatus: 0, failure: undefined, attempts: 1, path: '/echo.Echo/Unary' }]);
    expect(engine.record.attempts).toMatchObject([{ status: 200, grpcStatus: 0, sent: true }]);
    expect(engine.endpoints[0]?.active).toBe(0);
  });

  test('client streaming, server streaming, bidirectional', async () => {
    const { stub, engine } = await setUp({ direct });
    expect(await collect(stub, ['a', 'b', 'c'])).toMatchObject({ code: 0, value: 'abc' });
    expect(await expand(stub, 4)).toMatchObject({ code: 0, values: ['m0', 'm1', 'm2', 'm3'] });
    const talk = await chat(stub, ['x', 'y']);
    expect(talk).toMatchObject({ code: 0, values: ['x', 'y'] });
    expect(talk.trailers?.get('x-trailer')).toEqual(['end']);
    expect(await expand(stub, 0)).toMatchObject({ code: 0, values: [] });
    expect(engine.record.calls.map((c) => c.grpcStatus)).toEqual([0, 0, 0, 0]);
  });

  test('a status of the server is delivered with its details and trailers, and is no failure of ours', async () => {
    const { echo, engine, stub } = await setUp({ direct });
    echo.state.fail.push(status.NOT_FOUND);
    const reply = await unary(stub, 'hello');
    expect(reply).toMatchObject({ code: status.NOT_FOUND, details: 'refused with NOT_FOUND' });
    expect(reply.trailers?.get('x-refused')).toEqual(['1']);
    expect(engine.record.calls).toMatchObject([{ status: 200, grpcStatus: status.NOT_FOUND, failure: undefined }]);
    echo.state.fail.push(status.UNAVAILABLE);
    expect(await unary(stub, 'hello')).toMatchObject({ code: status.UNAVAILABLE, details: 'refused with UNAVAILABLE' });
    expect(engine.record.attempts[1]).toMatchObject({ grpcStatus: status.UNAVAILABLE, failure: undefined });
  });

  test('deadline: sent as grpc-timeout, kept here, cancels at the server', async () => {
    const { echo, engine, stub } = await setUp({ direct });
    await unary(stub, 'warm');
    echo.state.delayMs = 2_000;
    const begun = Date.now();
    const reply = await unary(stub, 'slow', new Metadata(), { deadline: Date.now() + 100 });
    expect(reply.code).toBe(status.DEADLINE_EXCEEDED);
    expect(reply.details).toMatch(/^\[DT\] downstream_deadline_exceeded: /);
    expect(Date.now() - begun).toBeLessThan(1_000);
    expect(echo.state.lastDeadline).toBeLessThan(Date.now() + 200);
    expect(engine.record.calls[1]).toMatchObject({ failure: 'downstream_deadline_exceeded', grpcStatus: 4 });
    expect(engine.endpoints[0]?.active).toBe(0);
    await expect.poll(() => echo.state.cancelled).toBe(1);
  });

  test('a deadline in the past fails without an attempt', async () => {
    const { engine, stub } = await setUp({ direct });
    expect(await unary(stub, 'late', new Metadata(), { deadline: Date.now() - 5 })).toMatchObject({ code: status.DEADLINE_EXCEEDED });
    expect(engine.record.attempts).toEqual([]);
  });

  test('cancellation by the application reaches the server', async () => {
    const { echo, engine, stub } = await setUp({ direct });
    await unary(stub, 'warm');
    echo.state.delayMs = 2_000;
    const reply = await new Promise<number>((resolve) => {
      const call = stub.unary(Buffer.from('x'), new Metadata(), {}, (error) => resolve(error?.code ?? 0));
      setTimeout(() => call.cancel(), 50);
    });
    expect(reply).toBe(status.CANCELLED);
    await expect.poll(() => echo.state.cancelled).toBe(1);
    expect(engine.record.calls[1]).toMatchObject({ grpcStatus: 1, failure: 'downstream_remote_disconnect' });
    expect(engine.endpoints[0]?.active).toBe(0);

    const outcome = await new Promise<number>((resolve) => {
      const stream = stub.expand(Buffer.from('1000'), new Metadata(), {});
      stream.once('data', () => stream.cancel());
      stream.on('error', () => undefined);
      stream.on('status', (s: { code: number }) => resolve(s.code));
    });
    expect(outcome).toBe(status.CANCELLED);
    await expect.poll(() => echo.state.cancelled).toBe(2);
  });

  test('retry over a failing endpoint: no call fails', async () => {
    const live = await startEcho();
    onTestFinished(() => live.close());
    const dead = await deadPort();
    const engine = new FakeGrpcEngine({ ports: [dead, live.port], retries: 1, direct });
    const stub = echoStub('echo:1', { channelFactoryOverride: channelFactory(engine) });
    onTestFinished(() => engine.close());
    const replies = [];
    for (let i = 0; i < 20; i++) replies.push(await unary(stub, `n${i}`));
    expect(replies.map((r) => r.code)).toEqual(Array.from({ length: 20 }, () => 0));
    const failed = engine.record.attempts.filter((a) => a.failure !== undefined);
    expect(failed.length).toBeGreaterThan(5);
    for (const attempt of failed) expect(attempt).toMatchObject({ failure: 'upstream_connection_failure', sent: false, grpcStatus: 14 });
  });

  test('without a retry a dead endpoint fails at once, with its flag', async () => {
    const engine = new FakeGrpcEngine({ ports: [await deadPort()], direct });
    const stub = echoStub('echo:1', { channelFactoryOverride: channelFactory(engine) });
    onTestFinished(() => engine.close());
    const begun = Date.now();
    const reply = await unary(stub, 'x', new Metadata(), { deadline: Date.now() + 10_000 });
    expect(reply.code).toBe(status.UNAVAILABLE);
    expect(reply.details).toMatch(/^\[UF\] upstream_connection_failure: 127\.0\.0\.1:\d+: .*ECONNREFUSED/);
    expect(Date.now() - begun).toBeLessThan(2_000);
  });

  test('messages of a client stream are sent again after a refused attempt', async () => {
    const { echo, engine, stub } = await setUp({ retries: 2, direct });
    echo.state.fail.push(status.UNAVAILABLE, status.UNAVAILABLE);
    expect(await collect(stub, ['one', 'two', 'three'])).toMatchObject({ code: 0, value: 'onetwothree' });
    expect(echo.state.received).toEqual(['one', 'two', 'three']);
    expect(engine.record.calls).toMatchObject([{ attempts: 3, grpcStatus: 0 }]);
  });

  test('each kind of call is retried before commitment', async () => {
    const { echo, stub, engine } = await setUp({ retries: 1, direct });
    echo.state.fail.push(status.UNAVAILABLE);
    expect(await unary(stub, 'u')).toMatchObject({ code: 0, value: 'u' });
    echo.state.fail.push(status.UNAVAILABLE);
    expect(await expand(stub, 2)).toMatchObject({ code: 0, values: ['m0', 'm1'] });
    echo.state.fail.push(status.UNAVAILABLE);
    expect(await chat(stub, ['a', 'b'])).toMatchObject({ code: 0, values: ['a', 'b'] });
    expect(engine.record.calls.map((c) => c.attempts)).toEqual([2, 2, 2]);
  });

  test('a call that sent more than it may keep is not retried', async () => {
    const { echo, engine, stub } = await setUp({ retries: 1, direct }, { 'grpc.per_rpc_retry_buffer_size': 1_000 });
    echo.state.fail.push(status.UNAVAILABLE);
    const reply = await collect(stub, ['x'.repeat(900), 'y'.repeat(900)]);
    expect(reply.code).toBe(status.UNAVAILABLE);
    expect(engine.record.calls).toMatchObject([{ attempts: 1 }]);
  });

  test('big messages within the limits of the application, refused beyond them', async () => {
    const { stub } = await setUp({ direct }, { 'grpc.max_receive_message_length': 9 << 20, 'grpc.max_send_message_length': 5 << 20 });
    const reply = await unary(stub, 'b'.repeat(3 << 20));
    expect(reply).toMatchObject({ code: 0 });
    expect(reply.value.length).toBe(3 << 20);
    expect(await unary(stub, 'b'.repeat(6 << 20))).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
  });

  test('compression as the application set it', async () => {
    const { echo, stub } = await setUp({ direct }, { 'grpc.default_compression_algorithm': compressionAlgorithms.gzip });
    expect(await unary(stub, 'z'.repeat(10_000))).toMatchObject({ code: 0, value: 'z'.repeat(10_000) });
    expect(await chat(stub, ['a'.repeat(1_000), 'b'])).toMatchObject({ values: ['a'.repeat(1_000), 'b'] });
    expect(echo.state.calls).toBe(2);
  });

  test('layers see and change path, authority and metadata; the reply head too', async () => {
    const { echo, stub } = await setUp({
      direct,
      enter: (call) => {
        expect(call.head).toMatchObject({
          protocol: 'grpc',
          method: 'POST',
          scheme: 'http',
          authority: 'echo:1',
          path: '/echo.Echo/Nothing',
        });
        call.head.path = '/echo.Echo/Unary';
        call.head.headers.set('x-added', 'by-mesh');
        call.head.headers.append('x-ask', 'again');
        return undefined;
      },
      leave: (_call, head) => head.headers.set('x-left', 'by-mesh'),
    });
    const metadata = asked('first');
    const reply = await new Promise<{ head: Metadata | undefined }>((resolve) => {
      let head: Metadata | undefined;
      const same = (b: Buffer): Buffer => b;
      const call = stub.makeUnaryRequest('/echo.Echo/Nothing', same, same, Buffer.from('q'), metadata, () => resolve({ head }));
      call.on('metadata', (m: Metadata) => (head = m));
    });
    expect(echo.state.lastMetadata?.get('x-added')).toEqual(['by-mesh']);
    expect(reply.head?.get('x-left')).toEqual(['by-mesh']);
    // The metadata of the application is its own.
    expect(metadata.get('x-added')).toEqual([]);
    expect(metadata.get('x-ask')).toEqual(['first']);
  });

  test('a failure of the mesh is a status at once: flag, details, restricted codes (gRFC A54)', async () => {
    let code: number | undefined;
    const { stub, engine } = await setUp({
      direct,
      enter: () => {
        const reply = failureReply(failure(FAILURES.routeNotFound, 'no route for /echo.Echo/Unary'));
        return code === undefined ? reply : Object.assign(Object.create(reply) as typeof reply, { grpcStatus: code });
      },
    });
    const begun = Date.now();
    expect(await unary(stub, 'x', new Metadata(), { deadline: Date.now() + 10_000 })).toMatchObject({
      code: status.UNAVAILABLE,
      details: '[NR] route_not_found: no route for /echo.Echo/Unary',
    });
    expect(Date.now() - begun).toBeLessThan(1_000);
    code = status.NOT_FOUND;
    expect(await unary(stub, 'x')).toMatchObject({ code: status.INTERNAL });
    expect(engine.record.calls).toMatchObject([{ failure: 'route_not_found', grpcStatus: 14, status: 404 }, { grpcStatus: 13 }]);
    expect(await chat(stub, ['a'])).toMatchObject({ code: status.INTERNAL, values: [] });
  });

  test('a connection that breaks before the reply is a reset that reached maybe; after it, the end of the call', async () => {
    const echo = await startEcho();
    const relay = await startRelay(echo.port);
    const engine = new FakeGrpcEngine({ ports: [relay.port], direct });
    const stub = echoStub('echo:1', { channelFactoryOverride: channelFactory(engine) });
    onTestFinished(async () => {
      relay.close();
      echo.close();
      await engine.close();
    });
    echo.state.delayMs = 5_000;
    const pending = unary(stub, 'x');
    await expect.poll(() => echo.state.calls).toBe(1);
    relay.cut();
    const reply = await pending;
    expect(reply.code).toBe(status.UNAVAILABLE);
    expect(reply.details).toMatch(/^\[UC\] upstream_reset_before_response_started: /);
    expect(engine.record.attempts[0]).toMatchObject({ failure: 'upstream_reset_before_response_started', sent: true });

    echo.state.delayMs = 20;
    const stream = expand(stub, 1_000);
    await expect.poll(() => echo.state.calls).toBe(2);
    await new Promise((resolve) => setTimeout(resolve, 100));
    relay.cut();
    const outcome = await stream;
    expect(outcome.code).toBe(status.UNAVAILABLE);
    expect(outcome.values.length).toBeGreaterThan(0);
    expect(engine.record.calls[1]).toMatchObject({ failure: 'upstream_reset_after_response_started' });
    expect(engine.endpoints[0]?.active).toBe(0);
  });

  test('a stream that the server resets keeps the status of its HTTP/2 code', async () => {
    const { echo, engine, stub } = await setUp({ direct });
    echo.state.delayMs = 5_000;
    const pending = unary(stub, 'x');
    await expect.poll(() => echo.state.calls).toBe(1);
    echo.server.forceShutdown(); // RST_STREAM with CANCEL
    expect((await pending).code).toBe(status.CANCELLED);
    expect(engine.record.attempts[0]).toMatchObject({ failure: 'upstream_reset_before_response_started', grpcStatus: status.CANCELLED });
  });
});

describe('configuration', () => {
  test('calls before the first configuration wait for it, with all their messages', async () => {
    let arrive = (): void => undefined;
    const ready = new Promise<void>((resolve) => (arrive = resolve));
    const { stub, engine } = await setUp({ ready });
    const early = [unary(stub, 'u'), collect(stub, ['a', 'b']), expand(stub, 2), chat(stub, ['x', 'y'])] as const;
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(engine.callsStarted).toBe(0);
    arrive();
    const [u, c, e, t] = await Promise.all(early);
    expect([u.value, c.value, e.values.join(), t.values.join()]).toEqual(['u', 'ab', 'm0,m1', 'x,y']);
  });

  test('while waiting, deadline and cancellation still hold', async () => {
    const { stub } = await setUp({ ready: new Promise(() => undefined) });
    const begun = Date.now();
    expect(await unary(stub, 'x', new Metadata(), { deadline: Date.now() + 80 })).toMatchObject({ code: status.DEADLINE_EXCEEDED });
    expect(Date.now() - begun).toBeLessThan(1_000);
    const code = await new Promise((resolve) => {
      const call = stub.unary(Buffer.from('x'), new Metadata(), {}, (error) => resolve(error?.code));
      setTimeout(() => call.cancel(), 20);
    });
    expect(code).toBe(status.CANCELLED);
  });

  test('wait-for-ready calls outlive a dead endpoint; others do not', async () => {
    const port = await deadPort();
    const engine = new FakeGrpcEngine({ ports: [port] });
    const stub = echoStub('echo:1', { channelFactoryOverride: channelFactory(engine) });
    onTestFinished(() => engine.close());
    expect((await unary(stub, 'x')).code).toBe(status.UNAVAILABLE);
    const waiting = unary(stub, 'patient', new Metadata({ waitForReady: true }), { deadline: Date.now() + 10_000 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const echo = await startEcho({}, undefined, port);
    onTestFinished(() => echo.close());
    expect(await waiting).toMatchObject({ code: 0, value: 'patient' });
    const impatient = unary(stub, 'x', new Metadata({ waitForReady: true }), { deadline: Date.now() + 50 });
    expect((await impatient).code).toBe(0);
  });

  test('a connection that does not come within the connect timeout fails the calls that wait for it', async () => {
    const silent = createServer(); // accepts, never speaks HTTP/2
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void silent.close());
    const sockets = new Set<{ destroy(): void }>();
    silent.on('connection', (socket) => sockets.add(socket));
    onTestFinished(() => sockets.forEach((s) => s.destroy()));
    const engine = new FakeGrpcEngine({ ports: [(silent.address() as { port: number }).port], connectTimeoutMs: 100 });
    const stub = echoStub('echo:1', { channelFactoryOverride: channelFactory(engine) });
    onTestFinished(() => engine.close());
    const reply = await unary(stub, 'x', new Metadata(), { deadline: Date.now() + 5_000 });
    expect(reply).toMatchObject({ code: status.UNAVAILABLE });
    expect(reply.details).toContain('no connection within 100 ms');
    expect(engine.record.attempts).toMatchObject([{ sent: false, failure: 'upstream_connection_failure' }]);
  });
});

describe('channel', () => {
  test('targets: plain, dns and xds names', async () => {
    const { engine, echo } = await setUp({ included: ['echo:1'] });
    const factory = channelFactory(engine);
    for (const target of ['echo:1', 'ECHO:1', 'dns:///echo:1', 'xds:///anything']) {
      const stub = echoStub(target, { channelFactoryOverride: factory });
      expect(await unary(stub, target), target).toMatchObject({ code: 0, value: target });
      stub.close();
    }
    // One connection serves all of them.
    expect(engine.endpoints[0]?.connections.size).toBe(1);
    expect(engine.record.calls.length).toBe(4);
    expect(echo.state.calls).toBe(4);
  });

  test('grpc.default_authority wins over the name of the target', async () => {
    const seen: string[] = [];
    const { engine } = await setUp({ included: ['other.example'], enter: (call) => void seen.push(call.head.authority) as undefined });
    const stub = echoStub('echo:1', { channelFactoryOverride: channelFactory(engine), 'grpc.default_authority': 'Other.example' });
    expect((await unary(stub, 'x')).code).toBe(0);
    expect((await unary(stub, 'x', new Metadata(), { host: 'by.call' })).code).toBe(0);
    expect(seen).toEqual(['other.example', 'by.call']);
  });

  test('hosts that do not belong to the mesh get a grpc-js channel, until they belong', async () => {
    const { engine, echo } = await setUp();
    const target = `127.0.0.1:${echo.port}`;
    const stub = echoStub(target, { channelFactoryOverride: channelFactory(engine) });
    onTestFinished(() => stub.close());
    expect(await unary(stub, 'plain')).toMatchObject({ code: 0, value: 'plain' });
    expect(engine.callsStarted).toBe(0);
    expect(stub.getChannel().getTarget()).toBe(`dns:${target}`);
    engine.included = new Set([target]);
    engine.epoch++;
    expect(await unary(stub, 'meshed')).toMatchObject({ code: 0, value: 'meshed' });
    expect(engine.callsStarted).toBe(1);
  });

  test('state, waitForReady, watch, close', async () => {
    const { engine, stub } = await setUp();
    const channel = stub.getChannel();
    expect(channel.getTarget()).toBe('echo:1');
    expect(channel.getConnectivityState(true)).toBe(connectivityState.READY);
    await new Promise<void>((resolve, reject) => stub.waitForReady(Date.now() + 1_000, (error) => (error ? reject(error) : resolve())));
    const late = await new Promise<Error | undefined>((resolve) =>
      channel.watchConnectivityState(connectivityState.READY, Date.now() + 30, resolve),
    );
    expect(late?.message).toContain('Deadline');
    const changed = new Promise<Error | undefined>((resolve) => channel.watchConnectivityState(connectivityState.READY, Infinity, resolve));
    expect(channel.getChannelzRef()).toBeDefined();
    stub.close();
    expect(await changed).toBeUndefined();
    expect(channel.getConnectivityState(false)).toBe(connectivityState.SHUTDOWN);
    expect(() => channel.createCall('/a/B', Infinity, null, null, null)).toThrow('shut down');
    expect(engine.callsStarted).toBe(0);
  });

  test('call credentials of channel and call are sent whatever carries the call; a secure call is https', async () => {
    const seen: string[] = [];
    const { engine, echo } = await setUp({ enter: (call) => void seen.push(call.head.scheme) as undefined });
    void seen;
    const token = (value: string): CallCredentials =>
      CallCredentials.createFromMetadataGenerator((_options, done) => {
        const metadata = new Metadata();
        metadata.set(value, 'yes');
        done(null, metadata);
      });
    const plain = echoStub('echo:1', { channelFactoryOverride: channelFactory(engine) });
    expect(await unary(plain, 'x', new Metadata(), { credentials: token('x-by-call') })).toMatchObject({ code: 0 });
    expect(echo.state.lastMetadata?.get('x-by-call')).toEqual(['yes']);
    // Secure credentials against a plaintext server: it must not be sent in the clear.
    const secure = echoStub(
      'echo:1',
      { channelFactoryOverride: channelFactory(engine) },
      ChannelCredentials.createSsl().compose(token('x-by-channel')),
    );
    const before = echo.state.calls;
    expect((await unary(secure, 'x')).code).toBe(status.UNAVAILABLE);
    expect(echo.state.calls).toBe(before);
    expect(seen).toEqual(['http', 'https']);
  });

  test('a child call takes deadline and cancellation of its parent', async () => {
    const { engine, stub, echo } = await setUp({}, {}, 1);
    const outer = await setUp();
    outer.echo.state.delayMs = 3_000;
    const cancel = outer.stub.unary(Buffer.from('outer'), new Metadata(), { deadline: Date.now() + 2_500 }, () => undefined);
    await expect.poll(() => outer.echo.state.lastCall).toBeDefined();
    const parent = outer.echo.state.lastCall;
    if (parent === undefined) throw new Error('no parent call');
    echo.state.delayMs = 3_000;
    const inner = unary(stub, 'inner', new Metadata(), { parent });
    await expect.poll(() => echo.state.calls).toBe(1);
    expect(Number(echo.state.lastDeadline)).toBeLessThan(Date.now() + 2_600);
    cancel.cancel();
    expect(await inner).toMatchObject({ code: status.CANCELLED, details: 'Cancelled by parent call' });
    expect(parent.listenerCount('cancelled')).toBeLessThanOrEqual(1);
    expect(engine.record.calls.length).toBe(1);
  });

  test('a plain Client without a factory is untouched (negative control)', async () => {
    const { echo, engine } = await setUp();
    const client = new Client(`127.0.0.1:${echo.port}`, ChannelCredentials.createInsecure());
    const same = (b: Buffer): Buffer => b;
    const value = await new Promise((resolve) =>
      client.makeUnaryRequest('/echo.Echo/Unary', same, same, Buffer.from('p'), (_e, v) => resolve(String(v))),
    );
    expect(value).toBe('p');
    expect(engine.callsStarted).toBe(0);
    client.close();
  });
});
