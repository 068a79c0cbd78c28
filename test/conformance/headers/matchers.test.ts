/** Runs the table of header matchers, on requests and (where the row allows it) on reply headers. */
import { describe, expect, test } from 'vitest';
import type { HeaderMatcherConfig } from '../../../src/config/matchers.ts';
import type { RequestHead } from '../../../src/core/call.ts';
import { HeaderList } from '../../../src/core/headers.ts';
import { compileHeader, compileReplyHeader } from '../../../src/matching/header.ts';
import table from './matchers.json' with { type: 'json' };

interface Row {
  readonly name?: string;
  readonly protocol?: 'http' | 'grpc';
  readonly use?: 'route' | 'rbac';
  readonly match: {
    present?: boolean;
    exact?: string;
    prefix?: string;
    suffix?: string;
    contains?: string;
    regex?: string;
    range?: [string, string];
    ignoreCase?: boolean;
  };
  readonly value?: string | null;
  readonly values?: readonly string[];
  readonly invert?: boolean;
  readonly treat?: boolean;
  readonly is: boolean;
}

function configOf(row: Row): HeaderMatcherConfig {
  const { match } = row;
  const common = { name: row.name ?? 'x-test', invert: row.invert ?? false, treatMissingAsEmpty: row.treat ?? false };
  if (match.present !== undefined) return { ...common, match: { kind: 'present', present: match.present } };
  if (match.range !== undefined) return { ...common, match: { kind: 'range', start: BigInt(match.range[0]), end: BigInt(match.range[1]) } };
  const kind = (['exact', 'prefix', 'suffix', 'contains', 'regex'] as const).find((key) => match[key] !== undefined) ?? 'exact';
  return { ...common, match: { kind: 'string', matcher: { kind, value: match[kind] ?? '', ignoreCase: match.ignoreCase ?? false } } };
}

function headersOf(row: Row): HeaderList {
  const values = row.values ?? (row.value === null || row.value === undefined ? [] : [row.value]);
  return new HeaderList(values.map((value) => [row.name ?? 'x-test', value] as const));
}

const rows = table.rows as unknown as readonly Row[];

describe('header matchers (Envoy R-21, gRFC A28, A41)', () => {
  test.each(rows.map((row) => [JSON.stringify(row), row] as const))('%s', (_name, row) => {
    const head: RequestHead = {
      protocol: row.protocol ?? 'http',
      method: 'POST',
      scheme: 'http',
      authority: 'shop.test:8080',
      path: '/p?q=1',
      headers: headersOf(row),
    };
    expect(compileHeader(configOf(row), row.use)(head)).toBe(row.is);
    if (row.name === undefined) expect(compileReplyHeader(configOf(row))(head.headers)).toBe(row.is);
  });

  test.each(['prefix', 'suffix', 'contains'] as const)('an empty %s is no valid matcher (R-27)', (kind) => {
    expect(() => compileHeader(configOf({ match: { [kind]: '' }, is: false }))).toThrow('must not be empty');
  });
});
