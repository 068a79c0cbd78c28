/** The mesh is closed in the middle of an outage: at once, with no timer, stream or call left, and nothing happens afterwards. */
import { describe, expect, test } from 'vitest';
import { listener } from '../../../support/mesh-raw.ts';
import { A, B, DIALECTS, Outage, shop } from './rig.ts';

const STAGES: readonly (readonly [stage: string, enter: (made: Outage) => void, timers: number])[] = [
  ['nothing is wrong', () => undefined, 0],
  ['between two attempts', ({ plane }) => plane.kill(), 1],
  ['hung', ({ plane }) => plane.hang(), 0],
  [
    'names are awaited on a stream that stands',
    (made) => {
      made.plane.mode = 'silent';
      made.begin('/', 'a.new');
    },
    // The call's and the name's.
    2,
  ],
  [
    'names are awaited between two attempts',
    (made) => {
      made.plane.kill();
      made.begin('/', 'a.new');
    },
    2,
  ],
  [
    'an update is half there',
    ({ plane }) => {
      plane.current.hold('routes');
      plane.serve([...shop(B), listener('a.new', 'other')], '2');
    },
    0,
  ],
];

describe.each(DIALECTS)('%s', (protocol) => {
  test.each(STAGES)('%s', async (_stage, enter, timers) => {
    const made = new Outage({ protocol, include: ['shop', '*.new'], resources: shop(A) });
    await made.clock.advance(60_000);
    enter(made);
    await made.clock.advance(100);
    expect(made.clock.pending).toBe(timers);
    await made.close();
    const attempts = made.plane.opened.length;
    made.plane.serve(shop(B), '3');
    await made.clock.advance(3_600_000);
    expect([made.plane.opened.length, made.clock.pending]).toEqual([attempts, 0]);
    expect(await made.get()).toBe('503 mesh_closed');
  });
});
