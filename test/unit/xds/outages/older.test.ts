/** Outage: after a restart the control plane serves an older version. Versions are opaque (Envoy ): what it serves now counts. */
import { describe, expect, test } from 'vitest';
import { A, B, DIALECTS, running, shop } from './rig.ts';
import type { DialectName, Outage } from './rig.ts';

/** B as version 2 came after A as version 1; then it is killed for 10 minutes. */
async function killedAfterUpdate(protocol: DialectName, clusters: readonly [before: number, after: number]): Promise<Outage> {
  const made = await running({ protocol, resources: shop(A, clusters[0]) });
  made.plane.serve(shop(B, clusters[1]), '2');
  expect(await made.get()).toBe(String(B));
  made.plane.kill();
  expect(await made.traffic(600_000, 10_000)).toEqual([String(B)]);
  return made;
}

describe.each(DIALECTS)('%s', (protocol) => {
  test('it counts from the response on, and is accepted under its own version', async () => {
    const made = await killedAfterUpdate(protocol, [2, 2]);
    const { plane, clock, client, engine } = made;
    plane.serve(shop(A), '1');
    const attempts = plane.opened.length;
    while (plane.opened.length === attempts) {
      expect(await made.get()).toBe(String(B));
      await clock.advance(100);
    }
    expect(await made.get()).toBe(String(A));
    expect(engine.clusters?.get('c0')?.connectTimeoutMs).toBe(1000);
    expect(plane.nacks).toEqual([]);
    expect(client.describe().resources.map(({ status }) => status)).toEqual(Array.from({ length: 6 }, () => 'ACKED'));
    if (protocol === 'sotw') {
      const requests = plane.current.take();
      // What was accepted last is asked with, and what was accepted now is confirmed with.
      for (const type of ['cluster', 'endpoints'])
        expect([...new Set(requests.filter((request) => request.type === type).map(({ version }) => version))], type).toEqual(['2', '1']);
    }
  });

  test('what the older one does not have is given up, and no call fails on the way', async () => {
    const made = await killedAfterUpdate(protocol, [2, 3]);
    const { plane, engine } = made;
    expect(await made.get('/2/')).toBe(String(B));
    plane.serve(shop(A, 2), '1');
    expect(await made.traffic(150_000, 250)).toEqual([String(B), String(A)]);
    expect([engine.clusters?.get('c1')?.name, engine.clusters?.get('c2')]).toEqual(['c1', undefined]);
    // Its path is served as all others are.
    expect(await made.get('/2/')).toBe(String(A));
    // Nobody asks for the third any more, and nothing is remembered of it.
    expect(made.client.describe().resources.filter(({ name }) => name === 'c2')).toEqual([]);
    expect(made.clock.pending).toBe(0);
  });

  test('negative control: the same version again changes nothing, and nothing is decoded into new values', async () => {
    const made = await killedAfterUpdate(protocol, [2, 2]);
    const { plane, client } = made;
    const value = () => client.get('cluster', 'c0');
    const [before, plan] = [value(), [...(made.engine.roots?.values() ?? [])][0]?.plan];
    plane.serve(shop(B), '2');
    await made.clock.advance(144_000);
    expect(client.describe().connected).toBe(true);
    expect(value()).toEqual(before);
    expect([...(made.engine.roots?.values() ?? [])][0]?.plan).toBe(plan);
  });
});
