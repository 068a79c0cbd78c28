/** The runtime (Envoy X-94): layers, values as fractions, and routes that go by them. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { RuntimeValue } from '../../../src/config/runtime.ts';
import { RouteTable } from '../../../src/routing/route-table.ts';
import { Runtime } from '../../../src/routing/runtime.ts';
import { runtimeValues } from '../../../src/xds/decode/runtime.ts';
import { forward, mutation, requestHead, route, routeConfig, virtualHost } from './builders.ts';

const of = (...layers: readonly Readonly<Record<string, RuntimeValue>>[]): Runtime => {
  const runtime = new Runtime();
  runtime.update(layers);
  return runtime;
};

describe('layers', () => {
  test('later ones win, key by key; one that is missing contributes nothing', () => {
    const runtime = new Runtime();
    runtime.update([{ a: 1, b: 1 }, undefined, { b: 2 }]);
    expect(runtime.values).toEqual({ a: 1, b: 2 });
  });

  test('any layers: the value is that of the last layer that has the key', () => {
    const layer = fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 0, max: 100 }));
    fc.assert(
      fc.property(fc.array(layer), (layers) => {
        const runtime = of(...layers);
        for (const key of ['a', 'b', 'c']) {
          const last = layers.findLast((candidate) => Object.hasOwn(candidate, key))?.[key];
          expect(runtime.fraction(key)).toEqual(last === undefined ? undefined : { numerator: last, denominator: 100 });
        }
      }),
    );
  });

  test.each<readonly [RuntimeValue, unknown]>([
    [20, { numerator: 20, denominator: 100 }],
    [0, { numerator: 0, denominator: 100 }],
    [
      { numerator: 5, denominator: 10_000 },
      { numerator: 5, denominator: 10_000 },
    ],
    [-1, undefined],
    [2.5, undefined],
    ['20', undefined],
    [true, undefined],
  ])('%j as a fraction', (value, expected) => {
    expect(of({ key: value }).fraction('key')).toEqual(expected);
  });
});

describe('values of a Runtime resource', () => {
  test('nested structs are keys with dots; a struct of a fraction is one', () => {
    const layer = { a: 1, b: { c: true, d: { e: 'x' } }, f: { numerator: 3, denominator: 'MILLION' }, g: { numerator: 4 }, 'h.i': 2 };
    expect({ ...runtimeValues(layer, 'layer') }).toEqual({
      a: 1,
      'b.c': true,
      'b.d.e': 'x',
      f: { numerator: 3, denominator: 1_000_000 },
      g: { numerator: 4, denominator: 100 },
      'h.i': 2,
    });
  });

  test.each<readonly [Readonly<Record<string, unknown>>, string]>([
    [{ a: null }, 'layer["a"]'],
    [{ a: { b: [1] } }, 'layer["a.b"]'],
    [{ a: { numerator: -1 } }, 'layer["a"].numerator'],
    [{ a: { numerator: 1, denominator: 'DOZEN' } }, 'layer["a"].denominator'],
  ])('%j is refused', (layer, field) => {
    expect(() => runtimeValues(layer, 'layer')).toThrow(expect.objectContaining({ field }));
  });
});

describe('routes', () => {
  const config = routeConfig({
    virtualHosts: [
      virtualHost({
        routes: [
          route({
            name: 'canary',
            match: { fraction: { numerator: 0, denominator: 100, runtimeKey: 'canary' } },
            action: forward({ cluster: { kind: 'cluster', name: 'new' } }),
          } as never),
          route({ name: 'rest', action: forward({ cluster: { kind: 'cluster', name: 'old' } }) }),
        ],
      }),
    ],
  });
  const share = (runtime: Runtime | undefined, protocol: 'http' | 'grpc'): number => {
    const table = new RouteTable<string>(config, ({ route: { name } }) => name, undefined, runtime);
    let canary = 0;
    for (let i = 0; i < 100; i++) {
      const head = { ...requestHead({}), protocol } as ReturnType<typeof requestHead>;
      if (table.match({ head, matchedLength: 0 }, { next: () => i / 4_294_967_296 }) === 'canary') canary++;
    }
    return canary;
  };

  test('the key replaces the default while it is set, with the next call', () => {
    const runtime = of();
    const table = new RouteTable<string>(config, ({ route: { name } }) => name, undefined, runtime);
    const call = { head: requestHead({}), matchedLength: 0 };
    const next = (): string | undefined => table.match(call, { next: () => 0 });
    expect(next()).toBe('rest');
    runtime.update([{ canary: 100 }]);
    expect(next()).toBe('canary');
    runtime.update([]);
    expect(next()).toBe('rest');
  });

  test('HTTP calls go by it, gRPC calls by the default alone (gRFC A28), and without a runtime all do', () => {
    expect(share(of({ canary: 30 }), 'http')).toBe(30);
    expect(share(of({ canary: 30 }), 'grpc')).toBe(0);
    expect(share(undefined, 'http')).toBe(0);
  });
});

describe('weighted clusters', () => {
  const entry = (name: string, weight: number) => ({
    name,
    weight,
    headers: mutation({}),
    filterOverrides: {},
    hostRewriteLiteral: undefined,
  });
  const clusters = [entry('a', 30), entry('b', 70), entry('c', 0)];
  const tableOf = (runtime: Runtime | undefined, runtimeKeyPrefix?: string): RouteTable<string> => {
    const action = forward({
      cluster: { kind: 'weighted', clusters, total: 100, ...(runtimeKeyPrefix !== undefined && { runtimeKeyPrefix }) },
    });
    const config = routeConfig({ virtualHosts: [virtualHost({ routes: [route({ action })] })] });
    return new RouteTable<string>(config, ({ clusterName }) => clusterName, undefined, runtime);
  };
  const shares = (table: RouteTable<string>, protocol: 'http' | 'grpc' = 'http', calls = 100): number[] => {
    const seen = new Map<string, number>();
    for (let i = 0; i < calls; i++) {
      const head = { ...requestHead({}), protocol } as ReturnType<typeof requestHead>;
      const name = table.match({ head, matchedLength: 0 }, { next: () => i / 4_294_967_296 }) ?? '';
      seen.set(name, (seen.get(name) ?? 0) + 1);
    }
    return clusters.map(({ name }) => seen.get(name) ?? 0);
  };

  test('keys replace weights cluster by cluster, with the next call; without them the configured ones count', () => {
    const runtime = of();
    const table = tableOf(runtime, 'split');
    expect(shares(table)).toEqual([30, 70, 0]);
    runtime.update([{ 'split.b': 0, 'split.c': 70 }]);
    expect(shares(table)).toEqual([30, 0, 70]);
    runtime.update([{ 'split.a': 0, 'split.b': 0, 'split.c': 1 }]);
    expect(shares(table)).toEqual([0, 0, 100]);
    runtime.update([]);
    expect(shares(table)).toEqual([30, 70, 0]);
  });

  test.each<readonly [string, Readonly<Record<string, RuntimeValue>>]>([
    ['they add up to nothing', { 'split.a': 0, 'split.b': 0 }],
    ['they add up to too much', { 'split.a': 4_294_967_295, 'split.b': 1 }],
    ['a weight that is none', { 'split.a': -1, 'split.b': 'many', 'split.c': 0.5 }],
    ['the prefix is another', { 'other.a': 100 }],
  ])('the configured ones count where %s', (_name, values) => {
    expect(shares(tableOf(of(values), 'split'))).toEqual([30, 70, 0]);
  });

  test('gRPC calls go by the configured ones (gRFC A28), and so do routes without a prefix and meshes without a runtime', () => {
    const values = { 'split.a': 0, 'split.b': 0, 'split.c': 1 };
    const grpc = shares(tableOf(of(values), 'split'), 'grpc', 1000);
    expect(grpc[2]).toBe(0);
    expect(grpc[0]).toBeGreaterThan(200);
    expect(shares(tableOf(of(values)))).toEqual([30, 70, 0]);
    expect(shares(tableOf(undefined, 'split'))).toEqual([30, 70, 0]);
  });
});
