/**
 * Errors of undici, sockets and TLS as failures (Envoy's reset reasons, design §3.14). What decides is the phase: before a connection,
 * before the head, after it. Errors that are the application's own (a bad header, a body that throws) are told apart: nobody retries those.
 */
import type { Failure, FailureKind } from '../../core/failure.ts';
import { failure, FAILURES } from '../../core/failure.ts';

/** Raised by `connect.ts`, which knows what went wrong better than an error code can say. */
export class ConnectFailure extends Error {
  override readonly name = 'ConnectFailure';
  readonly failure: Failure;
  constructor(failed: Failure) {
    super(failed.message, failed.cause === undefined ? undefined : { cause: failed.cause });
    this.failure = failed;
  }
}

/** The wire exchange was stopped by the mesh: a time limit, an abort of the application. */
export class WireCancelled extends Error {
  override readonly name = 'AbortError';
  readonly failure: Failure;
  constructor(failed: Failure) {
    super(failed.message);
    this.failure = failed;
  }
}

const MISUSE = new Set(['UND_ERR_INVALID_ARG', 'UND_ERR_NOT_SUPPORTED', 'UND_ERR_REQ_CONTENT_LENGTH_MISMATCH']);
const PROTOCOL = new Set(['UND_ERR_RES_CONTENT_LENGTH_MISMATCH', 'UND_ERR_HEADERS_OVERFLOW', 'UND_ERR_RES_EXCEEDED_MAX_SIZE']);
const CONNECT = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EADDRNOTAVAIL',
  'UND_ERR_CONNECT_TIMEOUT',
]);

export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' ? code : '';
}

/** The request itself is wrong: no endpoint would take it. */
export function isMisuse(error: unknown): boolean {
  return MISUSE.has(codeOf(error));
}

function kindOf(error: unknown, sent: boolean, headSeen: boolean): FailureKind {
  const code = codeOf(error);
  const message = String((error as Error | undefined)?.message ?? error);
  if (headSeen) return FAILURES.resetAfterResponse;
  if (
    code.startsWith('HPE_') ||
    (error as Error | undefined)?.name === 'HTTPParserError' ||
    PROTOCOL.has(code) ||
    message === 'bad response'
  )
    return FAILURES.protocolError;
  // With TLS 1.3 a server refuses our certificate only after our side is ready: the alert arrives on a connection "in use".
  if (code.startsWith('ERR_SSL_') || code.startsWith('ERR_TLS_')) return FAILURES.tlsFailure;
  if (message.includes('NGHTTP2_REFUSED_STREAM')) return FAILURES.refusedStream;
  if (!sent) return CONNECT.has(code) ? FAILURES.connectionFailure : FAILURES.resetBeforeRequest;
  if (code === 'UND_ERR_HEADERS_TIMEOUT') return FAILURES.perTryTimeout;
  return FAILURES.resetBeforeResponse;
}

/** `sent`: the request had a connection. `headSeen`: a response head had arrived. */
export function failureOf(error: unknown, sent: boolean, headSeen: boolean, address: string): Failure {
  if (error instanceof ConnectFailure || error instanceof WireCancelled) return error.failure;
  const message = String((error as Error | undefined)?.message ?? error);
  return failure(kindOf(error, sent, headSeen), `${address}: ${message}`, error);
}
