/** The same snapshot in Envoy and in the sidecar view of inmesh: the same choices, retries and changes (snapshot a). */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { Mesh } from '../../src/index.ts';
import type { ControlPlane, Envoy } from './harness.ts';
import {
  edit,
  expectShare,
  freePort,
  known,
  peers,
  snapshotText,
  startBackend,
  startControlPlane,
  startEnvoy,
  startMesh,
  tally,
  until,
} from './harness.ts';

const CALLS = 2000;

type Ask = (headers?: Record<string, string>) => Promise<string>;

interface Scene {
  readonly plane: ControlPlane;
  readonly snapshot: string;
  readonly envoy: Envoy;
  readonly mesh: Mesh;
  /** Each answers the name of the backend, or the status. */
  readonly ask: { readonly envoy: Ask; readonly inmesh: Ask };
}

async function scene(
  mode: 'sotw' | 'delta',
  v1: number,
  v2: number,
  prepare: (snapshot: string) => string = (text) => text,
): Promise<Scene> {
  const port = await freePort();
  const snapshot = prepare(snapshotText('a-http-sidecar', { 18081: v1, 18082: v2, 15080: port }));
  const plane = await startControlPlane(snapshot);
  const envoy = await startEnvoy(plane, mode, 'envoy');
  const mesh = await startMesh({ bootstrap: plane.bootstrap('sidecar'), include: [`web.example:${port}`], wildcard: true });
  await mesh.ready();
  const asker =
    (call: typeof fetch, url: string): Ask =>
    async (headers = {}) => {
      const response = await call(url, { headers });
      const text = await response.text();
      return response.status === 200 ? (JSON.parse(text) as { name: string }).name : String(response.status);
    };
  return {
    plane,
    snapshot,
    envoy,
    mesh,
    ask: { envoy: asker(fetch, `http://127.0.0.1:${port}/x`), inmesh: asker(mesh.fetch, `http://web.example:${port}/x`) },
  };
}

/** Fails as it is told, and counts. */
async function flaky(
  name: string,
  fails: (count: number) => number | undefined,
): Promise<{ readonly port: number; readonly calls: () => number }> {
  let calls = 0;
  const server = createServer((_request, response) => {
    const status = fails(++calls);
    response.statusCode = status ?? 200;
    response.end(JSON.stringify({ name }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, calls: () => calls };
}

describe.skipIf(peers.go === undefined || peers.envoy === undefined)('Envoy beside us', () => {
  test.each(['sotw', 'delta'] as const)('the same split, the same header route, the same change; Envoy in %s mode', async (mode) => {
    const { plane, snapshot, ask, envoy, mesh } = await scene(mode, await startBackend('v1'), await startBackend('v2'));
    for (const side of ['envoy', 'inmesh'] as const) {
      const counts = await tally(CALLS, ask[side]);
      expect(Object.keys(counts).sort(), side).toEqual(['v1', 'v2']);
      expectShare(counts['v1'], CALLS, 0.9, side);
      expect(await tally(50, () => ask[side]({ 'x-version': 'v2' }))).toEqual({ v2: 50 });
    }
    await plane.put(edit(snapshot, ['version: "a1"', 'version: "a2"'], ['weight: 90', 'weight: 20'], ['weight: 10}', 'weight: 80}']));
    await until('Envoy has the new weights', async () => {
      const dump = await fetch(`http://${envoy.admin}/config_dump?resource=dynamic_route_configs`);
      return /"weight": 80\b/.test(await dump.text());
    });
    await until('inmesh has the new weights', () => known(mesh).includes('RouteConfiguration web a2 ACKED'));
    for (const side of ['envoy', 'inmesh'] as const) expectShare((await tally(1000, ask[side]))['v2'], 1000, 0.8, side);
  });

  test.each([
    { failures: 0, answer: 'v1', attempts: 1 },
    { failures: 1, answer: 'v1', attempts: 2 },
    { failures: 2, answer: 'v1', attempts: 3 },
    { failures: 3, answer: '503', attempts: 3 },
  ])('$failures times 503, 2 retries: $answer after $attempts attempts, with both', async ({ failures, answer, attempts }) => {
    for (const side of ['envoy', 'inmesh'] as const) {
      const backend = await flaky('v1', (count) => (count <= failures ? 503 : undefined));
      const { ask } = await scene('sotw', backend.port, backend.port);
      expect(await ask[side](), side).toBe(answer);
      expect(backend.calls(), side).toBe(attempts);
    }
  });

  test('a dead backend: its share fails for both with 503, the rest goes on; nothing hangs', async () => {
    const { ask } = await scene('sotw', await startBackend('v1'), await freePort());
    for (const side of ['envoy', 'inmesh'] as const) {
      const counts = await tally(500, ask[side], 8);
      expect(Object.keys(counts).sort(), side).toEqual(['503', 'v1']);
      expectShare(counts['v1'], 500, 0.9, side);
    }
  });

  test('two endpoints, one of which fails: ejected after five failures in a row, so that calls reach the other alone', async () => {
    for (const side of ['envoy', 'inmesh'] as const) {
      const [bad, good] = [await flaky('bad', () => 500), await flaky('good', () => undefined)];
      const both = [bad, good]
        .map(({ port }) => `{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: ${port}}}}}`)
        .join(', ');
      const { ask } = await scene('sotw', 1, 1, (text) =>
        edit(
          text,
          ['base_ejection_time: 2s', 'base_ejection_time: 60s'],
          [/lb_endpoints: \[.*\]/, `lb_endpoints: [${both}]`],
          ['weight: 90', 'weight: 100'],
          ['weight: 10}', 'weight: 0}'],
        ),
      );
      expect(await tally(100, ask[side], 1), side).toEqual({ good: 100 });
      expect(bad.calls(), side).toBe(5);
      expect(good.calls(), side).toBe(100);
    }
  });
});
