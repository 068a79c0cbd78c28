/** What a hostile or broken control plane can make a decoder do: bounds on time and memory, whatever the lists and names are. */
import { expect, test } from 'vitest';
import type { Json } from './harness.ts';
import { chain, decode, socketListener } from './harness.ts';

const numbered = (text: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${text}${i}`);
const reason = (kind: 'listener' | 'runtime', resource: Json): string => {
  const { decoded } = decode(kind, resource);
  return decoded.ok ? 'accepted' : (decoded.errors[0]?.reason ?? '');
};

// Otherwise the process runs out of memory here.
test('lists of a filter chain are not multiplied before it is known how many combinations they make', () => {
  const both = { server_names: numbered('s', 20_000), application_protocols: numbered('p', 20_000) };
  expect(reason('listener', socketListener({ filter_chains: [chain({ filter_chain_match: both })] }))).toContain('more than 100000');
});

test('the combinations of all filter chains count together', () => {
  const part = (from: number): Json => chain({ name: `${from}`, filter_chain_match: { server_names: numbered(`s${from}.`, 60_000) } });
  expect(reason('listener', socketListener({ filter_chains: [part(1)] }))).toBe('accepted');
  expect(reason('listener', socketListener({ filter_chains: [part(1), part(2)] }))).toContain('more than 100000');
});

test('the time for a name with brackets grows as its length does', () => {
  const milliseconds = (length: number): number => {
    const filter = { name: '['.repeat(length) };
    const start = performance.now();
    expect(reason('listener', socketListener({ traffic_direction: 'OUTBOUND', listener_filters: [filter] }))).toBe('accepted');
    return performance.now() - start;
  };
  milliseconds(1000);
  // By the square of the length it takes a hundred times as long, for these lengths seconds.
  expect(milliseconds(200_000)).toBeLessThan(1000);
});

test.each(['toString', 'constructor', '__proto__', 'NONE'])('%s is no denominator', (denominator) => {
  const layer = { some: { key: { numerator: 1, denominator } } };
  expect(reason('runtime', { name: 'r', layer })).toContain('must be HUNDRED');
});
