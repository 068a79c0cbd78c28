/**
 * The body of one fetched response, between the wire and whoever reads it. Bytes wait in a short list instead of
 * a web stream; most callers ask for all of it (`text`, `json`), and a stream is made only for those who want one.
 */

/** Bytes that may wait unread before the connection is paused. */
export const BUFFER_LIMIT = 64 * 1024;

interface Reader {
  /** Called whenever there is something new: bytes, the end, an error. */
  wake(): void;
}

/** Where the bytes come from. */
export interface BodySource {
  stop(reason: unknown): void;
}

export class FetchBody {
  readonly #source: BodySource;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #ended = false;
  #error: Error | undefined = undefined;
  #reader: Reader | undefined = undefined;
  #resume: (() => void) | undefined = undefined;
  #paused = false;

  constructor(source: BodySource) {
    this.#source = source;
  }

  /** How the wire, or a decoder before us, goes on after a pause. */
  goOnWith(resume: () => void): void {
    this.#resume = resume;
  }

  /** False: enough for now. */
  push(chunk: Buffer): boolean {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    this.#reader?.wake();
    this.#paused = this.#bytes >= BUFFER_LIMIT;
    return !this.#paused;
  }

  end(): void {
    this.#ended = true;
    this.#reader?.wake();
  }

  breakOff(error: Error): void {
    this.#error ??= error;
    this.#reader?.wake();
  }

  /** The response was forgotten unread: its connection must not wait for ever. */
  abandon(): void {
    if (this.#reader === undefined) this.cancel();
  }

  #take(): Buffer[] {
    const chunks = this.#chunks;
    this.#chunks = [];
    this.#bytes = 0;
    if (this.#paused) {
      this.#paused = false;
      this.#resume?.();
    }
    return chunks;
  }

  /** The caller wants no more of the body. */
  cancel(reason?: unknown): void {
    this.#chunks = [];
    if (this.#ended || this.#error !== undefined) return;
    this.#source.stop(reason ?? Object.assign(new Error('the body was cancelled'), { name: 'AbortError' }));
  }

  /** All bytes until the end. */
  collect(): Promise<Buffer> {
    if (this.#ended && this.#error === undefined) return Promise.resolve(joined(this.#take()));
    return new Promise((resolve, reject) => {
      const parts: Buffer[] = [];
      this.#reader = {
        wake: () => {
          if (this.#error !== undefined) return reject(this.#error);
          parts.push(...this.#take());
          if (this.#ended) resolve(joined(parts));
        },
      };
      this.#reader.wake();
    });
  }

  /** The body as a byte stream with flow control down to the socket. */
  stream(): ReadableStream<Uint8Array> {
    let wanted: (() => void) | undefined;
    this.#reader = { wake: () => wanted?.() };
    return new ReadableStream({
      type: 'bytes',
      pull: (controller) =>
        new Promise<void>((resolve, reject) => {
          wanted = () => {
            if (this.#error !== undefined) reject(this.#error);
            else if (this.#chunks.length > 0) controller.enqueue(new Uint8Array(joined(this.#take())));
            else if (this.#ended) {
              controller.close();
              // A pull that waits with a buffer of its own must be told that nothing comes (Streams, 4.7.3).
              controller.byobRequest?.respond(0);
            } else return;
            wanted = undefined;
            resolve();
          };
          wanted();
        }),
      cancel: (reason) => this.cancel(reason),
    });
  }
}

function joined(parts: readonly Buffer[]): Buffer {
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : Buffer.concat(parts);
}
