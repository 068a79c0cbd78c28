/**
 * Routes that answer by themselves: direct response and redirect (Envoy ). A gRPC call that meets one of them, and any call
 * that meets an action which cannot be done here, fails with UNAVAILABLE (gRFC A28), never with an exception.
 */
import type { RedirectActionConfig } from '../config/routes.ts';
import type { Call, RequestHead } from '../core/call.ts';
import { failure, FAILURES } from '../core/failure.ts';
import type { Handler } from '../core/handler.ts';
import { HeaderList } from '../core/headers.ts';
import type { Reply } from '../core/reply.ts';
import { failureReply, LocalReply } from '../core/reply.ts';
import { compilePathRewrite } from './rewrite.ts';
import type { RouteContext } from './route-table.ts';

type Respond = (call: Call) => Reply;

/** Undefined for a route that forwards. Headers of the replies are changed by the header mutation around it. */
export function answer(where: RouteContext): Handler<Call> | undefined {
  const { action } = where.route;
  switch (action.kind) {
    case 'forward':
      return undefined;
    case 'direct-response':
      return answering(unlessGrpc('a direct response', where, () => directResponse(action.status, action.body)));
    case 'redirect': {
      const locate = compileRedirect(action);
      const redirect: Respond = (call) =>
        new LocalReply(action.status, new HeaderList([['location', locate(call.head, call.matchedLength)]]), '');
      return answering(unlessGrpc('a redirect', where, redirect));
    }
    case 'serve':
      return answering(() => unable(where, 'it serves requests of others (non_forwarding_action) and cannot send any'));
    case 'unsupported':
      return answering(() => unable(where, action.reason));
  }
}

function answering(respond: Respond): Handler<Call> {
  return { handle: (call) => Promise.resolve(respond(call)) };
}

function unlessGrpc(what: string, where: RouteContext, respond: Respond): Respond {
  return (call) => (call.head.protocol === 'grpc' ? unable(where, `it is ${what}, which a gRPC call cannot take`) : respond(call));
}

function unable(where: RouteContext, reason: string): Reply {
  const { route, virtualHost } = where;
  const name = route.name === '' ? `for ${route.match.path.kind} "${route.match.path.value}"` : `"${route.name}"`;
  return failureReply(
    failure(FAILURES.configurationError, `the route ${name} of virtual host "${virtualHost.name}" cannot be used: ${reason}`),
  );
}

function directResponse(status: number, body: string): Reply {
  return new LocalReply(status, new HeaderList(body === '' ? [] : [['content-type', 'text/plain']]), body);
}

/** The redirect's URL for a request. Throws `ConfigProblem` for a pattern that decoding should have rejected. */
export function compileRedirect(action: RedirectActionConfig): (head: RequestHead, matchedLength: number) => string {
  const pathOf = compileRedirectPath(action);
  const port = action.port === undefined || action.port === 0 ? '' : `:${action.port}`;
  return (head, matchedLength) => {
    const scheme = action.scheme ?? (action.httpsRedirect ? 'https' : head.scheme);
    const host = action.host === undefined || action.host === '' ? requestHost(head, scheme, port !== '') : action.host;
    return `${scheme}://${host}${port}${pathOf(head.path, matchedLength)}`;
  };
}

function compileRedirectPath({ path, stripQuery }: RedirectActionConfig): (path: string, matchedLength: number) => string {
  const strip = (target: string): string => {
    const question = stripQuery ? target.indexOf('?') : -1;
    return question < 0 ? target : target.slice(0, question);
  };
  if (path === undefined) return strip;
  if (path.kind !== 'full') {
    const rewritten = compilePathRewrite(path);
    return (old, matchedLength) => strip(rewritten(old, matchedLength));
  }
  const full = path.value.startsWith('/') ? path.value : `/${path.value}`;
  // A query of its own replaces the request's and is never stripped.
  if (full.includes('?')) return () => full;
  return (old) => {
    const question = old.indexOf('?');
    return strip(question < 0 ? full : full + old.slice(question));
  };
}

/** The request's host; its port goes when another takes its place, or when it was the default of a scheme that changes. */
function requestHost(head: RequestHead, scheme: string, newPort: boolean): string {
  const host = head.authority;
  const colon = host.startsWith('[') ? host.lastIndexOf(']:') + 1 : host.lastIndexOf(':');
  if (colon <= 0) return host;
  const port = host.slice(colon);
  const before = head.headers.get('x-forwarded-proto') ?? head.scheme;
  const needless = scheme !== before && ((before === 'https' && port === ':443') || (before === 'http' && port === ':80'));
  return newPort || needless ? host.slice(0, colon) : host;
}
