/** Host and path rewrite of a forwarding route (Envoy ): host first, then path, both after header mutation. */
import type { ForwardActionConfig } from '../config/routes.ts';
import type { Attempt, OutboundCall, RequestHead } from '../core/call.ts';
import type { Layer } from '../core/handler.ts';
import { stepLayer } from '../core/handler.ts';
import { compileRegex } from '../matching/regex.ts';
import { pathOnly } from './compiled-route.ts';
import type { RouteContext } from './route-table.ts';

type PathRewrite = (path: string, matchedLength: number) => string;

/**
 * A path rewrite as a function of the path with query and the matched length (-1: the whole path). The query stays.
 * `/p` → `/` on `/p/x` gives `//x`, as documented by Envoy.
 */
export function compilePathRewrite(rewrite: NonNullable<ForwardActionConfig['pathRewrite']>): PathRewrite {
  if (rewrite.kind === 'prefix') {
    return (path, matchedLength) => rewrite.value + path.slice(matchedLength < 0 ? pathOnly(path).length : matchedLength);
  }
  const regex = compileRegex(rewrite.pattern);
  return (path) => {
    const bare = pathOnly(path);
    return regex.replaceAll(bare, rewrite.substitution) + path.slice(bare.length);
  };
}

type HostRewrite = (head: RequestHead) => string | undefined;

function compileHostRewrite(rewrite: ForwardActionConfig['hostRewrite']): HostRewrite | undefined {
  switch (rewrite?.kind) {
    case 'literal':
      return () => rewrite.value;
    case 'header':
      return (head) => firstValue(head, rewrite.name);
    case 'path-regex': {
      const regex = compileRegex(rewrite.pattern);
      return (head) => regex.replaceAll(pathOnly(head.path), rewrite.substitution);
    }
    case 'auto':
    case undefined:
      return undefined;
  }
}

function firstValue(head: RequestHead, name: string): string | undefined {
  const joined = head.headers.get(name);
  if (joined === undefined || !joined.includes(',')) return joined;
  for (const [key, value] of head.headers.entries()) if (key.toLowerCase() === name) return value;
  return joined;
}

/** The old host goes to `x-forwarded-host`, if asked for and unless it stands last there, and to `x-envoy-original-host`. */
function keepOldHost(head: RequestHead, appendForwarded: boolean): void {
  const old = head.authority;
  if (old === '') return;
  if (appendForwarded) {
    const before = head.headers.get('x-forwarded-host');
    if (before === undefined || before === '') head.headers.set('x-forwarded-host', old);
    else if (before.slice(before.lastIndexOf(',') + 1).trim() !== old) head.headers.set('x-forwarded-host', `${before},${old}`);
  }
  head.headers.set('x-envoy-original-host', old);
}

/** Undefined when the route rewrites nothing once per call. Throws `ConfigProblem` for patterns that decoding should have rejected. */
export function rewrite(where: RouteContext): Layer<OutboundCall> | undefined {
  const { action } = where.route;
  if (action.kind !== 'forward') return undefined;
  const weightedHost = where.weighted?.hostRewriteLiteral;
  const host = compileHostRewrite(action.hostRewrite);
  const path = action.pathRewrite === undefined ? undefined : compilePathRewrite(action.pathRewrite);
  if (weightedHost === undefined && host === undefined && path === undefined) return undefined;
  return stepLayer<OutboundCall>('rewrite', {
    enter: (call) => {
      const { head } = call;
      // The weighted cluster's literal is applied before the route's, which so has the last word.
      if (weightedHost !== undefined && weightedHost !== '') head.authority = weightedHost;
      const newHost = host?.(head);
      if (newHost !== undefined && newHost !== '') {
        keepOldHost(head, action.appendXForwardedHost);
        head.authority = newHost;
      }
      if (path !== undefined) {
        const old = head.path;
        head.path = path(old, call.matchedLength);
        head.headers.set('x-envoy-original-path', old);
      }
      return undefined;
    },
  });
}

/**
 * `auto_host_rewrite`: the host is the chosen endpoint's hostname, so it is set per attempt; below endpoint picking.
 * Undefined when the route does not ask for it.
 */
export function rewriteHostPerAttempt(where: RouteContext): Layer<Attempt> | undefined {
  const { action } = where.route;
  if (action.kind !== 'forward' || action.hostRewrite?.kind !== 'auto') return undefined;
  return stepLayer<Attempt>('rewrite-host', {
    enter: (attempt) => {
      const hostname = attempt.endpoint?.hostname;
      if (hostname === undefined || hostname === '') return undefined;
      const { head } = attempt.call;
      // What the application asked for is kept once; later attempts replace only our own value.
      if (attempt.number === 1) keepOldHost(head, action.appendXForwardedHost);
      head.authority = hostname;
      return undefined;
    },
  });
}
