#!/usr/bin/env node
/** The command `inmesh`: finds the command, shows help and version, turns what goes wrong into a message and an exit code. */
import { readFileSync, realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { suggest } from '../sources/mesh-yaml/nearest.ts';
import type { Command, Terminal } from './command.ts';
import { commandHelp, usageText, UsageProblem } from './command.ts';
import { demo } from './commands/demo.ts';
import { serve } from './commands/serve.ts';
import { xdsCheck } from './commands/xds-check.ts';

export const COMMANDS: readonly Command[] = [demo, serve, xdsCheck];

function help(): string {
  const width = Math.max(...COMMANDS.map(({ name }) => name.length));
  const lines = COMMANDS.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`);
  return [
    'inmesh: a service mesh inside the Node process.',
    '',
    'Usage: inmesh COMMAND [OPTIONS]',
    '',
    'Commands:',
    ...lines,
    '',
    'Options:',
    '  --help     this text; behind a command, help on it with an example',
    '  --version  the version of inmesh',
    '',
    'Example:',
    '  npx inmesh demo',
    '',
  ].join('\n');
}

function version(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { readonly version: string };
  return manifest.version;
}

/** Runs a command line (without `node` and the script); resolves with the exit code. */
export async function main(args: readonly string[], terminal: Terminal): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    const asked = name === 'help' ? findCommand(rest)?.command : undefined;
    terminal.out(asked === undefined ? help() : commandHelp(asked));
    return name === undefined ? 2 : 0;
  }
  if (name === '--version' || name === '-v') {
    terminal.out(`${version()}\n`);
    return 0;
  }
  const found = findCommand(args);
  if (found === undefined) {
    const kind = name.startsWith('-') ? 'option' : 'command';
    // Of a group of commands, the word behind it is the wrong one.
    const group = COMMANDS.filter((known) => known.name.startsWith(`${name} `));
    const asked = group.length > 0 && rest[0] !== undefined ? `${name} ${rest[0]}` : name;
    const known = group.length > 0 ? group : COMMANDS;
    terminal.error(
      `inmesh: unknown ${kind} "${asked}". ${suggest(asked, [...known.map((command) => command.name), '--help', '--version'], 'Known')}\n`,
    );
    return 2;
  }
  const { command, after } = found;
  if (after.includes('--help') || after.includes('-h')) {
    terminal.out(commandHelp(command));
    return 0;
  }
  try {
    return await command.run(after, terminal);
  } catch (error) {
    if (!isUsageProblem(error)) {
      terminal.error(`inmesh ${command.name}: ${error instanceof Error ? error.message : String(error)}\n`);
      return 1;
    }
    terminal.error(`inmesh ${command.name}: ${usageText(error)}\nSee inmesh ${command.name} --help.\n`);
    return 2;
  }
}

/** The command that the words begin with (`serve`, `xds check`), and what stands behind it. */
function findCommand(args: readonly string[]): { readonly command: Command; readonly after: readonly string[] } | undefined {
  for (const command of COMMANDS) {
    const words = command.name.split(' ');
    if (words.every((word, index) => args[index] === word)) return { command, after: args.slice(words.length) };
  }
  return undefined;
}

/** Ours, and those of `parseArgs`. */
function isUsageProblem(error: unknown): error is Error {
  if (error instanceof UsageProblem) return true;
  return error instanceof Error && String((error as NodeJS.ErrnoException).code).startsWith('ERR_PARSE_ARGS');
}

const processTerminal: Terminal = {
  out: (text) => void process.stdout.write(text),
  error: (text) => void process.stderr.write(text),
  untilInterrupted: () =>
    new Promise((resolve) => {
      let signals = 0;
      const stop = (): void => {
        signals++;
        resolve();
        // npx and npm pass on a Ctrl+C that the terminal has sent to everybody: the second one is an echo, the third is impatience.
        if (signals > 2) process.exit(130);
      };
      process.on('SIGINT', stop);
      process.on('SIGTERM', stop);
    }),
};

/** Started as a program, perhaps through the link in `node_modules/.bin`. */
function isProgram(): boolean {
  const [, script] = process.argv;
  return script !== undefined && realpathSync(script) === fileURLToPath(import.meta.url);
}

if (isProgram()) {
  // Not `process.exit`: what is written must get out first.
  main(process.argv.slice(2), processTerminal).then(
    (code) => {
      process.exitCode = code;
    },
    (error: unknown) => {
      process.stderr.write(`inmesh: ${String(error)}\n`);
      process.exitCode = 1;
    },
  );
}
