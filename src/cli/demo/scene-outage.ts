/** Scene 6: the control plane's process is killed. Whoever has a configuration goes on with it. */
import type { Scene } from './stage.ts';

export const outageScene: Scene = {
  title: 'control plane killed',
  intro: 'SIGKILL for the control plane. The services go on with what they know.',
  async play(stage) {
    const { crew, load, screen } = stage;
    const window = load.window();
    const attached = [...(await crew.reports()).values()].filter(({ connected }) => connected).length;
    crew.controlPlane.kill();
    const { signal } = await crew.controlPlane.exited;
    await stage.show(2500, () => stage.callsLine(window, 'without a control plane'));
    const cut = [...(await crew.reports()).values()].filter(({ connected }) => !connected).length;
    await stage.turn(window);
    screen.line(stage.callsLine(window, 'without a control plane'));
    const dead = signal === 'SIGKILL' && attached === crew.members.length && cut === crew.members.length;
    const checks = [
      stage.check(dead, `ended by ${String(signal)}; ${cut} of ${crew.members.length} services lost their stream and know it`),
      stage.check(window.errors === 0 && window.count > 100, `users saw ${window.errors} errors in ${window.count} calls`),
    ];
    return { measured: `${String(signal)}; ${window.count} calls, ${window.errors} errors`, held: checks.every(Boolean) };
  },
};
