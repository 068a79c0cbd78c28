/** `npm run build`: generated code, then tsc, then what tsc does not copy. Plain Node, no bundler. */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
process.chdir(root);
const run = (file, ...args) => execFileSync(process.execPath, [file, ...args], { stdio: 'inherit' });

run('scripts/proto.mjs');
rmSync('dist', { recursive: true, force: true });
run('node_modules/typescript/bin/tsc', '-p', 'tsconfig.json');
cpSync('src/proto/gen', 'dist/proto/gen', { recursive: true });
for (const file of ['sources/mesh.schema.json']) if (existsSync(`src/${file}`)) cpSync(`src/${file}`, `dist/${file}`);
if (existsSync('dist/cli/main.js')) chmodSync('dist/cli/main.js', 0o755);
