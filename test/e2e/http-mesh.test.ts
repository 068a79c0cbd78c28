/** The HTTP adapters on the real engine, configured by `mesh.yaml`: what the fakes of the contract tests stand for holds there too. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { request } from 'undici8';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createMesh } from '../../src/index.ts';
import type { Mesh } from '../../src/index.ts';
import { deadPort, listen, serve, track, until } from '../support/http-servers.ts';

async function mesh(yaml: string): Promise<Mesh> {
  const folder = mkdtempSync(join(tmpdir(), 'http-mesh-'));
  const config = join(folder, 'mesh.yaml');
  writeFileSync(config, `version: 1\n${yaml}`);
  const made = await createMesh({ config, watch: false });
  onTestFinished(async () => {
    await made.close();
    rmSync(folder, { recursive: true });
  });
  await made.ready(2000);
  return made;
}

describe('outbound', () => {
  test('routes, rewrites and retries with the body intact, by fetch, dispatcher and undici 8', async () => {
    const upstream = await serve((_request, response, number) => response.writeHead(number % 2 === 1 ? 503 : 200).end(`reply ${number}`));
    const { fetch: meshFetch, dispatcher } = await mesh(`services:
  shop:
    endpoints: ["127.0.0.1:${upstream.port}"]
    retries: { attempts: 3, on: [503], backoff: { base: 1ms } }
    routes:
      - match: { path: /old/** }
        rewrite: { path: /new }
        headers: { request: { set: { x-canary: "1" } }, response: { set: { x-seen: "2" } } }
`);
    const body = (): ReadableStream => new Blob(['streamed']).stream();
    const replies = [
      await meshFetch('http://shop/old/a?b', { method: 'POST', body: 'text' }),
      await fetch('http://shop/old/a?b', { method: 'POST', body: body(), duplex: 'half', dispatcher } as never),
    ];
    for (const reply of replies) expect([reply.status, reply.headers.get('x-seen')]).toEqual([200, '2']);
    const eight = await request('http://shop/old/a?b', { method: 'PUT', body: Buffer.from('buffer'), dispatcher: dispatcher as never });
    expect([eight.statusCode, eight.headers['x-seen']]).toEqual([200, '2']);
    await Promise.all([...replies.map((reply) => reply.text()), eight.body.text()]);
    expect(new Set(upstream.seen.map(({ url, headers }) => [url, headers.host, headers['x-canary']].join(' ')))).toEqual(
      new Set(['/new/a?b shop 1']),
    );
    expect(upstream.seen.map((one) => one.body)).toEqual(['text', 'text', 'streamed', 'streamed', 'buffer', 'buffer']);
  });

  test('an endpoint where nobody listens is retried around', async () => {
    const upstream = await serve((_request, response) => response.end('ok'));
    const meshed = await mesh(`services:
  shop:
    endpoints: ["127.0.0.1:${await deadPort()}", "127.0.0.1:${upstream.port}"]
    retries: { attempts: 2, on: [connect-failure] }
`);
    for (let i = 0; i < 10; i++) expect(await (await meshed.fetch('http://shop/', { method: 'POST', body: 'x' })).text()).toBe('ok');
    expect(upstream.seen).toHaveLength(10);
  });

  test('what the mesh answers itself: no route, nobody there, a redirect, a direct response', async () => {
    const meshed = await mesh(`services:
  shop:
    endpoints: ["127.0.0.1:1"]
    routes:
      - { match: { path: /moved }, redirect: { path: /there } }
      - { match: { path: /closed }, respond: { status: 418, body: short and stout } }
  empty: {}
`);
    const call = async (url: string): Promise<unknown[]> => {
      const reply = await meshed.fetch(url, { redirect: 'manual' });
      return [reply.status, reply.headers.get('x-inmesh-failure') ?? reply.headers.get('location') ?? (await reply.text())];
    };
    expect(await call('http://shop/none')).toEqual([404, 'NR route_not_found']);
    expect(await call('http://empty/')).toEqual([503, 'UH no_healthy_upstream']);
    expect(await call('http://shop/moved')).toEqual([301, 'http://shop/there']);
    expect(await call('http://shop/closed')).toEqual([418, 'short and stout']);
  });

  test('afterwards nothing is in flight, and a closed mesh says so', async () => {
    const upstream = await serve((_request, response) => response.end('ok'));
    const meshed = await mesh(
      `services:\n  shop:\n    endpoints: ["127.0.0.1:${upstream.port}"]\n    retries: { attempts: 2, on: [503] }\n`,
    );
    await Promise.all(Array.from({ length: 50 }, async () => (await meshed.fetch('http://shop/')).text()));
    const { clusters } = meshed.describe();
    expect(clusters.flatMap((cluster) => cluster.endpoints.map((endpoint) => endpoint.active))).toEqual([0]);
    await meshed.close();
    expect((await meshed.fetch('http://shop/')).headers.get('x-inmesh-failure')).toBe('SI mesh_closed');
    await until(() => upstream.sockets.size === 0);
  });
});

test('inbound: rules of mesh.yaml hold in front of an unmodified server', async () => {
  const server = createServer((incoming, response) => {
    incoming.resume();
    response.end('application');
  });
  track(server);
  const port = await listen(server);
  const meshed = await mesh(`inbound:
  - port: ${port}
    allow: [{ methods: [GET], paths: [/open/**] }]
    deny: [{ paths: [/open/secret] }]
`);
  meshed.http.server(server);
  const call = async (path: string, method = 'GET'): Promise<unknown[]> => {
    const reply = await fetch(`http://127.0.0.1:${port}${path}`, { method });
    return [reply.status, await reply.text()];
  };
  expect(await call('/open/a')).toEqual([200, 'application']);
  expect((await call('/open/secret'))[0]).toBe(403);
  expect((await call('/open/a', 'POST'))[0]).toBe(403);
  expect((await call('/other'))[0]).toBe(403);
});
