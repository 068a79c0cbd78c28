/**
 * Scene 4: mutual TLS is switched on while requests run. Servers first take both, then callers use TLS, then plaintext is refused; each step
 * is seen to have arrived before the next, which is what an operator would do.
 */
import type { Member } from './crew.ts';
import { total } from './load.ts';
import { CALLERS, spiffeId } from './mesh-file.ts';
import type { Report } from './messages.ts';
import type { Door } from './probe.ts';
import { probePlaintext, probeWithoutCertificate, speaksTls } from './probe.ts';
import type { Scene } from './stage.ts';

function doorOf({ role, port }: Member): Door {
  return { port, protocol: role === 'stock' ? 'grpc' : 'http' };
}

/** Calls since `before` that came from the one identity that may call, and all others. */
function callers(role: Member['role'], before: Report, now: Report): { readonly rightful: number; readonly others: number } {
  const expected = role === 'web' ? '' : spiffeId(CALLERS[role]);
  const rightful = (now.verified[expected] ?? 0) - (before.verified[expected] ?? 0);
  return { rightful, others: now.requests - before.requests - rightful };
}

export const mtlsScene: Scene = {
  title: 'mTLS switched on live',
  intro: 'Every hop behind web goes from plaintext to mutual TLS, under load.',
  async play(stage) {
    const { crew, load, screen } = stage;
    const doors = crew.protectedMembers.map(doorOf);
    const split = [0, 100] as const;
    const all = async (probe: (door: Door) => Promise<boolean>): Promise<boolean> => (await Promise.all(doors.map(probe))).every(Boolean);
    const openBefore = (await Promise.all(doors.map(probePlaintext))).filter((result) => result === 'answered').length;
    stage.check(openBefore === doors.length, `before: a stranger in plaintext is answered by ${openBefore} of ${doors.length} servers`);

    const plain = load.window();
    await crew.update({ split, mtls: 'accept' });
    screen.live(stage.callsLine(plain, 'servers take both'));
    const accepting = await stage.until(3000, 50, () => all(speaksTls));
    await crew.update({ split, mtls: 'use' });
    screen.live(stage.callsLine(plain, 'callers change over'));
    const using = await stage.until(3000, 50, async () =>
      [...(await crew.reports()).values()].every(({ clusters }) => clusters.every(({ tls }) => tls)),
    );
    // Plaintext connections end with the calls that they carry.
    const secure = await stage.turn(plain);
    await crew.update({ split, mtls: 'strict' });
    const closed = await stage.until(3000, 50, () => all(async (door) => (await probePlaintext(door)) === 'refused'));
    const before = await crew.reports(crew.protectedMembers);
    await stage.show(1500, () => stage.callsLine(total(plain, secure), 'mutual TLS on every hop'));
    const now = await crew.reports(crew.protectedMembers);
    const strangers = (await Promise.all(doors.map(probeWithoutCertificate))).filter((result) => result === 'refused').length;
    const refused = (await Promise.all(doors.map(probePlaintext))).filter((result) => result === 'refused').length;
    await stage.turn(secure);
    const window = total(plain, secure);

    let rightful = 0;
    let others = 0;
    for (const { name, role } of crew.protectedMembers) {
      const [was, is] = [before.get(name), now.get(name)];
      if (was === undefined || is === undefined) continue;
      const found = callers(role, was, is);
      rightful += found.rightful;
      others += found.others;
    }
    screen.line(stage.callsLine(window, 'through the whole change'));
    const checks = [
      stage.check(accepting && using && window.errors === 0, `users saw ${window.errors} errors in ${window.count} calls`),
      stage.check(closed && refused === doors.length, `after: plaintext is refused by ${refused} of ${doors.length} servers`),
      stage.check(strangers === doors.length, `TLS without a certificate is refused by ${strangers} of ${doors.length}`),
      stage.check(rightful > 0 && others === 0, `${rightful} calls proved a SPIFFE id such as ${spiffeId('web')}, ${others} did not`),
    ];
    return {
      measured: `${window.errors} errors in ${window.count} calls; plaintext refused by ${refused}/${doors.length}`,
      held: openBefore === doors.length && checks.every(Boolean),
    };
  },
};
