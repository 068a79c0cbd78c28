/** Reference pages say what the code says: failures, options, environment, metrics, spans, host patterns, levels, files. */
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ATTR } from '../../src/adapters/opentelemetry/attributes.ts';
import { serve } from '../../src/cli/commands/serve.ts';
import { parseMisbehaviour } from '../../src/control-plane/misbehave/parse.ts';
import { DEEDS } from '../../src/control-plane/misbehave/script.ts';
import { FAILURES } from '../../src/core/failure.ts';
import { grpcStatusName } from '../../src/core/status.ts';
import { hostPatterns } from '../../src/matching/host-patterns.ts';
import { isSnapshot, parseSnapshot } from '../../src/sources/xds-snapshot.ts';
import { FORWARDED_HEADERS } from '../../src/telemetry/inbound-context.ts';
import { LEVELS } from '../architecture/rules.ts';
import { page, PAGES, root, table } from './pages.ts';

const source = (path: string): string => readFileSync(join(root, path), 'utf8');
const code = globSync('src/**/*.ts', { cwd: root, exclude: ['src/proto/gen/**'] })
  .map(source)
  .join('\n');

test('failures.md has every failure, row by row', () => {
  const rows = table('docs/reference/failures.md', 'Details');
  expect(rows.map((row) => row.slice(0, 6))).toEqual(
    Object.values(FAILURES).map(({ details, flag, httpStatus, grpcStatus, reached, retryOn }) => [
      details,
      flag === '' ? '–' : flag,
      String(httpStatus),
      grpcStatusName(grpcStatus),
      reached,
      retryOn.length === 0 ? '–' : retryOn.join(', '),
    ]),
  );
  for (const row of rows) expect(row[6]?.length).toBeGreaterThan(10);
});

test('failures.md has every error code', () => {
  const codes = [...source('src/core/errors.ts').matchAll(/\| '(ERR_MESH_\w+)'/g)].map(([, name]) => name);
  expect(codes.length).toBeGreaterThan(3);
  expect(
    table('docs/reference/failures.md', 'Code')
      .map(([name]) => name)
      .toSorted(),
  ).toEqual(codes.toSorted());
});

test('options.md has every option of createMesh', () => {
  const body = /export interface MeshOptions \{([^]*?)\n\}/.exec(source('src/options.ts'))?.[1] ?? '';
  const options = [...body.matchAll(/^ {2}readonly (\w+)\?:/gm)].map(([, name]) => name);
  expect(options.length).toBeGreaterThan(5);
  expect(table('docs/reference/options.md', 'Option').map(([name]) => name)).toEqual(options);
});

test('serve.md has every option of the command, and every deed of a misbehave file', () => {
  expect(table('docs/reference/serve.md', 'Option').map(([name]) => name)).toEqual(serve.options.map(([name]) => name));
  expect(table('docs/reference/serve.md', 'Deed')).toEqual(Object.entries(DEEDS).map(([deed, { doc }]) => [deed, doc]));
  const common = ['do', 'on', 'node', 'after', 'times', 'for', 'repair'];
  expect(table('docs/reference/serve.md', 'Key').map(([name]) => name)).toEqual(common);
});

test('the files of serve.md are valid', () => {
  const [snapshot, script] = page('docs/reference/serve.md').blocks.filter(({ language }) => language === 'yaml');
  expect(isSnapshot(snapshot?.code ?? '')).toBe(true);
  expect(parseSnapshot(snapshot?.code ?? '', 'snapshot.yaml')).toMatchObject({ ok: true });
  expect(parseMisbehaviour(script?.code ?? '', 'misbehave.yaml')).toMatchObject({ ok: true });
});

test('options.md has every environment variable', () => {
  const read = new Set([...code.matchAll(/'((?:GRPC_XDS|INMESH|OTEL)_[A-Z_]+)'/g)].map(([, name]) => name));
  expect(read.size).toBeGreaterThan(5);
  expect(
    table('docs/reference/options.md', 'Variable')
      .map(([name]) => name)
      .toSorted(),
  ).toEqual([...read].toSorted());
});

test('options.md has every entry point', () => {
  const { exports } = JSON.parse(source('package.json')) as { readonly exports: Readonly<Record<string, unknown>> };
  const entries = Object.keys(exports).filter((name) => name !== './package.json');
  expect(table('docs/reference/options.md', 'Import').map(([name]) => name)).toEqual(entries.map((name) => `inmesh${name.slice(1)}`));
});

