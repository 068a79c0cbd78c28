/** What `npm test` runs after installing and building: the check, then every suite; ends with one plain line `N passed, N failed`. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const scratch = mkdtempSync(join(tmpdir(), 'inmesh-test-'));
const total = { passed: 0, failed: 0, skipped: 0 };
const env = { ...process.env, FORCE_COLOR: '0', NO_COLOR: '1' };

const step = (title, command, args) => {
  const started = Date.now();
  process.stdout.write(`\n== ${title}\n`);
  const { status } = spawnSync(command, args, { stdio: 'inherit', env });
  process.stdout.write(`== ${title}: ${status === 0 ? 'ok' : `exit code ${status}`}, ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
  return status === 0;
};

const checked = (title, args) => {
  if (step(title, 'npm', args)) total.passed++;
  else total.failed++;
};

const suite = (title, config) => {
  if (!existsSync(config)) return;
  const report = join(scratch, `${title.replaceAll(' ', '-')}.json`);
  const ok = step(title, process.execPath, [
    'node_modules/vitest/vitest.mjs',
    'run',
    '--config',
    config,
    '--reporter=dot',
    '--reporter=json',
    `--outputFile.json=${report}`,
  ]);
  if (!existsSync(report)) {
    total.failed++;
    return;
  }
  const result = JSON.parse(readFileSync(report, 'utf8'));
  total.passed += result.numPassedTests;
  total.failed += result.numFailedTests;
  total.skipped += result.numPendingTests + result.numTodoTests;
  // A suite that broke outside its tests (an import error, an unhandled rejection) must not look green.
  if (!ok && result.numFailedTests === 0) total.failed++;
};

checked('format, lint, types', ['run', '--silent', 'check:static']);
suite('unit, conformance, end to end', 'test/vitest.config.ts');
suite('package', 'test/package/vitest.config.ts');
suite('docs and examples', 'test/docs/vitest.config.ts');
suite('interop', 'test/interop/vitest.config.ts');

rmSync(scratch, { recursive: true, force: true });
process.stdout.write(`\n${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ''}\n`);
process.exitCode = total.failed > 0 ? 1 : 0;
