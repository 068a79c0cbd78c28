/** One suite for every way in which an application can call through the undici adapter; each call and attempt ends exactly once. */
import type { Dispatcher } from 'undici';
import { FormData as Form7, request as request7 } from 'undici';
import { request as request6 } from 'undici6';
import { request as request8 } from 'undici8';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createDispatcher, createFetch } from '../../src/adapters/undici/index.ts';
import { FakeEngine } from '../support/fake-engine.ts';
import type { FakeRoute } from '../support/fake-engine.ts';
import { deadPort, serve, serveTcp, until } from '../support/http-servers.ts';

interface Init {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

interface Answer {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  text(): Promise<string>;
}

type Call = (url: string, init?: Init) => Promise<Answer>;

type UndiciRequest = (
  url: string,
  options: never,
) => Promise<{ statusCode: number; headers: Record<string, string | string[] | undefined>; body: { text(): Promise<string> } }>;

const viaRequest =
  (request: unknown) =>
  (dispatcher: Dispatcher): Call =>
  async (url, init = {}) => {
    const reply = await (request as UndiciRequest)(url, { ...init, dispatcher } as never);
    const get = (name: string): string | null => reply.headers[name]?.toString() ?? null;
    return { status: reply.statusCode, headers: { get }, text: () => reply.body.text() };
  };

const FRONTS: readonly (readonly [name: string, make: (engine: FakeEngine, dispatcher: Dispatcher) => Call])[] = [
  [
    'mesh.fetch',
    (engine) => {
      const meshFetch = createFetch(engine, { onFailure: 'response' });
      return (url, init) => meshFetch(url, { ...init, ...(init?.body === undefined ? {} : { duplex: 'half' }) } as never);
    },
  ],
  [
    'global fetch',
    (_engine, dispatcher) => (url, init) =>
      fetch(url, { ...init, dispatcher, ...(init?.body === undefined ? {} : { duplex: 'half' }) } as never),
  ],
  ['undici 6 request', (_engine, dispatcher) => viaRequest(request6)(dispatcher)],
  ['undici 7 request', (_engine, dispatcher) => viaRequest(request7)(dispatcher)],
  ['undici 8 request', (_engine, dispatcher) => viaRequest(request8)(dispatcher)],
];

function setup(make: (engine: FakeEngine, dispatcher: Dispatcher) => Call, route: FakeRoute): { call: Call; engine: FakeEngine } {
  const engine = new FakeEngine({ shop: route });
  const call = make(engine, createDispatcher(engine, { onFailure: 'response' }));
  onTestFinished(async () => {
    await engine.close();
    expect(engine.ledger.open, 'every call and attempt ended').toBe(0);
  });
  return { call, engine };
}

async function* letters(count: number, size: number): AsyncGenerator<Buffer> {
  for (let i = 0; i < count; i++) {
    await Promise.resolve();
    yield Buffer.alloc(size, 97 + (i % 26));
  }
}

const expected = (count: number, size: number): string =>
  Array.from({ length: count }, (_, i) => String.fromCharCode(97 + (i % 26)).repeat(size)).join('');

describe.each(FRONTS)('%s', (name, make) => {
  describe.each([
    ['direct path', true],
    ['promise path', false],
  ] as const)('%s', (_path, direct) => {
    test('a reply comes through whole, with the authority as host', async () => {
      const upstream = await serve((_request, response) => response.setHeader('x-from', 'upstream').end('hello'));
      const { call, engine } = setup(make, { ports: [upstream.port], direct });
      const reply = await call('http://shop/a?b=1');
      expect([reply.status, reply.headers.get('x-from'), await reply.text()]).toEqual([200, 'upstream', 'hello']);
      expect(upstream.seen[0]).toMatchObject({ method: 'GET', url: '/a?b=1', headers: { host: 'shop' } });
      await until(() => engine.ledger.calls.length === 1);
      expect(engine.ledger.calls[0]).toMatchObject({ status: 200, failure: undefined, attempts: 1 });
    });

    test('a refused status is retried on another endpoint and the first body never shows', async () => {
      const bad = await serve((_request, response) => response.writeHead(503).end('x'.repeat(100_000)));
      const good = await serve((_request, response) => response.end('fine'));
      const { call, engine } = setup(make, { ports: [bad.port, good.port], tries: 2, retryStatuses: [503], direct });
      const reply = await call('http://shop/');
      expect([reply.status, await reply.text()]).toEqual([200, 'fine']);
      await until(() => engine.ledger.calls.length === 1);
      expect(engine.ledger.attempts.map((attempt) => attempt.status)).toEqual([503, 200]);
    });

    test('the last refused reply is delivered when tries run out', async () => {
      const bad = await serve((_request, response, number) => response.writeHead(503).end(`no ${number}`));
      const { call } = setup(make, { ports: [bad.port], tries: 3, retryStatuses: [503], direct });
      const reply = await call('http://shop/');
      expect([reply.status, await reply.text()]).toEqual([503, 'no 3']);
    });

    test('a refused connection is retried', async () => {
      const good = await serve((_request, response) => response.end('fine'));
      const { call } = setup(make, { ports: [await deadPort(), good.port], tries: 2, direct });
      expect(await (await call('http://shop/')).text()).toBe('fine');
    });

    test('a failure is shown as the response of a sidecar, with flag and details', async () => {
      const { call, engine } = setup(make, { ports: [await deadPort()], direct });
      const reply = await call('http://shop/');
      expect([reply.status, reply.headers.get('x-inmesh-failure')]).toEqual([503, 'UF upstream_connection_failure']);
      expect(await reply.text()).toContain('ECONNREFUSED');
      expect(engine.ledger.calls[0]?.failure?.kind.details).toBe('upstream_connection_failure');
    });

    test('a reset before the head is retried, a reset after it breaks the body', async () => {
      const upstream = await serve((_request, response, number) => {
        if (number === 1) response.socket?.resetAndDestroy();
        else response.writeHead(200, { 'content-length': '100' }).write('half', () => setTimeout(() => response.socket?.destroy(), 20));
      });
      const { call, engine } = setup(make, { ports: [upstream.port], tries: 3, direct });
      const reply = await call('http://shop/');
      expect(reply.status).toBe(200);
      await expect(reply.text()).rejects.toThrow();
      await until(() => engine.ledger.calls.length === 1);
      expect(engine.ledger.attempts.map((attempt) => attempt.failure?.kind.details)).toEqual([
        'upstream_reset_before_response_started',
        'upstream_reset_after_response_started',
      ]);
      expect(engine.ledger.calls[0]?.failure?.kind.flag).toBe('UC');
    });

    test.each([
      ['string', () => 'a string body ü', 'a string body ü'],
      ['buffer', () => Buffer.from('a buffer'), 'a buffer'],
      ['generator', () => letters(10, 1000), expected(10, 1000)],
      ['web stream', () => (name.startsWith('undici') ? letters(3, 10) : new Blob([expected(3, 10)]).stream()), expected(3, 10)],
    ])('a %s body arrives intact on every attempt', async (_kind, body, wanted) => {
      const upstream = await serve((_request, response, number) => response.writeHead(number < 3 ? 503 : 200).end(`try ${number}`));
      const { call } = setup(make, { ports: [upstream.port], tries: 3, retryStatuses: [503], direct });
      const reply = await call('http://shop/', { method: 'POST', body: body() });
      expect(await reply.text()).toBe('try 3');
      expect(upstream.seen.map((request) => request.body)).toEqual([wanted, wanted, wanted]);
    });

    test('a stream longer than the recording is sent once, and not retried', async () => {
      const upstream = await serve((_request, response) => response.writeHead(503).end('no'));
      const { call } = setup(make, { ports: [upstream.port], tries: 3, retryStatuses: [503], direct });
      const reply = await call('http://shop/', { method: 'POST', body: letters(200, 1000) });
      expect([reply.status, await reply.text()]).toEqual([503, 'no']);
      expect(upstream.seen.map((request) => request.body)).toEqual([expected(200, 1000)]);
    });

    test('an abort before the head reaches the socket, the call ends with DC', async () => {
      const upstream = await serve(() => undefined);
      const { call, engine } = setup(make, { ports: [upstream.port], tries: 3, direct });
      const abort = new AbortController();
      const reply = call('http://shop/', { signal: abort.signal });
      const rejected = expect(reply).rejects.toMatchObject({ name: 'AbortError' });
      await until(() => upstream.seen.length === 1);
      const [socket] = upstream.sockets;
      abort.abort();
      await rejected;
      await until(() => socket?.destroyed === true);
      expect(engine.ledger.calls.map((one) => one.failure?.kind.details)).toEqual(['downstream_remote_disconnect']);
      expect(engine.ledger.attempts).toHaveLength(1);
    });

    test('an abort while the body comes reaches the socket', async () => {
      const upstream = await serve((_request, response) => void response.write('begin'));
      const { call, engine } = setup(make, { ports: [upstream.port], direct });
      const abort = new AbortController();
      const reply = await call('http://shop/', { signal: abort.signal });
      const rejected = expect(reply.text()).rejects.toBeDefined();
      const [socket] = upstream.sockets;
      abort.abort();
      await rejected;
      await until(() => socket?.destroyed === true && engine.ledger.calls.length === 1);
      expect(engine.ledger.calls[0]?.failure?.kind.flag).toBe('DC');
    });

    test('a time limit before the head gives 504, and the connection is let go', async () => {
      const upstream = await serve(() => undefined);
      const { call, engine } = setup(make, { ports: [upstream.port], timeoutMs: 50, direct });
      const started = call('http://shop/');
      await until(() => upstream.sockets.size === 1);
      const [socket] = upstream.sockets;
      const reply = await started;
      expect([reply.status, reply.headers.get('x-inmesh-failure')]).toEqual([504, 'UT response_timeout']);
      await until(() => socket?.destroyed === true);
      expect(engine.ledger.calls[0]?.failure?.kind.flag).toBe('UT');
    });

    test('a time limit during the body breaks the body', async () => {
      const upstream = await serve((_request, response) => void response.write('begin'));
      const { call } = setup(make, { ports: [upstream.port], timeoutMs: 80, direct });
      const reply = await call('http://shop/');
      const [socket] = upstream.sockets;
      await expect(reply.text()).rejects.toBeDefined();
      await until(() => socket?.destroyed === true);
    });

    test('a slow try is given up and another made', async () => {
      const upstream = await serve((_request, response, number) => (number === 1 ? undefined : response.end('second')));
      const { call, engine } = setup(make, { ports: [upstream.port], tries: 2, perTryMs: 50, direct });
      expect(await (await call('http://shop/')).text()).toBe('second');
      await until(() => engine.ledger.calls.length === 1);
      expect(engine.ledger.attempts.map((attempt) => attempt.failure?.kind.details)).toEqual(['upstream_per_try_timeout', undefined]);
    });

    test('HEAD, 204 and 304 have no body', async () => {
      const upstream = await serve((request, response) =>
        response.writeHead(request.url === '/204' ? 204 : 200).end(request.method === 'HEAD' ? '' : undefined),
      );
      const { call } = setup(make, { ports: [upstream.port], direct });
      const head = await call('http://shop/', { method: 'HEAD' });
      expect([head.status, await head.text()]).toEqual([200, '']);
      const none = await call('http://shop/204');
      expect([none.status, await none.text()]).toEqual([204, '']);
    });

    test('a long body with a slow reader is whole', async () => {
      const body = 'abcdefgh'.repeat(250_000);
      const upstream = await serve((_request, response) => response.end(body));
      const { call } = setup(make, { ports: [upstream.port], direct });
      const reply = await call('http://shop/');
      await new Promise((resolve) => setTimeout(resolve, 50));
      expect((await reply.text()) === body).toBe(true);
    });

    test('nonsense from the server is a protocol error', async () => {
      const upstream = await serveTcp((socket) => socket.once('data', () => socket.end('this is not HTTP\r\n\r\n')));
      const { call } = setup(make, { ports: [upstream.port], direct });
      expect((await call('http://shop/')).status).toBe(502);
    });
  });

  test('a form arrives intact on every attempt', async () => {
    const upstream = await serve((_request, response, number) => response.writeHead(number < 2 ? 503 : 200).end('ok'));
    const { call } = setup(make, { ports: [upstream.port], tries: 2, retryStatuses: [503] });
    const form = name === 'undici 7 request' ? new Form7() : new FormData();
    form.append('field', 'wert ü');
    form.append('file', new Blob(['content'], { type: 'text/plain' }), 'f.txt');
    expect((await call('http://shop/', { method: 'POST', body: form })).status).toBe(200);
    for (const { body, headers } of upstream.seen) {
      const parsed = await new Response(body, { headers: { 'content-type': headers['content-type'] ?? '' } }).formData();
      expect([parsed.get('field'), await (parsed.get('file') as File).text()]).toEqual(['wert ü', 'content']);
    }
    expect(upstream.seen).toHaveLength(2);
  });

  test('a call that came before the configuration waits for it', async () => {
    const upstream = await serve((_request, response) => response.end('late'));
    const { call, engine } = setup(make, { ports: [upstream.port] });
    engine.ready = false;
    const reply = call('http://shop/');
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(upstream.seen).toHaveLength(0);
    engine.start();
    expect(await (await reply).text()).toBe('late');
  });

  test('hosts outside the mesh pass through untouched', async () => {
    const upstream = await serve((_request, response) => response.end('outside'));
    const { call, engine } = setup(make, { ports: [] });
    const reply = await call(`http://127.0.0.1:${upstream.port}/`, { method: 'POST', body: 'x' });
    expect([await reply.text(), upstream.seen[0]?.body]).toEqual(['outside', 'x']);
    expect(engine.ledger.callsStarted).toBe(0);
  });
});
