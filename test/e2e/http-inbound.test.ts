/** The inbound side on real sockets: Express, Fastify, Koa, Hono and plain servers behind the mesh, with axios, fetch and raw clients. */
import { createServer } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { serve as serveHono } from '@hono/node-server';
import axios from 'axios';
import express from 'express';
import fastify from 'fastify';
import { Hono } from 'hono';
import Koa from 'koa';
import { describe, expect, test } from 'vitest';
import { createHttp, peerOf } from '../../src/adapters/node-http/index.ts';
import { failure, FAILURES } from '../../src/core/failure.ts';
import { FakeInbound, FakeServerSecurity, denial, identity, testCa } from '../support/fake-inbound.ts';
import { listen, track, until } from '../support/http-servers.ts';

interface Served {
  readonly engine: FakeInbound;
  readonly port: number;
  readonly server: Server;
}

/** Each answers `POST /echo` with the body and a header, `GET /who` with the peer, `GET /slow` never. */
const FRAMEWORKS: readonly (readonly [name: string, make: () => Promise<Server>])[] = [
  [
    'plain',
    async () =>
      createServer((request, response) => {
        if (request.url === '/slow') return;
        if (request.url === '/who') return void response.end(JSON.stringify(peerOf(request)));
        response.writeHead(200, { 'x-app': 'plain', 'content-type': 'text/plain' });
        request.pipe(response);
      }),
  ],
  [
    'express',
    async () => {
      const app = express();
      app.use(express.text());
      app.get('/slow', () => undefined);
      app.get('/who', (request, response) => void response.json(peerOf(request)));
      app.post('/echo', (request, response) => void response.set('x-app', 'express').send(request.body));
      return createServer(app);
    },
  ],
  [
    'fastify',
    async () => {
      const app = fastify();
      app.get('/slow', () => new Promise(() => undefined));
      app.get('/who', (request) => peerOf(request.raw));
      app.post('/echo', (request, reply) => reply.header('x-app', 'fastify').send(request.body));
      await app.ready();
      return app.server as Server;
    },
  ],
  [
    'koa',
    async () => {
      const app = new Koa();
      app.use(async (context) => {
        if (context.path === '/slow') return new Promise(() => undefined);
        if (context.path === '/who') {
          context.body = peerOf(context.req);
          return;
        }
        const parts: Buffer[] = [];
        for await (const part of context.req) parts.push(part as Buffer);
        context.set('x-app', 'koa');
        context.body = Buffer.concat(parts).toString();
      });
      return createServer(app.callback());
    },
  ],
  [
    'hono',
    async () => {
      const app = new Hono<{ Bindings: { incoming: IncomingMessage } }>();
      app.get('/slow', () => new Promise(() => undefined));
      app.get('/who', (context) => context.json(peerOf(context.env.incoming) as never));
      app.post('/echo', async (context) => context.text(await context.req.text(), 200, { 'x-app': 'hono' }));
      // Listens by itself; `start` moves it to where the test wants it.
      return serveHono({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }) as Server;
    },
  ],
];

async function start(server: Server, engine = new FakeInbound()): Promise<Served> {
  createHttp(engine).server(server);
  track(server);
  if (server.listening) return { engine, server, port: (server.address() as { port: number }).port };
  const address = server.address();
  const port = address === null || typeof address === 'string' ? await listening(server) : address.port;
  return { engine, server, port };
}

async function listening(server: Server): Promise<number> {
  // Hono's server is already on its way.
  if (server.listenerCount('listening') > 0) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    if (server.listening) return (server.address() as { port: number }).port;
  }
  return listen(server);
}

function plain(answer = 'ok'): Server {
  return createServer((request, response) => {
    request.resume();
    response.end(answer);
  });
}

/** Writes bytes, gives back all that came until the far side closed. */
function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    const parts: Buffer[] = [];
    socket.on('data', (part) => parts.push(part));
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(Buffer.concat(parts).toString()));
  });
}

