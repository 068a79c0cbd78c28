/** The compiled RBAC engine against a naive one that walks the configuration, and the layer around it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { HttpFilterConfig } from '../../../src/config/listener.ts';
import type { CidrConfig, HeaderMatcherConfig, StringMatcherConfig } from '../../../src/config/matchers.ts';
import type { Permission, Principal, RbacConfig, RbacRules } from '../../../src/config/rbac.ts';
import type { FilterOverrides } from '../../../src/config/routes.ts';
import type { Call, PeerTls } from '../../../src/core/call.ts';
import { InboundCall, OutboundCall } from '../../../src/core/call.ts';
import { HeaderList } from '../../../src/core/headers.ts';
import type { HeaderMap } from '../../../src/core/headers.ts';
import { FilterChain } from '../../../src/filters/chain.ts';
import { compileRules } from '../../../src/filters/rbac/engine.ts';
import { RBAC_TYPE_URL, rbacFilter } from '../../../src/filters/rbac/index.ts';
import { deps } from './support.ts';

interface Facts {
  readonly path: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly local: readonly [string, number];
  readonly remote: string;
  readonly tls: PeerTls | undefined;
}

function inbound(facts: Partial<Facts> = {}, headers: HeaderMap = new HeaderList(facts.headers ?? [])): InboundCall {
  const [localAddress, localPort] = facts.local ?? ['10.0.0.1', 80];
  return new InboundCall(
    { protocol: 'http', method: 'GET', scheme: 'http', authority: 'a', path: facts.path ?? '/', headers },
    { localAddress, localPort, remoteAddress: facts.remote ?? '10.0.0.2', remotePort: 1, tls: facts.tls },
    () => Promise.reject(new Error('not reached')),
  );
}

function outbound(path: string): OutboundCall {
  const transport = {
    name: 'none',
    connect: () => {
      throw new Error('not reached');
    },
  };
  return new OutboundCall(
    { protocol: 'http', method: 'GET', scheme: 'http', authority: 'a', path, headers: new HeaderList() },
    { replayable: true },
    transport,
  );
}

// The naive evaluator: no compiling, no short cuts, JavaScript's own RegExp on patterns that mean the same in RE2.
function matches(matcher: StringMatcherConfig, value: string): boolean {
  const [text, given] =
    matcher.ignoreCase && matcher.kind !== 'regex' ? [matcher.value.toLowerCase(), value.toLowerCase()] : [matcher.value, value];
  if (matcher.kind === 'exact') return given === text;
  if (matcher.kind === 'prefix') return given.indexOf(text) === 0;
  if (matcher.kind === 'suffix') return given.length >= text.length && given.lastIndexOf(text) === given.length - text.length;
  if (matcher.kind === 'contains') return given.split(text).length > 1;
  return new RegExp(`^(?:${text})$`).test(given);
}

function headerMatches({ name, match, invert, treatMissingAsEmpty }: HeaderMatcherConfig, facts: Facts): boolean {
  const values = facts.headers.filter(([key]) => key === name).map(([, value]) => value);
  const present = values.length > 0 || treatMissingAsEmpty;
  if (match.kind === 'present') return (present === match.present) !== invert;
  if (!present) return false;
  const value = values.join(',');
  const result =
    match.kind === 'string'
      ? matches(match.matcher, value)
      : /^-?\d+$/.test(value) && BigInt(value) >= match.start && BigInt(value) < match.end;
  return result !== invert;
}

const bits = (address: string): string =>
  address
    .split('.')
    .map((part) => Number(part).toString(2).padStart(8, '0'))
    .join('');
const inRange = (cidr: CidrConfig, address: string): boolean =>
  bits(cidr.address).slice(0, cidr.prefixLength) === bits(address).slice(0, cidr.prefixLength);
const pathOnly = (path: string): string => path.split('?')[0]?.split('#')[0] ?? '';

function principalMatches(id: Principal, facts: Facts): boolean {
  switch (id.kind) {
    case 'any':
      return true;
    case 'and':
      return !id.ids.map((one) => principalMatches(one, facts)).includes(false);
    case 'or':
      return id.ids.map((one) => principalMatches(one, facts)).includes(true);
    case 'not':
      return !principalMatches(id.id, facts);
    case 'authenticated': {
      if (facts.tls === undefined) return false;
      if (id.matcher === undefined) return true;
      const { authenticated, uriSans, dnsSans, subject } = facts.tls;
      const names = !authenticated ? [''] : uriSans.length > 0 ? uriSans : dnsSans.length > 0 ? dnsSans : [subject];
      const { matcher } = id;
      return names.some((name) => matches(matcher, name));
    }
    case 'remote-ip':
      return inRange(id.cidr, facts.remote);
    case 'header':
      return headerMatches(id.matcher, facts);
    case 'path':
      return matches(id.matcher, pathOnly(facts.path));
    case 'metadata':
      return id.invert;
  }
}

function permissionMatches(rule: Permission, facts: Facts): boolean {
  switch (rule.kind) {
    case 'any':
      return true;
    case 'and':
      return !rule.rules.map((one) => permissionMatches(one, facts)).includes(false);
    case 'or':
      return rule.rules.map((one) => permissionMatches(one, facts)).includes(true);
    case 'not':
      return !permissionMatches(rule.rule, facts);
    case 'header':
      return headerMatches(rule.matcher, facts);
    case 'path':
      return matches(rule.matcher, pathOnly(facts.path));
    case 'destination-ip':
      return inRange(rule.cidr, facts.local[0]);
    case 'destination-port':
      return facts.local[1] === rule.port;
    case 'destination-port-range':
      return facts.local[1] >= rule.start && facts.local[1] < rule.end;
    case 'server-name':
      return matches(rule.matcher, facts.tls?.serverName ?? '');
    case 'metadata':
      return rule.invert;
  }
}

function naive(rules: RbacRules, facts: Facts): boolean {
  const hit =
    rules.policies.filter(
      (p) => p.permissions.some((rule) => permissionMatches(rule, facts)) && p.principals.some((id) => principalMatches(id, facts)),
    ).length > 0;
  return rules.action === 'allow' ? hit : !hit;
}

// Few and short words, so that matchers often hit.
const word = fc.constantFrom('a', 'b', 'ab', '/a', '/b', 'spiffe://a', 'A');
const stringMatcher: fc.Arbitrary<StringMatcherConfig> = fc.oneof(
  fc.record({ kind: fc.constantFrom('exact', 'prefix', 'suffix', 'contains'), value: word, ignoreCase: fc.boolean() }),
  fc.record({
    kind: fc.constant('regex' as const),
    value: fc.constantFrom('a|b', '/a.*', '.*', 'spiffe://(a|b)', '[ab]+', ''),
    ignoreCase: fc.constant(false),
  }),
);
const headerMatcher: fc.Arbitrary<HeaderMatcherConfig> = fc.record({
  name: fc.constantFrom('x', 'y'),
  match: fc.oneof(
    fc.record({ kind: fc.constant('present' as const), present: fc.boolean() }),
    fc.record({ kind: fc.constant('string' as const), matcher: stringMatcher }),
    fc.record({ kind: fc.constant('range' as const), start: fc.constant(-1n), end: fc.bigInt({ min: 0n, max: 3n }) }),
  ),
  invert: fc.boolean(),
  treatMissingAsEmpty: fc.boolean(),
});
const ip = fc.constantFrom('10.0.0.1', '10.0.0.2', '10.1.0.1', '11.0.0.1', '255.255.255.255', '0.0.0.0');
const cidr = fc.record({ address: ip, prefixLength: fc.integer({ min: 0, max: 32 }) });
const both = [
  fc.record({ kind: fc.constant('any' as const) }),
  fc.record({ kind: fc.constant('header' as const), matcher: headerMatcher }),
  fc.record({ kind: fc.constant('path' as const), matcher: stringMatcher }),
  fc.record({ kind: fc.constant('metadata' as const), invert: fc.boolean() }),
] as const;
const { permission } = fc.letrec<{ permission: Permission }>((tie) => ({
  permission: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    ...both,
    fc.record({ kind: fc.constant('destination-ip' as const), cidr }),
    fc.record({ kind: fc.constant('destination-port' as const), port: fc.constantFrom(80, 81) }),
    fc.record({
      kind: fc.constant('destination-port-range' as const),
      start: fc.constantFrom(79, 80, 81),
      end: fc.constantFrom(80, 81, 82),
    }),
    fc.record({ kind: fc.constant('server-name' as const), matcher: stringMatcher }),
    fc.record({ kind: fc.constantFrom('and' as const, 'or' as const), rules: fc.array(tie('permission'), { minLength: 1, maxLength: 3 }) }),
    fc.record({ kind: fc.constant('not' as const), rule: tie('permission') }),
  ),
}));
const { principal } = fc.letrec<{ principal: Principal }>((tie) => ({
  principal: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    ...both,
    fc.record({ kind: fc.constant('authenticated' as const), matcher: fc.option(stringMatcher, { nil: undefined }) }),
    fc.record({ kind: fc.constant('remote-ip' as const), cidr }),
    fc.record({ kind: fc.constantFrom('and' as const, 'or' as const), ids: fc.array(tie('principal'), { minLength: 1, maxLength: 3 }) }),
    fc.record({ kind: fc.constant('not' as const), id: tie('principal') }),
  ),
}));
const rulesArbitrary: fc.Arbitrary<RbacRules> = fc.record({
  action: fc.constantFrom('allow' as const, 'deny' as const),
  policies: fc.array(
    fc.record({
      name: fc.constant('p'),
      permissions: fc.array(permission, { minLength: 1, maxLength: 3 }),
      principals: fc.array(principal, { minLength: 1, maxLength: 3 }),
    }),
    { maxLength: 3 },
  ),
});
const sans = fc.array(word, { maxLength: 2 });
const factsArbitrary: fc.Arbitrary<Facts> = fc.record({
  path: fc.constantFrom('/a', '/b', '/a/b', '/a?x=/b', '/A#b', '/'),
  headers: fc.array(fc.tuple(fc.constantFrom('x', 'y'), fc.constantFrom('a', 'b', 'ab', '', '1', '-1', '2')), { maxLength: 3 }),
  local: fc.tuple(ip, fc.constantFrom(80, 81)),
  remote: ip,
  tls: fc.option(fc.record({ authenticated: fc.boolean(), uriSans: sans, dnsSans: sans, subject: word, serverName: word }), {
    nil: undefined,
  }),
});

describe('the RBAC engine', () => {
  it('decides as the naive evaluator does', () => {
    const seen = { true: 0, false: 0 };
    fc.assert(
      fc.property(rulesArbitrary, fc.array(factsArbitrary, { minLength: 1, maxLength: 5 }), (rules, many) => {
        const allows = compileRules(rules);
        for (const facts of many) {
          const expected = naive(rules, facts);
          seen[`${expected}`]++;
          expect(allows(inbound(facts))).toBe(expected);
        }
      }),
      { numRuns: 2000 },
    );
    // The property would hold for an engine that says one thing always, were the cases one-sided.
    expect(Math.min(seen.true, seen.false)).toBeGreaterThan(1000);
  });

  it('ALLOW without policies lets nothing through, DENY without policies everything', () => {
    expect(compileRules({ action: 'allow', policies: [] })(inbound())).toBe(false);
    expect(compileRules({ action: 'deny', policies: [] })(inbound())).toBe(true);
  });

  it('knows no peer on outbound calls, but paths and headers', () => {
    const rule = (rules: Permission, id: Principal): RbacRules => ({
      action: 'allow',
      policies: [{ name: 'p', permissions: [rules], principals: [id] }],
    });
    const path: Permission = { kind: 'path', matcher: { kind: 'prefix', value: '/a', ignoreCase: false } };
    expect(compileRules(rule(path, { kind: 'any' }))(outbound('/a/b'))).toBe(true);
    expect(compileRules(rule(path, { kind: 'any' }))(outbound('/b'))).toBe(false);
    expect(compileRules(rule(path, { kind: 'authenticated', matcher: undefined }))(outbound('/a'))).toBe(false);
    expect(compileRules(rule(path, { kind: 'remote-ip', cidr: { address: '0.0.0.0', prefixLength: 0 } }))(outbound('/a'))).toBe(false);
    expect(compileRules(rule({ kind: 'destination-port-range', start: 0, end: 70_000 }, { kind: 'any' }))(outbound('/a'))).toBe(false);
  });
});

const decision = (action: 'allow' | 'deny'): RbacConfig => ({
  rules: { action, policies: [{ name: 'secret-policy', permissions: [{ kind: 'any' }], principals: [{ kind: 'any' }] }] },
});
const enter = (
  config: RbacConfig,
  call: Call,
): ReturnType<NonNullable<NonNullable<ReturnType<typeof rbacFilter.layer>>['step']>['enter']> =>
  rbacFilter.layer(config, deps)?.step?.enter(call);

describe('the RBAC layer', () => {
  it('answers 403 and PERMISSION_DENIED without naming the policy', () => {
    const reply = enter(decision('deny'), inbound());
    expect(reply).toMatchObject({
      status: 403,
      grpcStatus: 7,
      body: { text: 'RBAC: access denied' },
      failure: { kind: { details: 'rbac_access_denied' } },
    });
    expect(JSON.stringify([reply, [...(reply?.headers.entries() ?? [])]])).not.toContain('secret-policy');
  });

  it('lets calls through without a reply', () => {
    expect(enter(decision('allow'), inbound())).toBeUndefined();
  });

  it('fails closed when the request cannot be looked at', () => {
    const headers = {
      get: () => {
        throw new Error('broken');
      },
    } as unknown as HeaderMap;
    const rules: RbacRules = {
      action: 'deny',
      policies: [
        {
          name: 'p',
          permissions: [
            {
              kind: 'header',
              matcher: { name: 'x', match: { kind: 'present', present: true }, invert: false, treatMissingAsEmpty: false },
            },
          ],
          principals: [{ kind: 'any' }],
        },
      ],
    };
    expect(enter({ rules }, inbound({}, headers))).toMatchObject({
      status: 500,
      grpcStatus: 13,
      failure: { kind: { details: 'filter_failed' } },
    });
  });
});

describe('overrides on the server side (peer defect 3)', () => {
  const filter = (config: RbacConfig): HttpFilterConfig => ({
    name: 'authz',
    typeUrl: RBAC_TYPE_URL,
    disabled: false,
    terminal: false,
    config,
  });
  const override = (config: RbacConfig | undefined, disabled = false): FilterOverrides => ({ authz: { disabled, config } });
  const denied = (overrides: readonly FilterOverrides[], base = decision('allow')): boolean =>
    new FilterChain([rbacFilter], deps)
      .layers([filter(base)], overrides, 'inbound')
      .some((layer) => layer.step?.enter(inbound()) !== undefined);

  it.each<[string, readonly FilterOverrides[], RbacConfig, boolean]>([
    ['none', [], decision('allow'), false],
    ['none, filter denies', [], decision('deny'), true],
    ['virtual host denies', [{}, override(decision('deny'))], decision('allow'), true],
    ['route denies', [override(decision('deny')), {}], decision('allow'), true],
    ['route wins over virtual host', [override(decision('allow')), override(decision('deny'))], decision('deny'), false],
    ['route switches it off', [override({ rules: undefined })], decision('deny'), false],
    ['route disables it', [override(undefined, true)], decision('deny'), false],
    ['under the name of another filter', [{ other: { disabled: false, config: decision('deny') } }], decision('allow'), false],
  ])('%s', (_what, overrides, base, isDenied) => {
    expect(denied(overrides, base)).toBe(isDenied);
  });
});
