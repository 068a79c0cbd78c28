/** One stream per control plane for the whole process (issue 3 §2): meshes of one process over a real control plane. */
import { expect, test } from 'vitest';
import { serve, until } from '../support/http-servers.ts';
import { meshOver, planeOf } from '../support/mesh-app.ts';
import { run, src } from '../support/mesh-process.ts';
import { SeededRandom } from '../../src/testing/index.ts';

async function shops(): Promise<string> {
  const [shop, cart] = await Promise.all(['shop', 'cart'].map((name) => serve((_request, response) => response.end(name))));
  return `version: 1\nservices: { shop: { endpoints: ["127.0.0.1:${shop?.port}"] }, cart: { endpoints: ["127.0.0.1:${cart?.port}"] } }\n`;
}

const text = async (answer: Promise<Response>): Promise<string> => (await answer).text();

test('two meshes, one stream; closing one keeps the other working, and its updates coming', async () => {
  const yaml = await shops();
  const nodes: string[] = [];
  const plane = await planeOf(yaml, { onRequest: ({ node }) => void (node !== undefined && nodes.push(node.id)) });
  const one = await meshOver(plane, ['shop']);
  const two = await meshOver(plane, ['shop', 'cart']);
  await Promise.all([one.ready(), two.ready()]);
  expect(await Promise.all([text(one.fetch('http://shop/')), text(two.fetch('http://shop/')), text(two.fetch('http://cart/'))])).toEqual([
    'shop',
    'shop',
    'cart',
  ]);
  // The node is in the first request of a stream only.
  expect([plane.nodes, nodes]).toEqual([['app'], ['app']]);
  await one.close();
  expect(plane.nodes).toEqual(['app']);
  expect(await text(two.fetch('http://cart/'))).toBe('cart');
  const moved = await serve((_request, response) => response.end('moved'));
  expect(plane.update(yaml.replace(/(cart: \{ endpoints: \["127\.0\.0\.1:)\d+/, `$1${moved.port}`)).ok).toBe(true);
  await until(() => two.describe().clusters.some(({ endpoints }) => endpoints.some(({ address }) => address.endsWith(`:${moved.port}`))));
  expect(await text(two.fetch('http://cart/'))).toBe('moved');
  // What only the closed mesh wanted is no longer asked for; a mesh that comes now has it of the same stream.
  const three = await meshOver(plane, ['shop']);
  await three.ready();
  expect(await text(three.fetch('http://shop/'))).toBe('shop');
  expect(nodes).toEqual(['app']);
  await Promise.all([two.close(), three.close()]);
  await until(() => plane.nodes.length === 0);
  const again = await meshOver(plane, ['shop']);
  await again.ready();
  expect(nodes).toEqual(['app', 'app']);
});

test('another node id, another view, extensions or chance of its own: a stream of its own', async () => {
  const plane = await planeOf(await shops());
  const meshes = [
    await meshOver(plane, ['shop']),
    await meshOver(plane, ['shop'], 'other'),
    await meshOver(plane, ['shop'], undefined, { wildcard: true }),
    await meshOver(plane, ['shop'], undefined, { random: new SeededRandom(1) }),
    await meshOver(plane, ['shop'], undefined, {
      filters: [{ typeUrls: ['type.googleapis.com/own.Filter'], directions: ['outbound'], parse: () => undefined, layer: () => undefined }],
    }),
    await meshOver(plane, ['shop']),
  ];
  await Promise.all(meshes.map((mesh) => mesh.ready()));
  expect(plane.nodes.toSorted()).toEqual(['app', 'app', 'app', 'app', 'other']);
  expect(await Promise.all(meshes.map((mesh) => text(mesh.fetch('http://shop/'))))).toEqual(meshes.map(() => 'shop'));
});

test('inmesh/register and createMesh in one process: one stream', async () => {
  const nodes: string[] = [];
  const plane = await planeOf(await shops(), { onRequest: ({ node }) => void (node !== undefined && nodes.push(node.id)) });
  const app = `
    import { createMesh } from ${JSON.stringify(src('index.ts'))};
    console.log(await (await fetch('http://shop/')).text());
    const mesh = await createMesh({ include: ['cart'] });
    console.log(await (await mesh.fetch('http://cart/')).text());
    await mesh.close();
    console.log(await (await fetch('http://shop/')).text());
    console.log('done');
  `;
  const { code, out, err, lingeredMs } = await run(app, {
    flags: ['--import', src('register.ts')],
    env: { GRPC_XDS_BOOTSTRAP_CONFIG: JSON.stringify(plane.bootstrap('child')), INMESH_INCLUDE: 'shop' },
  });
  expect([err, code, out, nodes]).toEqual(['', 0, 'shop\ncart\nshop\ndone\n', ['child']]);
  expect(lingeredMs).toBeLessThan(2000);
});
