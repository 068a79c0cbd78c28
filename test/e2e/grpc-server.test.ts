/** grpc-js servers behind the inbound stack, and mTLS on both sides, over real sockets. */
import { ChannelCredentials, Metadata, ServerCredentials, status } from '@grpc/grpc-js';
import { connect, createServer } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { channelFactory } from '../../src/adapters/grpc/channel.ts';
import { createGrpc, peerOf } from '../../src/adapters/grpc/index.ts';
import { createTestCa } from '../../src/control-plane/ca/ca.ts';
import type { InboundCall } from '../../src/core/call.ts';
import { failure, FAILURES } from '../../src/core/failure.ts';
import type { Step } from '../../src/core/handler.ts';
import { failureReply } from '../../src/core/reply.ts';
import type { Echo, EchoStub } from '../support/echo-grpc.ts';
import { chat, collect, echoStub, expand, startEcho, unary } from '../support/echo-grpc.ts';
import { FakeGrpcEngine } from '../support/fake-grpc-engine.ts';
import { clientSecurity, FakeIdentity, FakeInboundEngine, serverSecurity } from '../support/fake-grpc-inbound.ts';
import type { FakeInboundSetting } from '../support/fake-grpc-inbound.ts';
import { until } from '../support/http-servers.ts';

const clock = { wallTime: () => Date.now() };
const noOutbound = new FakeGrpcEngine({ ports: [] });

/** A mesh engine with the inbound side under test. */
function grpcOf(inbound: FakeInboundEngine): ReturnType<typeof createGrpc> {
  const engine = new Proxy(inbound, {
    get: (target, name) => {
      const source = name in target ? target : noOutbound;
      const value: unknown = Reflect.get(source, name, source);
      return typeof value === 'function' ? value.bind(source) : value;
    },
  });
  return createGrpc(engine as unknown as Parameters<typeof createGrpc>[0], () => new Uint8Array());
}

async function serve(
  setting: FakeInboundSetting = {},
  prepare: (inbound: FakeInboundEngine) => void = () => undefined,
): Promise<{ inbound: FakeInboundEngine; echo: Echo }> {
  const inbound = new FakeInboundEngine(setting);
  prepare(inbound);
  const echo = await startEcho({}, grpcOf(inbound).serverCredentials());
  onTestFinished(() => echo.close());
  return { inbound, echo };
}

function plainStub(echo: Echo): EchoStub {
  const stub = echoStub(`127.0.0.1:${echo.port}`, { 'grpc.use_local_subchannel_pool': 1 });
  onTestFinished(() => stub.close());
  return stub;
}

