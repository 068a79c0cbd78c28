/**
 * The RBAC engine (gRFC A41, grpc.md §6.5): policies compiled to predicates over a call. A policy matches when any permission and any
 * principal match; ALLOW lets matching calls through, DENY lets the others through.
 */
import type { CidrConfig, StringMatcherConfig } from '../../config/matchers.ts';
import type { Permission, Principal, RbacRules } from '../../config/rbac.ts';
import type { Call, Peer } from '../../core/call.ts';
import { compileCidr, parseAddress } from '../../matching/cidr.ts';
import { compileHeader } from '../../matching/header.ts';
import { compileString } from '../../matching/string.ts';

export type CallPredicate = (call: Call) => boolean;

/** True when the call may go on. Throws `ConfigProblem` for matchers that do not compile. */
export function compileRules(rules: RbacRules): CallPredicate {
  if (rules.action === 'log') return () => true;
  const policies = rules.policies.map((policy) => {
    const permitted = anyOf(policy.permissions.map(compilePermission));
    const principal = anyOf(policy.principals.map(compilePrincipal));
    return (call: Call): boolean => permitted(call) && principal(call);
  });
  const matches = anyOf(policies);
  return rules.action === 'allow' ? matches : (call) => !matches(call);
}

const always: CallPredicate = () => true;

function anyOf(predicates: readonly CallPredicate[]): CallPredicate {
  const [only] = predicates;
  if (only !== undefined && predicates.length === 1) return only;
  return (call) => {
    for (let i = 0; i < predicates.length; i++) if (predicates[i]?.(call) === true) return true;
    return false;
  };
}

function allOf(predicates: readonly CallPredicate[]): CallPredicate {
  return (call) => {
    for (let i = 0; i < predicates.length; i++) if (predicates[i]?.(call) !== true) return false;
    return true;
  };
}

function not(predicate: CallPredicate): CallPredicate {
  return (call) => !predicate(call);
}

/** Outbound calls have no peer: rules about addresses and identities match none of them. */
function peerOf(call: Call): Peer | undefined {
  return call.direction === 'inbound' ? call.peer : undefined;
}

function compilePermission(permission: Permission): CallPredicate {
  switch (permission.kind) {
    case 'any':
      return always;
    case 'and':
      return allOf(permission.rules.map(compilePermission));
    case 'or':
      return anyOf(permission.rules.map(compilePermission));
    case 'not':
      return not(compilePermission(permission.rule));
    case 'header': {
      const test = compileHeader(permission.matcher, 'rbac');
      return (call) => test(call.head);
    }
    case 'path':
      return compilePath(permission.matcher);
    case 'destination-ip':
      return compileAddress(permission.cidr, (peer) => peer.localAddress);
    case 'destination-port':
      return (call) => peerOf(call)?.localPort === permission.port;
    case 'destination-port-range':
      // Half-open, as envoy.type.v3.Int32Range.
      return (call) => {
        const port = peerOf(call)?.localPort;
        return port !== undefined && port >= permission.start && port < permission.end;
      };
    case 'server-name': {
      const test = compileString(permission.matcher);
      // gRFC A41: for gRPC the requested server name counts as empty.
      return (call) => test(call.head.protocol === 'grpc' ? '' : (peerOf(call)?.tls?.serverName ?? ''));
    }
    case 'metadata':
      return permission.invert ? always : () => false;
  }
}

function compilePrincipal(principal: Principal): CallPredicate {
  switch (principal.kind) {
    case 'any':
      return always;
    case 'and':
      return allOf(principal.ids.map(compilePrincipal));
    case 'or':
      return anyOf(principal.ids.map(compilePrincipal));
    case 'not':
      return not(compilePrincipal(principal.id));
    case 'authenticated':
      return compileAuthenticated(principal.matcher);
    case 'remote-ip':
      return compileAddress(principal.cidr, (peer) => peer.remoteAddress);
    case 'header': {
      const test = compileHeader(principal.matcher, 'rbac');
      return (call) => test(call.head);
    }
    case 'path':
      return compilePath(principal.matcher);
    case 'metadata':
      return principal.invert ? always : () => false;
  }
}

/**
 * gRFC A41, `authenticated`: never on a connection without TLS; without a name any TLS connection; else the URI SANs, without those the
 * DNS SANs, without those the subject; a peer without a (verified) certificate has the empty name.
 */
function compileAuthenticated(matcher: StringMatcherConfig | undefined): CallPredicate {
  if (matcher === undefined) return (call) => peerOf(call)?.tls !== undefined;
  const test = compileString(matcher);
  return (call) => {
    const tls = peerOf(call)?.tls;
    if (tls === undefined) return false;
    if (!tls.authenticated) return test('');
    const names = tls.uriSans.length > 0 ? tls.uriSans : tls.dnsSans;
    if (names.length === 0) return test(tls.subject);
    for (let i = 0; i < names.length; i++) if (test(names[i] ?? '')) return true;
    return false;
  };
}

/** The path without query and fragment (envoy.type.matcher.v3.PathMatcher). */
function compilePath(matcher: StringMatcherConfig): CallPredicate {
  const test = compileString(matcher);
  return (call) => {
    const { path } = call.head;
    const end = path.search(/[?#]/);
    return test(end < 0 ? path : path.slice(0, end));
  };
}

/** Remembers the last answer: calls of one connection come in runs, and parsing an address costs more than the rest. */
function compileAddress(config: CidrConfig, addressOf: (peer: Peer) => string): CallPredicate {
  const cidr = compileCidr(config);
  let lastText: string | undefined;
  let lastAnswer = false;
  return (call) => {
    const peer = peerOf(call);
    if (peer === undefined) return false;
    const text = addressOf(peer);
    if (text !== lastText) {
      const address = parseAddress(text);
      lastText = text;
      lastAnswer = address !== undefined && cidr.contains(address);
    }
    return lastAnswer;
  };
}
