/** `inmesh demo`: eight processes, load, six scenes, and a table of what was measured. Exit code 0 only if every check held. */
import { parseArgs } from 'node:util';
import { readEnvironment } from '../../core/environment.ts';
import { RealClock } from '../../core/real-clock.ts';
import type { Terminal } from '../command.ts';
import { Crew } from './crew.ts';
import { Load } from './load.ts';
import { canaryScene, splitScene } from './scene-split.ts';
import { failureScene } from './scene-failure.ts';
import { mtlsScene } from './scene-mtls.ts';
import { outageScene } from './scene-outage.ts';
import { traceScene } from './scene-trace.ts';
import { Screen, screenOptions } from './screen.ts';
import type { Result, Scene } from './stage.ts';
import { Stage } from './stage.ts';
import { percentile } from './statistics.ts';

const SCENES: readonly Scene[] = [splitScene, canaryScene, failureScene, mtlsScene, traceScene, outageScene];
const RATE = 200;
const INTERRUPTED = 130;

/** Resolves with the exit code. */
export async function runDemo(args: readonly string[], terminal: Terminal): Promise<number> {
  parseArgs({ args: [...args], options: {} });
  const screen = new Screen(screenOptions(process.stdout, readEnvironment(), (text) => terminal.out(text)));
  const clock = new RealClock();
  const startedAt = clock.now();
  const abort = new AbortController();
  void terminal.untilInterrupted().then(() => abort.abort());
  const crew = new Crew(clock);
  const results: Result[] = [];
  let load: Load | undefined;
  let problem: unknown;
  try {
    introduce(screen);
    const over = new Promise<never>((_resolve, reject) => {
      abort.signal.addEventListener('abort', () => reject(abort.signal.reason as Error), { once: true });
    });
    over.catch(() => undefined);
    const broken = Promise.race([crew.lost, over]);
    screen.live(screen.paint('dim', '   starting 8 processes'));
    await Promise.race([crew.start({ split: [90, 10], mtls: 'off' }), broken]);
    screen.line(
      screen.paint('dim', `   ${crew.members.length + 1} processes ready after ${((clock.now() - startedAt) / 1000).toFixed(1)} s`),
    );
    load = new Load(clock, crew.member('web').port, RATE);
    load.start();
    const stage = new Stage(clock, crew, load, screen, abort.signal);
    await Promise.race([playAll(stage, results), broken]);
    await load.stop();
  } catch (error) {
    problem = error;
    load?.abandon();
  }
  screen.clear();
  const { ended, killed, left } = await crew.close();
  if (abort.signal.aborted) {
    terminal.error('inmesh demo: interrupted; all processes ended\n');
    return INTERRUPTED;
  }
  const all = allCalls(load);
  results.push(all, {
    title: 'nothing left',
    measured: `${ended} processes ended, ${killed} killed; ${left.length} files left`,
    held: killed === 0 && left.length === 0,
  });
  const held = problem === undefined && results.length === SCENES.length + 2 && results.every((result) => result.held);
  summarize(screen, results, (clock.now() - startedAt) / 1000);
  if (!held) explain(terminal, problem, crew, load);
  return held ? 0 : 1;
}

function introduce(screen: Screen): void {
  const [to, and] = screen.unicode ? ['▶', '─'] : ['>', '-'];
  const arrow = (how: string): string => screen.paint('dim', ` ${and}${how}${and}${to} `);
  const [v1, v2] = [screen.paint('first', 'v1'), screen.paint('second', 'v2 v2 v2')];
  screen.line(screen.paint('bold', 'inmesh demo') + screen.paint('dim', ': a mesh inside ordinary Node processes, configured over xDS'));
  screen.line();
  screen.line(`   users${arrow('http')}web${arrow('fetch')}cart${arrow('gRPC')}stock${arrow('fetch')}prices ${v1} ${v2}`);
  screen.line(screen.paint('dim', `   ${RATE} requests/s; 7 services and a control plane, each a process of its own`));
}

async function playAll(stage: Stage, results: Result[]): Promise<void> {
  const { screen } = stage;
  // The first calls compile code and open connections: nobody's measurement.
  await stage.pause(500);
  for (const [index, scene] of SCENES.entries()) {
    screen.line();
    screen.line(screen.paint('bold', `${index + 1}  ${scene.title}`));
    screen.line(screen.paint('dim', `   ${scene.intro}`));
    results.push({ title: scene.title, ...(await scene.play(stage)) });
  }
}

function summarize(screen: Screen, results: readonly Result[], seconds: number): void {
  screen.line();
  screen.line(screen.paint('bold', '   summary'));
  const width = Math.max(...results.map(({ title }) => title.length));
  for (const { title, measured, held } of results) screen.line(`   ${screen.verdict(held)} ${title.padEnd(width)}  ${measured}`);
  screen.line();
  screen.line(screen.paint('dim', `   ${seconds.toFixed(1)} s`));
}

/** Whatever happened in between scenes counts too. */
function allCalls(load: Load | undefined): Result {
  const samples = load?.samples ?? [];
  const times = samples.map(({ ms }) => ms);
  const errors = samples.filter(({ error }) => error !== '').length;
  const speed = samples.length === 0 ? '' : `; p50 ${percentile(times, 0.5).toFixed(1)} ms, p99 ${percentile(times, 0.99).toFixed(1)} ms`;
  return {
    title: 'the whole run',
    measured: `${samples.length} calls, ${errors} errors${speed}`,
    held: errors === 0 && samples.length > 0,
  };
}

function explain(terminal: Terminal, problem: unknown, crew: Crew, load: Load | undefined): void {
  if (problem !== undefined) terminal.error(`inmesh demo: ${problem instanceof Error ? problem.message : String(problem)}\n`);
  if (load?.firstError !== undefined) terminal.error(`inmesh demo: the first error that a user saw: ${load.firstError}\n`);
  for (const text of crew.log.slice(-20)) terminal.error(`   ${text}\n`);
}
