import { describe, expect, test } from 'vitest';
import type { RouteContext } from '../../../src/routing/route-table.ts';
import { RouteTable } from '../../../src/routing/route-table.ts';
import { ScriptedRandom, SeededRandom } from '../../../src/testing/seeded-random.ts';
import type { RouteEntryConfig } from '../../../src/config/routes.ts';
import { NO_HEADER_MUTATION } from '../../../src/config/routes.ts';
import { forward, requestHead, route, routeConfig, virtualHost } from './builders.ts';

const tableOf = (routes: readonly RouteEntryConfig[], made: RouteContext[] = []): RouteTable<RouteContext> =>
  new RouteTable(routeConfig({ virtualHosts: [virtualHost({ routes })] }), (where) => {
    made.push(where);
    return where;
  });
const weighted = (...entries: readonly (readonly [name: string, weight: number])[]): RouteEntryConfig =>
  route({
    action: forward({
      cluster: {
        kind: 'weighted',
        total: entries.reduce((sum, [, weight]) => sum + weight, 0),
        clusters: entries.map(([name, weight]) => ({
          name,
          weight,
          headers: NO_HEADER_MUTATION,
          filterOverrides: {},
          hostRewriteLiteral: undefined,
        })),
      },
    }),
  });

/** Five standard deviations of a binomial: one false alarm in about two million runs, and the seed is fixed. */
const within = (count: number, runs: number, p: number): void => {
  const bound = 5 * Math.sqrt(runs * p * (1 - p));
  expect(Math.abs(count - runs * p)).toBeLessThanOrEqual(bound);
};

describe('leaves', () => {
  test('are made on first use and kept, also per cluster of a weighted route', () => {
    const made: RouteContext[] = [];
    const table = tableOf([weighted(['a', 1], ['b', 1])], made);
    expect(made).toHaveLength(0);
    const random = new SeededRandom(3);
    const seen = new Set(Array.from({ length: 50 }, () => table.match({ head: requestHead(), matchedLength: -1 }, random)));
    expect(made.map((where) => where.clusterName).sort()).toEqual(['a', 'b']);
    expect(seen).toEqual(new Set(made));
    expect(made.every((where) => where.weighted?.name === where.clusterName)).toBe(true);
  });

  test('are kept per value of cluster_header, a bounded number of them', () => {
    const made: RouteContext[] = [];
    const table = tableOf([route({ action: forward({ cluster: { kind: 'cluster-header', header: 'x-cluster' } }) })], made);
    const ask = (headers: Record<string, string>) =>
      table.match({ head: requestHead({}, headers), matchedLength: -1 }, new ScriptedRandom(0));
    expect(ask({ 'x-cluster': 'blue' })).toBe(ask({ 'x-cluster': 'blue' }));
    expect(ask({ 'x-cluster': 'blue' })?.clusterName).toBe('blue');
    expect(ask({})?.clusterName).toBe(''); // D4: the caller answers cluster_not_found_response_code
    const before = made.length;
    for (let i = 0; i < 10_000; i++) ask({ 'x-cluster': `c${i}` });
    ask({ 'x-cluster': 'c9999' });
    expect(made.length - before).toBe(10_000);
    // gRPC skips such a route (gRFC A28).
    expect(
      table.match({ head: requestHead({ protocol: 'grpc' }, { 'x-cluster': 'blue' }), matchedLength: -1 }, new ScriptedRandom(0)),
    ).toBeUndefined();
  });

  test('cluster_header takes the first of several values', () => {
    const table = tableOf([route({ action: forward({ cluster: { kind: 'cluster-header', header: 'x-cluster' } }) })]);
    const head = requestHead({}, { 'x-cluster': 'blue' });
    head.headers.append('x-cluster', 'green');
    expect(table.match({ head, matchedLength: -1 }, new ScriptedRandom(0))?.clusterName).toBe('blue');
  });
});

test('the matched length is that of the prefix, and -1 for whole paths (R-41)', () => {
  const table = tableOf([
    route({ match: { path: { kind: 'exact', value: '/exact', caseSensitive: true } } }),
    route({ match: { path: { kind: 'regex', value: '/re.*' } } }),
    route({ match: { path: { kind: 'separated-prefix', value: '/sep', caseSensitive: true } } }),
    route({ match: { path: { kind: 'prefix', value: '/P', caseSensitive: false } } }),
  ]);
  const lengthOf = (path: string): number => {
    const call = { head: requestHead({ path }), matchedLength: -7 };
    table.match(call, new ScriptedRandom(0));
    return call.matchedLength;
  };
  expect(['/exact?q', '/re/x', '/sep/x', '/pq/x', '/none'].map(lengthOf)).toEqual([-1, -1, 4, 2, -7]);
});