describe.each(FRAMEWORKS)('%s', (name, make) => {
  describe.each([
    ['steps', true],
    ['promises', false],
  ] as const)('%s', (_path, direct) => {
    test('runs unmodified: body, status and headers go through, each call ends once', async () => {
      const { engine, port } = await start(await make());
      engine.direct = direct;
      const body = 'text '.repeat(5000);
      for (const adapter of ['http', 'fetch'] as const) {
        const reply = await axios.post(`http://127.0.0.1:${port}/echo`, body, { adapter, headers: { 'content-type': 'text/plain' } });
        expect([reply.status, reply.headers['x-app'], reply.data]).toEqual([200, name, body]);
      }
      await until(() => engine.ended.length === 2);
      expect(engine.ended.map(({ status, failure: failed, head }) => [status, failed, head.method, head.path])).toEqual([
        [200, undefined, 'POST', '/echo'],
        [200, undefined, 'POST', '/echo'],
      ]);
    });

    test('a denial never starts the application', async () => {
      const { engine, port } = await start(await make());
      engine.direct = direct;
      engine.steps = [{ enter: (call) => (call.head.headers.get('x-key') === 'yes' ? undefined : denial(403, 'RBAC: access denied')) }];
      const denied = await fetch(`http://127.0.0.1:${port}/echo`, { method: 'POST', body: 'x' });
      expect([denied.status, await denied.text(), denied.headers.get('x-app')]).toEqual([403, 'RBAC: access denied', null]);
      const allowed = await fetch(`http://127.0.0.1:${port}/echo`, {
        method: 'POST',
        body: 'x',
        headers: { 'x-key': 'yes', 'content-type': 'text/plain' },
      });
      expect([allowed.status, await allowed.text()]).toEqual([200, 'x']);
    });

    test('layers see and change the head that the application writes', async () => {
      const { engine, port } = await start(await make());
      engine.direct = direct;
      const seen: (string | number | undefined)[] = [];
      engine.steps = [
        {
          enter: (call) => (call.head.headers.set('x-in', 'set'), undefined),
          leave: (_call, head) => {
            seen.push(head.status, head.headers.get('x-app'));
            head.headers.set('x-out', 'added');
            head.headers.remove('x-app');
          },
        },
      ];
      const reply = await fetch(`http://127.0.0.1:${port}/echo`, {
        method: 'POST',
        body: 'hello',
        headers: { 'content-type': 'text/plain' },
      });
      expect([await reply.text(), reply.headers.get('x-out'), reply.headers.get('x-app')]).toEqual(['hello', 'added', null]);
      expect(seen).toEqual([200, name]);
    });
  });

  test('the caller is known, and a time limit answers 504 while the application is silent', async () => {
    const { engine, port } = await start(await make());
    const who = (await (await fetch(`http://127.0.0.1:${port}/who`)).json()) as Record<string, unknown>;
    expect(who).toMatchObject({ remoteAddress: '127.0.0.1', localPort: port });
    engine.steps = [
      {
        enter: (call) => {
          call.timeLimit = failure(FAILURES.responseTimeout, 'too slow');
          call.timer = engine.clock.set(call, 30, true);
          return undefined;
        },
      },
    ];
    const slow = await fetch(`http://127.0.0.1:${port}/slow`);
    expect([slow.status, slow.headers.get('x-inmesh-failure')]).toEqual([504, 'UT response_timeout']);
  });
});

describe('states of the listener', () => {
  test('passthrough leaves the server alone', async () => {
    const engine = new FakeInbound();
    engine.state = 'passthrough';
    engine.answer = () => denial(403, 'no');
    const { port } = await start(plain(), engine);
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('ok');
    expect(engine.started).toBe(0);
  });

  test.each(['waiting', 'not-serving'] as const)('%s closes connections without a byte', async (state) => {
    const engine = new FakeInbound();
    engine.state = state;
    const { port } = await start(plain(), engine);
    expect(await raw(port, 'GET / HTTP/1.1\r\nhost: a\r\n\r\n')).toBe('');
  });

  test('no matching chain closes the connection without a byte', async () => {
    const engine = new FakeInbound();
    engine.choose = () => undefined;
    const { port } = await start(plain(), engine);
    expect(await raw(port, 'GET / HTTP/1.1\r\nhost: a\r\n\r\n')).toBe('');
    expect(engine.facts[0]).toMatchObject({ localAddress: '127.0.0.1', localPort: port, transportProtocol: 'raw_buffer' });
  });

  test('a mesh reply in place of routes: 404', async () => {
    const { engine, port } = await start(plain());
    engine.answer = () => denial(404, 'no route');
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(404);
  });

  test('a drain refuses requests on open connections and tells them to go', async () => {
    const { engine, port } = await start(plain());
    const socket = connect(port, '127.0.0.1');
    const text: string[] = [];
    socket.on('data', (part) => text.push(part.toString()));
    socket.write('GET /1 HTTP/1.1\r\nhost: a\r\n\r\n');
    await until(() => text.join('').includes('200 OK'));
    engine.draining = true;
    socket.write('GET /2 HTTP/1.1\r\nhost: a\r\n\r\n');
    await new Promise((resolve) => socket.once('close', resolve));
    expect(text.join('')).toMatch(/503 Service Unavailable[\s\S]*connection: close/i);
    expect(await raw(port, 'GET / HTTP/1.1\r\nhost: a\r\n\r\n')).toBe('');
  });

  test('an update of the listener closes idle connections whose rules changed, and finishes the busy ones', async () => {
    let finish: (() => void) | undefined;
    const server = createServer((request, response) => {
      if (request.url === '/busy') finish = () => response.end('done');
      else response.end('ok');
    });
    const { engine, port } = await start(server);
    const idle = raw(port, 'GET / HTTP/1.1\r\nhost: a\r\n\r\n');
    const busy = raw(port, 'GET /busy HTTP/1.1\r\nhost: a\r\n\r\n');
    await until(() => engine.ended.length === 1 && finish !== undefined);
    const same = engine.choose;
    engine.change();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await Promise.race([idle, Promise.resolve('open')])).toBe('open');
    engine.choose = (facts) => ({ ...(same(facts) as { name: string }), security: new FakeServerSecurity(testCa(), undefined) });
    engine.change();
    expect(await idle).toContain('ok');
    finish?.();
    expect(await busy).toContain('done');
  });
});

