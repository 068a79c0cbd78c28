/**
 * Names and attributes of spans and metrics: OpenTelemetry's stable HTTP and RPC semantic conventions (1.45), as constants of our own,
 * since the conventions' package weighs ten megabytes.
 */
import type { Attributes } from '@opentelemetry/api';
import type { Call } from '../../core/call.ts';
import { grpcStatusName, httpToGrpcStatus } from '../../core/status.ts';

export const ATTR = Object.freeze({
  method: 'http.request.method',
  statusCode: 'http.response.status_code',
  route: 'http.route',
  resendCount: 'http.request.resend_count',
  serverAddress: 'server.address',
  serverPort: 'server.port',
  peerAddress: 'network.peer.address',
  peerPort: 'network.peer.port',
  urlFull: 'url.full',
  urlPath: 'url.path',
  urlQuery: 'url.query',
  urlScheme: 'url.scheme',
  clientAddress: 'client.address',
  userAgent: 'user_agent.original',
  errorType: 'error.type',
  rpcSystem: 'rpc.system.name',
  rpcMethod: 'rpc.method',
  rpcStatus: 'rpc.status_code',
  // Ours: what the mesh decided.
  flag: 'inmesh.response_flag',
  cluster: 'inmesh.cluster',
  routeName: 'inmesh.route',
  attempts: 'inmesh.attempts',
});

const KNOWN_METHODS = new Set(['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'TRACE']);

/** `_OTHER` for methods that the conventions do not list: names must stay few. */
export const methodOf = (method: string): string => (KNOWN_METHODS.has(method) ? method : '_OTHER');

export const isGrpc = (call: Call): boolean => call.head.protocol === 'grpc';

/** `pkg.Service/Method` of a gRPC path. */
export const rpcMethod = (path: string): string => (path.startsWith('/') ? path.slice(1) : path);

function addressOf(authority: string): { readonly address: string; readonly port: number | undefined } {
  const match = /^(.*?)(?::(\d+))?$/.exec(authority);
  return { address: match?.[1] ?? authority, port: match?.[2] === undefined ? undefined : Number(match[2]) };
}

/** Low-cardinality attributes that spans and metrics share, known when the call starts. */
export function startAttributes(call: Call): Attributes {
  const { head } = call;
  const { address, port } = addressOf(head.authority);
  const attributes: Attributes = isGrpc(call)
    ? { [ATTR.rpcSystem]: 'grpc', [ATTR.rpcMethod]: rpcMethod(head.path), [ATTR.serverAddress]: address }
    : { [ATTR.method]: methodOf(head.method), [ATTR.serverAddress]: address };
  if (port !== undefined) attributes[ATTR.serverPort] = port;
  // The HTTP conventions require it of clients, also where the URL leaves it out.
  else if (call.direction === 'outbound' && !isGrpc(call)) attributes[ATTR.serverPort] = head.scheme === 'https' ? 443 : 80;
  if (call.direction === 'inbound' && !isGrpc(call)) attributes[ATTR.urlScheme] = head.scheme;
  return attributes;
}

/** What only spans carry. */
export function spanAttributes(call: Call): Attributes {
  const { head } = call;
  const attributes = startAttributes(call);
  if (isGrpc(call)) return attributes;
  if (call.direction === 'outbound') {
    attributes[ATTR.urlFull] = `${head.scheme}://${head.authority}${head.path}`;
  } else {
    const query = head.path.indexOf('?');
    attributes[ATTR.urlPath] = query < 0 ? head.path : head.path.slice(0, query);
    if (query >= 0) attributes[ATTR.urlQuery] = head.path.slice(query + 1);
    attributes[ATTR.clientAddress] = call.peer.remoteAddress;
    const agent = head.headers.get('user-agent');
    if (agent !== undefined) attributes[ATTR.userAgent] = agent;
  }
  return attributes;
}

export interface Ended {
  readonly status: number;
  readonly grpcStatus: number | undefined;
  readonly failure: { readonly kind: { readonly details: string; readonly flag: string } } | undefined;
}

/** How it ended: statuses, and `error.type` where the conventions call it an error. */
export function endAttributes(grpc: boolean, server: boolean, ended: Ended): Attributes {
  const attributes: Attributes = {};
  const error = errorType(grpc, server, ended);
  if (grpc) attributes[ATTR.rpcStatus] = grpcStatusName(ended.grpcStatus ?? httpToGrpcStatus(ended.status));
  else if (ended.status > 0) attributes[ATTR.statusCode] = ended.status;
  if (error !== undefined) attributes[ATTR.errorType] = error;
  return attributes;
}

/** gRPC statuses that are the server's fault (RPC conventions); a client counts every status but OK. */
const SERVER_FAULTS = new Set([2, 4, 12, 13, 14, 15]);

export function errorType(grpc: boolean, server: boolean, ended: Ended): string | undefined {
  if (ended.failure !== undefined) return ended.failure.kind.details;
  if (grpc) {
    const status = ended.grpcStatus ?? 0;
    return (server ? SERVER_FAULTS.has(status) : status !== 0) ? grpcStatusName(status) : undefined;
  }
  return ended.status >= (server ? 500 : 400) ? String(ended.status) : undefined;
}
