/** What a command of `inmesh` is, and what it may use of the terminal. One file per command under `commands/`. */

export interface Terminal {
  out(text: string): void;
  error(text: string): void;
  /** Asks for the end of the process: settles once, on SIGINT or SIGTERM. */
  untilInterrupted(): Promise<void>;
}

export interface Command {
  readonly name: string;
  /** One line. */
  readonly summary: string;
  /** Behind `inmesh NAME`. */
  readonly usage: string;
  /** Options as name and explanation. */
  readonly options: readonly (readonly [option: string, explanation: string])[];
  readonly example: string;
  /** Exit code: 0 done, 1 failed, 2 not understood. */
  run(args: readonly string[], terminal: Terminal): Promise<number>;
}

/** Wrong arguments: shown with the way to the help, exit code 2. */
export class UsageProblem extends Error {
  override readonly name = 'UsageProblem';
}

/** What a wrong usage is told. `parseArgs` adds advice on how to pass such a word as an argument: nobody who mistyped an option wants that. */
export function usageText(problem: Error): string {
  return problem instanceof UsageProblem ? problem.message : problem.message.replace(/\. [\s\S]*$/, '');
}

export function commandHelp(command: Command): string {
  const options = [...command.options, ['--help', 'this text'] as const];
  const width = Math.max(...options.map(([option]) => option.length));
  const lines = options.map(([option, explanation]) => `  ${option.padEnd(width)}  ${explanation}`);
  return `${command.summary}\n\n${`Usage: inmesh ${command.name} ${command.usage}`.trimEnd()}\n\nOptions:\n${lines.join('\n')}\n\nExample:\n${command.example.replace(/^/gm, '  ')}\n`;
}
