import { expect, test } from 'vitest';
import { leastRequest } from '../../../src/balancing/least-request.ts';
import { random } from '../../../src/balancing/random.ts';
import { LB_POLICIES, lbPolicy } from '../../../src/balancing/registry.ts';
import { roundRobin } from '../../../src/balancing/round-robin.ts';
import type { AnyMessage, Deps, ParseContext } from '../../../src/core/extension.ts';
import { silentLogger } from '../../../src/core/log.ts';
import type { Random } from '../../../src/core/random.ts';
import { jsonToAny, unpack } from '../../../src/proto/any.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';
import { ScriptedRandom, SeededRandom } from '../../../src/testing/seeded-random.ts';
import { expectBinomial, hosts, pickCall, tally } from './hosts.ts';

const deps = (chance: Random = new SeededRandom(7)): Deps => ({ clock: new FakeClock(), random: chance, log: silentLogger });

const addresses = (found: readonly { readonly address: string }[]): string[] => found.map(({ address }) => address);

test('round robin goes through equal hosts in order from a random start', () => {
  const all = hosts(3);
  const picker = roundRobin.create(undefined, deps(new ScriptedRandom(2 / 0x3fff_ffff))).build({ hosts: all }, undefined);
  const picked = Array.from({ length: 5 }, () => picker.pick(pickCall()));
  expect(addresses(picked.map((host) => host ?? all[0]!))).toEqual(addresses([all[2]!, all[0]!, all[1]!, all[2]!, all[0]!]));
});

test('round robin keeps its place across rebuilds (L-30), and starts at random without a predecessor', () => {
  const all = hosts(4);
  const policy = roundRobin.create(undefined, deps(new ScriptedRandom(0, 0.5)));
  const first = policy.build({ hosts: all }, undefined);
  for (let i = 0; i < 3; i++) first.pick(pickCall());
  expect(policy.build({ hosts: all }, first).pick(pickCall())).toBe(all[3]);
  const fresh = policy.build({ hosts: all }, undefined);
  expect(fresh.pick(pickCall())).toBe(all[Math.floor(0.5 * 0x3fff_ffff) % 4]);
});

test('round robin with unequal weights picks each host as often as it weighs', () => {
  const all = hosts(3, (host, index) => (host.weight = index + 1));
  const picker = roundRobin.create(undefined, deps()).build({ hosts: all }, undefined);
  tally(picker, 6000, all).forEach((count, index) => expect(Math.abs(count - 1000 * (index + 1))).toBeLessThanOrEqual(1));
});

test('least request takes the less loaded of two draws, with replacement (L-40)', () => {
  const all = hosts(2);
  all[0]!.active = 5;
  const picker = leastRequest.create(undefined, deps()).build({ hosts: all }, undefined);
  // The loaded host wins only when both draws hit it: one time in four.
  const [loaded] = tally(picker, 20_000, all);
  expectBinomial(loaded ?? 0, 20_000, 0.25, 'loaded host');
});

test('least request keeps the first draw on a tie', () => {
  const all = hosts(2);
  const picker = leastRequest.create(undefined, deps(new ScriptedRandom(0.9, 0.1))).build({ hosts: all }, undefined);
  expect(picker.pick(pickCall())).toBe(all[1]);
});

test('least request draws choice_count times, for gRPC calls 10 times at most (A48)', () => {
  const all = hosts(2);
  all[0]!.active = 1;
  const config = { choiceCount: 12, activeRequestBias: 1, fullScan: false, localityWeighted: false };
  const draws = (protocol: 'http' | 'grpc'): number => {
    let count = 0;
    const counting: Random = { next: () => (count++, 0) };
    leastRequest.create(config, deps(counting)).build({ hosts: all }, undefined).pick(pickCall(protocol));
    return count;
  };
  expect(draws('http')).toBe(12);
  expect(draws('grpc')).toBe(10);
});

test('least request, full scan: the least loaded, ties evenly', () => {
  const all = hosts(5, (host, index) => (host.active = index < 2 ? 3 : 1));
  const config = { choiceCount: 2, activeRequestBias: 1, fullScan: true, localityWeighted: false };
  const counts = tally(leastRequest.create(config, deps()).build({ hosts: all }, undefined), 9000, all);
  expect(counts.slice(0, 2)).toEqual([0, 0]);
  counts.slice(2).forEach((count) => expectBinomial(count, 9000, 1 / 3, 'tied host'));
});

