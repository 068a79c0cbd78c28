/**
 * The users of the demo: an open loop of plain HTTP requests to `web`, outside of the mesh, at a fixed rate. What counts as an error is what
 * a user would see: any status but 200, a broken connection, or no answer in time.
 */
import { Agent, request } from 'node:http';
import type { Alarm, Clock, Timer } from '../../core/clock.ts';

const TICK_MS = 5;
/** Requests of one tick at most, after the process was held up. */
const BURST = 20;
const GIVE_UP_MS = 5000;

export interface Sample {
  /** `clock.now()` at the start. */
  readonly startedAt: number;
  readonly ms: number;
  /** Empty: it went well. */
  readonly error: string;
  /** Version of `prices` that answered. */
  readonly version: string;
}

export interface Count {
  readonly count: number;
  readonly errors: number;
}

export function total(...windows: readonly Window[]): Count {
  return { count: windows.reduce((sum, { count }) => sum + count, 0), errors: windows.reduce((sum, { errors }) => sum + errors, 0) };
}

/** The requests that started while it was open. */
export class Window implements Count {
  readonly samples: Sample[] = [];
  #running = 0;
  #wake: (() => void) | undefined;

  started(): void {
    this.#running++;
  }

  ended(sample: Sample): void {
    this.samples.push(sample);
    if (--this.#running === 0) this.#wake?.();
  }

  /** When the last of its requests has ended; call it once no more of them start. */
  async settled(): Promise<void> {
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  get count(): number {
    return this.samples.length;
  }

  get errors(): number {
    return this.samples.filter(({ error }) => error !== '').length;
  }

  /** Answers of one version. */
  of(version: string): number {
    return this.samples.filter((sample) => sample.version === version).length;
  }

  /** Share of a version among the answers, 0 to 1. */
  share(version: string): number {
    return this.count === 0 ? 0 : this.of(version) / this.count;
  }
}

export class Load implements Alarm {
  readonly #clock: Clock;
  readonly #port: number;
  readonly #rate: number;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 });
  readonly #windows: Window[] = [];
  #window = new Window();
  #timer: Timer | undefined;
  #startedAt = 0;
  #due = 0;

  /** `rate` in requests per second. */
  constructor(clock: Clock, port: number, rate: number) {
    this.#clock = clock;
    this.#port = port;
    this.#rate = rate;
    this.#windows.push(this.#window);
  }

  start(): void {
    this.#startedAt = this.#clock.now();
    this.#timer = this.#clock.set(this, TICK_MS);
  }

  /** Counts from here on; the window before takes no more. */
  window(): Window {
    this.#window = new Window();
    this.#windows.push(this.#window);
    return this.#window;
  }

  /** All samples of the whole run. */
  get samples(): readonly Sample[] {
    return this.#windows.flatMap(({ samples }) => samples);
  }

  /** The first error that users saw, if any. */
  get firstError(): string | undefined {
    return this.samples.find(({ error }) => error !== '')?.error;
  }

  onAlarm(): void {
    this.#timer = this.#clock.set(this, TICK_MS);
    const wanted = Math.floor(((this.#clock.now() - this.#startedAt) * this.#rate) / 1000);
    const now = Math.min(wanted - this.#due, BURST);
    this.#due = wanted;
    for (let i = 0; i < now; i++) void this.send({});
  }

  /** One request; resolves with how it went. */
  send(headers: Readonly<Record<string, string>>): Promise<Sample> {
    const window = this.#window;
    window.started();
    const startedAt = this.#clock.now();
    return new Promise((resolve) => {
      const end = (error: string, version: string): void => {
        if (ended) return;
        ended = true;
        const sample = { startedAt, ms: this.#clock.now() - startedAt, error, version };
        window.ended(sample);
        resolve(sample);
      };
      let ended = false;
      const exchange = request(
        { host: '127.0.0.1', port: this.#port, path: '/', agent: this.#agent, headers, timeout: GIVE_UP_MS },
        (response) => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (part: string) => (text += part));
          response.on('error', (error) => end(error.message, ''));
          response.on('end', () => {
            if (response.statusCode === 200) end('', versionIn(text));
            else end(`status ${response.statusCode}: ${text.slice(0, 300)}`, '');
          });
        },
      );
      exchange.on('timeout', () => exchange.destroy(new Error(`no answer within ${GIVE_UP_MS} ms`)));
      exchange.on('error', (error) => end(error.message, ''));
      exchange.end();
    });
  }

  /** Sends no more and waits for what is under way. */
  async stop(): Promise<void> {
    if (this.#timer !== undefined) this.#clock.clear(this.#timer);
    this.#timer = undefined;
    await Promise.all(this.#windows.map((window) => window.settled()));
    this.#agent.destroy();
  }

  /** Without waiting: for a demo that was broken off. */
  abandon(): void {
    if (this.#timer !== undefined) this.#clock.clear(this.#timer);
    this.#timer = undefined;
    this.#agent.destroy();
  }
}

function versionIn(text: string): string {
  try {
    return String((JSON.parse(text) as { readonly version?: unknown }).version ?? '');
  } catch {
    return '';
  }
}
