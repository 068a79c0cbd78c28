/** Load reports to go-control-plane's front: what it was told of the split adds up to the answers, over dropped streams and to the end. */
import { describe, expect, test } from 'vitest';
import { echoClient } from './echo.ts';
import { edit, expectShare, peers, snapshotText, startControlPlane, startEchoServer, startMesh, tally, until } from './harness.ts';
import type { ControlPlane } from './harness.ts';

interface Locality {
  readonly locality: { readonly region: string; readonly zone: string };
  readonly totalIssuedRequests?: string;
  readonly totalSuccessfulRequests?: string;
  readonly totalErrorRequests?: string;
  readonly totalRequestsInProgress?: string;
}

/** Successes, errors and issued by cluster, as the control plane was told. */
function sums(loads: readonly LoadRequest[]): Record<string, { ok: number; errors: number; issued: number; running: number }> {
  const found: Record<string, { ok: number; errors: number; issued: number; running: number }> = {};
  for (const { clusterName, upstreamLocalityStats = [] } of loads.flatMap(({ clusterStats = [] }) => clusterStats)) {
    const sum = (found[clusterName] ??= { ok: 0, errors: 0, issued: 0, running: 0 });
    for (const place of upstreamLocalityStats) {
      expect(place.locality).toEqual({ region: 'r1', zone: 'z1' });
      sum.ok += Number(place.totalSuccessfulRequests ?? 0);
      sum.errors += Number(place.totalErrorRequests ?? 0);
      sum.issued += Number(place.totalIssuedRequests ?? 0);
      sum.running = Number(place.totalRequestsInProgress ?? 0);
    }
  }
  return found;
}

interface LoadRequest {
  readonly node?: { readonly id: string; readonly clientFeatures?: readonly string[] };
  readonly clusterStats?: readonly { readonly clusterName: string; readonly upstreamLocalityStats?: readonly Locality[] }[];
}

const loadsOf = async (plane: ControlPlane): Promise<readonly LoadRequest[]> =>
  ((await plane.load()) as readonly LoadRequest[] | null) ?? [];

async function scene(change: (text: string) => string = (text) => text): Promise<ControlPlane> {
  const [v1, v2] = await Promise.all([startEchoServer('v1'), startEchoServer('v2')]);
  const text = change(snapshotText('b-grpc-client', { 50051: v1.port, 50052: v2.port }));
  return startControlPlane(text, { flags: ['--lrs-interval', '100ms'] });
}

describe.skipIf(peers.go === undefined)('load reports to go-control-plane', () => {
  test('every call is reported once, over a dropped stream and the end of the mesh', async () => {
    const plane = await scene();
    const mesh = await startMesh({ bootstrap: plane.bootstrap('app') });
    const echo = echoClient(mesh, 'xds:///echo.local');
    const first = await tally(600, () => echo.answer());
    await until('reports', async () => {
      const { 'echo-v1': v1, 'echo-v2': v2 } = sums(await loadsOf(plane));
      return (v1?.ok ?? 0) + (v2?.ok ?? 0) === 600;
    });
    await plane.drop();
    const second = await tally(400, () => echo.answer());
    await mesh.close();
    const told = await until('the final report', async () => {
      const found = sums(await loadsOf(plane));
      return (found['echo-v1']?.ok ?? 0) + (found['echo-v2']?.ok ?? 0) >= 1000 && found;
    });
    for (const name of ['v1', 'v2']) {
      const calls = (first[name] ?? 0) + (second[name] ?? 0);
      expect(told[`echo-${name}`]).toEqual({ ok: calls, errors: 0, issued: calls, running: 0 });
    }
    expectShare(told['echo-v1']?.ok, 1000, 0.8, 'reported');
    const [hello] = await loadsOf(plane);
    expect(hello?.node?.id).toBe('app');
    expect(hello?.node?.clientFeatures).toContain('envoy.lrs.supports_send_all_clusters');
  });

  test('negative control: nothing asks for it, nothing is reported', async () => {
    const plane = await scene((text) => edit(text, [/ *lrs_server: .*/, '']));
    const mesh = await startMesh({ bootstrap: plane.bootstrap('app') });
    const echo = echoClient(mesh, 'xds:///echo.local');
    await tally(50, () => echo.answer());
    await mesh.close();
    expect(await loadsOf(plane)).toEqual([]);
  });
});
