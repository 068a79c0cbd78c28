/** The undici transport behind `Transport` and `Connection`: what reaches the wire, how each way of failing is named, TLS that never weakens. */
import { createServer as createHttp2Server } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createDispatcher, createFetch } from '../../src/adapters/undici/index.ts';
import { FakeEngine } from '../support/fake-engine.ts';
import type { FakeRoute } from '../support/fake-engine.ts';
import { FakeClientSecurity, identity, testCa } from '../support/fake-inbound.ts';
import { deadPort, listen, serve, serveTcp, track, until } from '../support/http-servers.ts';

function setup(route: FakeRoute, authority = 'shop'): { call: typeof fetch; engine: FakeEngine; failures: () => (string | undefined)[] } {
  const engine = new FakeEngine({ [authority]: route });
  onTestFinished(async () => {
    await engine.close();
    expect(engine.ledger.open).toBe(0);
  });
  const failures = (): (string | undefined)[] => engine.ledger.attempts.map((attempt) => attempt.failure?.kind.details);
  return { call: createFetch(engine, { onFailure: 'response' }), engine, failures };
}

const ca = testCa();
const serverIdentity = identity(ca, 'spiffe://test/server');

async function secureServer(options: object = {}): Promise<{ port: number; peers: (string | undefined)[]; sockets: Set<unknown> }> {
  const peers: (string | undefined)[] = [];
  const server = createHttpsServer(
    { ...serverIdentity, ca: ca.certificatePem, requestCert: true, rejectUnauthorized: true, ...options },
    (request: IncomingMessage, response: ServerResponse) => {
      peers.push((request.socket as TLSSocket).getPeerCertificate().subjectaltname);
      response.end('secret');
    },
  );
  const sockets = track(server);
  return { port: await listen(server), peers, sockets };
}

describe.each([
  ['direct', true],
  ['promises', false],
] as const)('failures (%s)', (_path, direct) => {
  test.each([
    ['refused', 'upstream_connection_failure', false, async () => deadPort()],
    [
      'closed without a word',
      'upstream_reset_before_response_started',
      true,
      async () => (await serveTcp((socket) => socket.once('data', () => socket.end()))).port,
    ],
    [
      'reset',
      'upstream_reset_before_response_started',
      true,
      async () => (await serveTcp((socket) => socket.once('data', () => socket.resetAndDestroy()))).port,
    ],
    [
      'not HTTP',
      'upstream_protocol_error',
      true,
      async () => (await serveTcp((socket) => socket.once('data', () => socket.end('220 smtp ready\r\n')))).port,
    ],
  ] as const)('%s is %s', async (_what, details, sent, port) => {
    const { call, engine, failures } = setup({ ports: [await port()], direct });
    await call('http://shop/');
    expect(failures()).toEqual([details]);
    expect(engine.ledger.attempts[0]?.sent).toBe(sent);
  });

  test('a connection that is never accepted runs into the connect timeout', async () => {
    // TLS to a server that accepts and says nothing: the handshake is part of connecting (Envoy, connect_timeout).
    const silent = await serveTcp(() => undefined);
    const security = new FakeClientSecurity(ca, identity(ca, 'spiffe://test/client'));
    const { call, failures } = setup({ ports: [silent.port], security, connectTimeoutMs: 60, direct });
    expect(await (await call('http://shop/')).text()).toContain('no connection within 60 ms');
    expect(failures()).toEqual(['upstream_connection_failure']);
  });

  test('a time limit while connecting ends the attempt at once and writes nothing later', async () => {
    const silent = await serveTcp(() => undefined);
    const security = new FakeClientSecurity(ca, identity(ca, 'spiffe://test/client'));
    const { call, engine } = setup({ ports: [silent.port], security, connectTimeoutMs: 200, timeoutMs: 30, direct });
    const begun = performance.now();
    expect((await call('http://shop/')).status).toBe(504);
    expect(performance.now() - begun).toBeLessThan(150);
    expect(engine.ledger.attempts[0]?.sent).toBe(false);
    await new Promise((resolve) => setTimeout(resolve, 220));
  });
});

