/** Scene 3: one of three endpoints answers 503 to everything. Users see nothing of it; the endpoint is ejected, and comes back. */
import type { Count } from './load.ts';
import { total } from './load.ts';
import type { Report } from './messages.ts';
import { EJECTION_MS } from './mesh-file.ts';
import type { Scene } from './stage.ts';

/** How long it is watched while it is out; well below the ejection. */
const LOOK_MS = 1000;

export const failureScene: Scene = {
  title: 'failing endpoint',
  intro: 'prices-v2b, one of three endpoints of v2, now answers 503 to everything.',
  async play(stage) {
    const { crew, load, screen, clock } = stage;
    const sick = crew.member('prices-v2b');
    const stock = crew.member('stock');
    const address = `127.0.0.1:${sick.port}`;
    const ejected = ({ clusters }: Report): boolean => clusters.some((cluster) => cluster.ejected.includes(address));
    const reportOf = async (member: typeof sick): Promise<Report> => member.process.ask('report', null);

    const before = await reportOf(sick);
    const retriesBefore = (await reportOf(stock)).retries;
    const window = load.window();
    const failingAt = clock.now();
    await sick.process.ask('fail', true);
    const out = await stage.until(3000, 10, async () => ejected(await reportOf(stock)));
    const ejectedMs = clock.now() - failingAt;
    // Calls that started before may have been on their way to it; from here on it must not see a single request.
    const later = await stage.turn(window);
    const all = (): Count => total(window, later);
    const settled = await reportOf(sick);
    await stage.show(LOOK_MS, () => stage.callsLine(all(), 'prices-v2b is ejected'));
    const quiet = await reportOf(sick);
    await sick.process.ask('fail', false);
    const back = await stage.until(EJECTION_MS + 2000, 50, async () => {
      screen.live(stage.callsLine(all(), 'prices-v2b works again and waits for its return'));
      return (await reportOf(sick)).requests > quiet.requests;
    });
    const backMs = clock.now() - failingAt;
    await stage.turn(later);

    const failed = quiet.failed - before.failed;
    const retried = (await reportOf(stock)).retries - retriesBefore;
    const strays = quiet.requests - settled.requests;
    const { errors } = all();
    screen.line(stage.callsLine(all(), `${failed} answers 503 by prices-v2b, ${retried} retries by stock`));
    const checks = [
      stage.check(
        errors === 0 && failed > 0 && retried >= failed,
        `users saw ${errors} errors; each of the ${failed} failed attempts was retried`,
      ),
      stage.check(out && strays === 0, `ejected ${ejectedMs.toFixed(0)} ms after it began to fail; then ${strays} requests reached it`),
      stage.check(back, `back in rotation ${(backMs / 1000).toFixed(1)} s after it began to fail`),
    ];
    return {
      measured: `${failed} failed attempts, ${errors} errors seen; ${out ? `ejected in ${ejectedMs.toFixed(0)} ms` : 'not ejected'}`,
      held: checks.every(Boolean),
    };
  },
};
