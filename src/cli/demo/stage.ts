/** What every scene of the demo plays on: the processes, the load, the screen, and waiting that ends when the demo does. */
import type { Clock } from '../../core/clock.ts';
import { sleep } from '../../core/clock.ts';
import type { Crew } from './crew.ts';
import type { Count, Load, Window } from './load.ts';
import type { Screen } from './screen.ts';
import { percent } from './statistics.ts';

/** One row of the summary. */
export interface Result {
  readonly title: string;
  /** What was measured, in short. */
  readonly measured: string;
  readonly held: boolean;
}

export interface Scene {
  readonly title: string;
  /** What is about to be seen, one line. */
  readonly intro: string;
  play(stage: Stage): Promise<Omit<Result, 'title'>>;
}

const FRAME_MS = 100;

export class Stage {
  readonly clock: Clock;
  readonly crew: Crew;
  readonly load: Load;
  readonly screen: Screen;
  readonly #signal: AbortSignal;

  constructor(clock: Clock, crew: Crew, load: Load, screen: Screen, signal: AbortSignal) {
    this.clock = clock;
    this.crew = crew;
    this.load = load;
    this.screen = screen;
    this.#signal = signal;
  }

  /** Waits; throws when the demo is broken off. */
  async pause(ms: number): Promise<void> {
    await sleep(this.clock, ms, this.#signal);
    this.#signal.throwIfAborted();
  }

  /** Shows a line anew several times a second while `ms` pass. */
  async show(ms: number, text: () => string): Promise<void> {
    const until = this.clock.now() + ms;
    for (let left = ms; left > 0; left = until - this.clock.now()) {
      this.screen.live(text());
      await this.pause(Math.min(FRAME_MS, left));
    }
    this.screen.live(text());
  }

  /** Asks again every `stepMs` until it holds; false after `limitMs`. */
  async until(limitMs: number, stepMs: number, holds: () => Promise<boolean>): Promise<boolean> {
    const until = this.clock.now() + limitMs;
    while (!(await holds())) {
      if (this.clock.now() > until) return false;
      await this.pause(stepMs);
    }
    return true;
  }

  /** Lets requests run for a while, and counts them. */
  async count(ms: number, text: (window: Window) => string): Promise<Window> {
    const window = this.load.window();
    await this.show(ms, () => text(window));
    await this.turn(window);
    return window;
  }

  /** From here on calls count anew; resolves when all that started before have ended. */
  async turn(before: Window): Promise<Window> {
    const next = this.load.window();
    await before.settled();
    return next;
  }

  /** `v1 ######==== v2  90.1 % / 9.9 %`. */
  splitLine(window: Window): string {
    const share = window.share('v2');
    const { screen } = this;
    const errors = window.errors === 0 ? screen.paint('good', '0 errors') : screen.paint('bad', `${window.errors} errors`);
    return `   v1 ${screen.bar(share, 30)} v2 ${percent(share).padStart(7)}  ${String(window.count).padStart(4)} calls  ${errors}`;
  }

  callsLine(window: Count, what: string): string {
    const { screen } = this;
    const errors = window.errors === 0 ? screen.paint('good', '0 errors') : screen.paint('bad', `${window.errors} errors`);
    return `   ${String(window.count).padStart(5)} calls  ${errors}  ${what}`;
  }

  say(text: string): void {
    this.screen.line(`   ${text}`);
  }

  check(held: boolean, text: string): boolean {
    this.screen.line(`   ${this.screen.verdict(held)} ${text}`);
    return held;
  }
}
