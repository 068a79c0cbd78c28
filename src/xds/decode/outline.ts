/**
 * The outline of a message: its bytes with chosen texts left out. Control planes send thousands of clusters and virtual hosts that differ
 * in their names only; equal outlines mean equal decoded values but for those texts, so that one of them has to be decoded.
 */
import { BYTES, VARINT } from './wire.ts';

/** What becomes of a field of bytes; a field that is not named counts with all its bytes, and so does a message that holds one of its own. */
export type Outlined =
  /** Left out; its text is kept under this number. Only ASCII, and not empty. */
  | number
  /** Left out, unless it contains this text, which makes the message one without an outline. */
  | { readonly unless: string }
  /** Left out whatever it is. */
  | 'any'
  | OutlineSpec;

export interface OutlineSpec {
  readonly fields: ReadonlyMap<number, Outlined>;
  /** Applies only where this field has this text. */
  readonly where?: readonly [field: number, text: string];
  /** Noted among the texts, without one, where the message begins. */
  readonly mark?: number;
}

export interface Outline {
  /** Equal for equal outlines. */
  readonly key: string;
  /** The texts that were left out, with their numbers, in their order. */
  readonly texts: readonly (readonly [number: number, text: string])[];
}

/** Beyond the codes of bytes, so that no content looks like one. */
const GAP = '\u0100';
const OPEN = '\u0101';
const CLOSE = '\u0102';

/** Printable; others are decoded. */
const ASCII = /^[ -~]+$/;

/** A cursor that gives up, instead of saying what is wrong: whoever decodes the message says it. */
class Tracer {
  readonly #bytes: Buffer;
  readonly texts: (readonly [number, string])[] = [];
  key = '';
  #at = 0;
  #broken = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  trace(spec: OutlineSpec, start: number, end: number): boolean {
    if (spec.where !== undefined && !this.#holds(spec.where, start, end)) {
      this.key += this.#bytes.toString('latin1', start, end);
      this.#at = end;
      return !this.#broken;
    }
    this.#at = start;
    let kept = start;
    while (this.#at < end && !this.#broken) {
      const tag = this.#varint();
      const outlined = (tag & 7) === BYTES ? spec.fields.get(tag >>> 3) : undefined;
      if (outlined === undefined) {
        this.#skip(tag, end);
        continue;
      }
      this.key += this.#bytes.toString('latin1', kept, this.#at);
      const length = this.#varint();
      const from = this.#at;
      const to = from + length;
      if (to > end) return false;
      if (!this.#outline(outlined, from, to)) return false;
      this.#at = to;
      kept = to;
    }
    this.key += this.#bytes.toString('latin1', kept, end);
    return !this.#broken && this.#at === end;
  }

  #outline(outlined: Outlined, from: number, to: number): boolean {
    if (typeof outlined === 'number') {
      const text = this.#bytes.toString('latin1', from, to);
      this.key += GAP;
      this.texts.push([outlined, text]);
      return ASCII.test(text);
    }
    if (outlined === 'any') {
      this.key += GAP;
      return true;
    }
    if ('unless' in outlined) {
      this.key += GAP;
      const found = this.#bytes.indexOf(outlined.unless, from, 'latin1');
      return found < 0 || found >= to;
    }
    this.key += OPEN;
    if (outlined.mark !== undefined) this.texts.push([outlined.mark, '']);
    const whole = this.trace(outlined, from, to);
    this.key += CLOSE;
    return whole;
  }

  #holds([field, text]: readonly [number, string], start: number, end: number): boolean {
    this.#at = start;
    while (this.#at < end && !this.#broken) {
      const tag = this.#varint();
      if (tag >>> 3 === field && (tag & 7) === BYTES) {
        const length = this.#varint();
        return this.#bytes.toString('latin1', this.#at, Math.min(end, this.#at + length)) === text;
      }
      this.#skip(tag, end);
    }
    return false;
  }

  #skip(tag: number, end: number): void {
    switch (tag & 7) {
      case VARINT:
        this.#varint();
        break;
      case 1:
        this.#at += 8;
        break;
      case BYTES: {
        const length = this.#varint();
        this.#at += length;
        break;
      }
      case 5:
        this.#at += 4;
        break;
      default:
        this.#broken = true;
    }
    if (this.#at > end) this.#broken = true;
  }

  /** At most five bytes: longer ones are no length and no field that anybody outlines. */
  #varint(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined) break;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    this.#broken = true;
    return 0;
  }
}

/** Undefined: the message has none, and is to be decoded. */
export function outlineOf(bytes: Uint8Array, spec: OutlineSpec): Outline | undefined {
  const tracer = new Tracer(bytes);
  return tracer.trace(spec, 0, bytes.byteLength) ? tracer : undefined;
}
