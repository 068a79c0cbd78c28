import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { HeaderMatcherConfig, RouteEntryConfig } from '../../../src/config/routes.ts';
import { RouteTable } from '../../../src/routing/route-table.ts';
import { ScriptedRandom } from '../../../src/testing/seeded-random.ts';
import { forward, requestHead, route, routeConfig, virtualHost } from './builders.ts';
import { firstMatch } from './linear-matcher.ts';

const segment = fc.constantFrom('a', 'b', 'A', 'ab', 'abc', 'B', '1');
const pathText = fc.array(segment, { maxLength: 4 }).map((parts) => `/${parts.join('/')}`);
const anyPrefix = fc.tuple(pathText, fc.nat({ max: 4 })).map(([path, cut]) => path.slice(0, Math.max(0, path.length - cut)));
const regexText = fc
  .tuple(pathText, fc.constantFrom('', '.*', '[^/]+', '/?', '(a|b)', '/(ab|b)/.*', '|/b', '(?i)x', '[a-c]*'))
  .map(([path, tail]) => path + tail);

const pathMatch = fc.oneof(
  fc.record({ kind: fc.constant('prefix' as const), value: anyPrefix, caseSensitive: fc.boolean() }),
  fc.record({ kind: fc.constant('exact' as const), value: pathText, caseSensitive: fc.boolean() }),
  fc.record({
    kind: fc.constant('separated-prefix' as const),
    value: pathText.filter((path) => path !== '/'),
    caseSensitive: fc.boolean(),
  }),
  fc.record({ kind: fc.constant('regex' as const), value: fc.oneof(regexText, fc.constantFrom('.*', '(/a|/b).*', '.*/b')) }),
);

