/** Global set-up of suites that test `dist`: builds it when it is missing or older than its sources. */
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

function newest(folder: string): number {
  let found = 0;
  for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
    if (entry.isFile() && !entry.parentPath.includes(join('proto', 'gen')))
      found = Math.max(found, statSync(join(entry.parentPath, entry.name)).mtimeMs);
  }
  return found;
}

function built(): number {
  return Math.min(
    ...['dist/index.js', 'dist/cli/main.js', 'dist/proto/gen/.stamp'].map(
      (file) => statSync(join(root, file), { throwIfNoEntry: false })?.mtimeMs ?? 0,
    ),
  );
}

export function setup(): void {
  if (built() >= newest('src')) return;
  const done = spawnSync(process.execPath, ['scripts/build.mjs'], { cwd: root, encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`the build failed:\n${done.stdout}${done.stderr}`);
}