describe('HTTP/1.1 hygiene', () => {
  test('two Host headers are refused with 400', async () => {
    const { engine, port } = await start(plain());
    const text = await raw(port, 'GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n');
    expect(text).toMatch(/^HTTP\/1\.1 400 /);
    expect(engine.started).toBe(0);
  });

  test('a target in absolute form overrides the Host header', async () => {
    const { engine, port } = await start(plain());
    await raw(port, 'GET http://other:81/x?y HTTP/1.1\r\nHost: a\r\nconnection: close\r\n\r\n');
    expect(engine.ended[0]?.head).toMatchObject({ authority: 'other:81', path: '/x?y' });
  });

  test('the client that goes away ends the call with DC', async () => {
    const { engine, port } = await start(createServer(() => undefined));
    const socket = connect(port, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n'));
    await until(() => engine.started === 1);
    socket.destroy();
    await until(() => engine.ended.length === 1);
    expect(engine.ended[0]?.failure?.kind.flag).toBe('DC');
  });

  test('an upgrade runs through the same stack', async () => {
    const server = plain();
    server.on('upgrade', (_request, socket) =>
      socket.end('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nhi'),
    );
    const { engine, port } = await start(server);
    const text = 'GET /ws HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n';
    expect(await raw(port, text)).toMatch(/^HTTP\/1\.1 101 [\s\S]*hi$/);
    engine.steps = [{ enter: () => denial(403, 'no') }];
    expect(await raw(port, text)).toMatch(/^HTTP\/1\.1 403 /);
    await until(() => engine.ended.length === 2);
  });

  test('the application finds its inbound call in the context', async () => {
    const engine = new FakeInbound();
    const server = createServer(async (_request, response) => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      response.end(engine.storage.getStore()?.head.path);
    });
    const { port } = await start(server, engine);
    expect(await (await fetch(`http://127.0.0.1:${port}/where`)).text()).toBe('/where');
  });
});

