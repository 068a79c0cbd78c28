/** Options of `createMesh` that no other test takes from the outside (issue 3 §2, §3): `breakers`, and unsupported fields in `describe()`. */
import { expect, test } from 'vitest';
import { deadPort, until } from '../support/http-servers.ts';
import { meshOf, meshOver, planeOf } from '../support/mesh-app.ts';
import { cluster, endpoints, listener, meshFile, routeConfig, to } from '../support/mesh-raw.ts';

test('breakers: an opossum breaker from code opens; without the option there is none', async () => {
  const yaml = `version: 1\nservices: { shop: { endpoints: ["127.0.0.1:${await deadPort()}"] } }\n`;
  const flags = async (
    options: Parameters<typeof meshOf>[1],
  ): Promise<{ readonly flags: ReadonlySet<string | null>; readonly state: string | undefined }> => {
    const mesh = await meshOf(yaml, options);
    const seen = new Set<string | null>();
    for (let call = 0; call < 12; call++) seen.add((await mesh.fetch('http://shop/')).headers.get('x-inmesh-failure'));
    return { flags: seen, state: mesh.describe().clusters[0]?.breaker };
  };
  expect(await flags({ breakers: { shop: { volumeThreshold: 4 } } })).toEqual({
    flags: new Set(['UF upstream_connection_failure', 'UO breaker_open']),
    state: 'open',
  });
  expect(await flags({})).toEqual({ flags: new Set(['UF upstream_connection_failure']), state: undefined });
});

test('a field without effect that a control plane sends is readable in describe(), with its resource; the resource serves', async () => {
  const plane = await planeOf(
    meshFile([
      listener('shop', routeConfig('own', [to('c')])),
      { ...cluster('c'), close_connections_on_host_health_failure: true },
      endpoints('c', await deadPort()),
    ]),
  );
  const mesh = await meshOver(plane, ['shop']);
  await mesh.ready();
  await until(() => (mesh.describe().source?.unsupported.length ?? 0) > 0);
  expect(mesh.describe().source?.unsupported).toEqual([
    { kind: 'cluster', resource: 'c', field: 'close_connections_on_host_health_failure' },
  ]);
  expect(mesh.describe().source?.resources.every(({ status }) => status === 'ACKED')).toBe(true);
});
