/** `mesh.fetch` beside the platform's fetch: the same requests and responses, on real sockets. */
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import axios from 'axios';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createDispatcher, createFetch } from '../../src/adapters/undici/index.ts';
import { FakeEngine } from '../support/fake-engine.ts';
import type { Seen, TestServer } from '../support/http-servers.ts';
import { serve, until } from '../support/http-servers.ts';

interface Both {
  readonly upstream: TestServer;
  readonly engine: FakeEngine;
  /** The same call through the platform's fetch straight to the server, and through the mesh. */
  readonly ways: readonly (readonly [name: string, call: (path: string, init?: RequestInit) => Promise<Response>])[];
  readonly meshFetch: typeof fetch;
}

async function both(answer: Parameters<typeof serve>[0]): Promise<Both> {
  const upstream = await serve(answer);
  const engine = new FakeEngine({ shop: { ports: [upstream.port] }, elsewhere: { ports: [upstream.port] } });
  onTestFinished(() => engine.close());
  const meshFetch = createFetch(engine, { onFailure: 'response' });
  return {
    upstream,
    engine,
    meshFetch,
    ways: [
      ['platform', (path, init) => fetch(`http://127.0.0.1:${upstream.port}${path}`, init)],
      ['mesh', (path, init) => meshFetch(`http://shop${path}`, init)],
    ],
  };
}

describe('requests', () => {
  test.each<readonly [string, RequestInit]>([
    ['plain', {}],
    ['lower-case method', { method: 'post', body: 'text' }],
    ['header object', { headers: { 'X-One': ' padded ', accept: 'text/x' } }],
    [
      'header pairs with a doubled name',
      {
        headers: [
          ['x-two', 'a'],
          ['X-Two', 'b'],
        ],
      },
    ],
    ['Headers', { headers: new Headers({ 'x-three': 'c', 'user-agent': 'me' }) }],
    ['URLSearchParams', { method: 'POST', body: new URLSearchParams({ a: 'b c' }) }],
    ['typed array', { method: 'PUT', body: new Uint8Array([97, 98]) }],
    ['array buffer', { method: 'PUT', body: new TextEncoder().encode('ab').buffer as ArrayBuffer }],
    ['blob', { method: 'POST', body: new Blob(['blob'], { type: 'x/blob' }) }],
    ['empty string', { method: 'POST', body: '' }],
    ['body-less POST', { method: 'POST' }],
    ['DELETE', { method: 'DELETE' }],
    ['stream', { method: 'POST', body: new Blob(['stream']).stream(), duplex: 'half' } as RequestInit],
  ])('%s looks the same to the server', async (_name, init) => {
    const { upstream, ways } = await both((_request, response) => response.end());
    for (const [way, call] of ways)
      await (
        await call(
          '/p?q=1',
          way === 'mesh' && init.body instanceof ReadableStream ? { ...init, body: new Blob(['stream']).stream() } : init,
        )
      ).text();
    const [platform, mesh] = upstream.seen.map(({ method, url, headers, body }) => {
      const { host: _host, connection: _connection, ...rest } = headers;
      return { method, url, headers: rest, body };
    });
    expect(mesh).toEqual(platform);
  });

  test('Request objects go through the mesh', async () => {
    const { upstream, engine, meshFetch } = await both((_request, response) => response.end('ok'));
    const reply = await meshFetch(new Request('http://shop/r', { method: 'POST', body: 'b', headers: { 'x-r': '1' } }));
    expect([await reply.text(), upstream.seen[0]?.body, upstream.seen[0]?.headers['x-r'], engine.ledger.callsStarted]).toEqual([
      'ok',
      'b',
      '1',
      1,
    ]);
  });

  test("data: and blob: URLs and other hosts are the platform's", async () => {
    const { meshFetch, upstream, engine } = await both((_request, response) => response.end('direct'));
    expect(await (await meshFetch('data:text/plain,hello')).text()).toBe('hello');
    const url = URL.createObjectURL(new Blob(['blob']));
    onTestFinished(() => URL.revokeObjectURL(url));
    expect(await (await meshFetch(url)).text()).toBe('blob');
    expect(await (await meshFetch(`http://127.0.0.1:${upstream.port}/`)).text()).toBe('direct');
    expect(engine.ledger.callsStarted).toBe(0);
  });

  test.each<readonly [string, unknown, RequestInit]>([
    ['no URL', 'nonsense', {}],
    ['a body with GET', 'http://shop/', { body: 'x' }],
    ['a forbidden method', 'http://shop/', { method: 'TRACE' }],
    ['a bad header name', 'http://shop/', { headers: { 'bad name': 'x' } }],
    ['credentials in the URL', 'http://a:b@shop/', {}],
  ])("%s is refused with the platform's TypeError", async (_name, url, init) => {
    const { meshFetch, upstream } = await both((_request, response) => response.end());
    await expect(meshFetch(url as string, init)).rejects.toBeInstanceOf(TypeError);
    expect(upstream.seen).toHaveLength(0);
  });
});

