/**
 * The matchers inside RBAC policies from their protobuf form. Stricter than in routes: what cannot be told for certain rejects the
 * resource, since a matcher that is silently wider or narrower is a hole (grpc.md rules 20 and 41, gRFC A41).
 */
import type { CidrConfig, HeaderMatcherConfig, StringMatcherConfig } from '../../config/matchers.ts';
import { ConfigProblem } from '../../config/resource.ts';
import { compileCidr, parseAddress } from '../../matching/cidr.ts';
import { compileHeader } from '../../matching/header.ts';
import { compileString } from '../../matching/string.ts';
import type { CidrRange } from '../../proto/gen/envoy/config/core/v3/address_pb.js';
import type { HeaderMatcher } from '../../proto/gen/envoy/config/route/v3/route_components_pb.js';
import type { PathMatcher } from '../../proto/gen/envoy/type/matcher/v3/path_pb.js';
import type { StringMatcher } from '../../proto/gen/envoy/type/matcher/v3/string_pb.js';

/**
 * Refuses fields from a newer version of the schema: in a policy, what is not understood could be what narrows it. (Elsewhere unknown
 * fields are ignored, grpc.md rule 2.)
 */
export function refuseUnknown(message: { readonly $unknown?: readonly { readonly no: number }[] | undefined }, path: string): void {
  const field = message.$unknown?.[0];
  if (field !== undefined) throw new ConfigProblem(path, `field number ${field.no} is not known to inmesh`);
}

/** Compiles what was parsed, so that a bad pattern rejects the resource and not the first call. */
function checked<T>(config: T, path: string, compile: (config: T) => unknown): T {
  try {
    compile(config);
  } catch (error) {
    if (!(error instanceof ConfigProblem)) throw error;
    throw new ConfigProblem(error.field === '' ? path : `${path}.${error.field}`, error.reason);
  }
  return config;
}

export function parseStringMatcher(matcher: StringMatcher | undefined, path: string): StringMatcherConfig {
  return checked(stringConfig(matcher, path), path, compileString);
}

function stringConfig(matcher: StringMatcher | undefined, path: string): StringMatcherConfig {
  if (matcher === undefined) throw new ConfigProblem(path, 'is missing');
  refuseUnknown(matcher, path);
  const { matchPattern: pattern, ignoreCase } = matcher;
  switch (pattern.case) {
    case 'exact':
    case 'prefix':
    case 'suffix':
    case 'contains':
      return { kind: pattern.case, value: pattern.value, ignoreCase };
    case 'safeRegex':
      return { kind: 'regex', value: pattern.value.regex, ignoreCase: false };
    case 'custom':
      throw new ConfigProblem(`${path}.custom`, 'custom string matchers are not supported');
    default:
      throw new ConfigProblem(path, 'no match pattern is set that inmesh knows');
  }
}

export function parsePathMatcher(matcher: PathMatcher, path: string): StringMatcherConfig {
  refuseUnknown(matcher, path);
  if (matcher.rule.case !== 'path') throw new ConfigProblem(path, 'must have a path');
  return parseStringMatcher(matcher.rule.value, `${path}.path`);
}

export function parseHeaderMatcher(matcher: HeaderMatcher, path: string): HeaderMatcherConfig {
  refuseUnknown(matcher, path);
  const name = matcher.name.toLowerCase();
  if (name === '') throw new ConfigProblem(`${path}.name`, 'must not be empty');
  if (name === ':scheme' || name.startsWith('grpc-'))
    throw new ConfigProblem(`${path}.name`, `"${matcher.name}" cannot be matched by RBAC (gRFC A41)`);
  const config: HeaderMatcherConfig = {
    name,
    match: headerMatch(matcher, path),
    invert: matcher.invertMatch,
    treatMissingAsEmpty: matcher.treatMissingHeaderAsEmpty,
  };
  return checked(config, path, (header) => compileHeader(header, 'rbac'));
}

function headerMatch(matcher: HeaderMatcher, path: string): HeaderMatcherConfig['match'] {
  const specifier = matcher.headerMatchSpecifier;
  const text = (kind: StringMatcherConfig['kind'], value: string): HeaderMatcherConfig['match'] => ({
    kind: 'string',
    matcher: { kind, value, ignoreCase: false },
  });
  switch (specifier.case) {
    case 'exactMatch':
      return text('exact', specifier.value);
    case 'prefixMatch':
      return text('prefix', specifier.value);
    case 'suffixMatch':
      return text('suffix', specifier.value);
    case 'containsMatch':
      return text('contains', specifier.value);
    case 'safeRegexMatch':
      return text('regex', specifier.value.regex);
    case 'presentMatch':
      return { kind: 'present', present: specifier.value };
    case 'rangeMatch':
      return { kind: 'range', start: specifier.value.start, end: specifier.value.end };
    case 'stringMatch':
      return { kind: 'string', matcher: stringConfig(specifier.value, `${path}.string_match`) };
    default:
      // Envoy takes an unset specifier for presence; one that we do not know would look the same.
      throw new ConfigProblem(path, 'no header match specifier is set that inmesh knows');
  }
}

export function parseCidr(range: CidrRange, path: string): CidrConfig {
  refuseUnknown(range, path);
  const address = parseAddress(range.addressPrefix);
  if (address === undefined)
    throw new ConfigProblem(`${path}.address_prefix`, `${JSON.stringify(range.addressPrefix)} is not an IP address`);
  const prefixLength = range.prefixLen ?? 0;
  if (prefixLength > (range.addressPrefix.includes(':') ? 128 : 32))
    throw new ConfigProblem(`${path}.prefix_len`, `${prefixLength} is more than the address has bits`);
  return checked({ address: range.addressPrefix, prefixLength }, path, compileCidr);
}
