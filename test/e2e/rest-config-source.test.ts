/** A mesh from an Envoy bootstrap whose listeners, clusters and endpoints are polled over REST (Envoy X-100). */
import { expect, test, vi } from 'vitest';
import { silentLogger } from '../../src/core/log.ts';
import type { Mesh, MeshOptions } from '../../src/index.ts';
import { createMesh } from '../../src/index.ts';
import type { TestServer } from '../support/http-servers.ts';
import { serve } from '../support/http-servers.ts';
import { closing, expectIdle } from '../support/mesh-app.ts';
import { cluster, endpoints, listener, routeConfig, to } from '../support/mesh-raw.ts';

const until = <T>(check: () => T | Promise<T>): Promise<T> => vi.waitUntil(check, { timeout: 8000, interval: 10 }) as Promise<T>;

type Json = Readonly<Record<string, unknown>>;

const rest = (name: string): Json => ({
  resource_api_version: 'V3',
  api_config_source: {
    api_type: 'REST',
    transport_api_version: 'V3',
    cluster_names: [name],
    refresh_delay: '0.020s',
    request_timeout: '0.5s',
  },
});

/** Answers by path; 304 to whoever has the version, 503 where there is nothing. */
interface Plane extends TestServer {
  readonly content: Map<string, { readonly version: string; readonly resources: readonly Json[] }>;
}

async function planeOf(): Promise<Plane> {
  const content: Plane['content'] = new Map();
  const server = await serve(({ url, body }, response) => {
    const found = content.get(url);
    const { versionInfo } = JSON.parse(body) as { readonly versionInfo?: string };
    if (found === undefined) response.writeHead(503).end('not yet');
    else if (found.version === versionInfo) response.writeHead(304).end();
    else response.end(JSON.stringify({ version_info: found.version, resources: found.resources }));
  });
  return { ...server, content };
}

const bootstrapOf = (plane: Plane): object => ({
  node: { id: 'app', cluster: 'c', metadata: { k: 'v' } },
  static_resources: {
    clusters: [
      {
        name: 'plane',
        type: 'STATIC',
        load_assignment: {
          cluster_name: 'plane',
          endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: plane.port } } } }] }],
        },
      },
    ],
  },
  dynamic_resources: { lds_config: rest('plane'), cds_config: rest('plane') },
});

const meshOf = async (plane: Plane, options: MeshOptions = {}): Promise<Mesh> =>
  closing(await createMesh({ bootstrap: bootstrapOf(plane), include: ['shop.test'], logger: silentLogger, ...options }));

async function get(mesh: Mesh): Promise<string> {
  const response = await mesh.fetch('http://shop.test/');
  return response.headers.get('x-inmesh-failure') ?? (await response.text());
}

test('polled, changed, rejected, gone: what is good stays; every request has the node, and the metadata of the option', async () => {
  const [a, b] = [await serve((_r, response) => response.end('a')), await serve((_r, response) => response.end('b'))];
  const plane = await planeOf();
  const eds = { eds_cluster_config: { eds_config: rest('plane') } };
  plane.content.set('/v3/discovery:listeners', { version: '1', resources: [listener('shop.test', routeConfig('r', [to('one')]))] });
  plane.content.set('/v3/discovery:clusters', { version: '1', resources: [cluster('one', eds), cluster('two', eds)] });
  plane.content.set('/v3/discovery:endpoints', { version: '1', resources: [endpoints('one', a.port), endpoints('two', b.port)] });
  const mesh = await meshOf(plane, { controlPlane: { metadata: { 'x-consul-token': 's3cret-token' } } });
  await mesh.ready();
  expect(await get(mesh)).toBe('a');

  // A name that is added is had although the version is the same.
  plane.content.set('/v3/discovery:listeners', { version: '2', resources: [listener('shop.test', routeConfig('r', [to('two')]))] });
  await until(async () => (await get(mesh)) === 'b');

  // Rejected: the good one stays, and the server is told why.
  plane.content.set('/v3/discovery:clusters', {
    version: '2',
    resources: [cluster('one', eds), cluster('two', { ...eds, lb_policy: 'NO_SUCH' })],
  });
  await until(() => plane.seen.some(({ body }) => body.includes('errorDetail')));
  const [nack] = plane.seen.flatMap(({ body }) => (body.includes('errorDetail') ? [JSON.parse(body) as Record<string, unknown>] : []));
  expect(nack).toMatchObject({ versionInfo: '1', errorDetail: { code: 3, message: expect.stringContaining('resource "two"') as string } });
  expect(await get(mesh)).toBe('b');

  for (const { headers, method, body } of plane.seen) {
    expect({ method, type: headers['content-type'], token: headers['x-consul-token'] }).toEqual({
      method: 'POST',
      type: 'application/json',
      token: 's3cret-token',
    });
    expect(JSON.parse(body)).toMatchObject({ node: { id: 'app', cluster: 'c', metadata: { k: 'v' }, userAgentName: 'inmesh' } });
  }

  plane.content.clear();
  const problem = await until(() => mesh.describe().source?.problem);
  expect(problem).toContain(`UNAVAILABLE: POST http://127.0.0.1:${plane.port}/v3/discovery:`);
  expect(problem).toContain('HTTP 503: not yet');
  expect(await get(mesh)).toBe('b');
  expect(JSON.stringify(mesh.describe())).not.toContain('s3cret-token');
  expectIdle(mesh);
  await mesh.close();
  await until(() => plane.sockets.size === 0);
});
