/** Which configuration a request gets where the control plane sends socket listeners (Envoy's sidecar view), with wildcard subscriptions. */
import { expect, test } from 'vitest';
import { serve, until } from '../support/http-servers.ts';
import { meshOver, planeOf } from '../support/mesh-app.ts';
import { cluster, endpoints, hcm, listener, meshFile, routeConfig, to } from '../support/mesh-raw.ts';

/** An outbound listener as istiod names it. */
function socketListener(port: number, domains: Readonly<Record<string, string>>): Readonly<Record<string, unknown>> {
  const virtual_hosts = Object.entries(domains).map(([domain, name]) => ({
    name: domain,
    domains: [domain, `${domain}:${port}`],
    routes: [to(name)],
  }));
  return {
    '@type': 'type.googleapis.com/envoy.config.listener.v3.Listener',
    name: `0.0.0.0_${port}`,
    address: { socket_address: { address: '0.0.0.0', port_value: port } },
    traffic_direction: 'OUTBOUND',
    filter_chains: [{ filters: [{ name: 'hcm', typed_config: hcm({ route_config: { name: `r${port}`, virtual_hosts } }) }] }],
  };
}

test('the listener on the port of the request, the virtual host of its domain; ready() waits for the first list; later listeners are found', async () => {
  const [a, b, c] = [
    await serve((_r, response) => response.end('a')),
    await serve((_r, response) => response.end('b')),
    await serve((_r, response) => response.end('c')),
  ];
  const clusters = [cluster('a'), endpoints('a', a.port), cluster('b'), endpoints('b', b.port), cluster('c'), endpoints('c', c.port)];
  const file = (...more: readonly Readonly<Record<string, unknown>>[]): string =>
    meshFile([socketListener(80, { shop: 'a', cart: 'b' }), socketListener(9080, { shop: 'b' }), ...clusters, ...more]);
  const plane = await planeOf(file());
  const mesh = await meshOver(plane, ['shop', 'cart', '*.test'], undefined, { wildcard: true });
  await mesh.ready();
  const get = async (url: string): Promise<string> => {
    const response = await mesh.fetch(url);
    return response.headers.get('x-inmesh-failure') ?? (await response.text());
  };
  expect([await get('http://shop/'), await get('http://cart/'), await get('http://shop:9080/')]).toEqual(['a', 'b', 'b']);
  // A list that is complete says at once what is not there: nobody waits for 15 s.
  const began = performance.now();
  expect([await get('http://shop:7070/'), await get('http://x.test/')]).toEqual(['NR route_not_found', 'NR route_not_found']);
  expect(performance.now() - began).toBeLessThan(2000);

  plane.update(file(socketListener(7070, { shop: 'c' })));
  await until(() => mesh.describe().source?.resources.some(({ name, status }) => name === '0.0.0.0_7070' && status === 'ACKED') === true);
  expect(await get('http://shop:7070/')).toBe('c');
  // A listener that is named like the authority is better than the one on the port.
  plane.update(file(listener('shop', routeConfig('own', [to('c')]))));
  await until(() => mesh.describe().listeners.some(({ name, status }) => name === 'shop' && status === 'ready'));
  expect(await get('http://shop/')).toBe('c');
});
