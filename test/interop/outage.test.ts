/**
 * Outages of go-control-plane under calls, in both dialects: killed and back with the same, an older or an empty configuration, one bad
 * resource among 50, hanging without close, away at the start. The same scenarios as in test/e2e/control-plane-outage.test.ts.
 */
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Mesh, MeshOptions } from '../../src/index.ts';
import type { ControlPlane, ControlPlaneOptions } from './harness.ts';
import { freePort, known, pause, peers, scratch, startBackend, startControlPlane, startLoad, startMesh, tally, until } from './harness.ts';

const PROTOCOLS = ['sotw', 'delta'] as const;
const TYPE = 'type.googleapis.com/envoy';
const ADS = { ads: {}, resource_api_version: 'V3' };

interface Content {
  readonly version: string;
  /** Port behind all clusters. */
  readonly port: number;
  /** Instead of `1s`, for one cluster among 50. */
  readonly connectTimeout?: string;
}

/** A route over 50 clusters, the last of which gets the calls of `/`. */
function snapshotOf({ version, port, connectTimeout = '1s' }: Content): string {
  const names = Array.from({ length: 50 }, (_, i) => `c${i}`);
  const router = { name: 'router', typed_config: { '@type': `${TYPE}.extensions.filters.http.router.v3.Router` } };
  const routes = names.map((cluster, i) => ({ match: { prefix: i === 49 ? '/' : `/${i}/` }, route: { cluster } }));
  const address = { socket_address: { address: '127.0.0.1', port_value: port } };
  return JSON.stringify({
    version,
    resources: [
      {
        '@type': `${TYPE}.config.listener.v3.Listener`,
        name: 'shop',
        api_listener: {
          api_listener: {
            '@type': `${TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
            stat_prefix: 'shop',
            rds: { route_config_name: 'shop', config_source: ADS },
            http_filters: [router],
          },
        },
      },
      {
        '@type': `${TYPE}.config.route.v3.RouteConfiguration`,
        name: 'shop',
        virtual_hosts: [{ name: 'all', domains: ['*'], routes }],
      },
      ...names.flatMap((name, i) => [
        {
          '@type': `${TYPE}.config.cluster.v3.Cluster`,
          name,
          type: 'EDS',
          connect_timeout: i === 7 ? connectTimeout : '1s',
          eds_cluster_config: { eds_config: ADS },
        },
        {
          '@type': `${TYPE}.config.endpoint.v3.ClusterLoadAssignment`,
          cluster_name: name,
          endpoints: [{ locality: { zone: 'z' }, load_balancing_weight: 1, lb_endpoints: [{ endpoint: { address } }] }],
        },
      ]),
    ],
  });
}

const EMPTY = JSON.stringify({ version: 'empty', resources: [] });

interface Scene {
  readonly a: number;
  readonly b: number;
  /** Of the control plane, before and after. */
  readonly port: number;
  start(snapshot: string, options?: ControlPlaneOptions): Promise<ControlPlane>;
  mesh(options?: MeshOptions): Promise<Mesh>;
}

async function scene(protocol: (typeof PROTOCOLS)[number]): Promise<Scene> {
  const [a, b, port] = [await startBackend('a'), await startBackend('b'), await freePort()];
  return {
    a,
    b,
    port,
    start: (snapshot, options = {}) => startControlPlane(snapshot, { port, flags: ['--nack-delay', '100ms'], ...options }),
    mesh: (options = {}) =>
      startMesh({
        bootstrap: { xds_servers: [{ server_uri: `127.0.0.1:${port}`, channel_creds: [{ type: 'insecure' }] }], node: { id: 'app' } },
        include: ['shop'],
        protocol,
        startTimeout: 20_000,
        ...options,
      }),
  };
}

const caller =
  (mesh: Mesh, path = '/') =>
  async (): Promise<string> => {
    const response = await mesh.fetch(`http://shop${path}`);
    const text = await response.text();
    return response.ok ? (JSON.parse(text) as { name: string }).name : `${response.status} ${text}`;
  };

const becomes = (mesh: Mesh, answer: string): Promise<boolean> =>
  until(`calls are answered by ${answer}`, async () => (await caller(mesh)()) === answer, 20_000);

const lost = (mesh: Mesh): Promise<boolean> => until('the loss is known', () => mesh.describe().source?.connected === false, 15_000);

const seen = (answers: readonly string[]): string[] => [...new Set(answers)].sort();

describe.skipIf(peers.go === undefined).each(PROTOCOLS)('outages of go-control-plane, %s', (protocol) => {
  test('killed, and back with an older version: calls go on, and the older one counts', async () => {
    const { a, b, start, mesh: open } = await scene(protocol);
    const plane = await start(snapshotOf({ version: '9', port: a }));
    const mesh = await open();
    await mesh.ready();
    const load = startLoad(caller(mesh));
    await plane.kill();
    await lost(mesh);
    await pause(500);
    await start(snapshotOf({ version: '2', port: b }));
    await becomes(mesh, 'b');
    expect(seen(await load.stop())).toEqual(['a', 'b']);
  });

  test('killed, and back empty: calls go on by what was good; what comes then counts', async () => {
    const { a, b, start, mesh: open } = await scene(protocol);
    const first = await start(snapshotOf({ version: '1', port: a }));
    const mesh = await open();
    await mesh.ready();
    const load = startLoad(caller(mesh));
    await first.kill();
    await lost(mesh);
    const plane = await start(EMPTY);
    await until('connected again', () => mesh.describe().source?.connected === true, 15_000);
    await pause(1000);
    expect(seen(Object.keys(await tally(50, caller(mesh))))).toEqual(['a']);
    await plane.put(snapshotOf({ version: '3', port: b }));
    await becomes(mesh, 'b');
    expect(seen(await load.stop())).toEqual(['a', 'b']);
  });

  test('one bad cluster among 50: it alone is refused and keeps what it had, 49 are taken', async () => {
    const { a, b, start, mesh: open } = await scene(protocol);
    const plane = await start(snapshotOf({ version: '1', port: a }));
    const mesh = await open();
    await mesh.ready();
    const load = startLoad(caller(mesh));
    await plane.put(snapshotOf({ version: '2', port: b, connectTimeout: '-1s' }));
    await becomes(mesh, 'b');
    await until('the NACK', () => known(mesh).some((line) => /^Cluster c7 .* NACKED$/.test(line)));
    expect(known(mesh).filter((line) => line.endsWith(' NACKED'))).toHaveLength(1);
    expect(await caller(mesh, '/7/')()).toBe('b');
    const nacks = (await plane.log('app')).filter(({ error_detail }) => error_detail !== undefined);
    expect(nacks[0]?.error_detail).toMatch(/"c7".*connect_timeout/s);
    expect(nacks[0]?.error_detail).not.toMatch(/"c(?!7")\d+"/);
    expect(seen(await load.stop())).toEqual(['a', 'b']);
  });

  test('hanging without close: keep-alive finds it, and it is used again when it goes on', async () => {
    const { a, b, start, mesh: open } = await scene(protocol);
    const plane = await start(snapshotOf({ version: '1', port: a }));
    const mesh = await open({ controlPlane: { keepalive: { interval: 1000, timeout: 500 } } });
    await mesh.ready();
    const load = startLoad(caller(mesh));
    plane.signal('SIGSTOP');
    onTestFinished(() => plane.signal('SIGCONT'));
    await lost(mesh);
    await pause(500);
    // The kernel accepts connections for it all the same, so nothing new is known of the cause.
    expect(mesh.describe().source?.problem).toMatch(/UNAVAILABLE/);
    plane.signal('SIGCONT');
    await plane.put(snapshotOf({ version: '2', port: b }));
    await becomes(mesh, 'b');
    expect(seen(await load.stop())).toEqual(['a', 'b']);
  });

  test('away at the start: calls wait for it; with a last good file they are served at once', async () => {
    const { a, b, start, mesh: open } = await scene(protocol);
    const lastGood = join(scratch(), 'last-good');
    const waiting = await open();
    const answer = caller(waiting)();
    await pause(1000);
    const plane = await start(snapshotOf({ version: '1', port: a }));
    expect(await answer).toBe('a');
    const first = await open({ lastGood });
    await first.ready();
    expect(await caller(first)()).toBe('a');
    await first.close();
    await plane.kill();
    const later = await open({ lastGood });
    expect(seen(Object.keys(await tally(50, caller(later))))).toEqual(['a']);
    await start(snapshotOf({ version: '2', port: b }));
    await becomes(later, 'b');
  });
});
