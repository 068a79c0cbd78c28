/** `node --import inmesh/register` in real processes: unmodified applications, dispatchers that were there before, switched off, nothing loaded in vain. */
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import { ControlPlane } from '../../src/control-plane/control-plane.ts';
import { serve } from '../support/http-servers.ts';
import { planeOf } from '../support/mesh-app.ts';
import { run, src } from '../support/mesh-process.ts';

const require = createRequire(import.meta.url);
const undici = (name: string): string => pathToFileURL(require.resolve(name)).href;
const REGISTER = ['--import', src('register.ts')];
/** Every module that is loaded, ours and others', ES and CommonJS. */
const WATCH = `data:text/javascript,import{registerHooks}from'node:module';globalThis.loaded=[];registerHooks({load(u,c,n){globalThis.loaded.push(u);return n(u,c)}})`;

async function shop(): Promise<{ port: number; hits: () => number; yaml: string }> {
  const server = await serve((_request, response) => response.end('meshed'));
  return {
    port: server.port,
    hits: () => server.seen.length,
    yaml: `version: 1\nservices: { shop: { endpoints: ["127.0.0.1:${server.port}"] } }\n`,
  };
}

describe('an unmodified application', () => {
  test('global fetch and undici 6, 7 and 8 go through the mesh, through both slots; other hosts do not; the process ends by itself', async () => {
    const { yaml, port } = await shop();
    const app = `
      const slot = (n) => globalThis[Symbol.for('undici.globalDispatcher.' + n)];
      console.log('slots', slot(1) === slot(2), slot(1)?.constructor.name);
      console.log('fetch', await (await fetch('http://shop/')).text());
      for (const [name, url] of ${JSON.stringify(['undici6', 'undici', 'undici8'].map((name) => [name, undici(name)]))}) {
        const library = await import(url);
        const { request, fetch } = library.default ?? library;
        const reply = await request('http://shop/');
        console.log(name, reply.statusCode, await reply.body.text(), await (await fetch('http://shop/')).text());
      }
      console.log('outside', await (await fetch('http://127.0.0.1:${port}/')).text());
      console.log('unknown', await fetch('http://cart/').then((r) => r.status, (e) => e.cause?.code ?? e.message));
      console.log('done');
    `;
    const { code, out, err, lingeredMs } = await run(app, { flags: REGISTER, files: { 'mesh.yaml': yaml } });
    expect(err).toBe('');
    expect(out.trim().split('\n')).toEqual([
      'slots true MeshDispatcher',
      'fetch meshed',
      'undici6 200 meshed meshed',
      'undici 200 meshed meshed',
      'undici8 200 meshed meshed',
      'outside meshed',
      expect.stringMatching(/^unknown (ENOTFOUND|EAI_AGAIN)$/),
      'done',
    ]);
    expect(code).toBe(0);
    expect(lingeredMs).toBeLessThan(2000);
  });

  test('negative control: without --import the host is unknown', async () => {
    const { yaml, hits } = await shop();
    const { out } = await run(`console.log(await fetch('http://shop/').then((r) => r.status, (e) => e.cause?.code ?? e.message));`, {
      files: { 'mesh.yaml': yaml },
    });
    expect(out.trim()).toMatch(/^(ENOTFOUND|EAI_AGAIN)$/);
    expect(hits()).toBe(0);
  });

  test('over a control plane: the first call waits for the configuration', async () => {
    const { yaml } = await shop();
    const plane = await planeOf(yaml);
    const { code, out, err, lingeredMs } = await run(`console.log(await (await fetch('http://shop/')).text()); console.log('done');`, {
      flags: REGISTER,
      env: { GRPC_XDS_BOOTSTRAP_CONFIG: JSON.stringify(plane.bootstrap('child')), INMESH_INCLUDE: 'shop' },
    });
    expect([err, code, out]).toEqual(['', 0, 'meshed\ndone\n']);
    expect(lingeredMs).toBeLessThan(2000);
    expect(plane).toBeInstanceOf(ControlPlane);
  });
});

describe('a dispatcher that was there before', () => {
  const custom = (slot: number): string =>
    `data:text/javascript,
    class Custom { dispatch(options, handler) {
      globalThis.seen = (globalThis.seen ?? []).concat(String(options.origin));
      if (handler.onRequestStart) { handler.onRequestStart({ abort() {}, paused: false, resume() {}, pause() {} }, {}); handler.onResponseStart({ resume() {} }, 200, {}, 'OK'); handler.onResponseData({}, Buffer.from('custom')); handler.onResponseEnd({}, {}); }
      else { handler.onConnect(() => {}); handler.onHeaders(200, [], () => {}, 'OK'); handler.onData(Buffer.from('custom')); handler.onComplete([]); }
      return true;
    } }
    globalThis[Symbol.for('undici.globalDispatcher.${slot}')] = new Custom();`.replaceAll('\n', '');
  const app = `
    console.log(await (await fetch('http://shop/')).text());
    console.log(await (await fetch('http://elsewhere.test/')).text());
    console.log(JSON.stringify(globalThis.seen));
  `;

  test('keeps serving hosts outside the mesh', async () => {
    const { yaml } = await shop();
    const { out, err } = await run(app, { flags: ['--import', custom(1), ...REGISTER], files: { 'mesh.yaml': yaml } });
    expect([err, out.trim().split('\n')]).toEqual(['', ['meshed', 'custom', '["http://elsewhere.test"]']]);
  });

  test('a MockAgent of undici keeps mocking; set after the mesh, it takes everything', async () => {
    const { yaml } = await shop();
    const mock = `
      import { MockAgent, setGlobalDispatcher } from ${JSON.stringify(undici('undici'))};
      const agent = new MockAgent();
      agent.disableNetConnect();
      for (const origin of ['http://mocked.test', 'http://shop']) agent.get(origin).intercept({ path: '/' }).reply(200, 'mocked').persist();
      setGlobalDispatcher(agent);
    `;
    const before = await run(
      `console.log(await (await fetch('http://mocked.test/')).text(), await (await fetch('http://shop/')).text());`,
      {
        flags: ['--import', './mock.mjs', ...REGISTER].map((flag) =>
          flag === './mock.mjs' ? `data:text/javascript,${encodeURIComponent(mock)}` : flag,
        ),
        files: { 'mesh.yaml': yaml },
      },
    );
    expect([before.err, before.out.trim()]).toEqual(['', 'mocked meshed']);
    const after = await run(
      `${mock}\nconsole.log(await (await fetch('http://mocked.test/')).text(), await (await fetch('http://shop/')).text());`,
      { flags: REGISTER, files: { 'mesh.yaml': yaml } },
    );
    expect([after.err, after.out.trim()]).toEqual(['', 'mocked mocked']);
  });
});

