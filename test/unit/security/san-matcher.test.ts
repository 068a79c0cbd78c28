/** SAN matchers: gRFC A29, Envoy T-3 and T-4. */
import { describe, expect, it } from 'vitest';
import type { StringMatcherConfig } from '../../../src/config/matchers.ts';
import type { SanMatcherConfig } from '../../../src/config/tls.ts';
import { canonicalIp, compileSanMatchers, dnsNameMatches } from '../../../src/security/san-matcher.ts';
import { parseSubjectAltNames } from '../../../src/core/peer-identity.ts';

const matcher = (
  type: SanMatcherConfig['type'],
  kind: StringMatcherConfig['kind'],
  value: string,
  ignoreCase = false,
): SanMatcherConfig => ({
  type,
  matcher: { kind, value, ignoreCase },
});

describe('compileSanMatchers', () => {
  it.each<[SanMatcherConfig, string, boolean]>([
    [matcher('uri', 'exact', 'spiffe://td/a'), 'URI:spiffe://td/a', true],
    [matcher('uri', 'exact', 'spiffe://td/a'), 'URI:spiffe://td/b, URI:spiffe://td/a', true],
    [matcher('uri', 'exact', 'spiffe://td/a'), 'URI:spiffe://td/ab', false],
    [matcher('uri', 'exact', 'spiffe://td/a'), 'URI:spiffe://TD/a', false],
    [matcher('uri', 'exact', 'spiffe://TD/a', true), 'URI:spiffe://td/a', true],
    [matcher('uri', 'exact', 'spiffe://td/a'), 'DNS:spiffe://td/a', false],
    [matcher('uri', 'exact', 'spiffe://td/a'), 'DNS:"x, URI:spiffe://td/a"', false],
    [matcher('uri', 'exact', 'spiffe://td/a'), 'othername:URI:spiffe://td/a', false],
    [matcher('uri', 'prefix', 'spiffe://td/'), 'URI:spiffe://td/a', true],
    [matcher('uri', 'prefix', 'spiffe://td/'), 'URI:spiffe://td2/a', false],
    [matcher('uri', 'suffix', '/sa/cart'), 'URI:spiffe://td/ns/x/sa/cart', true],
    [matcher('uri', 'contains', '/ns/x/'), 'URI:spiffe://td/ns/x/sa/cart', true],
    [matcher('uri', 'regex', 'spiffe://td/(a|b)'), 'URI:spiffe://td/b', true],
    [matcher('uri', 'regex', 'spiffe://td/a|b'), 'URI:spiffe://td/ab', false],
    [matcher('uri', 'regex', 'spiffe://td/a'), 'URI:spiffe://td/a/evil', false],
    [matcher('dns', 'exact', 'Cart.Shop'), 'DNS:cart.shop', true],
    [matcher('dns', 'exact', 'cart.shop'), 'DNS:*.shop', true],
    [matcher('dns', 'exact', 'a.cart.shop'), 'DNS:*.shop', false],
    [matcher('dns', 'prefix', 'cart'), 'DNS:*.shop', false],
    [matcher('dns', 'suffix', '.shop'), 'DNS:*.shop', true],
    [matcher('dns', 'exact', 'spiffe://td/a'), 'URI:spiffe://td/a', false],
    [matcher('email', 'exact', 'a@b.c'), 'email:a@b.c', true],
    [matcher('email', 'exact', 'a@b.c'), 'DNS:a@b.c', false],
    [matcher('ip', 'exact', '2001:db8::1'), 'IP Address:2001:DB8:0:0:0:0:0:1', true],
    [matcher('ip', 'exact', '2001:DB8:0::1'), 'IP Address:2001:DB8:0:0:0:0:0:1', true],
    [matcher('ip', 'exact', '10.0.0.1'), 'IP Address:10.0.0.1', true],
    [matcher('ip', 'exact', '10.0.0.1'), 'DNS:10.0.0.1', false],
    [matcher('ip', 'exact', 'nonsense'), 'IP Address:10.0.0.1', false],
    [matcher('ip', 'prefix', '2001:db8::'), 'IP Address:2001:DB8:0:0:0:0:0:1', true],
    [matcher('any', 'exact', 'spiffe://td/a'), 'URI:spiffe://td/a', true],
    [matcher('any', 'exact', 'cart.shop'), 'DNS:*.shop', true],
    [matcher('any', 'exact', '10.0.0.1'), 'IP Address:10.0.0.1', true],
    [matcher('any', 'exact', 'x'), 'othername:x', false],
    [matcher('uri', 'exact', 'spiffe://td/a'), '', false],
  ])('%j against %s: %s', (config, text, accepted) => {
    expect(compileSanMatchers([config])(parseSubjectAltNames(text) ?? [])).toBe(accepted);
  });

  it('takes any matcher on any name, and none of an empty list', () => {
    const names = parseSubjectAltNames('URI:spiffe://td/b, DNS:x') ?? [];
    expect(compileSanMatchers([matcher('uri', 'exact', 'spiffe://td/a'), matcher('dns', 'exact', 'x')])(names)).toBe(true);
    expect(compileSanMatchers([])(names)).toBe(false);
  });
});

describe('dnsNameMatches', () => {
  it.each([
    ['a.example.com', '*.example.com', true],
    ['A.Example.Com', '*.eXample.com', true],
    ['a.example.com.', '*.example.com', true],
    ['example.com', '*.example.com', false],
    ['b.a.example.com', '*.example.com', false],
    ['.example.com', '*.example.com', false],
    ['abc.example.com', 'a*.example.com', false],
    ['a.b.example.com', 'a.*.example.com', false],
    ['a.example.com', '*.*.com', false],
    ['example.com', '*.com', true],
    ['com', '*', false],
    ['a.', '*.', false],
    ['', '', false],
    ['a', 'a', true],
  ])('%s covered by %s: %s', (host, pattern, covered) => {
    expect(dnsNameMatches(host, pattern)).toBe(covered);
  });
});

it.each([
  ['::1', '::1'],
  ['0:0:0:0:0:0:0:1', '::1'],
  ['2001:DB8:0:0:8:0:0:A', '2001:db8::8:0:0:a'],
  ['10.1.2.3', '10.1.2.3'],
  ['fe80::1%eth0', undefined],
  ['010.1.2.3', undefined],
  ['x', undefined],
])('canonicalIp(%s) is %s', (text, canonical) => {
  expect(canonicalIp(text)).toBe(canonical);
});