describe('TLS on the same port', () => {
  const ca = testCa();
  const client = identity(ca, 'spiffe://test/ns/a/sa/client');
  const options = (port: number, more: object = {}): object => ({
    port,
    host: '127.0.0.1',
    servername: 'shop',
    ca: ca.certificatePem,
    ...more,
  });

  async function secured(mode: 'tls' | 'mixed', requires = true): Promise<Served & { security: FakeServerSecurity }> {
    const engine = new FakeInbound();
    const security = new FakeServerSecurity(ca, identity(ca, 'spiffe://test/ns/a/sa/server'), requires);
    engine.mode = mode;
    engine.choose = (facts) =>
      facts.transportProtocol === 'tls' ? { name: 'tls', security } : mode === 'mixed' ? { name: 'plain', security: undefined } : undefined;
    const server = createServer((request, response) => {
      request.resume();
      response.end(JSON.stringify({ peer: peerOf(request)?.tls, encrypted: 'encrypted' in request.socket }));
    });
    return { ...(await start(server, engine)), security };
  }

  function get(connection: object): Promise<string> {
    return new Promise((resolve) => {
      const socket = connectTls(connection as never, () => socket.write('GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n'));
      const parts: Buffer[] = [];
      socket.on('data', (part) => parts.push(part));
      socket.on('error', () => undefined);
      socket.on('close', () => resolve(Buffer.concat(parts).toString()));
    });
  }

  test('the client certificate is required and verified, and the application learns who called', async () => {
    const { engine, port } = await secured('tls');
    const text = await get(options(port, client));
    expect(JSON.parse(text.slice(text.indexOf('{'), text.lastIndexOf('}') + 1))).toMatchObject({
      encrypted: true,
      peer: { authenticated: true, uriSans: ['spiffe://test/ns/a/sa/client'], dnsSans: ['shop'] },
    });
    expect(engine.facts[0]).toMatchObject({ transportProtocol: 'tls', serverName: 'shop' });
    await until(() => engine.ended.length === 1);
    expect(engine.ended[0]?.head.scheme).toBe('https');
  });

  test('no certificate, a foreign one, one that no matcher accepts: refused before a byte of HTTP', async () => {
    const { engine, port, security } = await secured('tls');
    expect(await get(options(port))).toBe('');
    expect(await get(options(port, identity(testCa(), 'spiffe://test/ns/a/sa/client')))).toBe('');
    security.accepts = (certificate) => certificate.subjectaltname?.includes('nobody') === true;
    expect(await get(options(port, client))).toBe('');
    expect(engine.started).toBe(0);
  });

  test('plaintext to a port that asks for TLS is refused; a mixed port takes both', async () => {
    const strict = await secured('tls');
    expect(await raw(strict.port, 'GET / HTTP/1.1\r\nhost: a\r\n\r\n')).toBe('');
    const mixed = await secured('mixed', false);
    expect(await raw(mixed.port, 'GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')).toContain('"encrypted":false');
    expect(await get(options(mixed.port))).toContain('"authenticated":false');
  });

  test('requests larger than one read arrive whole through the sniff', async () => {
    const engine = new FakeInbound();
    engine.mode = 'mixed';
    engine.choose = () => ({ name: 'plain', security: undefined });
    const server = createServer((request, response) => request.pipe(response));
    const { port } = await start(server, engine);
    const body = 'z'.repeat(500_000);
    expect(await (await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body })).text()).toBe(body);
  });

  test('resumed sessions keep the identity', async () => {
    const { port } = await secured('tls');
    let session: Buffer | undefined;
    for (let i = 0; i < 3; i++) {
      const text = await new Promise<string>((resolve) => {
        const socket = connectTls(options(port, { ...client, session }) as never, () =>
          socket.write('GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n'),
        );
        const parts: Buffer[] = [];
        socket.on('session', (ticket) => (session = ticket));
        socket.on('data', (part) => parts.push(part));
        socket.on('error', () => undefined);
        socket.on('close', () => resolve(Buffer.concat(parts).toString()));
      });
      expect(text, `connection ${i}`).toContain('spiffe://test/ns/a/sa/client');
    }
  });

  test('certificates not there yet: closed, never in the clear', async () => {
    const { port, security, engine } = await secured('tls');
    security.current = undefined;
    expect(await get(options(port, client))).toBe('');
    expect(engine.started).toBe(0);
  });

  test('nobody is admitted any more since the handshake began: the connection is not served', async () => {
    const { engine, port } = await secured('tls');
    const { choose } = engine;
    engine.choose = (facts) => {
      engine.choose = () => undefined;
      queueMicrotask(() => engine.change());
      return choose(facts);
    };
    expect(await get(options(port, client))).toBe('');
    expect([engine.facts.length, engine.started]).toEqual([2, 0]);
  });

  test('a rotated certificate counts for the next connection', async () => {
    const { port, security } = await secured('tls');
    const names: (string | undefined)[] = [];
    for (const id of ['spiffe://test/one', 'spiffe://test/two']) {
      security.current = identity(ca, id);
      await new Promise<void>((resolve) => {
        const socket = connectTls(options(port, client) as never, () => {
          names.push(socket.getPeerCertificate().subjectaltname);
          socket.destroy();
          resolve();
        });
      });
    }
    expect(names.map((text) => /spiffe:\/\/test\/\w+/.exec(text ?? '')?.[0])).toEqual(['spiffe://test/one', 'spiffe://test/two']);
  });

  test('a connection that says nothing is not a request, and one that goes away is forgotten', async () => {
    const { engine, port, server } = await secured('tls');
    const socket = connect(port, '127.0.0.1', () => socket.end());
    await new Promise((resolve) => socket.once('close', resolve));
    expect(engine.started).toBe(0);
    await new Promise((resolve) => server.close(resolve));
  });

  test('an https server with TLS of its own serves behind a chain without TLS', async () => {
    const engine = new FakeInbound();
    const own = identity(ca, 'spiffe://test/own');
    const server = createHttpsServer(own, (request, response) => response.end(request.url));
    createHttp(engine).server(server);
    track(server);
    const port = await listen(server);
    expect(await get(options(port))).toMatch(/200 OK[\s\S]*\/$/);
    await until(() => engine.ended.length === 1);
    expect(engine.ended[0]?.peer.tls).toBeUndefined();
  });
});
