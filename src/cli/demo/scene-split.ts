/** Scenes 1 and 2: a weighted split, measured; then shifted while requests run. */
import type { Scene } from './stage.ts';
import { binomialBound, percent, within } from './statistics.ts';

const RUN_MS = 3000;

export const splitScene: Scene = {
  title: '90/10 split',
  intro: 'mesh.yaml sends 90 of 100 requests for prices to v1, 10 to v2.',
  async play(stage) {
    const window = await stage.count(RUN_MS, (running) => stage.splitLine(running));
    stage.screen.line(stage.splitLine(window));
    const share = window.share('v2');
    const bound = binomialBound(window.count, 0.1);
    const answered = window.of('v1') + window.of('v2') === window.count && window.errors === 0;
    const held = answered && window.count > 100 && within(share, bound);
    const range = `${percent(bound.low)} to ${percent(bound.high)}`;
    stage.check(held, `${percent(share)} of ${window.count} calls went to v2; chance allows ${range}`);
    return { measured: `${percent(share)} of ${window.count} calls to v2`, held };
  },
};

/** Longest time from the update to the last request that still went the old way. */
const SWAP_LIMIT_MS = 1000;

export const canaryScene: Scene = {
  title: 'live canary shift',
  intro: 'The split is edited twice while requests run: to 50/50, then all to v2.',
  async play(stage) {
    const { crew, screen } = stage;
    const first = stage.load.window();
    await crew.update({ split: [50, 50], mtls: 'off' });
    // What is in flight now may have been routed before.
    await stage.pause(200);
    const half = await stage.count(2000, (running) => stage.splitLine(running));
    screen.line(stage.splitLine(half));
    const bound = binomialBound(half.count, 0.5);
    const evenly = half.count > 100 && within(half.share('v2'), bound);
    stage.check(
      evenly,
      `${percent(half.share('v2'))} of ${half.count} calls went to v2; chance allows ${percent(bound.low)} to ${percent(bound.high)}`,
    );

    const shift = stage.load.window();
    const at = await crew.update({ split: [0, 100], mtls: 'off' });
    await stage.show(1500, () => stage.splitLine(shift));
    await stage.turn(shift);
    const late = shift.samples.filter(({ version, startedAt }) => version !== 'v2' && startedAt > at);
    const swapMs = Math.max(0, ...late.map(({ startedAt }) => startedAt - at));
    // Whatever started later than the last stray went to v2: an error counts as a stray, too.
    const after = shift.samples.filter(({ startedAt }) => startedAt > at + swapMs);
    const shifted = swapMs < SWAP_LIMIT_MS && after.length > 100;
    screen.line(stage.splitLine(shift));
    stage.check(shifted, `from ${swapMs.toFixed(0)} ms after the edit on, all calls went to v2: ${after.length} of them`);
    const errors = first.errors + half.errors + shift.errors;
    stage.check(errors === 0, `${errors} errors meanwhile`);
    return {
      measured: `${percent(half.share('v2'))}, then all to v2 within ${swapMs.toFixed(0)} ms; ${errors} errors`,
      held: evenly && shifted && errors === 0,
    };
  },
};