describe.each([
  { path: 'steps', direct: true },
  { path: 'promise', direct: false },
])('inbound over $path', ({ direct }) => {
  test('every kind of call runs through the stack, both ways', async () => {
    const heads: string[] = [];
    const step: Step<InboundCall> = {
      enter: (call) => {
        heads.push(
          `${call.head.method} ${call.head.path} ${call.head.authority} ${call.head.scheme} ${call.head.headers.get('x-ask') ?? ''}`,
        );
        call.head.headers.set('x-from-filter', 'in');
        return undefined;
      },
      leave: (_call, head) => head.headers.set('x-by-filter', String(head.grpcStatus ?? 'head')),
    };
    const { inbound, echo } = await serve({ steps: [step], direct });
    const stub = plainStub(echo);
    const metadata = new Metadata();
    metadata.set('x-ask', '7');
    const reply = await unary(stub, 'hello', metadata);
    expect(reply).toMatchObject({ code: 0, value: 'hello' });
    expect(reply.head?.get('x-by-filter')).toEqual(['head']);
    expect(reply.head?.get('x-head')).toEqual(['7']);
    expect(reply.trailers?.get('x-trailer')).toEqual(['end']);
    expect(echo.state.lastMetadata?.get('x-from-filter')).toEqual(['in']);
    expect(await collect(stub, ['a', 'b'])).toMatchObject({ code: 0, value: 'ab' });
    expect(await expand(stub, 3)).toMatchObject({ code: 0, values: ['m0', 'm1', 'm2'] });
    expect(await chat(stub, ['x', 'y'])).toMatchObject({ code: 0, values: ['x', 'y'] });
    expect(heads[0]).toBe(`POST /echo.Echo/Unary 127.0.0.1:${echo.port} http 7`);
    expect(inbound.ended.map((call) => [call.status, call.grpcStatus, call.failure])).toEqual(
      Array.from({ length: 4 }, () => [200, 0, undefined]),
    );
    expect(new Set(inbound.listened)).toEqual(new Set([`127.0.0.1:${echo.port}`]));
  });

  test('a trailers-only answer of the application passes with its status', async () => {
    const statuses: (number | undefined)[] = [];
    const { inbound, echo } = await serve({
      steps: [{ enter: () => undefined, leave: (_c, head) => void statuses.push(head.grpcStatus) }],
      direct,
    });
    echo.state.fail.push(status.NOT_FOUND);
    const reply = await unary(plainStub(echo), 'x');
    expect(reply).toMatchObject({ code: status.NOT_FOUND, details: 'refused with NOT_FOUND' });
    expect(reply.trailers?.get('x-refused')).toEqual(['1']);
    expect(statuses).toEqual([status.NOT_FOUND]);
    expect(inbound.ended[0]?.grpcStatus).toBe(status.NOT_FOUND);
  });

  test('a filter that answers never starts the application', async () => {
    const left: string[] = [];
    const outer: Step<InboundCall> = { enter: () => undefined, leave: () => void left.push('outer') };
    const deny: Step<InboundCall> = { enter: () => failureReply(failure(FAILURES.rbacDenied, 'policy "ops" denied it')) };
    const never: Step<InboundCall> = { enter: () => void left.push('never') as undefined };
    const { inbound, echo } = await serve({ steps: [outer, deny, never], direct });
    const stub = plainStub(echo);
    expect(await unary(stub, 'x')).toMatchObject({ code: status.PERMISSION_DENIED, details: 'rbac_access_denied: policy "ops" denied it' });
    expect(await chat(stub, ['a'])).toMatchObject({ code: status.PERMISSION_DENIED });
    expect(await collect(stub, ['a', 'b'])).toMatchObject({ code: status.PERMISSION_DENIED });
    expect(echo.state.calls).toBe(0);
    expect(left).toEqual(['outer', 'outer', 'outer']);
    expect(inbound.ended.map((call) => call.failure?.kind)).toEqual([FAILURES.rbacDenied, FAILURES.rbacDenied, FAILURES.rbacDenied]);
  });

  test('the application runs in the context of its call and knows its peer', async () => {
    const { inbound, echo } = await serve({ direct });
    const seen: unknown[] = [];
    const stub = plainStub(echo);
    echo.server.register(
      '/echo.Echo/Who',
      (call: Parameters<typeof peerOf>[0], done: (e: null, v: Buffer) => void) => {
        seen.push(inbound.als.getStore()?.head.path, peerOf(call)?.remoteAddress, peerOf(call)?.tls);
        done(null, Buffer.alloc(0));
      },
      (b: Buffer) => b,
      (b: Buffer) => b,
      'unary',
    );
    const same = (b: Buffer): Buffer => b;
    await new Promise((resolve) => stub.makeUnaryRequest('/echo.Echo/Who', same, same, Buffer.from(''), resolve));
    expect(seen).toEqual(['/echo.Echo/Who', '127.0.0.1', undefined]);
  });

  test('a client that leaves ends the call and cancels the application', async () => {
    const { inbound, echo } = await serve({ direct });
    echo.state.delayMs = 3_000;
    const stub = plainStub(echo);
    const call = stub.unary(Buffer.from('x'), new Metadata(), {}, () => undefined);
    await expect.poll(() => echo.state.calls).toBe(1);
    call.cancel();
    await expect.poll(() => inbound.ended.length).toBe(1);
    expect(inbound.ended[0]?.failure?.kind).toBe(FAILURES.remoteDisconnect);
    await expect.poll(() => echo.state.cancelled).toBe(1);
    const late = await unary(stub, 'x', new Metadata(), { deadline: Date.now() + 60 });
    expect(late.code).toBe(status.DEADLINE_EXCEEDED);
    await expect.poll(() => inbound.ended[1]?.failure?.kind).toBe(FAILURES.deadlineExceeded);
  });

  test('a time limit of the mesh ends the call with its status', async () => {
    const { inbound, echo } = await serve({ direct });
    echo.state.delayMs = 3_000;
    const pending = unary(plainStub(echo), 'x');
    await expect.poll(() => echo.state.calls).toBe(1);
    inbound.running?.cancel(failure(FAILURES.maxStreamDuration, 'too long'));
    expect(await pending).toMatchObject({
      code: status.DEADLINE_EXCEEDED,
      details: '[UMSDR] upstream_max_stream_duration_reached: too long',
    });
    await expect.poll(() => echo.state.cancelled).toBe(1);
  });
});

