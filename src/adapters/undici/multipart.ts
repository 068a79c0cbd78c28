/**
 * Forms as bytes (RFC 7578, Fetch standard "multipart/form-data encoding algorithm"): undici encodes only forms of its own class, but a form
 * may come from Node's global or from another undici. Encoded once per request, so that every attempt sends the same boundary.
 */
import { randomUUID } from 'node:crypto';

interface FormLike {
  entries(): Iterable<readonly [name: string, value: string | (Blob & { readonly name?: string })]>;
}

export function isForm(body: unknown): body is FormLike {
  if (typeof body !== 'object' || body === null) return false;
  const { append, getAll, entries } = body as Partial<Record<'append' | 'getAll' | 'entries', unknown>>;
  const tag = (body as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag];
  return tag === 'FormData' && typeof append === 'function' && typeof getAll === 'function' && typeof entries === 'function';
}

const escape = (name: string): string => name.replaceAll('\n', '%0A').replaceAll('\r', '%0D').replaceAll('"', '%22');
const lines = (value: string): string => value.replace(/\r?\n|\r/g, '\r\n');

export class MultipartBody {
  readonly contentType: string;
  readonly length: number;
  readonly #parts: (Buffer | Blob)[] = [];

  constructor(form: FormLike) {
    const boundary = `----inmesh-${randomUUID()}`;
    this.contentType = `multipart/form-data; boundary=${boundary}`;
    const text = (value: string): unknown => this.#parts.push(Buffer.from(value));
    for (const [name, value] of form.entries()) {
      const head = `--${boundary}\r\nContent-Disposition: form-data; name="${escape(lines(name))}"`;
      if (typeof value === 'string') {
        text(`${head}\r\n\r\n${lines(value)}\r\n`);
      } else {
        text(
          `${head}; filename="${escape(value.name ?? 'blob')}"\r\nContent-Type: ${value.type === '' ? 'application/octet-stream' : value.type}\r\n\r\n`,
        );
        this.#parts.push(value);
        text('\r\n');
      }
    }
    text(`--${boundary}--\r\n`);
    this.length = this.#parts.reduce((sum, part) => sum + (Buffer.isBuffer(part) ? part.length : part.size), 0);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (const part of this.#parts) {
      if (Buffer.isBuffer(part)) yield part;
      else for await (const chunk of part.stream()) yield chunk;
    }
  }
}
