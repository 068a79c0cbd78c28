/**
 * Outage: the control plane is killed. Traffic goes on by what was good; streams are tried again with gRPC's back-off (gRFC A57), which only a
 * served response starts anew; what comes back counts at once.
 */
import { describe, expect, test } from 'vitest';
import { REFUSED } from './control-plane.ts';
import { A, B, DIALECTS, backoff, outage, running, shop } from './rig.ts';
import type { Outage } from './rig.ts';

const EACH = DIALECTS.flatMap((protocol) => [1, 2, 42].map((seed) => ({ protocol, seed })));

/** Kills it now. The first stream after it is asked for at once, since the one that ended had served for long; a chance is drawn for that. */
async function kill(made: Outage): Promise<number> {
  const { plane, clock } = made;
  const before = plane.opened.length;
  plane.kill();
  await made.settle();
  expect(plane.opened.slice(before)).toEqual([clock.now()]);
  return clock.now();
}

/** A stream is asked for at `time` and not half a millisecond earlier. */
async function attemptAt(made: Outage, time: number): Promise<void> {
  const { plane } = made;
  const before = plane.opened.length;
  await made.until(time - 0.5);
  expect(plane.opened.length, 'before its time').toBe(before);
  await made.until(time + 0.5);
  expect(plane.opened.length, 'at its time').toBe(before + 1);
  expect(plane.opened.at(-1)).toBeCloseTo(time, 5);
}

describe.each(EACH)('$protocol, seed $seed', ({ protocol, seed }) => {
  test('the waits are 1 s x 1.6 to 120 s with 20 % of jitter; every call is answered meanwhile', async () => {
    const made = await running({ protocol, seed });
    let next = await kill(made);
    const waits = backoff(seed, 16, 1);
    for (const [index, wait] of waits.entries()) {
      const nominal = Math.min(120_000, 1000 * 1.6 ** index);
      expect(Math.abs(wait - nominal)).toBeLessThanOrEqual(nominal * 0.2);
      next += wait;
      await attemptAt(made, next);
      expect(await made.get()).toBe(String(A));
      // One timer is left: that of the next attempt.
      expect(made.clock.pending).toBe(1);
    }
    // The same seed is the same times; others are others, so that a thousand clients do not come back at once.
    expect(backoff(seed + 1, 16, 1)).not.toEqual(waits);
  });

  test('a stream that stands and ends without a response does not start it anew; one with a response does', async () => {
    const made = await running({ protocol, seed });
    const { plane } = made;
    let next = await kill(made);
    const waits = backoff(seed, 40, 1);
    for (const wait of waits.slice(0, 6)) await attemptAt(made, (next += wait));
    // It stands for 3 s, and says nothing.
    plane.refuse = undefined;
    plane.mode = 'silent';
    await attemptAt(made, (next += waits[6] ?? 0));
    await made.until((next += 3000));
    expect(made.client.describe().connected).toBe(true);
    plane.refuse = REFUSED;
    plane.current.end(REFUSED.code, 'gone again');
    // 1 s x 1.6^7 is 26.8 s.
    expect(waits[7]).toBeGreaterThan(21_000);
    await attemptAt(made, (next += waits[7] ?? 0));
    // Now it serves, and is killed after two minutes.
    plane.serve(shop(A), '1');
    await attemptAt(made, (next += waits[8] ?? 0));
    await made.until((next += 120_000));
    expect(await kill(made)).toBe(next);
    // The tenth draw went to the stream that was replaced at once.
    const anew = backoff(seed, 4, 11);
    expect(anew[0]).toBeLessThanOrEqual(1200);
    for (const wait of anew) await attemptAt(made, (next += wait));
  });

  test('back again: nothing happens before the next attempt, then all of it counts at once', async () => {
    const made = await running({ protocol, seed });
    const { plane, clock } = made;
    const killed = await kill(made);
    const waits = backoff(seed, 8, 1);
    const sum = (count: number): number => waits.slice(0, count).reduce((all, wait) => all + wait, 0);
    await made.until(killed + sum(7) + 1);
    const attempts = plane.opened.length;
    plane.serve(shop(B), '2');
    const back = killed + sum(8);
    expect(back - clock.now()).toBeGreaterThan(20_000);
    expect(await made.traffic(back - clock.now() - 1, 500)).toEqual([String(A)]);
    expect([plane.opened.length, made.client.describe().connected]).toEqual([attempts, false]);
    await made.until(back + 0.001);
    expect(await made.get()).toBe(String(B));
    expect(made.engine.clusters?.get('c0')?.connectTimeoutMs).toBe(2000);
    expect(made.client.describe()).toMatchObject({ connected: true, problem: undefined });
    // Nothing more is tried, and nothing waits.
    expect(await made.traffic(600_000, 10_000)).toEqual([String(B)]);
    expect([plane.opened.length, clock.pending]).toEqual([attempts + 1, 0]);
  });
});

describe.each(DIALECTS)('%s', (protocol) => {
  test('the first requests after it name what was there, with its versions (Envoy X-10, X-15, X-32)', async () => {
    const made = await running({ protocol });
    await kill(made);
    made.plane.serve(shop(A), '1');
    await made.clock.advance(1200);
    const stream = made.plane.current;
    if (protocol === 'sotw') {
      const first = stream.take().slice(0, 4);
      expect(first).toEqual([
        { type: 'listener', version: '1', names: ['shop'], node: 'app' },
        { type: 'routes', version: '1', names: ['shop'] },
        { type: 'cluster', version: '1', names: ['c0', 'c1'] },
        { type: 'endpoints', version: '1', names: ['c0', 'c1'] },
      ]);
    } else {
      const version: unknown = expect.stringMatching(/^[0-9a-f]{16}$/);
      expect(stream.takeDelta()).toEqual([
        { type: 'listener', sub: ['shop'], initial: { shop: version }, node: 'app' },
        { type: 'routes', sub: ['shop'], initial: { shop: version } },
        { type: 'cluster', sub: ['c0', 'c1'], initial: { c0: version, c1: version } },
        { type: 'endpoints', sub: ['c0', 'c1'], initial: { c0: version, c1: version } },
      ]);
    }
  });

  test('it is told once in words, and so is its end; what is configured keeps its status', async () => {
    const made = await running({ protocol });
    const { log, plane, client } = made;
    const before = client.describe().resources;
    log.lines.length = 0;
    plane.kill();
    expect(await made.traffic(3_600_000, 60_000)).toEqual([String(A)]);
    expect(client.describe()).toMatchObject({ connected: false, problem: 'cp:1: UNAVAILABLE: connect ECONNREFUSED' });
    expect(client.describe().resources).toEqual(before);
    plane.serve(shop(A), '1');
    await made.clock.advance(144_000);
    expect(log.lines).toEqual([
      'info the control plane ended the stream {"server":"cp:1","status":"UNAVAILABLE","details":"killed"}',
      'warn the control plane is not reachable; what is configured stays in use {"problem":"cp:1: UNAVAILABLE: connect ECONNREFUSED"}',
      'info the control plane is reachable again {"server":"cp:1"}',
    ]);
  });

  test('negative control: a mesh that had nothing before has nothing to serve from', async () => {
    const made = outage({ protocol });
    const call = made.begin();
    await made.clock.advance(19_999);
    expect(call.answer).toBeUndefined();
    await made.clock.advance(1);
    expect(call.answer).toBe('503 configuration_timeout');
  });
});