describe('the port', () => {
  test.each(['waiting', 'not-serving'] as const)('%s: connections are closed without a byte', async (state) => {
    const { inbound, echo } = await serve();
    inbound.listener.state = state;
    const bytes = await new Promise<number>((resolve) => {
      let count = 0;
      const socket = connect(echo.port, '127.0.0.1', () => socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'));
      socket.on('data', (chunk) => (count += chunk.length));
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(count));
    });
    expect(bytes).toBe(0);
    expect((await unary(plainStub(echo), 'x')).code).toBe(status.UNAVAILABLE);
    inbound.listener.state = 'serving';
    expect((await unary(plainStub(echo), 'x')).code).toBe(0);
  });

  test('passthrough: the server is left alone', async () => {
    const { inbound, echo } = await serve({ steps: [{ enter: () => failureReply(failure(FAILURES.rbacDenied, 'never')) }] });
    inbound.listener.state = 'passthrough';
    expect(await unary(plainStub(echo), 'x')).toMatchObject({ code: 0, value: 'x' });
    expect(inbound.ended).toEqual([]);
  });

  test('no matching chain: closed', async () => {
    const { inbound, echo } = await serve();
    inbound.listener.chains = [];
    expect((await unary(plainStub(echo), 'x')).code).toBe(status.UNAVAILABLE);
    expect(inbound.listener.seen[0]).toMatchObject({
      transportProtocol: 'raw_buffer',
      localAddress: '127.0.0.1',
      localPort: echo.port,
      remoteAddress: '127.0.0.1',
    });
  });

  test('draining: new calls of old connections and new connections are refused', async () => {
    const { inbound, echo } = await serve();
    const stub = plainStub(echo);
    expect((await unary(stub, 'x')).code).toBe(0);
    inbound.draining = true;
    expect(await unary(stub, 'x')).toMatchObject({ code: status.UNAVAILABLE, details: '[SI] draining: the server takes no new calls' });
    expect((await unary(plainStub(echo), 'x')).code).toBe(status.UNAVAILABLE);
    expect(echo.state.calls).toBe(1);
  });

  test('interceptors alone, with credentials of the application: the stack of the bound address, never less than its TLS', async () => {
    const inbound = new FakeInboundEngine({ steps: [{ enter: (call) => void call.head.headers.set('x-from-filter', 'in') as undefined }] });
    const echo = await startEcho({ interceptors: grpcOf(inbound).serverInterceptors() }, ServerCredentials.createInsecure());
    onTestFinished(() => echo.close());
    expect((await unary(plainStub(echo), 'x')).code).toBe(0);
    expect(echo.state.lastMetadata?.get('x-from-filter')).toEqual(['in']);
    expect(inbound.listened).toEqual([`127.0.0.1:${echo.port}`]);
    const ca = createTestCa({ trustDomain: 'cluster.local', clock });
    inbound.listener.chains = [
      { match: () => true, chain: { name: 'tls', security: serverSecurity(new FakeIdentity(ca, 'spiffe://cluster.local/server')) } },
    ];
    const refused = await unary(plainStub(echo), 'x');
    expect(refused.code).toBe(status.UNAVAILABLE);
    expect(refused.details).toContain('serverCredentials()');
    inbound.listener.state = 'waiting';
    expect((await unary(plainStub(echo), 'x')).code).toBe(status.UNAVAILABLE);
    inbound.listener.state = 'passthrough';
    expect((await unary(plainStub(echo), 'x')).code).toBe(0);
  });

  test('interceptors and credentials together run the stack once', async () => {
    let entered = 0;
    const inbound = new FakeInboundEngine({ steps: [{ enter: () => void entered++ as undefined }] });
    const grpc = grpcOf(inbound);
    const echo = await startEcho({ interceptors: grpc.serverInterceptors() }, grpc.serverCredentials());
    onTestFinished(() => echo.close());
    expect((await unary(plainStub(echo), 'x')).code).toBe(0);
    expect(entered).toBe(1);
  });

  test('an injected connection was not admitted, so its calls are refused', async () => {
    const { echo, inbound } = await serve();
    const injector = echo.server.createConnectionInjector(grpcOf(inbound).serverCredentials());
    const relay = createServer((socket) => injector.injectConnection(socket));
    await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void relay.close());
    const stub = echoStub(`127.0.0.1:${(relay.address() as { port: number }).port}`, {});
    onTestFinished(() => stub.close());
    expect(await unary(stub, 'x')).toMatchObject({
      code: status.UNAVAILABLE,
      details: '[NC] configuration_error: the connection was not admitted by the mesh',
    });
    injector.destroy();
  });
});

