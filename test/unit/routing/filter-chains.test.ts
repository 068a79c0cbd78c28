import { describe, expect, test } from 'vitest';
import type { FilterChainConfig, FilterChainMatchConfig, ListenerConfig } from '../../../src/config/listener.ts';
import type { ConnectionFacts } from '../../../src/core/engine.ts';
import { FilterChainMatcher } from '../../../src/routing/filter-chains.ts';

const ANYTHING: FilterChainMatchConfig = {
  destinationPort: undefined,
  prefixRanges: [],
  serverNames: [],
  transportProtocol: '',
  applicationProtocols: [],
  directSourcePrefixRanges: [],
  sourceType: 'any',
  sourcePrefixRanges: [],
  sourcePorts: [],
};
const chain = (name: string, match: Partial<FilterChainMatchConfig> = {}): FilterChainConfig => ({
  name,
  match: { ...ANYTHING, ...match },
  tls: undefined,
  http: undefined,
});
const listener = (filterChains: readonly FilterChainConfig[], withDefault = false): ListenerConfig => ({
  name: 'l',
  api: undefined,
  address: { host: '0.0.0.0', port: 8080 },
  direction: 'inbound',
  filterChains,
  defaultFilterChain: withDefault ? chain('default') : undefined,
});
const CONNECTION: ConnectionFacts = {
  localAddress: '10.0.0.5',
  localPort: 8080,
  remoteAddress: '192.168.1.9',
  remotePort: 40_000,
  transportProtocol: 'raw_buffer',
  serverName: undefined,
  applicationProtocols: [],
};
const cidr = (text: string) => {
  const [address = '', length] = text.split('/');
  return { address, prefixLength: Number(length) };
};
const chosen = (
  chains: Readonly<Record<string, Partial<FilterChainMatchConfig>>>,
  facts: Partial<ConnectionFacts> = {},
  withDefault = false,
): string | undefined =>
  new FilterChainMatcher(
    listener(
      Object.entries(chains).map(([name, match]) => chain(name, match)),
      withDefault,
    ),
  ).match({ ...CONNECTION, ...facts })?.name;

describe('filter chains (Envoy T-9, gRFC A36)', () => {
  test.each<[string, Readonly<Record<string, Partial<FilterChainMatchConfig>>>, Partial<ConnectionFacts>, string | undefined]>([
    ['an unset transport protocol matches plaintext (peer defect 15)', { a: {} }, {}, 'a'],
    ['and TLS', { a: {} }, { transportProtocol: 'tls' }, 'a'],
    ['a set one beats it', { a: {}, b: { transportProtocol: 'raw_buffer' } }, {}, 'b'],
    ['and excludes', { b: { transportProtocol: 'tls' } }, {}, undefined],
    [
      'permissive mTLS',
      { tls: { transportProtocol: 'tls' }, plain: { transportProtocol: 'raw_buffer' } },
      { transportProtocol: 'tls' },
      'tls',
    ],
    ['destination port', { any: {}, port: { destinationPort: 8080 } }, {}, 'port'],
    ['another destination port', { any: {}, port: { destinationPort: 9090 } }, {}, 'any'],
    [
      'longest destination prefix',
      { none: {}, wide: { prefixRanges: [cidr('10.0.0.0/8')] }, narrow: { prefixRanges: [cidr('10.0.0.0/24')] } },
      {},
      'narrow',
    ],
    ['/0 beats none', { none: {}, zero: { prefixRanges: [cidr('0.0.0.0/0')] } }, {}, 'zero'],
    [
      'any of several prefixes',
      { a: { prefixRanges: [cidr('172.16.0.0/12'), cidr('10.0.0.5/32')] }, b: { prefixRanges: [cidr('10.0.0.0/24')] } },
      {},
      'a',
    ],
    ['families differ', { v4: { prefixRanges: [cidr('0.0.0.0/0')] }, v6: { prefixRanges: [cidr('::/0')] } }, { localAddress: '::1' }, 'v6'],
    ['mapped addresses are IPv4', { v4: { prefixRanges: [cidr('10.0.0.0/8')] } }, { localAddress: '::ffff:10.0.0.5' }, 'v4'],
    [
      'exact server name',
      { none: {}, wild: { serverNames: ['*.b.test'] }, exact: { serverNames: ['a.b.test'] } },
      { serverName: 'a.b.test' },
      'exact',
    ],
    [
      'longest wildcard',
      { wide: { serverNames: ['*.test'] }, narrow: { serverNames: ['*.b.test'] } },
      { serverName: 'A.B.Test' },
      'narrow',
    ],
    ['a wildcard covers several labels', { wide: { serverNames: ['*.test'] } }, { serverName: 'x.y.test' }, 'wide'],
    ['but not none', { wide: { serverNames: ['*.test'] } }, { serverName: 'test' }, undefined],
    ['no SNI, names wanted', { named: { serverNames: ['a.test'] }, other: {} }, {}, 'other'],
    [
      'the client orders protocols',
      { h1: { applicationProtocols: ['http/1.1'] }, h2: { applicationProtocols: ['h2'] } },
      { applicationProtocols: ['h2', 'http/1.1'] },
      'h2',
    ],
    ['protocols wanted, none offered', { h2: { applicationProtocols: ['h2'] }, any: {} }, {}, 'any'],
    [
      'same address is local',
      { ext: { sourceType: 'external' }, local: { sourceType: 'same-ip-or-loopback' } },
      { remoteAddress: '10.0.0.5' },
      'local',
    ],
    [
      'loopback is local',
      { ext: { sourceType: 'external' }, local: { sourceType: 'same-ip-or-loopback' } },
      { remoteAddress: '127.0.0.1' },
      'local',
    ],
    ['others are external', { any: {}, ext: { sourceType: 'external' }, local: { sourceType: 'same-ip-or-loopback' } }, {}, 'ext'],
    [
      'longest source prefix',
      { wide: { sourcePrefixRanges: [cidr('192.168.0.0/16')] }, narrow: { sourcePrefixRanges: [cidr('192.168.1.0/24')] } },
      {},
      'narrow',
    ],
    ['source port', { any: {}, port: { sourcePorts: [1, 40_000] } }, {}, 'port'],
    [
      'direct source before source type',
      { direct: { directSourcePrefixRanges: [cidr('192.168.0.0/16')] }, ext: { sourceType: 'external' } },
      {},
      'direct',
    ],
    ['nothing matches', { a: { sourcePorts: [1] } }, {}, undefined],
    // The earlier criterion decides, though the chain fails at a later one and another would have matched.
    [
      'no going back',
      { narrow: { prefixRanges: [cidr('10.0.0.0/24')], sourcePorts: [1] }, wide: { prefixRanges: [cidr('10.0.0.0/8')] } },
      {},
      undefined,
    ],
  ])('%s', (_name, chains, facts, expected) => {
    expect(chosen(chains, facts)).toBe(expected);
    expect(chosen(chains, facts, true)).toBe(expected ?? 'default');
  });

  test('no chains at all: the default', () => {
    expect(chosen({}, {}, true)).toBe('default');
    expect(chosen({})).toBeUndefined();
  });
});
