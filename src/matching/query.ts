/** Query parameter matchers (Envoy R-22): no percent-decoding, first value of a key, a key without `=` has the value "". */
import type { QueryParameterMatcherConfig } from '../config/matchers.ts';
import { compileString } from './string.ts';

/** First value of `name` in the query of `path`; undefined when the key is absent. */
export function queryParameter(path: string, name: string): string | undefined {
  const question = path.indexOf('?');
  if (question < 0) return undefined;
  let at = question + 1;
  while (at <= path.length) {
    let end = path.indexOf('&', at);
    if (end < 0) end = path.length;
    if (path.startsWith(name, at)) {
      const behind = at + name.length;
      if (behind === end) return '';
      if (behind < end && path[behind] === '=') return path.slice(behind + 1, end);
    }
    at = end + 1;
  }
  return undefined;
}

/** Throws `ConfigProblem` for a bad string matcher. */
export function compileQuery(config: QueryParameterMatcherConfig): (path: string) => boolean {
  const { name, match } = config;
  if (match.kind === 'present') return (path) => (queryParameter(path, name) !== undefined) === match.present;
  const test = compileString(match.matcher);
  return (path) => {
    const value = queryParameter(path, name);
    return value !== undefined && test(value);
  };
}
