/** HTTP filters over ECDS (Envoy X-92) in running meshes: on the way in and out, HTTP and gRPC, swapped while calls run, never passed over. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ControlPlane } from '../../src/control-plane/control-plane.ts';
import type { Mesh, MeshOptions } from '../../src/index.ts';
import type { ResourceJson } from '../../src/sources/xds-snapshot.ts';
import { bothSides, freePorts } from '../support/both-sides.ts';
import { serve, until } from '../support/http-servers.ts';
import { expectIdle, meshOver } from '../support/mesh-app.ts';
import { folder } from '../support/mesh-process.ts';
import { HTTP2, RBAC, ROUTER, cluster, endpoints, listener, routeConfig, serverListener, to } from '../support/mesh-raw.ts';

type Json = Readonly<Record<string, unknown>>;

const TYPE = 'type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig';
const ADS = { ads: {}, resource_api_version: 'V3' };

/** Refuses requests that have the header. */
function refusing(header: string): Json {
  const policy = { permissions: [{ header: { name: header, present_match: true } }], principals: [{ any: true }] };
  return { '@type': RBAC, rules: { action: 'DENY', policies: { p: policy } } };
}
const guard = (config: Json): ResourceJson => ({ '@type': TYPE, name: 'guard', typed_config: config });
/** Rules that mean nothing: the decoder refuses them. */
const BAD = guard({ '@type': RBAC, rules: { policies: { p: { permissions: [], principals: [{ any: true }] } } } });
const place = (change: Json = {}): Json => ({ name: 'guard', config_discovery: { config_source: ADS, type_urls: [RBAC], ...change } });

interface World {
  readonly plane: ControlPlane;
  readonly mesh: Mesh;
  readonly serving: Mesh;
  /** What a fetch and a gRPC call with this header get. */
  ask(header?: string): Promise<string>;
  /** Serves these filters from now on. */
  filters(...list: readonly ResourceJson[]): void;
}

async function world(filters: readonly ResourceJson[], where: 'in' | 'out', options: MeshOptions = {}, change: Json = {}): Promise<World> {
  const ports = await freePorts();
  const { web, rpc } = ports;
  const guarded = { http_filters: [place(change), ROUTER] };
  const [client, server] = where === 'out' ? [guarded, {}] : [{}, { hcm: guarded }];
  const fixed = [
    listener('shop', routeConfig('shop', [to('shop')]), client),
    listener('echo', routeConfig('echo', [to('echo')]), client),
    cluster('shop'),
    cluster('echo', HTTP2),
    endpoints('shop', web),
    endpoints('echo', rpc),
    serverListener(web, server),
    serverListener(rpc, server),
  ] as readonly ResourceJson[];
  const plane = await ControlPlane.start({ resources: [...fixed, ...filters] });
  onTestFinished(() => plane.close());
  const { mesh, serving, ask } = await bothSides(plane, ports, options);
  return {
    plane,
    mesh,
    serving,
    async ask(header) {
      const [response, reply] = await ask(header);
      await response.text();
      return `${response.status} ${reply.code}`;
    },
    filters: (...list) => expect(plane.replace([...fixed, ...list]).ok).toBe(true),
  };
}

const filterOf = (mesh: Mesh): string =>
  mesh
    .describe()
    .source?.resources.filter(({ name }) => name === 'guard')
    .map(({ status, version }) => `${status} ${version}`)
    .join() ?? '';

test.each(['in', 'out'] as const)(
  'a filter that comes by ECDS guards (%s), is swapped while connections stay, and a bad one is refused',
  async (where) => {
    const { plane, mesh, serving, ask, filters } = await world([guard(refusing('x-old'))], where);
    await mesh.ready();
    expect([await ask(), await ask('x-old'), await ask('x-new')]).toEqual(['200 0', '403 7', '200 0']);
    expect(plane.nacks).toEqual([]);
    const guarded = where === 'out' ? mesh : serving;
    const version = filterOf(guarded);
    filters(guard(refusing('x-new')));
    await until(() => filterOf(guarded) !== version);
    expect([await ask(), await ask('x-old'), await ask('x-new')]).toEqual(['200 0', '200 0', '403 7']);
    filters(BAD);
    await until(() => plane.nacks.length > 0);
    expect(plane.nacks[0]?.message).toContain('typed_config.rules.policies["p"].permissions: must not be empty');
    expect(filterOf(guarded)).toMatch(/^NACKED/);
    expect([await ask(), await ask('x-new')]).toEqual(['200 0', '403 7']);
    // Deleted: what was there last stays (gRFC A88).
    filters();
    expect([await ask(), await ask('x-new')]).toEqual(['200 0', '403 7']);
  },
);

