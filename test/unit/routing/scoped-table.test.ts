/** Scoped routes: the key that is built of a request, against a plain reading of Envoy's rules, and the scope that it finds. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ScopeFragmentConfig } from '../../../src/config/scoped-routes.ts';
import type { RequestHead } from '../../../src/core/call.ts';
import { fragmentReader, ScopedTable } from '../../../src/routing/scoped-table.ts';
import type { ScopeEntry } from '../../../src/routing/scoped-table.ts';
import { SeededRandom } from '../../../src/testing/index.ts';
import { requestHead } from './builders.ts';

const byIndex = (separator: string, index: number, header = 'x-scope'): ScopeFragmentConfig => ({
  header,
  separator,
  take: { kind: 'index', index },
});
const byKey = (separator: string, between: string, key: string): ScopeFragmentConfig => ({
  header: 'x-scope',
  separator,
  take: { kind: 'key', separator: between, key },
});
const head = (value?: string): RequestHead => requestHead({ authority: 'shop' }, value === undefined ? {} : { 'x-scope': value });

describe('one fragment', () => {
  test.each([
    ['the whole value', byIndex('', 0), 'vip', 'vip'],
    ['an empty value is a value', byIndex('', 0), '', ''],
    ['no header', byIndex('', 0), undefined, undefined],
    ['the second element', byIndex(',', 1), 'a,b,c', 'b'],
    ['the last element', byIndex(';', 2), 'a;b;c', 'c'],
    ['beyond the last', byIndex(';', 3), 'a;b;c', undefined],
    ['an empty element', byIndex(';', 1), 'a;;c', ''],
    ['by key', byKey(';', '=', 'b'), 'a=1;b=2;b=3', '2'],
    ['only the first separator divides', byKey(';', '=', 'b'), 'b=2=3', '2=3'],
    ['a key without a value', byKey(';', '=', 'b'), 'a=1;b', ''],
    ['a key that begins alike', byKey(';', '=', 'b'), 'bb=1;ab=2', undefined],
    ['the separator of the next element is not ours', byKey(';', '=', 'b'), 'b;c=1', ''],
    ['one element', byKey('', '=', 'b'), 'b=1;c=2', '1;c=2'],
    ['spaces count', byKey(';', '=', 'b'), ' b=1', undefined],
  ])('%s', (_title, config, value, expected) => {
    expect(fragmentReader(config)(head(value))).toBe(expected);
  });

  test('pseudo headers are headers as well', () => {
    expect(fragmentReader(byIndex('.', 0, ':authority'))(requestHead({ authority: 'a.b' }))).toBe('a');
    expect(fragmentReader(byIndex('/', 1, ':path'))(requestHead({ path: '/v1/x' }))).toBe('v1');
  });

  /** As Envoy's `HeaderValueExtractorImpl` reads, with splits. */
  function plain({ separator, take }: ScopeFragmentConfig, value: string): string | undefined {
    const elements = separator === '' ? [value] : value.split(separator);
    if (take.kind === 'index') return elements[take.index];
    for (const element of elements) {
      const at = element.indexOf(take.separator);
      if ((at < 0 ? element : element.slice(0, at)) === take.key) return at < 0 ? '' : element.slice(at + take.separator.length);
    }
    return undefined;
  }

  test('equals the plain reading for any value', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '=', ';', '>'), maxLength: 12 });
    const separator = fc.constantFrom('', ';', ';;', '=', '=;');
    const between = fc.constantFrom('=', '=>', ';', 'a');
    fc.assert(
      fc.property(text, separator, fc.nat(4), (value, by, index) => {
        const config = byIndex(by, by === '' ? 0 : index);
        expect(fragmentReader(config)(head(value))).toBe(plain(config, value));
      }),
    );
    fc.assert(
      fc.property(text, separator, between, fc.constantFrom('a', 'b', 'ab', 'a='), (value, by, divide, key) => {
        const config = byKey(by, divide, key);
        expect(fragmentReader(config)(head(value))).toBe(plain(config, value));
      }),
      { numRuns: 2000 },
    );
  });
});

describe('the scope of a key', () => {
  const random = new SeededRandom(1);
  const find = (builder: readonly ScopeFragmentConfig[], keys: readonly (readonly string[])[], value: string): number | undefined => {
    const entries: ScopeEntry<number>[] = keys.map((key, i) => ({ key, content: { target: i } }));
    return new ScopedTable(builder, entries).match({ head: head(value), matchedLength: -1 }, random);
  };
  const two = [byIndex(',', 0), byIndex(',', 1)];

  test.each([
    [
      'order matters',
      [
        ['b', 'a'],
        ['a', 'b'],
      ],
      'a,b',
      1,
    ],
    ['number matters', [['a'], ['a', 'b', 'c']], 'a,b', undefined],
    ['a missing fragment: no scope', [['a', '']], 'a', undefined],
    ['an empty fragment is one', [['a', '']], 'a,', 0],
    ['an unknown key', [['a', 'b']], 'a,c', undefined],
    [
      'of two with one key the first',
      [
        ['a', 'b'],
        ['a', 'b'],
      ],
      'a,b',
      0,
    ],
    ['parts are not run together', [['ab', 'c']], 'a,bc', undefined],
  ])('%s', (_title, keys, value, expected) => {
    expect(find(two, keys, value)).toBe(expected);
  });

  test('equals a linear search', () => {
    const part = fc.constantFrom('', 'a', 'b', 'ab');
    fc.assert(
      fc.property(fc.array(fc.array(part, { minLength: 1, maxLength: 3 }), { maxLength: 12 }), part, part, (keys, a, b) => {
        const at = keys.findIndex((key) => key.length === 2 && key[0] === a && key[1] === b);
        expect(find(two, keys, `${a},${b}`)).toBe(at < 0 ? undefined : at);
      }),
    );
  });

  test('the table of the scope decides further', () => {
    const entries: ScopeEntry<string>[] = [
      { key: ['vip'], content: { table: { match: (call) => `routed ${call.head.path}`, forget: () => undefined } } },
    ];
    const table = new ScopedTable([byIndex('', 0)], entries);
    expect(table.match({ head: head('vip'), matchedLength: -1 }, random)).toBe('routed /');
    expect(table.match({ head: head('other'), matchedLength: -1 }, random)).toBeUndefined();
  });
});
