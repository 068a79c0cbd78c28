/** The file of `inmesh serve --misbehave`: read at the start, and again on every save; one that is invalid changes nothing. */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { ControlPlane } from '../control-plane/control-plane.ts';
import type { Step } from '../control-plane/misbehave/script.ts';
import { MeshError } from '../core/errors.ts';
import { RealClock } from '../core/real-clock.ts';
import { FileWatch } from '../sources/file-watch.ts';
import type { Terminal } from './command.ts';
import { count, printProblems } from './serve-text.ts';

type Parse = typeof import('../control-plane/misbehave/parse.ts').parseMisbehaviour;

export class MisbehaveFile {
  readonly steps: readonly Step[];
  readonly #file: string;
  readonly #text: string;
  readonly #terminal: Terminal;
  readonly #parse: Parse;
  #watch: FileWatch | undefined;

  private constructor(file: string, text: string, steps: readonly Step[], terminal: Terminal, parse: Parse) {
    this.#file = file;
    this.#text = text;
    this.steps = steps;
    this.#terminal = terminal;
    this.#parse = parse;
  }

  /** Throws `ERR_MESH_CONFIG`. */
  static async read(file: string, terminal: Terminal): Promise<MisbehaveFile> {
    const { parseMisbehaviour } = await import('../control-plane/misbehave/parse.ts');
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      throw new MeshError('ERR_MESH_CONFIG', `cannot read ${file}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
    const parsed = parseMisbehaviour(text, file);
    if (!parsed.ok) throw new MeshError('ERR_MESH_CONFIG', printProblems(text, parsed.errors));
    return new MisbehaveFile(file, text, parsed.steps, terminal, parseMisbehaviour);
  }

  follow(plane: ControlPlane): void {
    this.#watch = new FileWatch(resolve(this.#file), this.#text, new RealClock(), {
      onText: (text) => {
        const parsed = this.#parse(text, this.#file);
        if (parsed.ok) {
          plane.misbehave(parsed.steps);
          this.#terminal.out(`misbehaving anew: ${count(parsed.steps.length, 'step')} of ${this.#file}\n`);
        } else this.#terminal.error(`${this.#file} is invalid; the last good one goes on\n${printProblems(text, parsed.errors)}`);
      },
      onProblem: (error) => this.#terminal.error(`${this.#file} cannot be read (${error.message}); the last good one goes on\n`),
    });
  }

  close(): void {
    this.#watch?.close();
  }
}
