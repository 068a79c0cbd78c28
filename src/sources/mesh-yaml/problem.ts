/** One thing that is wrong in a configuration file: where, what, and how to mend it; and its picture for a terminal. */

export interface FileProblem {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
  /** Characters to underline; at least 1. */
  readonly length: number;
  /** e.g. `services.reviews.routes[0].timeout`; empty for the whole file. */
  readonly path: string;
  readonly message: string;
  /** What to do, as a sentence. */
  readonly cure: string;
}

/** `mesh.yaml:9:18: services.reviews.timeout: "2 sec" is not a duration. Write ...` on one line. */
export function describeProblem(problem: FileProblem): string {
  const path = problem.path === '' ? '' : `${problem.path}: `;
  return `${problem.file}:${problem.line}:${problem.column}: ${path}${problem.message}. ${problem.cure}`;
}

const LONGEST = 200;
const BEFORE = 40;
/** PEM blocks are long lines of base64, or stand in one string with `\\n` in it: none of it belongs on a terminal or into a log. */
const SECRET = /-----BEGIN [A-Z ]*PRIVATE KEY-----|^\s*[A-Za-z0-9+/=]{60,}\s*$/;

function shown(line: string, from: number): string {
  if (SECRET.test(line) || SECRET.test(line.slice(from))) {
    const start = line.search(/-----BEGIN [A-Z ]*PRIVATE KEY-----/);
    if (start < 0) return '(key material, not shown)';
    // What stands before the key may be shown.
    if (from >= start) return '(key material, not shown)';
    return window(line.slice(0, start), from) + '(key material, not shown)';
  }
  return window(line, from);
}

function window(line: string, from: number): string {
  const end = from + LONGEST;
  return `${from > 0 ? '…' : ''}${line.slice(from, end)}${line.length > end ? '…' : ''}`;
}

/** The lines around a problem with a mark under the offending text; `around` lines on each side. */
export function codeFrame(text: string, problem: FileProblem, around = 1): string {
  // What stands behind the last line break is no line, unless the problem is there.
  const all = text.split('\n');
  const lines = all.at(-1) === '' && problem.line < all.length ? all.slice(0, -1) : all;
  const first = Math.max(1, problem.line - around);
  const last = Math.min(lines.length, problem.line + around);
  const width = String(last).length;
  const frame: string[] = [];
  for (let number = first; number <= last; number++) {
    const whole = (lines[number - 1] ?? '').replace(/\r$/, '');
    // A window on a long line (JSON is YAML), which begins a little before the problem.
    const from = whole.length <= LONGEST ? 0 : Math.max(0, (number === problem.line ? problem.column - 1 : 0) - BEFORE);
    const content = shown(whole, from);
    frame.push(`${number === problem.line ? '>' : ' '} ${String(number).padStart(width)} | ${content}`.trimEnd());
    if (number !== problem.line) continue;
    const at = problem.column - 1 - from + (from > 0 ? 1 : 0);
    // Tabs stay tabs, so that the mark stands under the text whatever their width.
    const lead = content.slice(0, at).replace(/[^\t]/g, ' ');
    const room = Math.max(1, Math.min(problem.length, content.length - at));
    frame.push(`  ${' '.repeat(width)} | ${lead}${'^'.repeat(room)}`);
  }
  return frame.join('\n');
}

/** Place and message, code frame, cure: what a person reads in a terminal. */
export function printProblem(text: string, problem: FileProblem): string {
  const path = problem.path === '' ? '' : `${problem.path}: `;
  const frame = codeFrame(text, problem).replace(/^/gm, '  ');
  return `${problem.file}:${problem.line}:${problem.column}: ${path}${problem.message}\n${frame}\n  ${problem.cure}\n`;
}
