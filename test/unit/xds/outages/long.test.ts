/**
 * Long outages, in hours of simulated time: what is tried stays rare, and what waits stays little, however long it lasts and however much is
 * called meanwhile.
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { listener } from '../../../support/mesh-raw.ts';
import { A, B, DIALECTS, backoff, outage, running, shop } from './rig.ts';

const HOUR = 3_600_000;
/** At the cap a wait has 96 to 144 s (gRFC A57); the growth to it takes less than a dozen more. */
const most = (ms: number): number => ms / 96_000 + 12;
const least = (ms: number): number => ms / 144_000;

/** A garbage collection, whatever flags Node was started with. */
function collect(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

describe.each(DIALECTS)('%s', (protocol) => {
  test('three days: attempts by the back-off, one timer, no stream that ended is held, and nothing is told twice', async () => {
    const made = await running({ protocol });
    const { plane, clock, log } = made;
    const held: WeakRef<object>[] = [];
    plane.onOpen = (events) => void held.push(new WeakRef(events));
    plane.kill();
    log.lines.length = 0;
    const before = plane.opened.length;
    for (let hour = 0; hour < 72; hour++) {
      expect(await made.traffic(HOUR, HOUR / 6)).toEqual([String(A)]);
      expect(clock.pending, `timers after ${hour + 1} h`).toBe(1);
    }
    const attempts = plane.opened.length - before;
    expect(attempts).toBeGreaterThan(least(72 * HOUR));
    expect(attempts).toBeLessThan(most(72 * HOUR));
    // A turn of the event loop, since what a WeakRef has just been asked for lives until then.
    await made.settle();
    collect();
    expect(held.length).toBe(attempts);
    expect(held.filter((one) => one.deref() !== undefined).length).toBeLessThanOrEqual(2);
    expect(log.lines.length).toBeLessThanOrEqual(1);
    plane.serve(shop(B), '2');
    expect(await made.traffic(144_000, 1000)).toEqual([String(A), String(B)]);
  });

  test('a day that began without a configuration: no more calls wait than came within startTimeout', async () => {
    const made = outage({ protocol });
    const { clock, engine } = made;
    const begin = clock.now();
    const counts = new Map<string, number>();
    let waiting = 0;
    for (let minute = 0; minute < 24 * 60; minute++) {
      const calls = Array.from({ length: 5 }, () => made.begin());
      await clock.advance(19_999);
      expect(calls.map(({ answer }) => answer)).toEqual(Array.from({ length: 5 }, () => undefined));
      waiting = Math.max(waiting, clock.pending);
      await clock.advance(1);
      for (const { answer = '' } of calls) counts.set(answer, (counts.get(answer) ?? 0) + 1);
      expect([clock.pending, engine.active]).toEqual([1, 0]);
      await made.until(begin + (minute + 1) * 60_000);
    }
    expect(counts).toEqual(new Map([['503 configuration_timeout', 24 * 60 * 5]]));
    // One timer for each call, and that of the next attempt.
    expect(waiting).toBe(6);
    expect(made.plane.opened.length).toBeLessThan(most(24 * HOUR));
    made.plane.serve(shop(A), '1');
    await clock.advance(144_000);
    expect(await made.get()).toBe(String(A));
  });

  test('a control plane that comes and goes every ten minutes for a day: nothing piles up', async () => {
    const made = await running({ protocol });
    const { plane, clock } = made;
    const before = plane.opened.length;
    for (let round = 0; round < 72; round++) {
      plane.kill();
      expect(await made.traffic(600_000, 200_000)).toEqual([String(A)]);
      plane.serve(shop(A), String(round));
      expect(await made.traffic(600_000, 200_000)).toEqual([String(A)]);
      expect([clock.pending, plane.streams.filter(({ ended }) => !ended).length]).toEqual([0, 1]);
    }
    // Each time anew from 1 s: in ten minutes 12 to 17 attempts, and the one that succeeds.
    expect(plane.opened.length - before).toBeLessThan(72 * 18);
    expect(plane.opened.length - before).toBeGreaterThan(72 * 11);
  });

  test('whatever hosts are called in an outage: no more are asked for than calls wait for, or a thousand; each is there when it is over', async () => {
    const made = await running({ protocol, include: ['shop', '*.new'] });
    const { plane, clock, engine, client } = made;
    const asked = (): number => client.describe().resources.filter(({ status }) => status === 'REQUESTED').length;
    const call = (count: number, from: number) => Array.from({ length: count }, (_, n) => made.begin('/', `h${from + n}.new`));
    const killed = clock.now();
    plane.kill();
    for (let round = 0; round < 6; round++) {
      const calls = call(300, 300 * round);
      await clock.advance(20_000);
      expect(calls.every(({ answer }) => answer === '503 configuration_timeout')).toBe(true);
      expect([engine.active, clock.pending]).toEqual([0, 1]);
      await clock.advance(1);
      expect(asked()).toBeLessThanOrEqual(1000);
    }
    let next = killed;
    for (const wait of backoff(1, 60, 1)) if (next < clock.now() + 30_000) next += wait;
    // Few, and then many at once: all of them are waited for, beyond the thousand.
    await made.until(next - 19_000);
    plane.serve([...shop(B), ...Array.from({ length: 1010 }, (_, n) => listener(`h${n}.new`, 'shop'))], '2');
    const few = call(10, 1000);
    await made.until(next - 1000);
    const many = call(1000, 0);
    expect(asked()).toBe(1010);
    await made.until(next + 1);
    expect(new Set([...few, ...many].map(({ answer }) => answer))).toEqual(new Set([String(B)]));
    // What was forgotten, and does not exist.
    const lost = made.begin('/', 'h1500.new');
    await clock.advance(15_000);
    expect([await made.get('/', 'h0.new'), lost.answer]).toEqual([String(B), '404 route_not_found']);
  });
});
