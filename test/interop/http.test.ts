/** `mesh.fetch` under go-control-plane: split, header route, live changes, streams that break, and what the protocol looks like from there. */
import { describe, expect, test } from 'vitest';
import type { Mesh } from '../../src/index.ts';
import type { ControlPlane, ControlPlaneOptions, LogEntry } from './harness.ts';
import {
  edit,
  expectShare,
  freePort,
  known,
  pause,
  peers,
  snapshotText,
  startBackend,
  startControlPlane,
  startLoad,
  startMesh,
  tally,
  until,
} from './harness.ts';

const CALLS = 2000;

interface Scene {
  readonly plane: ControlPlane;
  readonly snapshot: string;
  readonly listenerPort: number;
}

async function scene(options: ControlPlaneOptions = {}): Promise<Scene> {
  const [v1, v2, listenerPort] = [await startBackend('v1'), await startBackend('v2'), await freePort()];
  const snapshot = snapshotText('a-http-sidecar', { 18081: v1, 18082: v2, 15080: listenerPort });
  return { plane: await startControlPlane(snapshot, options), snapshot, listenerPort };
}

const meshOf = (plane: ControlPlane): Promise<Mesh> => startMesh({ bootstrap: plane.bootstrap('app'), include: ['web.local'] });

/** The name of the server that answered; a status when none did. */
const caller =
  (mesh: Mesh, headers: Record<string, string> = {}, url = 'http://web.local/things?a=1') =>
  async (): Promise<string> => {
    const response = await mesh.fetch(url, { headers });
    const text = await response.text();
    return response.status === 200 ? (JSON.parse(text) as { name: string }).name : String(response.status);
  };

const shifted = (snapshot: string, version: string): string =>
  edit(snapshot, ['version: "a1"', `version: "${version}"`], ['weight: 90', 'weight: 20'], ['weight: 10}', 'weight: 80}']);

const requests = (log: readonly LogEntry[], type?: string): LogEntry[] =>
  log.filter((entry) => entry.event === 'request' && (type === undefined || entry.type === type));

