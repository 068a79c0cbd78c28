/**
 * The one handler interface that this adapter speaks inside: undici's first (`onConnect`, `onHeaders`, ...), because undici 7 drives it
 * without a wrapper. Handlers of the second are turned into it in `handler-v2.ts`.
 */

/** Response headers as undici gives them: name, value, name, value; a value is a list where the name came several times over HTTP/2. */
export type RawHeaders = readonly (Buffer | Buffer[])[];

export interface WireHandler {
  onConnect(abort: (reason?: unknown) => void, context?: unknown): void;
  onResponseStarted?(): void;
  /** False: no data until `resume` is called. Also called for 1xx. */
  onHeaders(status: number, headers: RawHeaders, resume: () => void, statusText: string): boolean | void;
  /** False: no more data until `resume` is called. */
  onData(chunk: Buffer): boolean | void;
  onComplete(trailers: RawHeaders | null): void;
  onError(error: Error): void;
  onUpgrade?(status: number, headers: RawHeaders, socket: unknown): void;
  onBodySent?(chunk: unknown): void;
  onRequestSent?(): void;
}

/** Request headers in any shape that undici takes. */
export type HeadersInput =
  | readonly (string | readonly string[])[]
  | Readonly<Record<string, unknown>>
  | Iterable<readonly [string, unknown]>
  | null
  | undefined;

/** What `dispatch` is called with; fields that the mesh does not look at travel along untouched. */
export interface WireOptions {
  readonly origin?: string | URL | undefined;
  readonly path: string;
  readonly method: string;
  readonly headers?: HeadersInput;
  readonly body?: unknown;
  readonly query?: Record<string, unknown> | null | undefined;
  readonly upgrade?: unknown;
}