const headerName = fc.constantFrom('x-a', 'x-b', ':method', 'data-bin');
const headerValue = fc.constantFrom('1', '2', '3', 'GET', 'POST');
const headerMatch: fc.Arbitrary<HeaderMatcherConfig> = fc.record({
  name: headerName,
  match: fc.oneof(
    {
      weight: 3,
      arbitrary: headerValue.map((value) => ({ kind: 'string' as const, matcher: { kind: 'exact' as const, value, ignoreCase: false } })),
    },
    { weight: 1, arbitrary: fc.boolean().map((present) => ({ kind: 'present' as const, present })) },
    {
      weight: 1,
      arbitrary: headerValue.map((value) => ({ kind: 'string' as const, matcher: { kind: 'prefix' as const, value, ignoreCase: true } })),
    },
  ),
  invert: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  treatMissingAsEmpty: fc.oneof({ weight: 4, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
});

const seldom = <T>(arbitrary: fc.Arbitrary<T>) => fc.oneof({ weight: 5, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });

const routes: fc.Arbitrary<readonly RouteEntryConfig[]> = fc
  .array(
    fc.record({
      path: pathMatch,
      headers: fc.array(headerMatch, { maxLength: 2 }),
      query: seldom(fc.constant([{ name: 'q', match: { kind: 'present' as const, present: true } }])),
      fraction: seldom(fc.record({ numerator: fc.nat({ max: 100 }), denominator: fc.constant(100 as const) })),
      grpc: fc.constantFrom(false, false, false, true),
      byHeader: fc.constantFrom(false, false, false, true),
    }),
    { maxLength: 40 },
  )
  .map((list) =>
    list.map(({ path, headers, query, fraction, grpc, byHeader }, index) =>
      route({
        name: String(index),
        match: { path, headers, query: query ?? [], fraction, grpc },
        action: forward(byHeader ? { cluster: { kind: 'cluster-header', header: 'x-cluster' } } : {}),
      }),
    ),
  );

const call = fc.record({
  protocol: fc.constantFrom('http' as const, 'http' as const, 'grpc' as const),
  path: fc.tuple(pathText, fc.constantFrom('', '?q=1', '?r', '#q', '/')).map(([path, tail]) => path + tail),
  method: fc.constantFrom('GET', 'POST'),
  headers: fc.dictionary(
    fc.constantFrom('x-a', 'x-b', 'data-bin', 'content-type'),
    fc.oneof(headerValue, fc.constantFrom('application/grpc', 'application/grpc-web', 'application/grpc+json')),
    { maxKeys: 3 },
  ),
  chance: fc.nat({ max: 9999 }).map((n) => n / 10_000),
});

test('the index finds the same first match as a linear search', () => {
  let matched = 0;
  let behind = 0;
  fc.assert(
    fc.property(routes, fc.array(call, { minLength: 3, maxLength: 6 }), (list, calls) => {
      const table = new RouteTable(routeConfig({ virtualHosts: [virtualHost({ routes: list })] }), ({ route: found }) => found.name);
      for (const { protocol, path, method, headers, chance } of calls) {
        // Fractions of gRPC calls draw on their own; they are tested by their distribution.
        if (protocol === 'grpc' && list.some(({ match }) => match.fraction !== undefined)) continue;
        const head = requestHead({ protocol, path, method }, headers);
        const expected = firstMatch(list, head, Math.floor(chance * 2 ** 32));
        const found = table.match({ head, matchedLength: -1 }, new ScriptedRandom(chance));
        expect(found ?? '-1', JSON.stringify({ path, method, headers, protocol })).toBe(String(expected));
        if (expected >= 0) matched++;
        if (expected > 3) behind++;
      }
    }),
    { numRuns: 6000 },
  );
  // Controls: the property is about matches, many of them behind others.
  expect(matched).toBeGreaterThan(2500);
  expect(behind).toBeGreaterThan(400);
});

/** Few places with many routes each, so that headers tell them apart. */
const crowded = fc
  .array(fc.record({ prefix: fc.constantFrom('/', '/', '/a'), headers: fc.array(headerMatch, { minLength: 1, maxLength: 2 }) }), {
    minLength: 12,
    maxLength: 40,
  })
  .map((list) =>
    list.map(({ prefix, headers }, index) =>
      route({ name: String(index), match: { path: { kind: 'prefix', value: prefix, caseSensitive: true }, headers } }),
    ),
  );

test('also where headers tell routes of one place apart: inverted, missing, counted as empty', () => {
  let matched = 0;
  fc.assert(
    fc.property(crowded, fc.array(call, { minLength: 4, maxLength: 8 }), (list, calls) => {
      const table = new RouteTable(routeConfig({ virtualHosts: [virtualHost({ routes: list })] }), ({ route: found }) => found.name);
      for (const { protocol, path, method, headers } of calls) {
        const head = requestHead({ protocol, path, method }, headers);
        const expected = firstMatch(list, head, 0);
        expect(table.match({ head, matchedLength: -1 }, new ScriptedRandom(0)) ?? '-1').toBe(String(expected));
        if (expected >= 0) matched++;
      }
    }),
    { numRuns: 1500 },
  );
  expect(matched).toBeGreaterThan(1500);
});

test('thousands of routes in one place, told apart by a header, keep their order', () => {
  const list = Array.from({ length: 300 }, (_, index) =>
    route({
      name: String(index),
      match: {
        headers:
          index % 7 === 3
            ? []
            : [
                {
                  name: 'x-tenant',
                  match: { kind: 'string', matcher: { kind: 'exact', value: `t${index % 90}`, ignoreCase: false } },
                  invert: false,
                  treatMissingAsEmpty: false,
                },
              ],
        query: index % 7 === 3 ? [{ name: `q${index}`, match: { kind: 'present', present: true } }] : [],
      },
    }),
  );
  const table = new RouteTable(routeConfig({ virtualHosts: [virtualHost({ routes: list })] }), ({ route: found }) => found.name);
  for (let index = 0; index < 300; index++) {
    const head = requestHead({ path: `/x?q${index}` }, { 'x-tenant': `t${(index * 13) % 120}` });
    expect(table.match({ head, matchedLength: -1 }, new ScriptedRandom(0)) ?? '-1').toBe(String(firstMatch(list, head, 0)));
  }
});
