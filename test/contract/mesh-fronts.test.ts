/** One contract over every front of the engine, HTTP and gRPC, outbound and inbound, on the real mesh and real sockets. */
import { createServer } from 'node:http';
import { Metadata } from '@grpc/grpc-js';
import { request } from 'undici';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Mesh } from '../../src/index.ts';
import type { Observer } from '../../src/core/observer.ts';
import { echoStub, startEcho, unary } from '../support/echo-grpc.ts';
import { deadPort, serve } from '../support/http-servers.ts';
import { expectIdle, freePort, meshOf, rawGet } from '../support/mesh-app.ts';

interface Far {
  readonly port: number;
  hold(ms: number): void;
}

interface Front {
  readonly protocol: 'http' | 'grpc';
  far(): Promise<Far>;
  /** `ok`, or the details of the failure (`core/failure.ts`). */
  call(mesh: Mesh, host: string): Promise<string>;
}

async function httpFar(): Promise<Far> {
  let delay = 0;
  const server = await serve((_request, response) => void setTimeout(() => response.end('ok'), delay));
  return { port: server.port, hold: (ms) => void (delay = ms) };
}

async function grpcFar(): Promise<Far> {
  const echo = await startEcho();
  onTestFinished(() => echo.close());
  return { port: echo.port, hold: (ms) => void (echo.state.delayMs = ms) };
}

const shown = (status: number, flag: string | null | undefined): string =>
  status === 200 ? 'ok' : (flag?.split(' ').at(-1) ?? String(status));

const FRONTS: Readonly<Record<string, Front>> = {
  'mesh.fetch': {
    protocol: 'http',
    far: httpFar,
    call: async (mesh, host) => {
      const reply = await mesh.fetch(`http://${host}/`);
      await reply.text();
      return shown(reply.status, reply.headers.get('x-inmesh-failure'));
    },
  },
  'undici.request': {
    protocol: 'http',
    far: httpFar,
    call: async (mesh, host) => {
      const { statusCode, headers, body } = await request(`http://${host}/`, { dispatcher: mesh.dispatcher });
      await body.text();
      return shown(statusCode, headers['x-inmesh-failure'] as string | undefined);
    },
  },
  'grpc-js stub': {
    protocol: 'grpc',
    far: grpcFar,
    call: async (mesh, host) => {
      const stub = echoStub(host, mesh.grpc.channelOptions());
      const { code, details } = await unary(stub, 'x');
      stub.close();
      return code === 0 ? 'ok' : (/^(?:\[\w+\] )?(\w+):/.exec(details)?.[1] ?? details);
    },
  },
};

function counting(): {
  readonly observer: Observer;
  readonly ends: Map<object, number>;
  readonly started: { calls: number; attempts: number };
} {
  const ends = new Map<object, number>();
  const started = { calls: 0, attempts: 0 };
  const end = (what: object): void => void ends.set(what, (ends.get(what) ?? 0) + 1);
  const observer: Observer = {
    onCallStart: () => void started.calls++,
    onCallEnd: end,
    onAttemptStart: () => void started.attempts++,
    onAttemptEnd: end,
  };
  return { observer, ends, started };
}

