/** Rules for what a stream may say about who opens it; the readers of bootstraps and of options apply them, each with its own error. */
import type { XdsServerConfig } from './bootstrap.ts';

const KEY = /^[0-9a-z_.-]+$/;
const VALUE = /^[ -~]*$/;
/** Set by HTTP/2 or by gRPC itself. */
const RESERVED: ReadonlySet<string> = new Set(['content-type', 'te', 'user-agent', 'host', 'connection', 'content-length']);

/** What is wrong with a metadata key; undefined: nothing. */
export function metadataKeyProblem(key: string): string | undefined {
  if (!KEY.test(key)) return 'is no metadata key: only a-z, 0-9, "_", "." and "-" may be in one';
  if (key.startsWith('grpc-') || RESERVED.has(key)) return 'is reserved by gRPC';
  return key.endsWith('-bin') ? 'is a binary key, which is not supported' : undefined;
}

/** The same for a value, which is a secret: it is not in the answer. */
export function metadataValueProblem(value: string): string | undefined {
  return VALUE.test(value) ? undefined : 'holds characters that metadata cannot carry: only printable ASCII';
}

/** What forbids to open a stream with this identity; undefined: nothing. */
export function identityProblem(server: XdsServerConfig): string | undefined {
  const calls = server.callCredentials ?? [];
  const tokens = calls.length + (server.credentials.type === 'google_default' ? 1 : 0);
  const named = (server.metadata ?? []).filter(({ key }) => key === 'authorization').length;
  // Several call credentials are all sent (gRFC A97).
  if (named > 1 || (named === 1 && tokens > 0)) return 'has "authorization" both as a token and as metadata, or twice as metadata';
  if (calls.length > 0 && server.credentials.type === 'insecure')
    return `has call credentials (${calls.map(({ type }) => type).join(', ')}) on an insecure channel, where anybody could read them`;
  return undefined;
}
