import { expect, test } from 'vitest';
import { pickAvoiding } from '../../../src/balancing/avoid-tried.ts';
import type { RetryPolicyConfig } from '../../../src/config/routes.ts';
import { retryPolicy } from '../resilience/fakes.ts';
import type { FakeHost } from './hosts.ts';
import { hosts, pickCall } from './hosts.ts';

/** A picker that gives the hosts in order and counts. */
function inOrder(list: readonly (FakeHost | undefined)[]) {
  return {
    picks: 0,
    pick(): FakeHost | undefined {
      return list[Math.min(this.picks++, list.length - 1)];
    },
  };
}

const [a, b, c] = hosts(3);
const avoiding = (hostSelectionMaxAttempts: number): RetryPolicyConfig =>
  retryPolicy({ avoidPreviousHosts: true, hostSelectionMaxAttempts });

test.each([
  ['a fresh host is taken at once', [b, c], [a], avoiding(3), 'http', b, 1],
  ['a tried host is picked again', [a, b], [a], avoiding(3), 'http', b, 2],
  ['the last pick is used regardless, after attempts + 1 picks (R-66)', [a, a, a, b], [a], avoiding(2), 'http', a, 3],
  ['the default is one more pick', [a, a, b], [a], avoiding(1), 'http', a, 2],
  ['without the predicate the first pick counts', [a, b], [a], retryPolicy({}), 'http', a, 1],
  ['without a policy the first pick counts', [a, b], [a], undefined, 'http', a, 1],
  ['a gRPC call takes the first pick (A44)', [a, b], [a], avoiding(3), 'grpc', a, 1],
  ['no host is no host', [undefined], [a], avoiding(3), 'http', undefined, 1],
] as const)('%s', (_name, list, tried, retry, protocol, expected, picks) => {
  const picker = inOrder(list);
  expect(pickAvoiding(picker, pickCall(protocol, [...tried] as FakeHost[]), retry)).toBe(expected);
  expect(picker.picks).toBe(picks);
});
