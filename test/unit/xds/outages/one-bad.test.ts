/**
 * Outage: one bad resource among 50. Exactly that one is named in the NACK, the 49 others are in force, and the old good one of the bad is kept
 * (gRFC A46, A88), unless the server's features say that it must go.
 */
import { describe, expect, test } from 'vitest';
import { A, B, DIALECTS, running, shop } from './rig.ts';
import type { DialectName, Outage } from './rig.ts';

const NAMES = Array.from({ length: 50 }, (_, i) => `c${i}`);
const OTHERS = NAMES.filter((name) => name !== 'c7');
const BAD = { c7: { connect_timeout: '-1s' } };
const ERROR = 'resource "c7" at connect_timeout: the duration must not be negative';

const start = (protocol: DialectName, features: readonly string[] = []): Promise<Outage> =>
  running({ protocol, features, resources: shop(A, 50) });

/** Connect time limits in force, which tell the two configurations apart, with the clusters that have them. */
function limits({ engine }: Outage): Readonly<Record<string, readonly string[]>> {
  const found: Record<string, string[]> = {};
  for (const name of NAMES) (found[String(engine.clusters?.get(name)?.connectTimeoutMs)] ??= []).push(name);
  return found;
}

describe.each(DIALECTS)('%s', (protocol) => {
  test('it alone is refused and keeps its value; the 49 others move; corrected, it moves too', async () => {
    const made = await start(protocol);
    const { plane, client, log } = made;
    for (const name of NAMES) expect(await made.get(`/${name.slice(1)}/`)).toBe(String(A));
    expect(limits(made)).toEqual({ 1000: NAMES });
    log.lines.length = 0;
    plane.serve(shop(B, 50, BAD), '2');
    await made.settle();
    expect(plane.nacks).toEqual([
      { nodeId: 'app', typeUrl: 'type.googleapis.com/envoy.config.cluster.v3.Cluster', version: '2', message: expect.any(String) },
    ]);
    expect(plane.nacks[0]?.message).toBe(`Cluster response rejected: ${ERROR}`);
    expect(limits(made)).toEqual({ 1000: ['c7'], 2000: OTHERS });
    expect([client.describe().connected, made.status('Cluster', 'NACKED')]).toEqual([true, ['c7']]);
    expect(made.status('Cluster', 'ACKED')).toEqual(OTHERS);
    // Its endpoints are another resource, which was good.
    expect(await made.get('/7/')).toBe(String(B));
    expect(log.lines.filter((line) => line.startsWith('warn'))).toHaveLength(1);
    // An hour on, it is as it was: no second NACK, no new stream.
    expect(await made.traffic(3_600_000, 600_000)).toEqual([String(B)]);
    expect([plane.nacks.length, plane.opened.length, made.clock.pending]).toEqual([1, 1, 0]);
    plane.serve(shop(B, 50), '3');
    await made.settle();
    expect(limits(made)).toEqual({ 2000: NAMES });
    expect([plane.nacks.length, made.status('Cluster', 'NACKED')]).toEqual([1, []]);
  });

  test('a restart of the control plane in between: it is refused again, and goes on with its value', async () => {
    const made = await start(protocol);
    const { plane } = made;
    plane.serve(shop(B, 50, BAD), '2');
    await made.settle();
    plane.kill();
    await made.clock.advance(600_000);
    plane.serve(shop(B, 50, BAD), '2');
    await made.clock.advance(144_000);
    expect(plane.nacks.map(({ message }) => message)).toEqual(Array.from({ length: 2 }, () => `Cluster response rejected: ${ERROR}`));
    expect(limits(made)).toEqual({ 1000: ['c7'], 2000: OTHERS });
    if (protocol === 'delta') {
      // It has the version of the value that is in use, and so the server sees that it is to be sent (Envoy X-32).
      const [first] = plane.current.takeDelta().filter(({ type }) => type === 'cluster');
      expect(Object.keys(first?.initial ?? {})).toEqual(NAMES);
    }
  });

  test('negative control: with fail_on_data_errors the bad one goes, and it alone', async () => {
    const made = await start(protocol, ['fail_on_data_errors']);
    const { plane } = made;
    plane.serve(shop(B, 50, BAD), '2');
    await made.settle();
    expect(plane.nacks.map(({ message }) => message)).toEqual([`Cluster response rejected: ${ERROR}`]);
    expect(await made.get('/7/')).toBe('503 cluster_not_found');
    for (const name of OTHERS) expect(await made.get(`/${name.slice(1)}/`)).toBe(String(B));
    plane.serve(shop(B, 50), '3');
    expect(await made.get('/7/')).toBe(String(B));
  });

  test('bad from the start: there is nothing to keep, calls to it fail, the 49 others are served', async () => {
    const made = await running({ protocol, resources: shop(A, 50, BAD) });
    await made.engine.ready(1);
    expect(await made.get('/7/')).toBe('503 cluster_not_found');
    for (const name of OTHERS) expect(await made.get(`/${name.slice(1)}/`)).toBe(String(A));
    expect(made.clock.pending).toBe(0);
  });
});
