/** A process that starts while its control plane is down serves from the last-good file, says so, and takes over what comes later. */
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ControlPlane } from '../../src/control-plane/control-plane.ts';
import { serve, until } from '../support/http-servers.ts';
import { meshOver, planeOf } from '../support/mesh-app.ts';
import { folder, run, src } from '../support/mesh-process.ts';

test('outage at start: calls work from the file at once; the control plane that comes back takes over', async () => {
  const shop = await serve((_request, response) => response.end('shop'));
  const yaml = `version: 1\nservices: { shop: { endpoints: ["127.0.0.1:${shop.port}"] } }\n`;
  const plane = await planeOf(yaml);
  const lastGood = join(folder(), 'last-good');
  const first = await meshOver(plane, ['shop'], undefined, { lastGood });
  await first.ready();
  expect(await (await first.fetch('http://shop/')).text()).toBe('shop');
  await first.close();
  await plane.close();

  const second = await meshOver(plane, ['shop'], undefined, { lastGood });
  await second.ready();
  expect(await (await second.fetch('http://shop/')).text()).toBe('shop');
  expect(second.describe().source).toMatchObject({ connected: false, lastGood: { inUse: true } });

  const moved = await serve((_request, response) => response.end('moved'));
  const again = await ControlPlane.start({ text: yaml.replace(String(shop.port), String(moved.port)), port: plane.port });
  onTestFinished(() => again.close());
  await until(() => second.describe().source?.lastGood?.inUse === false, 10_000);
  await until(() => second.describe().clusters[0]?.endpoints[0]?.address === `127.0.0.1:${moved.port}`);
  expect(await (await second.fetch('http://shop/')).text()).toBe('moved');
});

test('without the file the same start waits, and fails with the reason', async () => {
  const plane = await planeOf('version: 1\nservices: { shop: { endpoints: ["127.0.0.1:9"] } }\n');
  await plane.close();
  const mesh = await meshOver(plane, ['shop'], undefined, { startTimeout: 300 });
  await expect(mesh.ready()).rejects.toMatchObject({ code: 'ERR_MESH_START_TIMEOUT' });
});

test('a job in a process of its own: first call from the file, then it ends by itself', async () => {
  const shop = await serve((_request, response) => response.end('shop'));
  const plane = await planeOf(`version: 1\nservices: { shop: { endpoints: ["127.0.0.1:${shop.port}"] } }\n`);
  const lastGood = join(folder(), 'last-good');
  const first = await meshOver(plane, ['shop'], undefined, { lastGood });
  await first.ready();
  await first.close();
  const bootstrap = plane.bootstrapFile('app');
  await plane.close();
  const job = await run(
    `import { createMesh } from ${JSON.stringify(src('index.ts'))};
     const started = performance.now();
     const mesh = await createMesh({ bootstrap: ${JSON.stringify(plane.bootstrap('app'))}, include: ['shop'], lastGood: ${JSON.stringify(lastGood)} });
     console.log(await (await mesh.fetch('http://shop/')).text(), Math.round(performance.now() - started) < 5000);
     await mesh.close();
     console.log('done');`,
    { env: { GRPC_XDS_BOOTSTRAP: bootstrap } },
  );
  expect(job).toMatchObject({ code: 0, out: expect.stringContaining('shop true') });
});

test('during the outage grpc-js is not loaded; it is when the control plane comes back', async () => {
  let calls = 0;
  const shop = await serve((_request, response) => {
    calls++;
    response.end('shop');
  });
  const yaml = `version: 1\nservices: { shop: { endpoints: ["127.0.0.1:${shop.port}"] } }\n`;
  const plane = await planeOf(yaml);
  const lastGood = join(folder(), 'last-good');
  const first = await meshOver(plane, ['shop'], undefined, { lastGood });
  await first.ready();
  await first.close();
  await plane.close();
  const watch = `data:text/javascript,import{registerHooks}from'node:module';globalThis.loaded=[];registerHooks({load(u,c,n){globalThis.loaded.push(u);return n(u,c)}})`;
  const job = run(
    `import { createMesh } from ${JSON.stringify(src('index.ts'))};
     const mesh = await createMesh({ bootstrap: ${JSON.stringify(plane.bootstrap('app'))}, include: ['shop'], lastGood: ${JSON.stringify(lastGood)} });
     const loaded = () => globalThis.loaded.some((url) => url.includes('@grpc/grpc-js'));
     console.log(await (await mesh.fetch('http://shop/')).text(), loaded());
     const source = () => mesh.describe().source;
     console.log(source().lastGood.inUse, source().problem);
     while (source().lastGood.inUse) await new Promise((resolve) => setTimeout(resolve, 20));
     console.log(await (await mesh.fetch('http://shop/')).text(), loaded(), source().connected);
     await mesh.close();`,
    { flags: ['--import', watch], killAfterMs: 15_000 },
  );
  await until(() => calls > 0, 10_000);
  const again = await ControlPlane.start({ text: yaml, port: plane.port });
  onTestFinished(() => again.close());
  const { code, out } = await job;
  const [served, state, after] = out.split('\n');
  expect([code, served, after]).toEqual([0, 'shop false', 'shop true true']);
  expect(state).toMatch(/^true .*ECONNREFUSED/);
});
