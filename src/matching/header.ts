/** Header matchers: Envoy's table R-21, and for gRPC calls what gRFC A28 (routes) and A41 (RBAC) say about single headers. */
import type { HeaderMatcherConfig } from '../config/matchers.ts';
import type { RequestHead } from '../core/call.ts';
import type { HeaderMap } from '../core/headers.ts';
import { compileString } from './string.ts';

/**
 * Where a matcher stands. For a gRPC call, routes see no `-bin` header and always `application/grpc` (A28);
 * RBAC sees what was sent, but no hop-by-hop header (A41).
 */
export type HeaderUse = 'route' | 'rbac';

const HOP_BY_HOP: ReadonlySet<string> = new Set(['te', 'connection', 'keep-alive', 'proxy-connection', 'transfer-encoding', 'upgrade']);

/** How a matcher reads its header: all values joined with `,`; undefined when absent. */
export function headerReader(name: string, use: HeaderUse = 'route'): (head: RequestHead) => string | undefined {
  switch (name) {
    case ':method':
      return (head) => head.method;
    case ':path':
      return (head) => head.path;
    case ':scheme':
      return (head) => head.scheme;
    case ':authority':
    case 'host':
      return (head) => (head.authority === '' ? undefined : head.authority);
  }
  if (use === 'rbac') {
    if (!HOP_BY_HOP.has(name)) return (head) => head.headers.get(name);
    return (head) => (head.protocol === 'grpc' ? undefined : head.headers.get(name));
  }
  if (name === 'content-type') return (head) => (head.protocol === 'grpc' ? 'application/grpc' : head.headers.get(name));
  if (name.endsWith('-bin')) return (head) => (head.protocol === 'grpc' ? undefined : head.headers.get(name));
  return (head) => head.headers.get(name);
}

/** The first of several values, as it was sent; undefined when the header is absent. `name` in lower case, no pseudo header. */
export function firstHeaderValue(head: RequestHead, name: string): string | undefined {
  const joined = head.headers.get(name);
  if (joined === undefined || !joined.includes(',')) return joined;
  for (const [key, value] of head.headers.entries()) if (key.toLowerCase() === name) return value;
  return joined;
}

const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;

function compileRange(start: bigint, end: bigint): (value: string) => boolean {
  return (value) => {
    if (!/^[+-]?[0-9]+$/.test(value)) return false;
    // BigInt takes a minus but no plus.
    const number = BigInt(value.startsWith('+') ? value.slice(1) : value);
    return number >= INT64_MIN && number <= INT64_MAX && number >= start && number < end;
  };
}

type ValueTest = (value: string | undefined) => boolean;

function compileValue(config: HeaderMatcherConfig): ValueTest {
  const { match, invert, treatMissingAsEmpty } = config;
  if (match.kind === 'present') {
    const whenPresent = match.present !== invert;
    const whenMissing = treatMissingAsEmpty ? whenPresent : !whenPresent;
    return (value) => (value === undefined ? whenMissing : whenPresent);
  }
  const test = match.kind === 'string' ? compileString(match.matcher) : compileRange(match.start, match.end);
  // A missing header fails a value matcher, inverted or not, unless it counts as empty.
  if (treatMissingAsEmpty) return (value) => test(value ?? '') !== invert;
  return invert ? (value) => value !== undefined && !test(value) : (value) => value !== undefined && test(value);
}

/** Throws `ConfigProblem` for a bad string matcher. */
export function compileHeader(config: HeaderMatcherConfig, use: HeaderUse = 'route'): (head: RequestHead) => boolean {
  const read = headerReader(config.name, use);
  const test = compileValue(config);
  return (head) => test(read(head));
}

/** For headers of a reply (`retriable_headers`); pseudo headers do not exist there. */
export function compileReplyHeader(config: HeaderMatcherConfig): (headers: HeaderMap) => boolean {
  const test = compileValue(config);
  const { name } = config;
  return (headers) => test(headers.get(name));
}
