/**
 * Outage: the control plane hangs and does not say so. HTTP/2 pings find a connection that is dead (played here as grpc-js does it); what stands
 * and is silent costs those who wait for something new 15 s (gRFC A57), and nobody else anything.
 */
import { describe, expect, test } from 'vitest';
import { cluster, endpoints, listener, routeResource, to } from '../../../support/mesh-raw.ts';
import type { Json } from './control-plane.ts';
import { A, B, DIALECTS, running, shop } from './rig.ts';

const DAY = 24 * 3_600_000;
/** The defaults of `adapters/grpc/ads-stream.ts`. */
const PINGS = { intervalMs: 300_000, timeoutMs: 20_000 };

describe.each(DIALECTS)('%s', (protocol) => {
  describe('a connection that is dead', () => {
    test('is found by its pings: replaced at once, and what changed meanwhile counts', async () => {
      const made = await running({ protocol, keepAlive: PINGS });
      const { plane, clock, client } = made;
      await made.until(plane.opened[0] ?? 0);
      plane.hang();
      const read = clock.now() - 300_000;
      plane.serve(shop(B), '2');
      await made.until(read + 319_999);
      expect([await made.get(), plane.opened.length, client.describe().connected]).toEqual([String(A), 1, true]);
      await made.until(read + 320_000);
      expect([await made.get(), plane.opened.length]).toEqual([String(B), 2]);
      expect(plane.opened[1]).toBe(read + 320_000);
      expect(made.log.lines.at(-1)).toContain('Connection dropped');
      // The new one answers its pings.
      expect(await made.traffic(DAY, 3_600_000)).toEqual([String(B)]);
      expect(plane.opened.length).toBe(2);
    });

    test('negative control: without pings nobody finds out, and nobody is the worse for it but the change', async () => {
      const made = await running({ protocol });
      const { plane, clock, client } = made;
      plane.hang();
      plane.serve(shop(B), '2');
      expect(await made.traffic(DAY, 3_600_000)).toEqual([String(A)]);
      expect([plane.opened.length, client.describe().connected, clock.pending]).toEqual([1, true, 0]);
    });
  });

  describe('silence in the middle of an update', () => {
    /** Of `shop(A)`, with path `/0/` led to a cluster that is new. */
    const moved: readonly Json[] = [
      ...shop(A).filter((resource) => !String(resource['@type']).endsWith('.RouteConfiguration')),
      routeResource('shop', [to('new', { prefix: '/0/' }), to('c1')]),
      cluster('new'),
      endpoints('new', B),
    ];
    const both = async (made: Awaited<ReturnType<typeof running>>): Promise<readonly string[]> => [
      await made.get('/0/'),
      await made.get('/'),
    ];

    test.each([
      { features: [], waits: 15_000 },
      { features: ['resource_timer_is_transient_error'], waits: 30_000 },
    ])('$features: the old routes serve for $waits ms, then the new ones without what never came, and then with it', async (one) => {
      const made = await running({ protocol, features: one.features });
      const { plane, clock } = made;
      const begin = clock.now();
      plane.current.hold('cluster');
      plane.serve(moved, '2');
      expect(await both(made)).toEqual([String(A), String(A)]);
      expect(made.status('Cluster', 'REQUESTED')).toEqual(['new']);
      await made.until(begin + one.waits - 1);
      expect(await both(made)).toEqual([String(A), String(A)]);
      await made.until(begin + one.waits);
      expect(await both(made)).toEqual(['503 cluster_not_found', String(A)]);
      expect(made.status('Cluster', one.features.length === 0 ? 'DOES_NOT_EXIST' : 'TIMEOUT')).toEqual(['new']);
      expect(clock.pending).toBe(0);
      await made.clock.advance(3_600_000);
      plane.current.release('cluster');
      await made.settle();
      expect(await both(made)).toEqual([String(B), String(A)]);
    });

    test('negative control: what comes within the time has its route at once, and no timer stays', async () => {
      const made = await running({ protocol });
      const { plane, clock } = made;
      plane.current.hold('cluster');
      plane.serve(moved, '2');
      await clock.advance(14_999);
      plane.current.release('cluster');
      await made.settle();
      expect(await both(made)).toEqual([String(B), String(A)]);
      expect(clock.pending).toBe(0);
    });

    test('a stream that breaks meanwhile stops the time; on the next one it begins anew', async () => {
      const made = await running({ protocol });
      const { plane, clock } = made;
      plane.current.hold('cluster');
      plane.serve(moved, '2');
      await clock.advance(14_000);
      plane.kill();
      expect(await made.traffic(DAY, 3_600_000)).toEqual([String(A)]);
      expect(await made.get('/0/')).toBe(String(A));
      plane.serve(moved, '2');
      plane.mode = 'silent';
      const attempts = plane.opened.length;
      while (plane.opened.length === attempts) await clock.advance(100);
      const again = plane.opened.at(-1) ?? 0;
      await made.until(again + 14_999);
      expect(await both(made)).toEqual([String(A), String(A)]);
      await made.until(again + 15_000);
      expect(await both(made)).toEqual(['503 cluster_not_found', String(A)]);
    });
  });

  test('a control plane that comes back mute: what is configured stays for ever, a host that is new is given up after 15 s', async () => {
    const made = await running({ protocol, include: ['shop', '*.new'] });
    const { plane, clock, client } = made;
    plane.kill();
    await clock.advance(60_000);
    plane.refuse = undefined;
    plane.mode = 'silent';
    expect(await made.traffic(DAY, 3_600_000)).toEqual([String(A)]);
    expect([client.describe().connected, clock.pending]).toEqual([true, 0]);
    const call = made.begin('/', 'a.new');
    await clock.advance(14_999);
    expect(call.answer).toBeUndefined();
    await clock.advance(1);
    expect(call).toMatchObject({
      answer: '404 route_not_found',
      message: expect.stringContaining('cp:1 sent no listener of this name within 15 s'),
    });
    // It speaks again: what was given up is there after all (Envoy X-19).
    plane.serve([...shop(B), listener('a.new', 'shop')], '2');
    await made.settle();
    expect([await made.get('/', 'a.new'), await made.get()]).toEqual([String(B), String(B)]);
  });
});
