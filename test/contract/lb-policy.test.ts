/** What every LB policy has to keep, over every policy of the registry: a new one needs no line here. */
import { describe, expect, test } from 'vitest';
import { LB_POLICIES } from '../../src/balancing/registry.ts';
import { silentLogger } from '../../src/core/log.ts';
import { FakeClock } from '../../src/testing/fake-clock.ts';
import { SeededRandom } from '../../src/testing/seeded-random.ts';
import { expectBinomial, hosts, pickCall, tally } from '../unit/balancing/hosts.ts';

describe.each(LB_POLICIES.map((factory) => [factory.name, factory] as const))('%s', (name, factory) => {
  const clock = new FakeClock();
  const create = (seed: number) => factory.create(undefined, { clock, random: new SeededRandom(seed), log: silentLogger });

  test('has a type URL of Envoy and the name of its factory', () => {
    expect(factory.typeUrl).toMatch(/^type\.googleapis\.com\/envoy\.extensions\.load_balancing_policies\.[a-z_]+\.v3\.[A-Z]\w+$/);
    expect(create(1).name).toBe(name);
  });

  test('has no host for an empty set, and the only one for a set of one', () => {
    const [only] = hosts(1);
    expect(create(1).build({ hosts: [] }, undefined).pick(pickCall())).toBeUndefined();
    const picker = create(1).build({ hosts: [only!] }, undefined);
    for (let i = 0; i < 5; i++) expect(picker.pick(pickCall())).toBe(only);
  });

  test.each([2, 3, 10])('spreads idle, equal hosts evenly over %i', (count) => {
    const all = hosts(count);
    const trials = 10_000;
    tally(create(count).build({ hosts: all }, undefined), trials, all).forEach((picked) => expectBinomial(picked, trials, 1 / count, name));
  });

  test('reaches every host with unequal weights', () => {
    const all = hosts(8, (host, index) => (host.weight = 1 + index * 10));
    expect(Math.min(...tally(create(3).build({ hosts: all }, undefined), 5000, all))).toBeGreaterThan(0);
  });

  test('starts at different hosts in different processes', () => {
    const all = hosts(4);
    expect(new Set(Array.from({ length: 100 }, (_, seed) => create(seed).build({ hosts: all }, undefined).pick(pickCall()))).size).toBe(4);
  });

  test('takes any picker as its predecessor, and never picks a host that has gone', () => {
    const old = hosts(5);
    const left = old.slice(0, 2);
    const policy = create(5);
    let picker = policy.build({ hosts: old }, { pick: () => old[4] });
    for (let i = 0; i < 7; i++) picker.pick(pickCall());
    picker = policy.build({ hosts: left }, picker);
    expect(tally(picker, 100, left).reduce((sum, count) => sum + count)).toBe(100);
    expect(policy.build({ hosts: [] }, picker).pick(pickCall())).toBeUndefined();
  });

  test('sets no timer', () => {
    expect(clock.pending).toBe(0);
  });
});
