import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { fieldsOf } from '../../../src/proto/any.ts';
import { SUPPORT } from '../../../src/xds/decode/support.ts';

test('the table names only fields that are there', () => {
  for (const [typeName, entry] of Object.entries(SUPPORT)) {
    const names = new Set(fieldsOf(typeName).map((field) => field.name));
    expect(
      Object.keys(entry.fields).filter((name) => !names.has(name)),
      typeName,
    ).toEqual([]);
  }
});

test('docs/reference/xds-support.md is what the table says', () => {
  const script = new URL('../../../scripts/xds-support.mjs', import.meta.url).pathname;
  expect(() => execFileSync(process.execPath, [script, '--check'], { stdio: 'pipe' })).not.toThrow();
});
