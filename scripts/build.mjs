/**
 * `npm run build`: generated code, then tsc, then what tsc does not do: the package's modules are joined into few files (scripts/join.mjs),
 * since a process pays for every file that it loads (docs/decisions/0006).
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { joinModules } from './join.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const run = (file, ...args) => execFileSync(process.execPath, [file, ...args], { stdio: 'inherit' });

run('scripts/proto.mjs');
rmSync('dist', { recursive: true, force: true });
run('node_modules/typescript/bin/tsc', '-p', 'tsconfig.json');
cpSync('src/proto/gen', 'dist/proto/gen', { recursive: true });
await joinModules('dist');
cpSync('src/sources/mesh.schema.json', 'dist/sources/mesh.schema.json');
chmodSync('dist/cli/main.js', 0o755);
