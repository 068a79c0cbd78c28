import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { ClusterPickerInput, LocalityHosts } from '../../../src/balancing/priority.ts';
import { buildClusterPicker } from '../../../src/balancing/priority.ts';
import { roundRobin } from '../../../src/balancing/round-robin.ts';
import type { HealthStatus, LbPolicy } from '../../../src/core/endpoint.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';
import { SeededRandom } from '../../../src/testing/seeded-random.ts';
import type { FakeHost } from './hosts.ts';
import { expectBinomial, hosts, pickCall, tally } from './hosts.ts';

const random = new SeededRandom(11);
const policy: LbPolicy = roundRobin.create(undefined, { clock: new FakeClock(), random, log: silentLogger });

function input(localities: readonly LocalityHosts[], more: Partial<ClusterPickerInput> = {}): ClusterPickerInput {
  return { localities, policy, overprovisioningFactor: 140, panicThreshold: 50, localityWeighted: false, random, ...more };
}

const place = (locality: string, priority: number, list: readonly FakeHost[], weight?: number): LocalityHosts => ({
  locality,
  priority,
  weight,
  hosts: list,
});

test('one priority, all healthy, no locality weights: the picker of the policy and nothing around it', () => {
  const all = hosts(3);
  let built: unknown;
  const spy: LbPolicy = { name: 'spy', build: (set, previous) => (built = policy.build(set, previous)) as never };
  expect(buildClusterPicker(input([place('a', 0, all)], { policy: spy }), undefined)).toBe(built);
});

test.each<[string, (host: FakeHost) => void, boolean]>([
  ['ejected', (host) => (host.ejected = true), false],
  ...(['unhealthy', 'timeout', 'draining'] as const).map((health): [string, (host: FakeHost) => void, boolean] => [
    health,
    (host) => (host.health = health),
    false,
  ]),
  ['unknown', (host) => (host.health = 'unknown'), true],
  ['healthy', () => undefined, true],
])('a host that is %s (L-1)', (_state, set, used) => {
  const all = hosts(4);
  set(all[1]!);
  const counts = tally(buildClusterPicker(input([place('a', 0, all)]), undefined), 400, all);
  expect((counts[1] ?? 0) > 0).toBe(used);
  expect(counts.reduce((sum, count) => sum + count)).toBe(400);
});

test('degraded hosts get what healthy ones cannot take', () => {
  const all = hosts(100, (host, index) => (host.health = index < 71 ? 'healthy' : 'degraded'));
  const counts = tally(buildClusterPicker(input([place('a', 0, all)]), undefined), 20_000, all);
  expectBinomial(
    counts.slice(71).reduce((sum, count) => sum + count),
    20_000,
    0.01,
    'degraded',
  );
});

test('spills over to the next priority as the golden table says (4 of 4 and 2 of 4)', () => {
  const first = hosts(4, (host, index) => (host.health = index < 2 ? 'healthy' : 'unhealthy'));
  const second = hosts(4, (host) => void host);
  const counts = tally(buildClusterPicker(input([place('a', 0, first), place('a', 1, second)]), undefined), 20_000, [...first, ...second]);
  expectBinomial(
    counts.slice(0, 4).reduce((sum, count) => sum + count),
    20_000,
    0.7,
    'P0',
  );
  expect(counts.slice(2, 4)).toEqual([0, 0]);
});

test('in panic all hosts are used; with panic off and nobody healthy there is none (L-10, L-13)', () => {
  const all = hosts(4, (host) => (host.health = 'unhealthy'));
  tally(buildClusterPicker(input([place('a', 0, all)]), undefined), 400, all).forEach((count) => expect(count).toBe(100));
  expect(buildClusterPicker(input([place('a', 0, all)], { panicThreshold: 0 }), undefined).pick(pickCall())).toBeUndefined();
});

test('panic ignores locality weights, and no host is used twice as often for being in both classes', () => {
  const left = hosts(2, (host) => (host.health = 'unhealthy'));
  const right = hosts(6, (host, index) => (host.health = index === 0 ? 'healthy' : index === 1 ? 'degraded' : 'unhealthy'));
  const picker = buildClusterPicker(input([place('l', 0, left, 100), place('r', 0, right, 1)], { localityWeighted: true }), undefined);
  const counts = tally(picker, 800, [...left, ...right]);
  counts.forEach((count) => expect(count).toBe(100));
});

