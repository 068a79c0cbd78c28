/** The obvious matcher: every route in order, every condition in Envoy's order (2.3). What the indexed one has to equal. */
import { RE2JS } from 're2js';
import type { RouteEntryConfig } from '../../../src/config/routes.ts';
import type { RequestHead } from '../../../src/core/call.ts';
import { compileHeader } from '../../../src/matching/header.ts';
import { compileQuery } from '../../../src/matching/query.ts';

const isGrpc = (head: RequestHead): boolean =>
  head.protocol === 'grpc' || /^application\/grpc(\+.*)?$/.test(head.headers.get('content-type') ?? '');

function pathMatches(path: RouteEntryConfig['match']['path'], actual: string): boolean {
  if (path.kind === 'regex') return RE2JS.compile(path.value).testExact(actual);
  const lower = (text: string): string => (path.caseSensitive ? text : text.toLowerCase());
  const [wanted, given] = [lower(path.value), lower(actual)];
  if (path.kind === 'exact') return given === wanted;
  if (path.kind === 'prefix') return given.startsWith(wanted);
  return given === wanted || given.startsWith(`${wanted}/`);
}

/** Index of the first route that matches, -1 for none. `value`: the random value of an HTTP call. */
export function firstMatch(routes: readonly RouteEntryConfig[], head: RequestHead, value: number): number {
  const actual = head.path.split(/[?#]/)[0] ?? '';
  return routes.findIndex(({ match, action }) => {
    if (match.fraction !== undefined && value % match.fraction.denominator >= match.fraction.numerator) return false;
    if (match.grpc && !isGrpc(head)) return false;
    if (head.protocol === 'grpc' && (match.query.length > 0 || (action.kind === 'forward' && action.cluster.kind === 'cluster-header')))
      return false;
    if (!match.headers.every((header) => compileHeader(header)(head))) return false;
    if (!match.query.every((query) => compileQuery(query)(head.path))) return false;
    return pathMatches(match.path, actual);
  });
}
