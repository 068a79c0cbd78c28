/**
 * SAN matchers of a cluster or a server against the names of a peer's leaf certificate (gRFC A29, Envoy T-3 and T-4): any matcher that
 * accepts any name of its type accepts the peer.
 */
import { isIPv4, isIPv6, SocketAddress } from 'node:net';
import type { StringMatcherConfig } from '../config/matchers.ts';
import type { SanMatcherConfig } from '../config/tls.ts';
import type { SubjectAltName } from '../core/peer-identity.ts';
import { compileString } from '../matching/string.ts';

type NamePredicate = (name: SubjectAltName) => boolean;

/** Compiled once per configuration. An empty list accepts nothing: whether that means "anybody" is the caller's decision. */
export function compileSanMatchers(matchers: readonly SanMatcherConfig[]): (names: readonly SubjectAltName[]) => boolean {
  const predicates = matchers.map(compileOne);
  return (names) => names.some((name) => predicates.some((accepts) => accepts(name)));
}

function compileOne(config: SanMatcherConfig): NamePredicate {
  const { type, matcher } = config;
  const text = compileString(matcher);
  const dns = matcher.kind === 'exact' ? (value: string): boolean => dnsNameMatches(matcher.value, value) : text;
  const ip = compileIp(matcher, text);
  return (name) => {
    // `any` (match_subject_alt_names) stands for the four types that Envoy and gRPC know.
    if (name.type === 'other' || (type !== 'any' && type !== name.type)) return false;
    if (name.type === 'dns') return dns(name.value);
    return name.type === 'ip' ? ip(name.value) : text(name.value);
  };
}

/** IP addresses are compared in canonical text, also by the other kinds of matcher (gRFC A29). */
function compileIp(matcher: StringMatcherConfig, text: (value: string) => boolean): (value: string) => boolean {
  if (matcher.kind === 'exact') {
    const wanted = canonicalIp(matcher.value);
    return (value) => wanted !== undefined && canonicalIp(value) === wanted;
  }
  return (value) => {
    const canonical = canonicalIp(value);
    return canonical !== undefined && text(canonical);
  };
}

/** The usual short lower-case form, or undefined for what is no IP address. */
export function canonicalIp(address: string): string | undefined {
  if (isIPv4(address)) return address;
  return isIPv6(address) && !address.includes('%') ? new SocketAddress({ address, family: 'ipv6' }).address : undefined;
}

/**
 * Whether the name in a certificate covers `host`: without regard to case, a trailing dot means nothing, and a wildcard counts only as
 * the whole left-most label (gRFC A29; Envoy would take `a*.example.com` too), standing for exactly one label of a name with at least two.
 */
export function dnsNameMatches(host: string, pattern: string): boolean {
  const wanted = withoutFinalDot(host.toLowerCase());
  const name = withoutFinalDot(pattern.toLowerCase());
  if (wanted === '' || name === '') return false;
  if (!name.startsWith('*.')) return !name.includes('*') && wanted === name;
  const parent = name.slice(1);
  if (parent.length < 2 || parent.includes('*')) return false;
  const dot = wanted.indexOf('.');
  return dot > 0 && wanted.slice(dot) === parent;
}

function withoutFinalDot(name: string): string {
  return name.endsWith('.') ? name.slice(0, -1) : name;
}