describe('weighted clusters (R-31)', () => {
  test.each([
    [0, 'a'],
    [9, 'a'],
    [10, 'b'],
    [98, 'b'],
    [99, 'c'],
    [100, 'a'],
    [199, 'c'],
  ])('V mod 100 of %i leads to %s', (value, cluster) => {
    const table = tableOf([weighted(['a', 10], ['b', 89], ['c', 1])]);
    expect(table.match({ head: requestHead(), matchedLength: -1 }, new ScriptedRandom(value / 2 ** 32))?.clusterName).toBe(cluster);
  });

  test.each(['http', 'grpc'] as const)('a 90/10 split over %s holds within binomial bounds, also for a huge total', (protocol) => {
    for (const scale of [1, 40_000_000]) {
      const table = tableOf([weighted(['a', 90 * scale], ['b', 10 * scale])]);
      const random = new SeededRandom(11);
      const runs = 40_000;
      let b = 0;
      for (let i = 0; i < runs; i++)
        if (table.match({ head: requestHead({ protocol }), matchedLength: -1 }, random)?.clusterName === 'b') b++;
      within(b, runs, 0.1);
    }
  });

  test('x-request-id makes the choice the same on every hop, for HTTP only (R-20)', () => {
    const table = tableOf([weighted(['a', 50], ['b', 50])]);
    const choices = (protocol: 'http' | 'grpc', id: string): Set<string | undefined> => {
      const random = new SeededRandom(5);
      return new Set(
        Array.from(
          { length: 40 },
          () => table.match({ head: requestHead({ protocol }, { 'x-request-id': id }), matchedLength: -1 }, random)?.clusterName,
        ),
      );
    };
    expect(choices('http', '00000031-0000-4000-8000-000000000000')).toEqual(new Set(['a']));
    expect(choices('http', '00000032-0000-4000-8000-000000000000')).toEqual(new Set(['b']));
    expect(choices('http', 'not hex')).toEqual(new Set(['a', 'b']));
    expect(choices('grpc', '00000031-0000-4000-8000-000000000000')).toEqual(new Set(['a', 'b']));
  });
});

describe('runtime_fraction (D3)', () => {
  const split = (numerator: number) =>
    tableOf([route({ name: 'some', match: { fraction: { numerator, denominator: 100 } } }), route({ name: 'rest' })]);
  const ask = (numerator: number, value: number) =>
    split(numerator).match({ head: requestHead(), matchedLength: -1 }, new ScriptedRandom(value / 2 ** 32))?.route.name;

  test.each([
    [0, 0, 'rest'],
    [1, 0, 'some'],
    [1, 1, 'rest'],
    [50, 49, 'some'],
    [50, 50, 'rest'],
    [100, 99, 'some'],
    [50, 149, 'some'],
  ])('numerator %i, value %i: %s', (numerator, value, name) => expect(ask(numerator, value)).toBe(name));

  test('HTTP: one value for all fractions and the weighted choice, drawn once', () => {
    let draws = 0;
    const random = { next: () => (draws++, 15 / 2 ** 32) };
    const table = tableOf([
      route({ name: 'a', match: { fraction: { numerator: 10, denominator: 100 } } }),
      route({ name: 'b', match: { fraction: { numerator: 15, denominator: 100 } } }),
      weighted(['x', 15], ['y', 85]),
    ]);
    expect(table.match({ head: requestHead(), matchedLength: -1 }, random)?.clusterName).toBe('y');
    expect(draws).toBe(1);
  });

  test('nothing is drawn where nothing asks for chance', () => {
    const table = tableOf([route()]);
    expect(
      table.match(
        { head: requestHead(), matchedLength: -1 },
        {
          next: () => {
            throw new Error('drawn');
          },
        },
      ),
    ).toBeDefined();
  });

  test('gRPC: fractions and the weighted choice are independent (gRFC A28)', () => {
    const table = tableOf([
      { ...weighted(['x', 50], ['y', 50]), name: 'canary', match: { ...route().match, fraction: { numerator: 20, denominator: 100 } } },
      route({ name: 'second', match: { fraction: { numerator: 20, denominator: 100 } } }),
      route({ name: 'rest' }),
    ]);
    const random = new SeededRandom(23);
    const runs = 40_000;
    const counts = { canary: 0, second: 0, rest: 0, x: 0 };
    for (let i = 0; i < runs; i++) {
      const found = table.match({ head: requestHead({ protocol: 'grpc' }), matchedLength: -1 }, random);
      counts[found?.route.name as 'canary' | 'second' | 'rest']++;
      if (found?.clusterName === 'x') counts.x++;
    }
    within(counts.canary, runs, 0.2);
    within(counts.second, runs, 0.8 * 0.2);
    within(counts.x, runs, 0.1);
  });
});

describe('require_tls (R-7)', () => {
  const ask = (
    requireTls: 'none' | 'external-only' | 'all',
    head: Parameters<typeof requestHead>[0],
    headers: Record<string, string> = {},
  ) =>
    new RouteTable(
      routeConfig({ virtualHosts: [virtualHost({ requireTls, routes: [route()] })] }),
      (where) => where.route.action.kind,
    ).match({ head: requestHead(head, headers), matchedLength: -1 }, new ScriptedRandom(0));
  test.each([
    ['all', { scheme: 'http' }, {}, 'redirect'],
    ['all', { scheme: 'https' }, {}, 'forward'],
    ['none', { scheme: 'http' }, {}, 'forward'],
    ['external-only', { scheme: 'http' }, {}, 'redirect'],
    ['external-only', { scheme: 'http' }, { 'x-envoy-internal': 'true' }, 'forward'],
    ['all', { scheme: 'http' }, { 'x-forwarded-proto': 'https' }, 'forward'],
    ['all', { scheme: 'http', protocol: 'grpc' }, {}, 'forward'],
  ] as const)('%s for %j with %j: %s', (requireTls, head, headers, kind) => expect(ask(requireTls, head, headers)).toBe(kind));
});
