/**
 * Text on a terminal of 80 columns: colours, and one last line that is rewritten as numbers change. Where it is no terminal, plain lines
 * without escape codes, and of live lines nothing.
 */
import type { Environment } from '../../core/environment.ts';

export type Ink = 'plain' | 'bold' | 'dim' | 'good' | 'bad' | 'first' | 'second';

const CODES: Readonly<Record<Ink, string>> = { plain: '', bold: '1', dim: '2', good: '32', bad: '31', first: '36', second: '35' };

export interface ScreenOptions {
  readonly write: (text: string) => void;
  /** A terminal that can move its cursor. */
  readonly live: boolean;
  readonly colour: boolean;
  /** Signs beyond ASCII. */
  readonly unicode: boolean;
}

/** What every line fits into. */
const WIDTH = 80;

/** Follows https://no-color.org: colour only on a terminal, and not where `NO_COLOR` is set to anything. */
export function screenOptions(
  stream: { readonly isTTY?: boolean; readonly columns?: number },
  env: Environment,
  write: (text: string) => void,
): ScreenOptions {
  const terminal = stream.isTTY === true && env['TERM'] !== 'dumb';
  const locale = env['LC_ALL'] || env['LC_CTYPE'] || env['LANG'] || '';
  return {
    write,
    // A line that wraps cannot be rewritten.
    live: terminal && (stream.columns ?? WIDTH) >= WIDTH,
    colour: terminal && (env['NO_COLOR'] ?? '') === '',
    unicode: terminal && (locale === '' || /utf-?8/i.test(locale)),
  };
}

export class Screen {
  readonly unicode: boolean;
  readonly #options: ScreenOptions;
  #showing = '';

  constructor(options: ScreenOptions) {
    this.#options = options;
    this.unicode = options.unicode;
  }

  paint(ink: Ink, text: string): string {
    return this.#options.colour && ink !== 'plain' && text !== '' ? `\u001b[${CODES[ink]}m${text}\u001b[0m` : text;
  }

  /** One line that stays. */
  line(text = ''): void {
    this.#erase();
    this.#options.write(`${text}\n`);
  }

  /** One line that is there until the next. */
  live(text: string): void {
    if (!this.#options.live || text === this.#showing) return;
    this.#options.write(`\r${text}\u001b[K`);
    this.#showing = text;
  }

  /** Before leaving: nothing half-written stays. */
  clear(): void {
    this.#erase();
  }

  /** `done` and `failed`, as short as they can be. */
  verdict(held: boolean): string {
    if (this.unicode) return held ? this.paint('good', '✔') : this.paint('bad', '✘');
    return held ? this.paint('good', 'ok') : this.paint('bad', 'FAILED');
  }

  /** A bar of two parts; `share` is that of the second. */
  bar(share: number, width: number): string {
    const second = Math.min(width, Math.max(0, Math.round(share * width)));
    const [a, b] = this.unicode ? ['█', this.#options.colour ? '█' : '░'] : ['#', '='];
    return this.paint('first', a.repeat(width - second)) + this.paint('second', b.repeat(second));
  }

  #erase(): void {
    if (this.#showing === '') return;
    this.#options.write('\r\u001b[K');
    this.#showing = '';
  }
}