describe.each(Object.entries(FRONTS))('outbound: %s', (_name, front) => {
  const service = (name: string, port: number | string, more = ''): string =>
    `  ${name}:\n    protocol: ${front.protocol}\n    endpoints: [${port}]\n${more}`;

  test('a dead endpoint is retried around; every call and every attempt ends exactly once', async () => {
    const far = await front.far();
    const { observer, ends, started } = counting();
    const endpoints = `"127.0.0.1:${await deadPort()}", "127.0.0.1:${far.port}"`;
    const retries = '    retries: { attempts: 4, on: [connect-failure, unavailable], backoff: { base: 1ms, max: 2ms } }\n';
    const mesh = await meshOf(`version: 1\nservices:\n${service('shop', endpoints, retries)}`, { observers: [observer] });
    for (let i = 0; i < 8; i++) expect(await front.call(mesh, 'shop')).toBe('ok');
    expect(started.calls).toBe(8);
    expect(started.attempts).toBeGreaterThan(8);
    expect([ends.size, new Set(ends.values())]).toEqual([started.calls + started.attempts, new Set([1])]);
    expectIdle(mesh);
  });

  test('what cannot be served fails at once, with its own reason', async () => {
    const far = await front.far();
    const elsewhere = '    routes: [{ match: { path: /never } }]\n';
    const mesh = await meshOf(
      `version: 1\nservices:\n${service('shop', `"127.0.0.1:${far.port}"`, elsewhere)}${service('empty', '')}${service('gone', `"127.0.0.1:${await deadPort()}"`)}`,
    );
    expect(await front.call(mesh, 'shop')).toBe('route_not_found');
    expect(await front.call(mesh, 'empty')).toBe('no_healthy_upstream');
    expect(await front.call(mesh, 'gone')).toBe('upstream_connection_failure');
    expectIdle(mesh);
  });

  test('max_requests lets no more through, also when calls come at the same time', async () => {
    const far = await front.far();
    const mesh = await meshOf(`version: 1\nservices:\n${service('shop', `"127.0.0.1:${far.port}"`, '    limits: { maxRequests: 2 }\n')}`);
    far.hold(200);
    const all = await Promise.all(Array.from({ length: 5 }, () => front.call(mesh, 'shop')));
    expect(all.toSorted()).toEqual(['ok', 'ok', 'upstream_overflow', 'upstream_overflow', 'upstream_overflow']);
    expectIdle(mesh);
  });

  test('a closed mesh fails its calls and says so', async () => {
    const far = await front.far();
    const mesh = await meshOf(`version: 1\nservices:\n${service('shop', `"127.0.0.1:${far.port}"`)}`);
    expect(await front.call(mesh, 'shop')).toBe('ok');
    await mesh.close();
    expect(await front.call(mesh, 'shop')).toBe('mesh_closed');
  });
});

interface Served {
  /** How often the application was started. */
  runs(): number;
  /** The peer that the application saw last. */
  peer(): string | undefined;
  call(headers: Readonly<Record<string, string>>): Promise<'ok' | 'refused' | string>;
}

const INBOUND: Readonly<Record<string, (mesh: Mesh, port: number) => Promise<Served>>> = {
  'node:http': async (mesh, port) => {
    let [runs, peer] = [0, undefined as string | undefined];
    const server = mesh.http.server(
      createServer((incoming, response) => {
        runs++;
        peer = mesh.http.peerOf(incoming)?.remoteAddress;
        response.end('ok');
      }),
    );
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
    return {
      runs: () => runs,
      peer: () => peer,
      call: async (headers) => {
        const { status } = await rawGet(port, '/', headers);
        return status === 200 ? 'ok' : status === 403 ? 'refused' : String(status);
      },
    };
  },
  'grpc-js server': async (mesh, port) => {
    const echo = await startEcho({ interceptors: mesh.grpc.serverInterceptors() }, mesh.grpc.serverCredentials(), port);
    onTestFinished(() => echo.close());
    const stub = echoStub(`127.0.0.1:${port}`, {});
    onTestFinished(() => stub.close());
    return {
      runs: () => echo.state.calls,
      peer: () => (echo.state.lastCall === undefined ? undefined : mesh.grpc.peerOf(echo.state.lastCall)?.remoteAddress),
      call: async (headers) => {
        const metadata = new Metadata();
        for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
        const { code } = await unary(stub, 'x', metadata);
        return code === 0 ? 'ok' : code === 7 ? 'refused' : String(code);
      },
    };
  },
};

describe.each(Object.entries(INBOUND))('inbound: %s', (_name, start) => {
  test('a filter that answers never starts the application; the application learns who called', async () => {
    const port = await freePort();
    const mesh = await meshOf(`version: 1\ninbound:\n  - port: ${port}\n    deny: [{ headers: { x-tenant: evil } }]\n`);
    const served = await start(mesh, port);
    expect(await served.call({ 'x-tenant': 'evil' })).toBe('refused');
    expect(served.runs()).toBe(0);
    expect(await served.call({ 'x-tenant': 'good' })).toBe('ok');
    expect([served.runs(), served.peer()]).toEqual([1, '127.0.0.1']);
    expectIdle(mesh);
  });

  test('without the rule the same call runs (negative control)', async () => {
    const port = await freePort();
    const served = await start(await meshOf(`version: 1\ninbound:\n  - port: ${port}\n`), port);
    expect(await served.call({ 'x-tenant': 'evil' })).toBe('ok');
    expect(served.runs()).toBe(1);
  });
});
