/** String matchers (envoy.type.matcher.v3.StringMatcher, Envoy R-27, gRFC A63) compiled to predicates. */
import type { StringMatcherConfig } from '../config/matchers.ts';
import { ConfigProblem } from '../config/resource.ts';
import { compileRegex } from './regex.ts';

/** Lower case of A to Z only, as Envoy compares without case; keeps the length. */
export function asciiLower(text: string): string {
  // eslint-disable-next-line no-control-regex
  return /^[\u0000-\u007f]*$/.test(text) ? text.toLowerCase() : text.replace(/[A-Z]+/g, (upper) => upper.toLowerCase());
}

/** Throws `ConfigProblem` for a bad pattern, and for an empty prefix, suffix or part, which would match everything. */
export function compileString(config: StringMatcherConfig): (value: string) => boolean {
  if (config.kind === 'regex') {
    const regex = compileRegex(config.value);
    return (value) => regex.test(value);
  }
  if (config.value === '' && config.kind !== 'exact') throw new ConfigProblem(config.kind, 'must not be empty');
  const text = config.ignoreCase ? asciiLower(config.value) : config.value;
  const sensitive = compareWith(config.kind, text);
  return config.ignoreCase ? (value) => sensitive(asciiLower(value)) : sensitive;
}

function compareWith(kind: 'exact' | 'prefix' | 'suffix' | 'contains', text: string): (value: string) => boolean {
  switch (kind) {
    case 'exact':
      return (value) => value === text;
    case 'prefix':
      return (value) => value.startsWith(text);
    case 'suffix':
      return (value) => value.endsWith(text);
    case 'contains':
      return (value) => value.includes(text);
  }
}