describe('connections', () => {
  test('are kept and used again; the authority is on the wire for every name of the endpoint', async () => {
    const upstream = await serve((_request, response) => response.end('ok'));
    const engine = new FakeEngine({ shop: { ports: [upstream.port] }, 'shop:8080': { ports: [upstream.port] } });
    onTestFinished(() => engine.close());
    const call = createFetch(engine, { onFailure: 'response' });
    for (const url of ['http://shop/', 'http://shop/', 'http://shop:8080/']) {
      await (await call(url)).text();
      // undici gives a connection back one turn after the reply.
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(upstream.seen.map((one) => one.headers.host)).toEqual(['shop', 'shop', 'shop:8080']);
    expect(upstream.seen[0]?.remotePort).toBe(upstream.seen[1]?.remotePort);
  });

  test('a host header of the application is the authority and stays', async () => {
    const upstream = await serve((_request, response) => response.end('ok'));
    const engine = new FakeEngine({ shop: { ports: [upstream.port] }, other: { ports: [upstream.port] } });
    onTestFinished(() => engine.close());
    await (await createFetch(engine, { onFailure: 'response' })('http://shop/', { headers: { Host: 'Other' } })).text();
    expect(upstream.seen[0]?.headers.host?.toLowerCase()).toBe('other');
    expect(engine.ledger.calls[0]?.head.authority).toBe('other');
  });

  test('a rewritten path, method, authority and headers reach the wire, also on a retry', async () => {
    const upstream = await serve((_request, response, number) => response.writeHead(number === 1 ? 503 : 200).end());
    const { call } = setup({
      ports: [upstream.port],
      tries: 2,
      retryStatuses: [503],
      steps: [
        {
          enter: ({ head }) => {
            head.path = '/new';
            head.authority = 'rewritten:1';
            head.headers.set('x-added', '1');
            head.headers.append('x-added', '2');
            head.headers.remove('accept-language');
            return undefined;
          },
        },
      ],
    });
    await (await call('http://shop/old', { headers: { 'x-own': 'a' } })).text();
    for (const { url, headers } of upstream.seen) {
      expect([url, headers.host, headers['x-added'], headers['x-own'], headers['accept-language']]).toEqual([
        '/new',
        'rewritten:1',
        '1, 2',
        'a',
        undefined,
      ]);
    }
    expect(upstream.seen).toHaveLength(2);
  });

  test.each([1, 2, 3])('max requests per connection %i is exact', async (limit) => {
    const upstream = await serve((_request, response) => response.end('ok'));
    const { call } = setup({ ports: [upstream.port], maxRequestsPerConnection: limit });
    for (let i = 0; i < 6; i++) {
      await (await call('http://shop/')).text();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const uses = new Map<number, number>();
    for (const { remotePort } of upstream.seen) uses.set(remotePort, (uses.get(remotePort) ?? 0) + 1);
    expect([...uses.values()]).toEqual(Array.from({ length: 6 / limit }, () => limit));
  });

  test('a keep-alive connection that the server closes between two calls costs no call', async () => {
    const upstream = await serve((_request, response) => response.end('ok'));
    const { call } = setup({ ports: [upstream.port], tries: 2 });
    for (let i = 0; i < 20; i++) {
      expect((await call('http://shop/')).status).toBe(200);
      for (const socket of upstream.sockets) socket.destroy();
    }
  });

  test('close lets running exchanges end', async () => {
    let finish: (() => void) | undefined;
    const upstream = await serve((_request, response) => {
      response.write('a');
      finish = () => response.end('b');
    });
    const { call, engine } = setup({ ports: [upstream.port] });
    const reply = await call('http://shop/');
    const closed = engine.close();
    finish?.();
    expect(await reply.text()).toBe('ab');
    await closed;
    await until(() => upstream.sockets.size === 0);
  });

  test('destroy ends what close waits for', async () => {
    const upstream = await serve(() => undefined);
    const { call, engine } = setup({ ports: [upstream.port] });
    const reply = call('http://shop/');
    await until(() => upstream.seen.length === 1);
    const closed = engine.close();
    for (const connection of engine.targets.get('shop')?.endpoints[0]?.connections ?? [])
      connection.destroy?.(new Error('the mesh is closed'));
    expect(await (await reply).text()).toContain('the mesh is closed');
    await closed;
  });

  test('HTTP/2 with prior knowledge, many calls on one connection', async () => {
    let sessions = 0;
    const server = createHttp2Server((request, response) => response.end(`${request.httpVersion} ${request.authority}`));
    server.on('session', () => sessions++);
    track(server);
    const { call } = setup({ ports: [await listen(server)], http2: true });
    const texts = await Promise.all(Array.from({ length: 20 }, async () => (await call('http://shop/')).text()));
    expect(new Set(texts)).toEqual(new Set(['2.0 shop']));
    expect(sessions).toBe(1);
  });
});

describe('TLS', () => {
  test('the cluster decides: http to the application, mTLS on the wire, the peer verified', async () => {
    const upstream = await secureServer();
    const security = new FakeClientSecurity(ca, identity(ca, 'spiffe://test/client'));
    const { call } = setup({ ports: [upstream.port], security });
    for (let i = 0; i < 3; i++) expect(await (await call('http://shop/')).text()).toBe('secret');
    expect(upstream.peers[0]).toContain('URI:spiffe://test/client');
    expect(security.verified).toBe(1);
  });

  test.each([
    ['direct', true],
    ['promises', false],
  ] as const)('a peer that no matcher accepts is never sent a byte (%s)', async (_path, direct) => {
    const upstream = await secureServer();
    const security = new FakeClientSecurity(ca, identity(ca, 'spiffe://test/client'));
    security.accepts = () => false;
    const { call, engine, failures } = setup({ ports: [upstream.port], security, direct });
    expect((await call('http://shop/')).status).toBe(503);
    expect(failures()).toEqual(['upstream_tls_failure']);
    expect([engine.ledger.attempts[0]?.sent, upstream.peers]).toEqual([false, []]);
  });

  test('a server of a foreign CA is refused', async () => {
    const upstream = await secureServer(identity(testCa(), 'spiffe://test/server'));
    const { call, failures } = setup({
      ports: [upstream.port],
      security: new FakeClientSecurity(ca, identity(ca, 'spiffe://test/client')),
    });
    await call('http://shop/');
    expect(failures()).toEqual(['upstream_tls_failure']);
  });

  test('our certificate refused by the server: no reply, and the request is not taken for done', async () => {
    const upstream = await secureServer();
    const { call, failures } = setup({
      ports: [upstream.port],
      security: new FakeClientSecurity(ca, identity(testCa(), 'spiffe://test/client')),
    });
    await call('http://shop/');
    // With TLS 1.3 the refusal comes after our side is ready: an alert from most servers, from Node's a closed connection.
    expect(failures()[0]).toMatch(/^upstream_(tls_failure|reset_before_response_started)$/);
    expect(upstream.peers).toEqual([]);
  });

  test('certificates that are not there yet fail the call and open nothing, then the same endpoint serves', async () => {
    const upstream = await secureServer();
    const security = new FakeClientSecurity(ca, undefined);
    const { call, failures } = setup({ ports: [upstream.port], security });
    expect(await (await call('http://shop/')).text()).toContain('certificates are awaited');
    expect([failures(), upstream.sockets.size]).toEqual([['upstream_tls_not_ready'], 0]);
    security.current = identity(ca, 'spiffe://test/client');
    expect(await (await call('http://shop/')).text()).toBe('secret');
  });

  test('a plaintext server behind a TLS cluster gets no request', async () => {
    const upstream = await serve((_request, response) => response.end('plain'));
    const { call } = setup({ ports: [upstream.port], security: new FakeClientSecurity(ca, identity(ca, 'spiffe://test/client')) });
    expect((await call('http://shop/')).status).toBe(503);
    expect(upstream.seen).toHaveLength(0);
  });

  test('a rotated certificate counts for new connections, without a failed call', async () => {
    const upstream = await secureServer();
    const security = new FakeClientSecurity(ca, identity(ca, 'spiffe://test/one'));
    const { call } = setup({ ports: [upstream.port], security, maxRequestsPerConnection: 1 });
    expect(await (await call('http://shop/')).text()).toBe('secret');
    security.current = identity(ca, 'spiffe://test/two');
    security.generation++;
    expect(await (await call('http://shop/')).text()).toBe('secret');
    expect(upstream.peers.map((text) => /spiffe:\/\/test\/\w+/.exec(text ?? '')?.[0])).toEqual(['spiffe://test/one', 'spiffe://test/two']);
  });

  test('a transport socket that appears takes new calls off the plaintext connection', async () => {
    const upstream = await serve((_request, response) => response.end('plain'));
    const { call, engine } = setup({ ports: [upstream.port] });
    expect(await (await call('http://shop/')).text()).toBe('plain');
    const cluster = engine.targets.get('shop')?.cluster as unknown as { security: FakeClientSecurity };
    cluster.security = new FakeClientSecurity(ca, identity(ca, 'spiffe://test/client'));
    expect((await call('http://shop/')).status).toBe(503);
    expect(upstream.seen).toHaveLength(1);
  });

  test('https without a transport socket: never in the clear, verified with the roots of the system', async () => {
    const plain = await serve((_request, response) => response.end('plain'));
    const secure = await secureServer({ requestCert: false });
    for (const [port, seen] of [
      [plain.port, () => plain.seen.length],
      [secure.port, () => secure.peers.length],
    ] as const) {
      const { call, failures } = setup({ ports: [port] });
      expect((await call('https://shop/')).status).toBe(503);
      expect([failures(), seen()]).toEqual([['upstream_tls_failure'], 0]);
    }
  });
});

describe('the dispatcher', () => {
  test('upgrades and CONNECT to included hosts fail with a clear error', async () => {
    const { engine } = setup({ ports: [1] });
    const dispatcher = createDispatcher(engine, { onFailure: 'response' });
    for (const options of [{ method: 'GET', upgrade: 'websocket' }, { method: 'CONNECT' }]) {
      const error = await new Promise((resolve) => {
        dispatcher.dispatch({ origin: 'http://shop', path: '/', ...options }, { onError: resolve } as never);
      });
      expect(error).toMatchObject({ code: 'ERR_MESH_UNSUPPORTED' });
    }
  });

  test('onFailure: throw gives a MeshError with the failure', async () => {
    const engine = new FakeEngine({ shop: { ports: [await deadPort()] } });
    onTestFinished(() => engine.close());
    const failed = createFetch(engine, { onFailure: 'throw' })('http://shop/');
    await expect(failed).rejects.toMatchObject({
      name: 'TypeError',
      message: 'fetch failed',
      cause: { code: 'ERR_MESH_FAILURE', failure: { kind: { flag: 'UF' } } },
    });
  });

  test('a new answer of `includes` counts from the next epoch on', async () => {
    const outside = await serve((_request, response) => response.end('outside'));
    const inside = await serve((_request, response) => response.end('inside'));
    const authority = `127.0.0.1:${outside.port}`;
    const { call, engine } = setup({ ports: [inside.port] });
    const target = engine.targets.get('shop');
    expect(await (await call(`http://${authority}/`)).text()).toBe('outside');
    engine.targets.set(authority, target as never);
    engine.epoch++;
    expect(await (await call(`http://${authority}/`)).text()).toBe('inside');
  });

  test('wrong headers of the application fail the call and are not retried', async () => {
    const upstream = await serve((_request, response) => response.end());
    const { engine } = setup({ ports: [upstream.port], tries: 3 });
    const dispatcher = createDispatcher(engine, { onFailure: 'response' });
    const error = await new Promise((resolve) => {
      dispatcher.dispatch({ origin: 'http://shop', path: '/', method: 'GET', headers: { 'bad name': 'x' } }, {
        onConnect: () => undefined,
        onError: resolve,
      } as never);
    });
    expect(error).toMatchObject({ code: 'UND_ERR_INVALID_ARG' });
    expect(engine.ledger.attempts).toHaveLength(1);
  });

  test('an aborted stream of the application fails the call with its own error and is not retried', async () => {
    const upstream = await serve((_request, response) => response.end());
    const { engine } = setup({ ports: [upstream.port], tries: 3 });
    const dispatcher = createDispatcher(engine, { onFailure: 'response' });
    const broken = (async function* (): AsyncGenerator<string> {
      yield 'a';
      throw new Error('the source broke');
    })();
    const error = await new Promise((resolve) => {
      dispatcher.dispatch({ origin: 'http://shop', path: '/', method: 'POST', body: broken as never }, {
        onConnect: () => undefined,
        onError: resolve,
      } as never);
    });
    expect(error).toMatchObject({ message: 'the source broke' });
    expect([engine.ledger.attempts.length, engine.ledger.calls[0]?.failure?.kind.flag]).toEqual([1, 'DC']);
  });

  test('doubled content-length (Node 22 fetch) is mended', async () => {
    const upstream = await serve((_request, response) => response.end());
    const { engine } = setup({ ports: [upstream.port] });
    const dispatcher = createDispatcher(engine, { onFailure: 'response' });
    await dispatcher.request({ origin: 'http://shop', path: '/', method: 'POST', body: 'hello', headers: { 'content-length': '5, 5' } });
    expect(upstream.seen[0]).toMatchObject({ body: 'hello', headers: { 'content-length': '5' } });
  });
});