test.each(['in', 'out'] as const)(
  'the first configuration is bad (%s): nothing passes, with a reason, until there is a good one',
  async (where) => {
    const { plane, mesh, serving, ask, filters } = await world([BAD], where);
    await mesh.ready();
    await until(() => plane.nacks.length > 0);
    expect(await ask()).toBe('500 14');
    const guarded = where === 'out' ? mesh : serving;
    expect(guarded.describe().listeners.flatMap(({ problems }) => problems)[0]).toMatch(
      /^filter "guard": its configuration: .*must not be empty/,
    );
    if (where === 'out') expect((await mesh.fetch('http://shop/')).headers.get('x-inmesh-failure')).toBe('NFCF filter_config_missing');
    filters(guard(refusing('x-bad')));
    await until(() => guarded.describe().listeners.every(({ problems }) => problems.length === 0));
    expect([await ask(), await ask('x-bad')]).toEqual(['200 0', '403 7']);
  },
);

test('the listener waits for its filter; over delta a filter that does not exist is told at once, and the default counts', async () => {
  const { mesh, ask } = await world([], 'out', { protocol: 'delta' }, { default_config: refusing('x-default') });
  await mesh.ready();
  expect([await ask(), await ask('x-default')]).toEqual(['200 0', '403 7']);
  const waiting = await world([], 'out');
  await expect(waiting.mesh.ready(200)).rejects.toMatchObject({ code: 'ERR_MESH_START_TIMEOUT' });
  expect(waiting.mesh.describe().listeners.flatMap(({ missing }) => missing)).toContain('extension-config "guard"');
  const calls = waiting.ask('x-now');
  waiting.filters(guard(refusing('x-now')));
  expect(await calls).toBe('403 7');
});

test('swapped under load without a failed call', async () => {
  const { mesh, ask, filters } = await world([guard(refusing('x-0'))], 'in');
  await mesh.ready();
  const failed: string[] = [];
  let [running, calls] = [true, 0];
  const caller = async (): Promise<void> => {
    while (running) {
      const got = await ask('x-ok').catch((error: unknown) => String(error));
      calls++;
      if (got !== '200 0') failed.push(got);
    }
  };
  const callers = [caller(), caller()];
  for (let round = 1; round <= 5; round++) {
    filters(guard(refusing(`x-${round}`)));
    const before = calls;
    await until(() => calls > before + 10);
    expect(await ask(`x-${round}`)).toBe('403 7');
  }
  running = false;
  await Promise.all(callers);
  expect(failed).toEqual([]);
  expectIdle(mesh);
});

test('a filter from a file (path_config_source)', async () => {
  const content = (header: string): string => JSON.stringify({ version_info: header, resources: [guard(refusing(header))] });
  const path = join(folder({ 'guard.json': content('x-old') }), 'guard.json');
  const shop = await serve((_request, response) => response.end('served'));
  const source = { config_source: { path_config_source: { path }, resource_api_version: 'V3' } };
  const plane = await ControlPlane.start({
    resources: [
      listener('shop', routeConfig('shop', [to('shop')]), { http_filters: [place(source), ROUTER] }),
      cluster('shop'),
      endpoints('shop', shop.port),
    ] as readonly ResourceJson[],
  });
  onTestFinished(() => plane.close());
  const mesh = await meshOver(plane, ['shop']);
  await mesh.ready();
  const ask = async (header: string): Promise<number> => (await mesh.fetch('http://shop/', { headers: { [header]: '1' } })).status;
  expect([await ask('x-old'), await ask('x-new')]).toEqual([403, 200]);
  writeFileSync(`${path}.next`, content('x-new'));
  renameSync(`${path}.next`, path);
  await until(() => filterOf(mesh).includes('x-new'));
  expect([await ask('x-old'), await ask('x-new')]).toEqual([200, 403]);
});
