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
    const content = (lines[number - 1] ?? '').replace(/\r$/, '');
    frame.push(`${number === problem.line ? '>' : ' '} ${String(number).padStart(width)} | ${content}`.trimEnd());
    if (number !== problem.line) continue;
    // Tabs stay tabs, so that the mark stands under the text whatever their width.
    const lead = content.slice(0, problem.column - 1).replace(/[^\t]/g, ' ');
    const room = Math.max(1, Math.min(problem.length, content.length - problem.column + 1));
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
