/**
 * Turns undici's second handler interface (`onRequestStart`, `onResponseStart`, ...) into the first, which this adapter speaks inside.
 * Node 26's fetch and npm undici 8 use the second (reference node.md §4.1).
 */
import type { RawHeaders, WireHandler } from './wire.ts';

type ParsedHeaders = Record<string, string | string[]>;

/** undici's `DispatchController`. */
export interface Controller {
  readonly aborted: boolean;
  readonly reason: unknown;
  readonly paused: boolean;
  rawHeaders: RawHeaders | null;
  rawTrailers: RawHeaders | null;
  abort(reason?: unknown): void;
  pause(): void;
  resume(): void;
}

export interface HandlerV2 {
  onRequestStart(controller: Controller, context: unknown): void;
  onRequestUpgrade?(controller: Controller, status: number, headers: ParsedHeaders, socket: unknown): void;
  onResponseStarted?(): void;
  onResponseStart?(controller: Controller, status: number, headers: ParsedHeaders, statusText: string): void;
  onResponseData?(controller: Controller, chunk: Buffer): void;
  onResponseEnd?(controller: Controller, trailers: ParsedHeaders): void;
  onResponseError?(controller: Controller, error: Error): void;
  onBodySent?(chunk: unknown): void;
  onRequestSent?(): void;
}

class V2Controller implements Controller {
  readonly #abort: (reason?: unknown) => void;
  aborted = false;
  reason: unknown = null;
  paused = false;
  rawHeaders: RawHeaders | null = null;
  rawTrailers: RawHeaders | null = null;
  wake: (() => void) | undefined = undefined;

  constructor(abort: (reason?: unknown) => void) {
    this.#abort = abort;
  }

  abort(reason?: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    this.#abort(reason);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.wake?.();
  }
}

/** As undici's `parseHeaders`: lower-case names, a list where a name came more than once. */
export function parseHeaders(raw: RawHeaders | null): ParsedHeaders {
  const parsed: ParsedHeaders = {};
  if (raw === null) return parsed;
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] as Buffer).toString('latin1').toLowerCase();
    const value = raw[i + 1] as Buffer | Buffer[];
    const text = Array.isArray(value) ? value.map((one) => one.toString('latin1')) : value.toString('latin1');
    const before = Object.hasOwn(parsed, name) ? parsed[name] : undefined;
    if (before === undefined) Object.defineProperty(parsed, name, { value: text, enumerable: true, writable: true, configurable: true });
    else parsed[name] = ([] as string[]).concat(before, text);
  }
  return parsed;
}

export class V2Handler implements WireHandler {
  readonly #handler: HandlerV2;
  #controller: V2Controller = new V2Controller(() => undefined);

  constructor(handler: HandlerV2) {
    this.#handler = handler;
  }

  onConnect(abort: (reason?: unknown) => void, context?: unknown): void {
    this.#controller = new V2Controller(abort);
    this.#handler.onRequestStart(this.#controller, context ?? null);
  }

  onResponseStarted(): void {
    this.#handler.onResponseStarted?.();
  }

  onHeaders(status: number, raw: RawHeaders, resume: () => void, statusText: string): boolean {
    this.#controller.wake = resume;
    this.#controller.rawHeaders = raw;
    this.#handler.onResponseStart?.(this.#controller, status, parseHeaders(raw), statusText);
    return !this.#controller.paused;
  }

  onData(chunk: Buffer): boolean {
    this.#handler.onResponseData?.(this.#controller, chunk);
    return !this.#controller.paused;
  }

  onComplete(trailers: RawHeaders | null): void {
    this.#controller.rawTrailers = trailers;
    this.#handler.onResponseEnd?.(this.#controller, parseHeaders(trailers));
  }

  onError(error: Error): void {
    this.#handler.onResponseError?.(this.#controller, error);
  }

  onUpgrade(status: number, raw: RawHeaders, socket: unknown): void {
    this.#controller.rawHeaders = raw;
    this.#handler.onRequestUpgrade?.(this.#controller, status, parseHeaders(raw), socket);
  }

  onBodySent(chunk: unknown): void {
    this.#handler.onBodySent?.(chunk);
  }

  onRequestSent(): void {
    this.#handler.onRequestSent?.();
  }
}
