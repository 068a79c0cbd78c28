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