test('localities by weight, and less for one that is partly down (3.3)', () => {
  const left = hosts(4);
  const right = hosts(4, (host, index) => (host.health = index < 1 ? 'healthy' : 'unhealthy'));
  const share = (more: Partial<ClusterPickerInput>): number => {
    const picker = buildClusterPicker(input([place('l', 0, left, 1), place('r', 0, right, 3)], more), undefined);
    return (
      tally(picker, 4000, [...left, ...right])
        .slice(4)
        .reduce((sum, count) => sum + count) / 4000
    );
  };
  // 3 · min(1, 1.4 · 1/4) = 1.05 against 1
  expect(share({ localityWeighted: true })).toBeCloseTo(1.05 / 2.05, 2);
  expect(share({})).toBeCloseTo(1 / 5, 2);
});

test('a locality without a weight gets nothing; if none has one, all hosts are one set (L-3)', () => {
  const left = hosts(2);
  const right = hosts(2);
  const build = (weight: number | undefined): number[] =>
    tally(buildClusterPicker(input([place('l', 0, left, weight), place('r', 0, right)], { localityWeighted: true }), undefined), 400, [
      ...left,
      ...right,
    ]);
  expect(build(5)).toEqual([200, 200, 0, 0]);
  expect(build(undefined)).toEqual([100, 100, 100, 100]);
});

test('round robin keeps its place in each part when the cluster is rebuilt, with a wrapper and without', () => {
  const first = hosts(3);
  const second = hosts(3);
  const whole = input([place('a', 0, first), place('a', 1, second)]);
  const plain = buildClusterPicker(whole, undefined);
  const before = plain.pick(pickCall())!;
  const after = buildClusterPicker(whole, plain).pick(pickCall())!;
  expect((first.indexOf(before as FakeHost) + 1) % 3).toBe(first.indexOf(after as FakeHost));

  // One host fails: the two others go on where they were, and so they do in the priority that helps out.
  first[0]!.health = 'unhealthy';
  first[1]!.health = 'unhealthy';
  const spilled = buildClusterPicker(whole, plain);
  const seen = new Map<unknown, FakeHost>();
  for (let i = 0; i < 50; i++) {
    const host = spilled.pick(pickCall()) as FakeHost;
    seen.set(second.includes(host), host);
  }
  const last = seen.get(true)!;
  const rebuilt = buildClusterPicker(whole, spilled);
  let next = rebuilt.pick(pickCall()) as FakeHost;
  while (!second.includes(next)) next = rebuilt.pick(pickCall()) as FakeHost;
  expect(second.indexOf(next)).toBe((second.indexOf(last) + 1) % 3);
});

test('whatever the health, a pick is a host that may be used, or none where none may', () => {
  const health = fc.constantFrom<HealthStatus>('unknown', 'healthy', 'degraded', 'unhealthy', 'draining', 'timeout');
  const host = fc.record({ health, ejected: fc.boolean(), weight: fc.integer({ min: 1, max: 5 }) });
  const locality = fc.record({
    priority: fc.integer({ min: 0, max: 3 }),
    weight: fc.option(fc.integer({ min: 0, max: 9 }), { nil: undefined }),
    hosts: fc.array(host, { maxLength: 5 }),
  });
  const property = fc.property(
    fc.array(locality, { maxLength: 5 }),
    fc.boolean(),
    fc.constantFrom(0, 50),
    (localities, localityWeighted, panicThreshold) => {
      const built = localities.map((each, index) =>
        place(
          `l${index}`,
          each.priority,
          hosts(each.hosts.length, (made, i) => Object.assign(made, each.hosts[i])),
          each.weight,
        ),
      );
      const all = built.flatMap((each) => each.hosts);
      const usable = all.filter((each) => !each.ejected && ['unknown', 'healthy', 'degraded'].includes(each.health));
      const picker = buildClusterPicker(input(built, { localityWeighted, panicThreshold }), undefined);
      for (let i = 0; i < 30; i++) {
        const picked = picker.pick(pickCall());
        if (panicThreshold === 0) expect(picked === undefined ? usable.length === 0 : usable.includes(picked)).toBe(true);
        else expect(picked === undefined ? all.length === 0 : all.includes(picked)).toBe(true);
      }
    },
  );
  fc.assert(property, { numRuns: 300 });
});