test('least request with unequal weights divides the weight by the load (L-41), bias 0 makes it weighted round robin', () => {
  const all = hosts(2, (host, index) => (host.weight = index === 0 ? 4 : 1));
  all[0]!.active = 3;
  const share = (activeRequestBias: number): number => {
    const config = { choiceCount: 2, activeRequestBias, fullScan: false, localityWeighted: false };
    return (tally(leastRequest.create(config, deps()).build({ hosts: all }, undefined), 1000, all)[0] ?? 0) / 1000;
  };
  expect(share(1)).toBeCloseTo(0.5, 2); //    4/(3+1) = 1 against 1
  expect(share(0.5)).toBeCloseTo(2 / 3, 2); // 4/√4 = 2 against 1
  expect(share(0)).toBeCloseTo(0.8, 2); //    4 against 1
});

test('random ignores weights and order', () => {
  const all = hosts(4, (host, index) => (host.weight = index + 1));
  tally(random.create(undefined, deps()).build({ hosts: all }, undefined), 20_000, all).forEach((count) =>
    expectBinomial(count, 20_000, 0.25),
  );
});

const PREFIX = 'type.googleapis.com/envoy.extensions.load_balancing_policies.';

function parse(typeUrl: string, json: Record<string, unknown>): { readonly config: unknown; readonly unsupported: readonly string[] } {
  const unsupported: string[] = [];
  const context: ParseContext = {
    unpack: <T>(any: AnyMessage) => unpack<T>(any),
    unsupported: (field) => unsupported.push(field),
    configSource: () => undefined,
    path: '',
  };
  const factory = LB_POLICIES.find((policy) => policy.typeUrl === typeUrl)!;
  return { config: factory.parse(jsonToAny({ '@type': typeUrl, ...json }), context), unsupported };
}

test('policies parse their own messages and say what has no effect', () => {
  expect(parse(`${PREFIX}round_robin.v3.RoundRobin`, { slowStartConfig: {} })).toEqual({
    config: { localityWeighted: false },
    unsupported: ['slow_start_config'],
  });
  expect(parse(`${PREFIX}random.v3.Random`, { localityLbConfig: { localityWeightedLbConfig: {} } }).config).toEqual({
    localityWeighted: true,
  });
  expect(parse(`${PREFIX}round_robin.v3.RoundRobin`, { localityLbConfig: { zoneAwareLbConfig: {} } }).unsupported).toEqual([
    'locality_lb_config.zone_aware_lb_config',
  ]);
  expect(parse(`${PREFIX}least_request.v3.LeastRequest`, {}).config).toEqual({
    choiceCount: 2,
    activeRequestBias: 1,
    fullScan: false,
    localityWeighted: false,
  });
  const full = { choiceCount: 5, activeRequestBias: { defaultValue: 0.5, runtimeKey: 'x' }, selectionMethod: 'FULL_SCAN' };
  expect(parse(`${PREFIX}least_request.v3.LeastRequest`, full).config).toEqual({
    choiceCount: 5,
    activeRequestBias: 0.5,
    fullScan: true,
    localityWeighted: false,
  });
});

test.each([
  ['choice_count', { choiceCount: 1 }],
  ['active_request_bias', { activeRequestBias: { defaultValue: -1, runtimeKey: 'x' } }],
])('least request rejects a bad %s by its name', (field, json) => {
  expect(() => parse(`${PREFIX}least_request.v3.LeastRequest`, json)).toThrow(field);
});

test('lbPolicy makes the named policy, with its defaults where there is no config, and names the cure for an unknown one', () => {
  expect(LB_POLICIES.map(({ name }) => lbPolicy({ policy: name, config: undefined }, deps()).name)).toEqual(
    LB_POLICIES.map(({ name }) => name),
  );
  expect(() => lbPolicy({ policy: 'maglov', config: undefined }, deps())).toThrow(/"maglov".*round_robin/);
});