test('INMESH_DISABLE=1 does nothing at all: no slot is touched, nothing but the switch is loaded', async () => {
  const { yaml, hits } = await shop();
  const app = `
    console.log(globalThis[Symbol.for('undici.globalDispatcher.1')]?.constructor.name !== 'MeshDispatcher', globalThis[Symbol.for('undici.globalDispatcher.2')]?.constructor.name !== 'MeshDispatcher');
    console.log(await fetch('http://shop/').then((r) => r.status, () => 'refused'));
    console.log(JSON.stringify(globalThis.loaded.filter((u) => u.includes('/src/')).map((u) => u.split('/src/')[1])));
  `;
  const disabled = await run(app, {
    flags: ['--import', WATCH, ...REGISTER],
    env: { INMESH_DISABLE: '1' },
    files: { 'mesh.yaml': 'this is: [not, valid' },
  });
  expect(disabled.err).toBe('');
  const [slots, fetched, loaded] = disabled.out.trim().split('\n');
  expect([slots, fetched]).toEqual(['true true', 'refused']);
  expect((JSON.parse(loaded ?? '[]') as string[]).sort()).toEqual(['core/environment.ts', 'lazy.ts', 'register.ts']);
  expect(hits()).toBe(0);
  // Any other value is no switch.
  const enabled = await run(`console.log(await (await fetch('http://shop/')).text());`, {
    flags: REGISTER,
    env: { INMESH_DISABLE: '0' },
    files: { 'mesh.yaml': yaml },
  });
  expect(enabled.out.trim()).toBe('meshed');
});

test('without any configuration it stops at once and says where it looked', async () => {
  const { code, err, out } = await run(`console.log('started');`, { flags: REGISTER });
  expect([code, out]).toEqual([1, '']);
  // One line: nobody can catch it, and a stack trace of ours would say nothing.
  expect(err).toMatch(/^inmesh: no configuration was found\. Looked in this order: the argument of createMesh, GRPC_XDS_BOOTSTRAP.*\n$/);
  const broken = await run(`console.log('started');`, { flags: REGISTER, files: { 'mesh.yaml': 'version: 1\nservises: {}\n' } });
  expect([broken.code, broken.out]).toEqual([1, '']);
  expect(broken.err).toMatch(/^inmesh: [^]*mesh\.yaml:2:1/);
  expect(broken.err).not.toMatch(/^ +at |undefined/m);
  const include = await run(`console.log('started');`, {
    flags: REGISTER,
    env: { INMESH_INCLUDE: 'a*b' },
    files: { 'mesh.yaml': 'version: 1\nservices: {}\n' },
  });
  expect([include.code, include.err.split('\n').length]).toEqual([1, 2]);
  expect(include.err).toMatch(/^inmesh: INMESH_INCLUDE: "a\*b" has a \*/);
});

describe('what a process loads', () => {
  const loadedOf = (out: string): string[] => JSON.parse(out.trim().split('\n').at(-1) ?? '[]') as string[];
  const REPORT = `console.log(JSON.stringify(globalThis.loaded));`;

  test('fetch with mesh.yaml: neither grpc-js nor protobuf nor OpenTelemetry', async () => {
    const { yaml } = await shop();
    const app = `
      import { createMesh } from ${JSON.stringify(src('index.ts'))};
      const mesh = await createMesh('mesh.yaml');
      await mesh.ready();
      await (await mesh.fetch('http://shop/')).text();
      await mesh.close();
      ${REPORT}
    `;
    const { out, err, code } = await run(app, { flags: ['--import', WATCH], files: { 'mesh.yaml': yaml } });
    expect([code, err]).toEqual([0, '']);
    const loaded = loadedOf(out);
    expect(loaded.length).toBeGreaterThan(50);
    expect(
      loaded.filter((url) =>
        /@grpc|@bufbuild|@opentelemetry|opossum|node-forge|\/src\/(xds|proto|control-plane|adapters\/(grpc|node-http|opentelemetry))\//.test(
          url,
        ),
      ),
    ).toEqual([]);
  });

  test('xDS loads protobuf and grpc-js (so the pattern above finds them)', async () => {
    const plane = await planeOf('version: 1\nservices: {}\n');
    const app = `
      import { createMesh } from ${JSON.stringify(src('index.ts'))};
      const mesh = await createMesh({ bootstrap: JSON.parse(process.env.BOOT) });
      await mesh.close();
      ${REPORT}
    `;
    const { out } = await run(app, { flags: ['--import', WATCH], env: { BOOT: JSON.stringify(plane.bootstrap('x')) } });
    expect(loadedOf(out).some((url) => url.includes('@grpc/grpc-js'))).toBe(true);
    expect(loadedOf(out).some((url) => url.includes('@bufbuild/protobuf'))).toBe(true);
  });
});
