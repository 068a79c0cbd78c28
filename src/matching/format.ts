/**
 * Envoy's substitution format (7.3) as far as it makes sense for header values: compiled at update time, checked at decode time.
 * Operators that need facts the mesh does not have are rejected, never silently empty. An absent value is empty here, not `-`.
 */
import { ConfigProblem } from '../config/resource.ts';
import type { Call } from '../core/call.ts';
import type { HeaderMap } from '../core/headers.ts';
import type { ReplyHead } from '../core/reply.ts';

/** What a format may look at. */
export interface FormatSubject {
  readonly call: Call;
  /** Undefined for request headers. */
  readonly reply: ReplyHead | undefined;
  readonly route: { readonly name: string; readonly cluster: string; readonly virtualHost: string };
}

export type Format = (subject: FormatSubject) => string;

type Reader = (subject: FormatSubject) => string | undefined;

const peerOf = (call: Call) => (call.direction === 'inbound' ? call.peer : undefined);

const bracketed = (host: string, port: number): string => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`);

const PLAIN: Readonly<Record<string, Reader>> = {
  DOWNSTREAM_REMOTE_ADDRESS: ({ call }) => {
    const peer = peerOf(call);
    return peer === undefined ? undefined : bracketed(peer.remoteAddress, peer.remotePort);
  },
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: ({ call }) => peerOf(call)?.remoteAddress,
  DOWNSTREAM_REMOTE_PORT: ({ call }) => peerOf(call)?.remotePort.toString(),
  DOWNSTREAM_LOCAL_ADDRESS: ({ call }) => {
    const peer = peerOf(call);
    return peer === undefined ? undefined : bracketed(peer.localAddress, peer.localPort);
  },
  DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: ({ call }) => peerOf(call)?.localAddress,
  DOWNSTREAM_LOCAL_PORT: ({ call }) => peerOf(call)?.localPort.toString(),
  DOWNSTREAM_PEER_URI_SAN: ({ call }) => peerOf(call)?.tls?.uriSans.join(','),
  DOWNSTREAM_PEER_DNS_SAN: ({ call }) => peerOf(call)?.tls?.dnsSans.join(','),
  DOWNSTREAM_PEER_SUBJECT: ({ call }) => peerOf(call)?.tls?.subject,
  PROTOCOL: ({ call }) => (call.head.protocol === 'grpc' ? 'HTTP/2' : 'HTTP/1.1'),
  UPSTREAM_CLUSTER: ({ route }) => route.cluster,
  UPSTREAM_CLUSTER_RAW: ({ route }) => route.cluster,
  ROUTE_NAME: ({ route }) => route.name,
  VIRTUAL_HOST_NAME: ({ route }) => route.virtualHost,
  RESPONSE_CODE: ({ reply }) => reply?.status.toString(),
  RESPONSE_FLAGS: ({ reply }) => (reply === undefined ? undefined : (reply.failure?.kind.flag ?? '')),
  RESPONSE_CODE_DETAILS: ({ reply }) => (reply === undefined ? undefined : (reply.failure?.kind.details ?? 'via_upstream')),
};

function headerValue(call: Call, name: string): string | undefined {
  switch (name) {
    case ':method':
      return call.head.method;
    case ':path':
      return call.head.path;
    case ':scheme':
      return call.head.scheme;
    case ':authority':
    case 'host':
      return call.head.authority;
    default:
      return firstValue(call.head.headers, name);
  }
}

/** The formatter takes the first of several values. */
function firstValue(headers: HeaderMap, name: string): string | undefined {
  const joined = headers.get(name);
  if (joined === undefined || !joined.includes(',')) return joined;
  for (const [key, value] of headers.entries()) if (key.toLowerCase() === name) return value;
  return joined;
}

/** `NAME(argument):length` between two percent signs. */
const OPERATOR = /^([A-Z][A-Z0-9_]*)(?:\(([^()]*)\))?(?::([0-9]+))?$/;

function reader(operator: string): Reader {
  const parts = OPERATOR.exec(operator);
  const name = parts?.[1] ?? '';
  const argument = parts?.[2];
  const limit = parts?.[3] === undefined ? undefined : Number(parts[3]);
  const read = argument === undefined ? PLAIN[name] : headerOperator(name, argument);
  if (parts === null || read === undefined)
    throw new ConfigProblem('value', `%${operator}% is not a format operator that inmesh knows here`);
  return limit === undefined ? read : (subject) => read(subject)?.slice(0, limit);
}

function headerOperator(operator: string, argument: string): Reader | undefined {
  if (operator !== 'REQ' && operator !== 'RESP') return undefined;
  const [first = '', second, ...more] = argument.toLowerCase().split('?');
  if (first === '' || second === '' || more.length > 0)
    throw new ConfigProblem('value', `%${operator}(${argument})% must name one header, or two with ? between`);
  if (operator === 'REQ') return ({ call }) => headerValue(call, first) ?? (second === undefined ? undefined : headerValue(call, second));
  return ({ reply }) => {
    if (reply === undefined) return undefined;
    if (first === ':status') return reply.status.toString();
    return firstValue(reply.headers, first) ?? (second === undefined ? undefined : firstValue(reply.headers, second));
  };
}

/** Throws `ConfigProblem` for an unknown operator or a lone percent sign. */
export function compileFormat(text: string): Format {
  const parts: (string | Reader)[] = [];
  let literal = '';
  let at = 0;
  while (at < text.length) {
    const percent = text.indexOf('%', at);
    literal += text.slice(at, percent < 0 ? text.length : percent);
    if (percent < 0) break;
    const end = text.indexOf('%', percent + 1);
    if (end < 0) throw new ConfigProblem('value', `${JSON.stringify(text)} has a lone percent sign; write %% for a literal one`);
    if (end === percent + 1) literal += '%';
    else {
      parts.push(literal, reader(text.slice(percent + 1, end)));
      literal = '';
    }
    at = end + 1;
  }
  parts.push(literal);
  const used = parts.filter((part) => part !== '');
  if (used.every((part) => typeof part === 'string')) {
    const constant = used.join('');
    return () => constant;
  }
  return (subject) => {
    let out = '';
    for (const part of used) out += typeof part === 'string' ? part : (part(subject) ?? '');
    return out;
  };
}

/** Why a header value is no valid format; undefined when it is. For decoders. */
export function checkFormat(text: string): string | undefined {
  try {
    compileFormat(text);
    return undefined;
  } catch (error) {
    if (error instanceof ConfigProblem) return error.reason;
    throw error;
  }
}