describe('mTLS', () => {
  const ca = createTestCa({ trustDomain: 'cluster.local', clock });
  const otherCa = createTestCa({ trustDomain: 'evil.local', clock });
  const identity = (name: string, authority = ca): FakeIdentity => new FakeIdentity(authority, `spiffe://${authority.trustDomain}/${name}`);

  async function secured(
    options: { required?: boolean; accepts?: (uri: string) => boolean; mode?: 'tls' | 'mixed' } = {},
  ): Promise<{ inbound: FakeInboundEngine; echo: Echo; server: FakeIdentity }> {
    const server = identity('server');
    const chain = { name: 'mtls', security: serverSecurity(server, options) };
    const { inbound, echo } = await serve({}, (engine) => {
      engine.listener.mode = options.mode ?? 'tls';
      engine.listener.chains = [{ match: (facts) => facts.transportProtocol === 'tls', chain }];
      if (options.mode === 'mixed') engine.listener.chains.push({ match: () => true, chain: { name: 'plain', security: undefined } });
    });
    return { inbound, echo, server };
  }

  function meshStub(
    echo: Echo,
    client: FakeIdentity,
    accepts?: (uri: string) => boolean,
    retries = 0,
  ): { stub: EchoStub; engine: FakeGrpcEngine } {
    const engine = new FakeGrpcEngine({ ports: [echo.port], security: clientSecurity(client, accepts), retries });
    const stub = echoStub('echo:1', { channelFactoryOverride: channelFactory(engine) });
    onTestFinished(async () => {
      stub.close();
      await engine.close();
    });
    return { stub, engine };
  }

  test('both sides verify; the server knows who called, and so does grpc-js', async () => {
    const { echo, inbound } = await secured();
    const { stub } = meshStub(echo, identity('client'));
    const reply = await unary(stub, 'x');
    expect(reply).toMatchObject({ code: 0, value: 'x' });
    const peer = inbound.ended[0]?.peer;
    expect(peer?.tls).toEqual({ authenticated: true, uriSans: ['spiffe://cluster.local/client'], dnsSans: [], subject: '' });
    expect(inbound.ended[0]?.head.scheme).toBe('https');
    const handled = echo.state.lastCall;
    expect(echo.state.lastIdentity).toBe('URI:spiffe://cluster.local/client');
    expect(handled === undefined ? undefined : peerOf(handled)).toBe(peer);
    expect(inbound.listener.seen[0]?.transportProtocol).toBe('tls');
    expect(await chat(stub, ['a', 'b'])).toMatchObject({ values: ['a', 'b'] });
  });

  test('the client refuses a server whose SAN is not accepted, or whose CA is another', async () => {
    const { echo, server } = await secured();
    const wrongSan = await unary(meshStub(echo, identity('client'), (uri) => uri.endsWith('/other')).stub, 'x');
    expect(wrongSan.code).toBe(status.UNAVAILABLE);
    expect(wrongSan.details).toMatch(/^\[UF\] upstream_tls_failure: .*no SAN of spiffe:\/\/cluster\.local\/server is accepted/);
    server.rotate(otherCa.issue({ spiffeId: 'spiffe://cluster.local/server' }), ca);
    const wrongCa = await unary(meshStub(echo, identity('client')).stub, 'x');
    expect(wrongCa.details).toMatch(/^\[UF\] upstream_tls_failure: /);
    expect(echo.state.calls).toBe(0);
  });

  test('the server refuses clients without a certificate, of another CA, or that its matchers do not accept', async () => {
    const { echo } = await secured({ accepts: (uri) => uri.endsWith('/client') });
    const noCertificate = echoStub(
      `localhost:${echo.port}`,
      {},
      ChannelCredentials.createSsl(Buffer.from(ca.certificatePem), null, null, { checkServerIdentity: () => undefined }),
    );
    onTestFinished(() => noCertificate.close());
    expect((await unary(noCertificate, 'x')).code).toBe(status.UNAVAILABLE);
    const stranger = new FakeIdentity(ca, 'spiffe://cluster.local/client');
    stranger.rotate(otherCa.issue({ spiffeId: 'spiffe://cluster.local/client' }), ca);
    expect((await unary(meshStub(echo, stranger).stub, 'x')).code).toBe(status.UNAVAILABLE);
    expect((await unary(meshStub(echo, identity('intruder')).stub, 'x')).code).toBe(status.UNAVAILABLE);
    expect(echo.state.calls).toBe(0);
    expect((await unary(meshStub(echo, identity('client')).stub, 'x')).code).toBe(0);
  });

  test('an optional client certificate: anonymous clients are served and known as such', async () => {
    const { echo, inbound } = await secured({ required: false });
    const anonymous = echoStub(
      `localhost:${echo.port}`,
      {},
      ChannelCredentials.createSsl(Buffer.from(ca.certificatePem), null, null, { checkServerIdentity: () => undefined }),
    );
    onTestFinished(() => anonymous.close());
    expect((await unary(anonymous, 'x')).code).toBe(0);
    expect(inbound.ended[0]?.peer.tls).toEqual({ authenticated: false, uriSans: [], dnsSans: [], subject: '' });
  });

  test('plaintext is refused on a TLS port, and never sent to one', async () => {
    const { echo } = await secured();
    expect((await unary(plainStub(echo), 'x')).code).toBe(status.UNAVAILABLE);
    const plain = await startEcho();
    onTestFinished(() => plain.close());
    const reply = await unary(meshStub(plain, identity('client')).stub, 'x');
    expect(reply.code).toBe(status.UNAVAILABLE);
    expect(reply.details).toContain('[UF] upstream_tls_failure');
    expect(plain.state.calls + echo.state.calls).toBe(0);
  });

  test('mixed: one port takes both, each by its chain', async () => {
    const { echo, inbound } = await secured({ mode: 'mixed' });
    expect((await unary(plainStub(echo), 'p')).code).toBe(0);
    expect((await unary(meshStub(echo, identity('client')).stub, 't')).code).toBe(0);
    expect(inbound.ended.map((call) => call.peer.tls?.uriSans)).toEqual([undefined, ['spiffe://cluster.local/client']]);
    // The chain turns strict: the plaintext side goes.
    inbound.listener.chains.pop();
    expect((await unary(plainStub(echo), 'p')).code).toBe(status.UNAVAILABLE);
  });

  test('without certificates the client fails with its own failure, and the server closes', async () => {
    const { echo, server } = await secured();
    const client = identity('client');
    client.context = undefined;
    const { stub, engine } = meshStub(echo, client);
    expect(await unary(stub, 'x')).toMatchObject({
      code: status.UNAVAILABLE,
      details: '[UF] upstream_tls_not_ready: cluster "fake" has no usable certificates: taken away by the test',
    });
    expect(engine.record.attempts).toMatchObject([{ failure: 'upstream_tls_not_ready', sent: false }]);
    client.rotate(ca.issue({ spiffeId: 'spiffe://cluster.local/client' }));
    expect((await unary(stub, 'x')).code).toBe(0);
    server.context = undefined;
    expect((await unary(meshStub(echo, identity('client')).stub, 'x')).code).toBe(status.UNAVAILABLE);
  });

  test('rotation on both sides: no call fails, old connections stay, new ones take the new certificates', async () => {
    const { echo, inbound, server } = await secured();
    const client = identity('client');
    const { stub } = meshStub(echo, client);
    const codes: number[] = [];
    let running = true;
    const load = (async () => {
      while (running) codes.push((await unary(stub, 'x')).code);
    })();
    for (let i = 0; i < 5; i++) {
      // By calls, not by time: a slow machine makes as many.
      const enough = codes.length + 5;
      await until(() => codes.length >= enough);
      client.rotate(ca.issue({ spiffeId: `spiffe://cluster.local/client-${i}` }));
      server.rotate(ca.issue({ spiffeId: `spiffe://cluster.local/server-${i}` }));
    }
    running = false;
    await load;
    expect(codes.length).toBeGreaterThan(20);
    expect(codes.filter((code) => code !== 0)).toEqual([]);
    expect(new Set(inbound.ended.map((call) => call.peer.tls?.uriSans[0]))).toEqual(new Set(['spiffe://cluster.local/client']));
    const servers: string[] = [];
    const fresh = meshStub(echo, client, (uri) => servers.push(uri) > 0);
    expect((await unary(fresh.stub, 'x')).code).toBe(0);
    expect(servers).toEqual(['spiffe://cluster.local/server-4']);
    expect(inbound.ended.at(-1)?.peer.tls?.uriSans).toEqual(['spiffe://cluster.local/client-4']);
  });

  test('new certificates after a refused handshake are used at once, not after the back-off', async () => {
    const { echo } = await secured({ accepts: (uri) => uri.endsWith('/client') });
    const client = identity('intruder');
    const { stub } = meshStub(echo, client);
    expect((await unary(stub, 'x')).code).toBe(status.UNAVAILABLE);
    client.rotate(ca.issue({ spiffeId: 'spiffe://cluster.local/client' }));
    const begun = Date.now();
    expect((await unary(stub, 'x')).code).toBe(0);
    expect(Date.now() - begun).toBeLessThan(200);
  });
});
