/** Matchers as envoy.type.matcher.v3 and envoy.config.route.v3 messages. */
import type { CidrConfig, HeaderMatcherConfig, QueryParameterMatcherConfig, StringMatcherConfig } from '../../config/matchers.ts';
import type { JsonObject } from './json.ts';
import { object } from './json.ts';

export function encodeString(matcher: StringMatcherConfig): JsonObject {
  if (matcher.kind === 'regex') return { safe_regex: { regex: matcher.value } };
  return object({ [matcher.kind]: matcher.value, ignore_case: matcher.ignoreCase ? true : undefined });
}

export function encodeHeader(matcher: HeaderMatcherConfig): JsonObject {
  const { match } = matcher;
  return object({
    name: matcher.name,
    present_match: match.kind === 'present' ? match.present : undefined,
    string_match: match.kind === 'string' ? encodeString(match.matcher) : undefined,
    range_match: match.kind === 'range' ? { start: String(match.start), end: String(match.end) } : undefined,
    invert_match: matcher.invert ? true : undefined,
    treat_missing_header_as_empty: matcher.treatMissingAsEmpty ? true : undefined,
  });
}

export function encodeQuery(matcher: QueryParameterMatcherConfig): JsonObject {
  const { match } = matcher;
  return match.kind === 'present'
    ? { name: matcher.name, present_match: match.present }
    : { name: matcher.name, string_match: encodeString(match.matcher) };
}

export function encodeCidr(cidr: CidrConfig): JsonObject {
  return { address_prefix: cidr.address, prefix_len: cidr.prefixLength };
}