describe.skipIf(peers.go === undefined)('go-control-plane and mesh.fetch', () => {
  test.each([
    { title: 'cache mode', options: {} },
    { title: 'ordered answers', options: { flags: ['--ordered'] } },
  ])('the split and the header route, $title', async ({ options }) => {
    const { plane } = await scene(options);
    const mesh = await meshOf(plane);
    await mesh.ready();
    const counts = await tally(CALLS, caller(mesh));
    expect(Object.keys(counts).sort()).toEqual(['v1', 'v2']);
    expectShare(counts['v1'], CALLS, 0.9, 'v1');
    expect(await tally(50, caller(mesh, { 'x-version': 'v2' }))).toEqual({ v2: 50 });
  });

  test('each response is acknowledged once, with its nonce and version; the node comes first and never again', async () => {
    const { plane } = await scene();
    const mesh = await meshOf(plane);
    await mesh.ready();
    expect(await caller(mesh)()).toMatch(/^v[12]$/);
    const log = await until('every response is acknowledged', async () => {
      const entries = await plane.log('app');
      const responses = entries.filter((entry) => entry.event === 'response');
      return responses.every(({ nonce }) => requests(entries).some((entry) => entry.nonce === nonce)) && responses.length >= 4 && entries;
    });
    expect(new Set(log.map((entry) => entry.stream)).size, 'one stream for everything').toBe(1);
    const responses = log.filter((entry) => entry.event === 'response');
    for (const response of responses) {
      const [acknowledgement, ...more] = requests(log, response.type).filter((entry) => entry.nonce === response.nonce);
      expect(acknowledgement).toMatchObject({ version: 'a1' });
      expect(acknowledgement?.error_detail).toBeUndefined();
      // Another request with the same nonce may follow, but only to change the names.
      for (const other of more) expect(other.names).not.toEqual(acknowledgement?.names);
    }
    expect(requests(log).map((entry) => entry.node_sent ?? false)).toEqual(requests(log).map((_, index) => index === 0));
    const first = new Map<string, LogEntry>();
    for (const entry of requests(log)) if (!first.has(entry.type)) first.set(entry.type, entry);
    expect([...first.keys()].sort()).toEqual(['Cluster', 'ClusterLoadAssignment', 'Listener', 'RouteConfiguration']);
    for (const entry of first.values()) expect(entry.version ?? '', `first ${entry.type} request of the first stream`).toBe('');
    expect(first.get('Listener')?.names).toContain('web.local');
    expect(first.get('RouteConfiguration')?.names).toEqual(['web']);
    expect(first.get('Cluster')?.names?.toSorted()).toEqual(['web-v1', 'web-v2']);
    expect(known(mesh)).toEqual(
      expect.arrayContaining([
        'Listener web.local a1 ACKED',
        'RouteConfiguration web a1 ACKED',
        'Cluster web-v1 a1 ACKED',
        'ClusterLoadAssignment web-v1 a1 ACKED',
      ]),
    );
  });

  test('a live change of the weights loses no call', async () => {
    const { plane, snapshot } = await scene();
    const mesh = await meshOf(plane);
    await mesh.ready();
    const load = startLoad(caller(mesh));
    await pause(200);
    await plane.put(shifted(snapshot, 'a2'));
    await until('the new version is in force', () => known(mesh).includes('RouteConfiguration web a2 ACKED'));
    const counts = await tally(CALLS, caller(mesh));
    const seen = await load.stop();
    expectShare(counts['v2'], CALLS, 0.8, 'v2');
    expect(seen.length).toBeGreaterThan(500);
    expect(seen.filter((answer) => !/^v[12]$/.test(answer))).toEqual([]);
  });

  test('streams dropped: traffic goes on, and the next stream begins with node, versions and no nonce', async () => {
    const { plane, snapshot } = await scene();
    const mesh = await meshOf(plane);
    await mesh.ready();
    const before = (await plane.log('app')).at(-1)?.stream;
    await plane.drop();
    expect(Object.keys(await tally(200, caller(mesh))).sort()).toEqual(['v1', 'v2']);
    const resumed = await until('a second stream', async () => {
      const log = (await plane.log('app')).filter((entry) => entry.stream !== before);
      return new Set(requests(log).map((entry) => entry.type)).size === 4 && log;
    });
    const firsts = ['Listener', 'RouteConfiguration', 'Cluster', 'ClusterLoadAssignment'].map((type) => requests(resumed, type)[0]);
    for (const request of firsts) {
      expect(request).toMatchObject({ version: 'a1' });
      expect(request?.nonce ?? '').toBe('');
    }
    expect(requests(resumed).map((entry) => entry.node_sent ?? false)).toEqual(requests(resumed).map((_, index) => index === 0));
    await plane.put(shifted(snapshot, 'a2'));
    await until('the new stream carries updates', () => known(mesh).includes('RouteConfiguration web a2 ACKED'));
    expectShare((await tally(500, caller(mesh)))['v2'], 500, 0.8, 'v2');
  });

  test('control plane killed: traffic goes on; started again with other weights: they are taken over', async () => {
    const { plane, snapshot } = await scene();
    const mesh = await meshOf(plane);
    await mesh.ready();
    await plane.kill();
    await until('the loss is known', () => mesh.describe().source?.connected === false);
    const counts = await tally(500, caller(mesh));
    expect(Object.keys(counts).sort()).toEqual(['v1', 'v2']);
    expectShare(counts['v1'], 500, 0.9, 'v1');
    await startControlPlane(shifted(snapshot, 'a2'), { port: Number(plane.address.split(':')[1]) });
    await until('the new weights', () => known(mesh).includes('RouteConfiguration web a2 ACKED'), 30_000);
    expectShare((await tally(500, caller(mesh)))['v2'], 500, 0.8, 'v2');
  });

  test('ADS mode never answers a client that asks for some of the listeners: the call fails by itself, with the reason', async () => {
    const { plane } = await scene({ ads: true });
    const mesh = await startMesh({ bootstrap: plane.bootstrap('app'), include: ['web.local'], startTimeout: 1_500 });
    const response = await mesh.fetch('http://web.local/');
    expect(response.status).toBe(503);
    const log = await plane.log('app');
    expect(requests(log, 'Listener').length).toBeGreaterThan(0);
    expect(log.filter((entry) => entry.event === 'response')).toEqual([]);
    await expect(mesh.ready(10)).rejects.toMatchObject({ code: 'ERR_MESH_START_TIMEOUT' });
  });

  test("ADS mode with a set of the node's own is answered", async () => {
    const { plane, snapshot } = await scene({ ads: true });
    await plane.put(onlyApiListener(snapshot), 'app');
    const mesh = await meshOf(plane);
    await mesh.ready();
    expectShare((await tally(500, caller(mesh)))['v1'], 500, 0.9, 'v1');
  });

  test.each([{ ads: true }, { ads: false }])(
    "the sidecar view: listeners and clusters whole, the socket listener on the request's port (ads=$ads)",
    async ({ ads }) => {
      const { plane, listenerPort } = await scene({ ads });
      const mesh = await startMesh({ bootstrap: plane.bootstrap('sidecar'), include: [`any.example:${listenerPort}`], wildcard: true });
      await mesh.ready();
      const url = `http://any.example:${listenerPort}/x`;
      expectShare((await tally(1000, caller(mesh, {}, url)))['v1'], 1000, 0.9, 'v1');
      expect(await tally(20, caller(mesh, { 'x-version': 'v2' }, url))).toEqual({ v2: 20 });
      const log = await plane.log('sidecar');
      for (const type of ['Listener', 'Cluster']) for (const request of requests(log, type)) expect(request.names ?? []).toEqual([]);
      expect(mesh.describe().source?.resources.map(({ name }) => name)).toContain(`outbound_${listenerPort}`);
    },
  );

  test('the sidecar view: a listener that comes later serves its port from then on', async () => {
    const { plane, snapshot, listenerPort } = await scene();
    await plane.put(onlyApiListener(edit(snapshot, ['version: "a1"', 'version: "a0"'])));
    const mesh = await startMesh({ bootstrap: plane.bootstrap('sidecar'), include: ['*'], wildcard: true });
    const one = caller(mesh, {}, `http://any.example:${listenerPort}/x`);
    expect(await one()).toBe('404');
    await plane.put(snapshot);
    await until('the new listener serves', async () => (await one()) !== '404');
    expect(Object.keys(await tally(200, one)).sort()).toEqual(['v1', 'v2']);
  });
});

/** The same snapshot with the API listener alone. */
function onlyApiListener(snapshot: string): string {
  const begin = snapshot.indexOf('  - "@type": type.googleapis.com/envoy.config.listener.v3.Listener\n    name: outbound_');
  const manager = /typed_config: &hcm\n([\s\S]*?)(?=\n {2}- "@type")/.exec(snapshot)?.[1] ?? '';
  const indented = manager.replaceAll(/^ {14}/gm, '        ');
  const second = snapshot.indexOf('  - "@type": type.googleapis.com/envoy.config.listener.v3.Listener\n    name: web.local');
  return edit(snapshot.slice(0, begin) + snapshot.slice(second), [
    'api_listener: {api_listener: *hcm}',
    `api_listener:\n      api_listener:\n${indented}`,
  ]);
}
