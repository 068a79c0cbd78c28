/** Runtime values over RTDS decide on routes of running meshes (Envoy X-94). */
import { expect, test } from 'vitest';
import { serve, until } from '../support/http-servers.ts';
import { meshOver, planeOf } from '../support/mesh-app.ts';
import { cluster, endpoints, listener, meshFile, routeConfig, to } from '../support/mesh-raw.ts';

test('a layer of the control plane over values in code: the route follows within a push, and the default counts when it is gone', async () => {
  const [old, canary] = [await serve((_q, response) => response.end('old')), await serve((_q, response) => response.end('canary'))];
  const routes = [
    to('canary', { prefix: '/', runtime_fraction: { default_value: { numerator: 0 }, runtime_key: 'routing.canary' } }),
    to('old'),
  ];
  const fixed = [
    listener('shop', routeConfig('shop', routes)),
    cluster('old'),
    cluster('canary'),
    endpoints('old', old.port),
    endpoints('canary', canary.port),
  ];
  const layer = (value: number) => ({
    '@type': 'type.googleapis.com/envoy.service.runtime.v3.Runtime',
    name: 'live',
    layer: { routing: { canary: value } },
  });
  const plane = await planeOf(meshFile([...fixed, layer(0)]));
  const mesh = await meshOver(plane, ['shop'], undefined, { runtime: [{ 'routing.canary': 100 }, 'live'] });
  const without = await meshOver(plane, ['shop'], 'other', {});
  await Promise.all([mesh.ready(), without.ready()]);
  await until(() => mesh.describe().runtime?.['routing.canary'] === 0);
  const answer = async (from = mesh): Promise<string> => (await from.fetch('http://shop/')).text();
  expect(await answer()).toBe('old');
  expect(plane.update(meshFile([...fixed, layer(100)])).ok).toBe(true);
  await until(() => mesh.describe().runtime?.['routing.canary'] === 100);
  expect(await answer()).toBe('canary');
  // Negative control: a mesh without layers goes by the default.
  expect(await answer(without)).toBe('old');
  expect(without.describe().runtime).toBeUndefined();
  expect(plane.nacks).toEqual([]);
});
