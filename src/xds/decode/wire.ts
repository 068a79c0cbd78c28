/** A cursor over protobuf's wire format, for messages that are too many for objects of every field. Knows no schema. */
import { ConfigProblem } from '../../config/resource.ts';

export const VARINT = 0;
export const BYTES = 2;

export class WireReader {
  readonly #bytes: Buffer;
  position: number;
  /** One past the last byte of the message being read. */
  end: number;
  /** Of the field that `next` has found. */
  field = 0;
  wireType = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.position = 0;
    this.end = bytes.byteLength;
  }

  /** Moves to the next field of the message; false at its end. */
  next(): boolean {
    if (this.position >= this.end) return false;
    const tag = this.uint32();
    this.field = tag >>> 3;
    this.wireType = tag & 7;
    if (this.field === 0) throw new ConfigProblem('', 'malformed bytes: field number 0');
    return true;
  }

  /** A varint's low 32 bits, unsigned. */
  uint32(): number {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.position >= this.end) throw new ConfigProblem('', 'malformed bytes: they end within a number');
      const byte = this.#bytes[this.position++] as number;
      if (shift < 32) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw new ConfigProblem('', 'malformed bytes: a number is too long');
  }

  /** Enters an embedded message; returns what `leave` wants back. */
  enter(): number {
    const length = this.uint32();
    const outer = this.end;
    const end = this.position + length;
    if (end > outer) throw new ConfigProblem('', 'malformed bytes: a field is longer than its message');
    this.end = end;
    return outer;
  }

  leave(outer: number): void {
    this.position = this.end;
    this.end = outer;
  }

  text(): string {
    const outer = this.enter();
    const value = this.#bytes.toString('utf8', this.position, this.end);
    this.leave(outer);
    return value;
  }

  /** A view, not a copy; `previous` itself when its bytes are the same, so that equal values are kept once. */
  slice(previous: Uint8Array | undefined): Uint8Array {
    const outer = this.enter();
    const { position, end } = this;
    const same = previous !== undefined && this.#equals(previous, position, end);
    const value = same ? previous : new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset + position, end - position);
    this.leave(outer);
    return value;
  }

  #equals(other: Uint8Array, start: number, end: number): boolean {
    if (other.length !== end - start) return false;
    for (let i = 0; i < other.length; i++) if (other[i] !== this.#bytes[start + i]) return false;
    return true;
  }

  /** The `value` of a `google.protobuf.UInt32Value`. */
  wrappedUint32(): number {
    let value = 0;
    const outer = this.enter();
    while (this.next()) {
      if (this.field === 1 && this.wireType === VARINT) value = this.uint32();
      else this.skip();
    }
    this.leave(outer);
    return value;
  }

  /** Passes over the field that `next` has found. */
  skip(): void {
    switch (this.wireType) {
      case VARINT:
        this.uint32();
        return;
      case 1:
        this.#advance(8);
        return;
      case BYTES:
        this.leave(this.enter());
        return;
      case 5:
        this.#advance(4);
        return;
      default: // groups are not used by any xDS message
        throw new ConfigProblem('', `malformed bytes: wire type ${this.wireType}`);
    }
  }

  #advance(count: number): void {
    this.position += count;
    if (this.position > this.end) throw new ConfigProblem('', 'malformed bytes: they end within a number');
  }
}
