/**
 * A reply: head, a way to take the body, and perhaps a failure. Bodies stay opaque here, since HTTP bytes and gRPC messages
 * share nothing but "take it" and "drop it".
 */
import type { Failure } from './failure.ts';
import type { HeaderMap } from './headers.ts';
import { HeaderList } from './headers.ts';

/** What layers and retry conditions may look at. */
export interface ReplyHead {
  /** HTTP status; 200 for a gRPC reply that reached us over HTTP 200. */
  readonly status: number;
  /** gRPC status where it is known with the head (trailers-only, or a failure), else undefined. */
  readonly grpcStatus: number | undefined;
  readonly headers: HeaderMap;
  readonly failure: Failure | undefined;
}

export interface ReplyBody {
  /** Hands the body to the application's side; the sink's type is private to the adapter that made both. */
  deliver(sink: unknown): void;
  /** Drops the body and frees what it holds (a connection goes back to its pool or is closed). */
  discard(): void;
}

export interface Reply extends ReplyHead {
  readonly body: ReplyBody;
}

/** The body of replies that the mesh gives itself; adapters recognise it by `instanceof`. */
export class LocalBody implements ReplyBody {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
  /** Adapters never call this: they read `text` and write it in their own way. */
  deliver(_sink: unknown): void {}
  discard(): void {}
}

/** A reply that the mesh gives itself: a failure, a direct response or a redirect. */
export class LocalReply implements Reply {
  readonly status: number;
  readonly grpcStatus: number | undefined;
  readonly headers: HeaderMap;
  readonly body: LocalBody;
  readonly failure: Failure | undefined;

  constructor(status: number, headers: HeaderMap, text: string, grpcStatus?: number, failed?: Failure) {
    this.status = status;
    this.grpcStatus = grpcStatus;
    this.headers = headers;
    this.body = new LocalBody(text);
    this.failure = failed;
  }
}

/** Name of the header that carries the response flag and details of a failure shown as an HTTP response. */
export const FAILURE_HEADER = 'x-inmesh-failure';

/** The reply that stands for a failure, with its kind's HTTP status unless another is given. Headers are made on first read: shed load must stay cheap. */
export function failureReply(failed: Failure, status = failed.kind.httpStatus): LocalReply {
  const { kind } = failed;
  const headers = new HeaderList([
    ['content-type', 'text/plain'],
    [FAILURE_HEADER, kind.flag === '' ? kind.details : `${kind.flag} ${kind.details}`],
  ]);
  if (kind.details === 'upstream_overflow') headers.set('x-envoy-overloaded', 'true');
  if (kind.details === 'drop_overload') headers.set('x-envoy-drop-overload', 'true'); // Envoy L-4
  return new LocalReply(status, headers, failed.message, kind.grpcStatus, failed);
}
