/** Route configurations by name, without listeners (`subscribe: 'routes'`), over a real control plane. */
import { expect, test } from 'vitest';
import { serve } from '../support/http-servers.ts';
import { meshOver, planeOf } from '../support/mesh-app.ts';
import { cluster, endpoints, meshFile, to } from '../support/mesh-raw.ts';

/** The routes of a port as istiod names them. */
function routesOfPort(port: number, services: Readonly<Record<string, string>>): Readonly<Record<string, unknown>> {
  return {
    '@type': 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
    name: String(port),
    ignore_port_in_host_matching: true,
    virtual_hosts: [
      ...Object.entries(services).map(([host, name]) => ({ name: `${host}:${port}`, domains: [host], routes: [to(name)] })),
      { name: 'block_all', domains: ['*'], routes: [{ match: { prefix: '/' }, direct_response: { status: 502 } }] },
    ],
  };
}

test('a host is configured by the routes of its port, and follows when they change', async () => {
  const [a, b] = [await serve((_r, response) => response.end('a')), await serve((_r, response) => response.end('b'))];
  const file = (reviews: string): string =>
    meshFile([
      routesOfPort(9080, { reviews, ratings: 'b' }),
      routesOfPort(80, { reviews: 'b' }),
      cluster('a'),
      endpoints('a', a.port),
      cluster('b'),
      endpoints('b', b.port),
    ]);
  const plane = await planeOf(file('a'));
  const mesh = await meshOver(plane, ['reviews:9080', 'ratings:9080', '*'], undefined, { subscribe: 'routes' });
  await mesh.ready();
  const get = async (url: string): Promise<string> => {
    const response = await mesh.fetch(url);
    return `${response.status} ${await response.text()}`;
  };
  expect([await get('http://reviews:9080/'), await get('http://ratings:9080/'), await get('http://reviews/')]).toEqual([
    '200 a',
    '200 b',
    '200 b',
  ]);
  expect(await get('http://unknown:9080/')).toBe('502 ');
  const resources = mesh.describe().source?.resources ?? [];
  expect(resources.filter(({ typeUrl }) => typeUrl.endsWith('.Listener'))).toEqual([]);
  expect(mesh.describe().hosts.find(({ authority }) => authority === 'reviews:9080')).toMatchObject({ listener: 'rds:9080' });
  plane.update(file('b'));
  await expect.poll(() => get('http://reviews:9080/')).toBe('200 b');
});

test("Istio's allow_any: hosts that the mesh does not know are reached as they are named, at once and after the first call", async () => {
  const [a, outside] = [
    await serve((_r, response) => response.end('a')),
    await serve((r, response) => response.end(`outside ${r.headers.host}`)),
  ];
  const allowAny = { name: 'allow_any', domains: ['*'], routes: [to('PassthroughCluster')] };
  const own = { name: 'reviews', domains: ['reviews'], routes: [to('a')] };
  const routes = { ...routesOfPort(outside.port, {}), virtual_hosts: [own, allowAny] };
  const passthrough = {
    '@type': 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
    name: 'PassthroughCluster',
    type: 'ORIGINAL_DST',
    lb_policy: 'CLUSTER_PROVIDED',
  };
  const plane = await planeOf(meshFile([routes, passthrough, cluster('a'), endpoints('a', a.port)]));
  const mesh = await meshOver(plane, ['*'], undefined, { subscribe: 'routes' });
  for (let i = 0; i < 2; i++) {
    const response = await mesh.fetch(`http://127.0.0.1:${outside.port}/`);
    expect(await response.text()).toBe(`outside 127.0.0.1:${outside.port}`);
  }
  expect(await (await mesh.fetch(`http://reviews:${outside.port}/`)).text()).toBe('a');
});

test("'on-demand' beside it: of many clusters of a port only those that are called are asked for", async () => {
  const a = await serve((_r, response) => response.end('a'));
  const names = Array.from({ length: 50 }, (_, i) => `s${i}`);
  const clusters = names.flatMap((name) => [cluster(name), endpoints(name, a.port)]);
  const plane = await planeOf(meshFile([routesOfPort(9080, Object.fromEntries(names.map((name) => [name, name]))), ...clusters]));
  const mesh = await meshOver(plane, ['*'], undefined, { subscribe: ['routes', 'on-demand'] });
  const asked = (): readonly string[] =>
    (mesh.describe().source?.resources ?? []).filter(({ typeUrl }) => typeUrl.endsWith('.Cluster')).map(({ name }) => name);
  expect(await (await mesh.fetch('http://s7:9080/')).text()).toBe('a');
  expect(asked()).toEqual(['s7']);
  const answers = await Promise.all(['s1', 's7', 's2'].map(async (name) => (await mesh.fetch(`http://${name}:9080/`)).text()));
  expect(answers).toEqual(['a', 'a', 'a']);
  expect(asked().toSorted()).toEqual(['s1', 's2', 's7']);
});
