/** The demo. Not written yet. */

/** Resolves with the exit code. */
export function runDemo(_args: readonly string[]): Promise<number> {
  process.stderr.write('inmesh demo: not there yet\n');
  return Promise.resolve(1);
}
