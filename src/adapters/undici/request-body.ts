/**
 * Request bodies that can be sent once only, made sendable again: what has been read is kept up to a limit and replayed to a later
 * attempt, which then goes on where the recording ends (reference node.md §4.2; the limit is Envoy's idea of a retry buffer).
 */
import { isForm, MultipartBody } from './multipart.ts';

/** Bytes kept for a later attempt. */
export const RECORD_LIMIT = 64 * 1024;

/** Whether undici can write this value again and again by itself. */
function isReplayable(body: object): boolean {
  if (ArrayBuffer.isView(body) || body instanceof ArrayBuffer || Array.isArray(body) || body instanceof MultipartBody) return true;
  if (typeof (body as { pipe?: unknown }).pipe === 'function' || Symbol.asyncIterator in body) return false;
  // Blobs are read anew each time.
  return typeof (body as Partial<Blob>).arrayBuffer === 'function';
}

function isIterable(body: object): body is AsyncIterable<unknown> | Iterable<unknown> {
  return Symbol.asyncIterator in body || Symbol.iterator in body;
}

/** What to give undici for the application's body, so that it can be sent again where that is possible at all. */
export function sendable(body: object): unknown {
  if (isForm(body)) return new MultipartBody(body);
  return isReplayable(body) || !isIterable(body) ? body : new RecordedBody(body);
}

type Source = AsyncIterator<unknown> | Iterator<unknown>;

function sizeOf(chunk: unknown): number {
  if (typeof chunk === 'string') return Buffer.byteLength(chunk);
  if (ArrayBuffer.isView(chunk) || chunk instanceof ArrayBuffer) return chunk.byteLength;
  return 0;
}

/** The chunk as it is now: its owner may use the memory again. */
function snapshot(chunk: unknown): unknown {
  if (ArrayBuffer.isView(chunk)) return Buffer.from(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
  return chunk instanceof ArrayBuffer ? Buffer.from(chunk.slice(0)) : chunk;
}

const DONE: IteratorResult<unknown> = { done: true, value: undefined };

export class RecordedBody {
  readonly #body: AsyncIterable<unknown> | Iterable<unknown>;
  #source: Source | undefined;
  /** Chunks from `#first` on. Before the limit `#first` is 0 and this is the whole recording. */
  #chunks: unknown[] = [];
  #first = 0;
  #bytes = 0;
  #finished = false;
  #pending: Promise<void> | undefined;
  /** True until the recording had to be given up. */
  replayable = true;
  /** What the application's body threw, if it did. */
  error: unknown;

  constructor(body: AsyncIterable<unknown> | Iterable<unknown>) {
    this.#body = body;
    const stream = body as { on?: (event: 'error', listener: (error: unknown) => void) => void };
    // A stream that fails while nobody reads it would end the process.
    if (typeof stream.on === 'function') stream.on('error', (error) => (this.error ??= error));
  }

  /** One more reading, from the beginning. */
  [Symbol.asyncIterator](): AsyncIterator<unknown> {
    let next = 0;
    let closed = false;
    return {
      next: async (): Promise<IteratorResult<unknown>> => {
        while (!closed) {
          if (next < this.#first) throw new Error('the recorded request body is gone');
          const at = next - this.#first;
          if (at < this.#chunks.length) {
            const value = this.#chunks[at];
            next++;
            if (!this.replayable) this.#forget(next);
            return { done: false, value };
          }
          if (this.error !== undefined) throw this.error;
          if (this.#finished) return DONE;
          await (this.#pending ??= this.#pull());
        }
        return DONE;
      },
      // An attempt that ends early must not close the source: the next attempt needs it.
      return: async (): Promise<IteratorResult<unknown>> => {
        closed = true;
        return DONE;
      },
    };
  }

  /** The call is over: frees the recording and closes the source if it was not read to its end. */
  close(): void {
    this.#chunks = [];
    this.replayable = false;
    if (this.#finished) return;
    this.#finished = true;
    const stream = this.#body as { destroy?: () => void };
    if (typeof stream.destroy === 'function') stream.destroy();
    else if (this.#source !== undefined) {
      try {
        void Promise.resolve(this.#source.return?.()).catch(() => undefined);
      } catch {
        // The source's own clean-up failed; the call is over, nobody is left to tell.
      }
    }
  }

  async #pull(): Promise<void> {
    try {
      this.#source ??= Symbol.asyncIterator in this.#body ? this.#body[Symbol.asyncIterator]() : this.#body[Symbol.iterator]();
      const { done, value } = await this.#source.next();
      if (done) {
        this.#finished = true;
      } else if (!this.#finished) {
        this.#bytes += sizeOf(value);
        if (this.#bytes > RECORD_LIMIT) this.replayable = false;
        this.#chunks.push(this.replayable ? snapshot(value) : value);
      }
    } catch (error) {
      this.error ??= error;
    } finally {
      this.#pending = undefined;
    }
  }

  /** Past the limit only the reader that is ahead goes on; what it has passed is freed. */
  #forget(upTo: number): void {
    this.#chunks.splice(0, upTo - this.#first);
    this.#first = upTo;
  }
}
