/** Links between pages lead to files and headings that exist. */
import { existsSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';
import { expect, test } from 'vitest';
import { PAGES, root } from './pages.ts';

/** As GitHub makes them: lower case, without punctuation, dashes for spaces. */
function anchor(heading: string): string {
  return heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(/\s/g, '-');
}

const anchors = new Map(
  PAGES.map(({ path, prose }) => [path, new Set([...prose.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchor(heading ?? '')))]),
);
const links = PAGES.flatMap(({ path, prose }) => [...prose.matchAll(/\[[^\]]*\]\(([^)\s]+)\)/g)].map(([, to]) => ({ path, to: to ?? '' })));

test('there are links', () => {
  expect(links.length).toBeGreaterThan(40);
});

test('links inside the documentation lead somewhere', () => {
  const dead: string[] = [];
  for (const { path, to } of links) {
    if (/^https?:/.test(to)) continue;
    const [file = '', fragment] = to.split('#');
    const target = file === '' ? path : posix.normalize(posix.join(posix.dirname(path), file));
    if (!existsSync(join(root, target))) dead.push(`${path}: ${to}`);
    else if (fragment !== undefined && !statSync(join(root, target)).isDirectory() && anchors.get(target)?.has(fragment) !== true)
      dead.push(`${path}: ${to}`);
  }
  expect(dead).toEqual([]);
});

test('every page can be reached from the README', () => {
  const reached = new Set(['README.md']);
  for (let size = 0; size !== reached.size;) {
    size = reached.size;
    for (const { path, to } of links) {
      if (!reached.has(path) || /^https?:/.test(to)) continue;
      const target = posix.normalize(posix.join(posix.dirname(path), to.split('#')[0] ?? ''));
      if (target === 'docs/decisions') for (const page of PAGES) if (page.path.startsWith('docs/decisions/')) reached.add(page.path);
      reached.add(target);
    }
  }
  expect(PAGES.map(({ path }) => path).filter((path) => !reached.has(path))).toEqual([]);
});