describe('responses', () => {
  test('status, headers, url and all readers agree with the platform', async () => {
    const { ways } = await both((_request, response) => {
      response.statusCode = 201;
      response.setHeader('set-cookie', ['a=1', 'b=2']);
      response.setHeader('Content-Type', 'application/json; charset=utf-8');
      response.end('\ufeff{"a":"ü"}');
    });
    const facts = [];
    for (const [, call] of ways) {
      const first = await call('/x#fragment');
      expect(first).toBeInstanceOf(Response);
      facts.push([
        first.status,
        first.statusText,
        first.ok,
        first.redirected,
        first.type,
        first.bodyUsed,
        first.headers.get('content-type'),
        first.headers.getSetCookie(),
        new URL(first.url).pathname,
        new URL(first.url).hash,
        await first.text(),
        first.bodyUsed,
        await (await call('/')).json(),
        [...new Uint8Array(await (await call('/')).arrayBuffer())],
        (await (await call('/')).blob()).type,
        [...(await (await call('/')).bytes())],
        await new Response((await call('/')).body).text(),
      ]);
    }
    expect(facts[1]).toEqual(facts[0]);
  });

  test('a body is read once; a clone has its own', async () => {
    const { ways } = await both((_request, response) => response.end('twice'));
    for (const [, call] of ways) {
      const reply = await call('/');
      const copy = reply.clone();
      expect([await reply.text(), await copy.text(), copy.url]).toEqual(['twice', 'twice', reply.url]);
      await expect(reply.text()).rejects.toBeInstanceOf(TypeError);
      expect(() => reply.clone()).toThrow(TypeError);
    }
  });

  test('the stream is read piece by piece, and cancelling it reaches the socket', async () => {
    const { upstream, engine, meshFetch } = await both((_request, response) => {
      response.write('one');
      setTimeout(() => response.write('two'), 10);
    });
    const reader = ((await meshFetch('http://shop/')).body as ReadableStream<Uint8Array>).getReader();
    const first = await reader.read();
    const second = await reader.read();
    expect([first, second].map(({ value }) => Buffer.from(value as Uint8Array).toString())).toEqual(['one', 'two']);
    const [socket] = upstream.sockets;
    await reader.cancel();
    await until(() => socket?.destroyed === true && engine.ledger.calls.length === 1);
  });

  test.each([
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
    ['gzip, br', (data: Buffer) => brotliCompressSync(gzipSync(data))],
  ] as const)('%s is decoded', async (encoding, pack) => {
    const body = 'compressible '.repeat(50_000);
    const { ways } = await both((_request, response) =>
      response.writeHead(200, { 'content-encoding': encoding }).end(pack(Buffer.from(body))),
    );
    for (const [, call] of ways) expect((await (await call('/')).text()) === body).toBe(true);
  });

  test('a broken encoding breaks the body, not the process', async () => {
    const { ways } = await both((_request, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end('not gzip'));
    for (const [, call] of ways) await expect((await call('/')).text()).rejects.toBeInstanceOf(TypeError);
  });

  test('form data', async () => {
    const { meshFetch } = await both((_request, response) =>
      response.writeHead(200, { 'content-type': 'application/x-www-form-urlencoded' }).end('a=b'),
    );
    expect((await (await meshFetch('http://shop/')).formData()).get('a')).toBe('b');
  });

  test('a broken connection after the head is `terminated`', async () => {
    const { ways } = await both((_request, response) =>
      response.writeHead(200, { 'content-length': '9' }).write('x', () => response.socket?.destroy()),
    );
    for (const [, call] of ways) await expect((await call('/')).text()).rejects.toMatchObject({ name: 'TypeError', message: 'terminated' });
  });
});

describe('redirects', () => {
  const server = (request: Seen, response: Parameters<Parameters<typeof serve>[0]>[1]): void => {
    const [, code, target] = /^\/(\d+)(\/.*)?$/.exec(request.url) ?? [];
    if (code !== undefined) response.writeHead(Number(code), { location: target ?? '/end' }).end('moved');
    else if (request.url === '/loop') response.writeHead(302, { location: '/loop' }).end();
    else if (request.url === '/away') response.writeHead(307, { location: 'http://elsewhere/end' }).end();
    else
      response.end(
        JSON.stringify({
          method: request.method,
          body: request.body,
          url: request.url,
          auth: request.headers.authorization,
          type: request.headers['content-type'],
        }),
      );
  };

  test.each([301, 302, 303, 307, 308].flatMap((code) => ['GET', 'POST', 'PUT'].map((method) => [code, method] as const)))(
    '%i after %s',
    async (code, method) => {
      const { ways } = await both(server);
      const found = [];
      for (const [, call] of ways) {
        const reply = await call(`/${code}`, { method, ...(method === 'GET' ? {} : { body: 'data' }), headers: { authorization: 'me' } });
        found.push([reply.redirected, new URL(reply.url).pathname, await reply.json()]);
      }
      expect(found[1]).toEqual(found[0]);
    },
  );

  test('to another origin: the authorization stays behind', async () => {
    const { meshFetch } = await both(server);
    const reply = await meshFetch('http://shop/away', { headers: { authorization: 'me' } });
    expect([reply.url, ((await reply.json()) as { auth?: string }).auth]).toEqual(['http://elsewhere/end', undefined]);
  });

  test('manual, error, and too many', async () => {
    const { ways } = await both(server);
    for (const [, call] of ways) {
      const manual = await call('/302', { redirect: 'manual' });
      expect([manual.status, manual.headers.get('location')]).toEqual([302, '/end']);
      await expect(call('/302', { redirect: 'error' })).rejects.toMatchObject({ message: 'fetch failed' });
      await expect(call('/loop')).rejects.toMatchObject({ message: 'fetch failed', cause: { message: 'redirect count exceeded' } });
    }
  });
});

describe('signals', () => {
  test('an aborted signal, one that aborts while waiting, one with a reason', async () => {
    const { meshFetch, upstream } = await both(() => undefined);
    await expect(meshFetch('http://shop/', { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' });
    expect(upstream.seen).toHaveLength(0);
    await expect(meshFetch('http://shop/', { signal: AbortSignal.timeout(30) })).rejects.toMatchObject({ name: 'TimeoutError' });
    const abort = new AbortController();
    const call = meshFetch('http://shop/', { signal: abort.signal });
    const reason = new Error('mine');
    setTimeout(() => abort.abort(reason), 10);
    await expect(call).rejects.toBe(reason);
  });

  test('an abort while the body comes rejects the reader with the reason', async () => {
    const { meshFetch } = await both((_request, response) => void response.write('a'));
    const abort = new AbortController();
    const reply = await meshFetch('http://shop/', { signal: abort.signal });
    const text = reply.text();
    abort.abort();
    await expect(text).rejects.toMatchObject({ name: 'AbortError' });
  });
});

test('axios with the fetch adapter over the global slots, put in and taken out again', async () => {
  const { upstream, engine } = await both((_request, response) => response.end('{"a":1}'));
  const slots = [Symbol.for('undici.globalDispatcher.1'), Symbol.for('undici.globalDispatcher.2')];
  // Node fills its slot on first use.
  await fetch(`http://127.0.0.1:${upstream.port}/first`);
  const globals = globalThis as unknown as Record<symbol, unknown>;
  const before = slots.map((slot) => globals[slot]);
  const dispatcher = createDispatcher(engine, { onFailure: 'response' });
  onTestFinished(() => slots.forEach((slot, index) => (globals[slot] = before[index])));
  for (const slot of slots) globals[slot] = dispatcher;
  const reply = await axios.post('http://shop/axios', { b: 2 }, { adapter: 'fetch' });
  expect([reply.data, upstream.seen.at(-1)?.body, engine.ledger.callsStarted]).toEqual([{ a: 1 }, '{"b":2}', 1]);
  expect(await (await fetch(`http://127.0.0.1:${upstream.port}/outside`)).json()).toEqual({ a: 1 });
  expect(engine.ledger.callsStarted).toBe(1);
});
