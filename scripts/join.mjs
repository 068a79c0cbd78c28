/** Joins the modules of `dist` into one file per entry and few shared ones, in place. Declarations stay as tsc made them. */
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, posix, relative, resolve, sep } from 'node:path';
import { rolldown } from 'rolldown';

/** Modules that are loaded by name on first use: the table in `src/lazy.ts` is the only list of them. */
export function lazyModules() {
  const table = readFileSync(new URL('../src/lazy.ts', import.meta.url), 'utf8');
  return [...table.matchAll(/'\.\/([^']+)': typeof import/g)].map(([, path]) => path);
}

/** Besides: entries of package.json, modules that others `require`, files that are forked. */
const ENTRIES = [
  ...lazyModules(),
  'index',
  'register',
  'otel',
  'extend',
  'testing/index',
  'xds/client',
  'xds/resource-types',
  'proto/any',
  'control-plane/control-plane',
  'cli/main',
  'cli/demo/process-main',
];

const MARK = '__MODULE_URL__';

/** The dependency whose modules are joined with ours. */
const JOINED = '@bufbuild/protobuf';

/** What the files of that dependency say of their authors and terms, each notice once. */
function thirdParty() {
  const texts = new Set();
  const plugin = {
    name: 'third-party',
    transform(code, id) {
      if (!id.includes(JOINED)) return undefined;
      const lines = code.split('\n');
      const end = lines.findIndex((line) => !line.startsWith('//'));
      texts.add(
        lines
          .slice(0, end)
          .map((line) => line.replace(/^\/\/ ?/, ''))
          .join('\n'),
      );
      return undefined;
    },
  };
  return {
    plugin,
    text: () => `Parts of ${JOINED} are contained in dist/shared. Its files say:\n\n${[...texts].join('\n\n----\n\n')}\n`,
  };
}

/** `import.meta.url` keeps meaning the module's own place, wherever its code ends up. */
function ownUrls(root) {
  return {
    name: 'own-urls',
    transform(code, id) {
      if (!code.includes('import.meta.url')) return undefined;
      const place = relative(root, id).split(sep).join('/');
      return { code: code.replaceAll('import.meta.url', `${MARK}(${JSON.stringify(place)})`), map: null };
    },
    renderChunk(code, chunk) {
      if (!code.includes(MARK)) return null;
      const here = posix.dirname(chunk.fileName);
      return code.replaceAll(/__MODULE_URL__\("([^"]+)"\)/g, (_, place) => {
        const from = posix.relative(here, place);
        return `new URL(${JSON.stringify(from.startsWith('.') ? from : `./${from}`)}, import.meta.url).href`;
      });
    },
  };
}

function filesBelow(folder, wanted) {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => wanted.test(path))
    .map((path) => join(folder, path));
}

export async function joinModules(folder) {
  const root = resolve(folder);
  const notices = thirdParty();
  const bundle = await rolldown({
    input: Object.fromEntries(ENTRIES.map((entry) => [entry, join(root, `${entry}.js`)])),
    platform: 'node',
    // Dependencies stay dependencies, but for the one with many small modules that every start pays for (decision 0010).
    external: (id) => !id.startsWith('.') && !id.startsWith('/') && !/^[A-Za-z]:/.test(id) && !id.startsWith(JOINED),
    treeshake: { moduleSideEffects: (id) => !id.includes(JOINED) },
    plugins: [ownUrls(root), notices.plugin],
    onwarn: (warning) => process.stderr.write(`join: ${warning.message}\n`),
  });
  const { output } = await bundle.generate({
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: 'shared/[name]-[hash].js',
    minify: false,
  });
  await bundle.close();
  for (const file of filesBelow(root, /\.js$/)) rmSync(file);
  // Types of generated messages are no part of the public types.
  rmSync(join(root, 'proto/gen'), { recursive: true, force: true });

  for (const { fileName, code } of output) {
    mkdirSync(dirname(join(root, fileName)), { recursive: true });
    writeFileSync(join(root, fileName), code);
  }
  writeFileSync(join(root, 'THIRD-PARTY.txt'), notices.text());
}
