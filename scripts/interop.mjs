/** `npm run test:interop -- [--long] [vitest's arguments]`: tests against software that this project did not write; `--long` adds Consul and Envoy Gateway. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const rest = process.argv.slice(2).filter((argument) => argument !== '--long');
const long = rest.length < process.argv.length - 2;
const { status } = spawnSync(
  process.execPath,
  ['node_modules/vitest/vitest.mjs', 'run', '--config', 'test/interop/vitest.config.ts', ...rest],
  { stdio: 'inherit', env: { ...process.env, INMESH_INTEROP_LONG: long ? '1' : '0' } },
);
process.exitCode = status ?? 1;
