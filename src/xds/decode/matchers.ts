/** envoy.type.matcher.v3 and the header and query parameter matchers of routes (Envoy; gRPC rule 20, A63). */
import type { HeaderMatcher, QueryParameterMatcher } from '../../proto/gen/envoy/config/route/v3/route_components_pb.js';
import type { RegexMatchAndSubstitute, RegexMatcher } from '../../proto/gen/envoy/type/matcher/v3/regex_pb.js';
import type { StringMatcher } from '../../proto/gen/envoy/type/matcher/v3/string_pb.js';
import type { HeaderMatcherConfig, QueryParameterMatcherConfig, StringMatcherConfig } from '../../config/matchers.ts';
import { ConfigProblem } from '../../config/resource.ts';
import { compileRegex } from '../../matching/regex.ts';
import type { Regex } from '../../matching/regex.ts';

function compiled(pattern: string, path: string): Regex {
  if (pattern === '') throw new ConfigProblem(path, 'the regular expression is empty');
  try {
    return compileRegex(pattern);
  } catch (error) {
    if (error instanceof ConfigProblem) throw new ConfigProblem(path, error.reason);
    throw error;
  }
}

/** The pattern itself, after RE2 has accepted it. */
export function regex(matcher: RegexMatcher | undefined, path: string): string {
  return compiled(matcher?.regex ?? '', `${path}.regex`).pattern;
}

export function regexRewrite(rewrite: RegexMatchAndSubstitute, path: string): { readonly pattern: string; readonly substitution: string } {
  const { substitution } = rewrite;
  const pattern = compiled(rewrite.pattern?.regex ?? '', `${path}.pattern.regex`);
  const reason = pattern.checkSubstitution(substitution);
  if (reason !== undefined) throw new ConfigProblem(`${path}.substitution`, reason);
  return { pattern: pattern.pattern, substitution };
}

function nonEmpty(value: string, path: string): string {
  if (value === '') throw new ConfigProblem(path, 'must not be empty');
  return value;
}

export function stringMatcher(matcher: StringMatcher | undefined, path: string): StringMatcherConfig {
  const pattern = matcher?.matchPattern;
  const ignoreCase = matcher?.ignoreCase ?? false;
  switch (pattern?.case) {
    case 'exact':
      return { kind: 'exact', value: pattern.value, ignoreCase };
    case 'prefix':
    case 'suffix':
    case 'contains':
      return { kind: pattern.case, value: nonEmpty(pattern.value, `${path}.${pattern.case}`), ignoreCase };
    case 'safeRegex':
      return { kind: 'regex', value: regex(pattern.value, `${path}.safe_regex`), ignoreCase: false };
    case 'custom':
      throw new ConfigProblem(`${path}.custom`, 'custom string matchers are not supported');
    default:
      throw new ConfigProblem(path, 'no match pattern that is known');
  }
}

function plain(kind: 'prefix' | 'suffix' | 'contains', value: string, path: string): HeaderMatcherConfig['match'] {
  return { kind: 'string', matcher: { kind, value: nonEmpty(value, path), ignoreCase: false } };
}

function headerMatch(matcher: HeaderMatcher, path: string): HeaderMatcherConfig['match'] {
  const specifier = matcher.headerMatchSpecifier;
  switch (specifier.case) {
    case 'presentMatch':
      return { kind: 'present', present: specifier.value };
    case 'stringMatch':
      return { kind: 'string', matcher: stringMatcher(specifier.value, `${path}.string_match`) };
    case 'rangeMatch':
      return { kind: 'range', start: specifier.value.start, end: specifier.value.end };
    case 'safeRegexMatch':
      return { kind: 'string', matcher: { kind: 'regex', value: regex(specifier.value, `${path}.safe_regex_match`), ignoreCase: false } };
    case 'exactMatch':
      // Envoy D9: the old exact matcher with an empty text accepts every value of a header that is there.
      if (specifier.value === '') return { kind: 'present', present: true };
      return { kind: 'string', matcher: { kind: 'exact', value: specifier.value, ignoreCase: false } };
    case 'prefixMatch':
      return plain('prefix', specifier.value, `${path}.prefix_match`);
    case 'suffixMatch':
      return plain('suffix', specifier.value, `${path}.suffix_match`);
    case 'containsMatch':
      return plain('contains', specifier.value, `${path}.contains_match`);
    default:
      // Envoy R-21: no specifier asks for presence. One that we do not know would be taken for that, so it rejects (gRPC rule 20).
      if (matcher.$unknown !== undefined && matcher.$unknown.length > 0) throw new ConfigProblem(path, 'unknown kind of header matcher');
      return { kind: 'present', present: true };
  }
}

export function headerMatcher(matcher: HeaderMatcher, path: string): HeaderMatcherConfig {
  return {
    name: nonEmpty(matcher.name, `${path}.name`).toLowerCase(),
    match: headerMatch(matcher, path),
    invert: matcher.invertMatch,
    treatMissingAsEmpty: matcher.treatMissingHeaderAsEmpty,
  };
}

export function headerMatchers(matchers: readonly HeaderMatcher[], path: string): HeaderMatcherConfig[] {
  return matchers.map((matcher, i) => headerMatcher(matcher, `${path}[${i}]`));
}

export function queryParameterMatcher(matcher: QueryParameterMatcher, path: string): QueryParameterMatcherConfig {
  const name = nonEmpty(matcher.name, `${path}.name`);
  const specifier = matcher.queryParameterMatchSpecifier;
  if (specifier.case === 'stringMatch')
    return { name, match: { kind: 'string', matcher: stringMatcher(specifier.value, `${path}.string_match`) } };
  if (specifier.case === 'presentMatch') return { name, match: { kind: 'present', present: specifier.value } };
  if (matcher.$unknown !== undefined && matcher.$unknown.length > 0)
    throw new ConfigProblem(path, 'unknown kind of query parameter matcher');
  return { name, match: { kind: 'present', present: true } };
}