test('metrics.md has every instrument', () => {
  const text = source('src/adapters/opentelemetry/metrics.ts');
  const names = [...text.matchAll(/(?:createObservable(?:Counter|Gauge)|make)\('([\w.]+)'/g)].map(([, name]) => name);
  expect(names.length).toBeGreaterThan(5);
  expect(table('docs/reference/metrics.md', 'Name').map(([name]) => name)).toEqual(names);
  for (const [name, kind] of table('docs/reference/metrics.md', 'Name')) {
    if (kind === 'counter') expect(text).toContain(`createObservableCounter('${name}'`);
    else if (kind === 'gauge') expect(text).toContain(`createObservableGauge('${name}'`);
    else expect(text).toContain(`make('${name}')`);
  }
  for (const attribute of ['direction', 'route', 'cluster', 'virtual_host', 'class', 'flag']) expect(text).toContain(attribute);
});

test('metrics.md has every counter of describe()', () => {
  const body = /export interface CallCounters [^{]*\{([^]*?)\n\}/.exec(source('src/telemetry/call-metrics.ts'))?.[1] ?? '';
  const fields = [...body.matchAll(/^ {2}readonly (\w+):/gm)].map(([, name]) => name);
  expect(fields.length).toBeGreaterThan(5);
  for (const field of fields) if (field !== 'direction') expect(page('docs/reference/metrics.md').prose).toContain(`\`${field}\``);
});

test('spans.md has every attribute', () => {
  const used = Object.entries(ATTR).filter(([key]) =>
    globSync('src/adapters/opentelemetry/*.ts', { cwd: root }).some((file) => new RegExp(`ATTR\\.${key}\\b`).test(source(file))),
  );
  expect(
    table('docs/reference/spans.md', 'Attribute')
      .map(([name]) => name)
      .toSorted(),
  ).toEqual(used.map(([, name]) => name).toSorted());
  expect(FORWARDED_HEADERS).toContain('traceparent');
});

test('the patterns of hosts.md match what it says', () => {
  const list = (cell: string | undefined): string[] =>
    [...(cell ?? '').matchAll(/`?([^`, ]+)`?/g)].map(([, host]) => host ?? '').filter((host) => host !== 'everything');
  const rows = table('docs/hosts.md', 'Pattern');
  expect(rows.length).toBe(5);
  for (const [pattern, yes, no] of rows) {
    const { matches } = hostPatterns([pattern ?? '']);
    for (const host of list(yes)) expect([pattern, host, matches(host)]).toEqual([pattern, host, true]);
    for (const host of list(no)) expect([pattern, host, matches(host)]).toEqual([pattern, host, false]);
  }
});

test('the messages of hosts.md are those of the code', () => {
  const messages = code.replaceAll(/\$\{(?:entry\.)?kind\}/g, 'listener');
  const unknown: string[] = [];
  for (const [message] of table('docs/hosts.md', 'Message')) {
    if (message === undefined || message.startsWith('no `x-inmesh')) continue;
    for (const piece of message.split(/"[^"]*"|\.\.\.|GET \S+|\d+|[:;(), ]{2,}/)) {
      const words = piece.trim();
      if (words.split(' ').length > 2 && !messages.includes(words)) unknown.push(words);
    }
  }
  expect(unknown).toEqual([]);
});

test('architecture.md has the levels that the check enforces', () => {
  const rows = table('docs/architecture.md', 'Level').flatMap(([level, places]) =>
    (places ?? '')
      .replaceAll('`', '')
      .split(', ')
      .map((place) => `src/${place} ${level}`),
  );
  expect(rows.toSorted()).toEqual(LEVELS.map(([prefix, level]) => `${prefix} ${level}`).toSorted());
});

test('every file that a page names exists', () => {
  const missing: string[] = [];
  for (const { path, prose } of PAGES) {
    let folder = '';
    for (const [, name] of prose.matchAll(/`((?:(?:src|test|docs|examples|scripts)\/)?[\w./-]*\/?[\w-]+\.(?:ts|mjs|md|json|yaml))`/g)) {
      if (name === undefined) continue;
      const full = /^(src|test|docs|examples|scripts)\//.test(name);
      if (full) folder = name.slice(0, name.lastIndexOf('/') + 1);
      // `routing/a.ts`, `b.ts`: the second is beside the first.
      const tries = full ? [name] : [`${folder}${name}`, `src/${name}`, name, join(path, '..', name)];
      if (full || (path.startsWith('docs/') && name.endsWith('.ts')))
        if (!tries.some((candidate) => existsSync(join(root, candidate)))) missing.push(`${path}: ${name}`);
    }
    for (const [, name] of prose.matchAll(/`((?:src|test|docs|examples|scripts)\/[\w./-]*)`/g))
      if (name !== undefined && !existsSync(join(root, name))) missing.push(`${path}: ${name}`);
  }
  expect(missing.filter((entry) => !entry.includes('NAME') && !entry.includes('LIBRARY'))).toEqual([]);
});

test('xds-support.md is what its generator writes', () => {
  const { status, stderr } = spawnSync(process.execPath, ['scripts/xds-support.mjs', '--check'], { cwd: root, encoding: 'utf8' });
  expect(stderr).toBe('');
  expect(status).toBe(0);
});
