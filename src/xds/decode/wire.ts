/** A cursor over protobuf's wire format, for messages that are too many for objects of every field. Knows no schema. */
import type { PackedHost } from '../../config/packed-endpoint.ts';
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

  /** A view, not a copy. */
  slice(): Uint8Array {
    const outer = this.enter();
    const { position, end } = this;
    const value = new Uint8Array(this.#bytes.buffer, this.#bytes.byteOffset + position, end - position);
    this.leave(outer);
    return value;
  }

  /** One character for each byte; `previous` itself when it is the same, so that equal values are kept once. */
  characters(previous: string): string {
    const outer = this.enter();
    const { position, end } = this;
    const value = this.#equals(previous, position, end) ? previous : this.#bytes.toString('latin1', position, end);
    this.leave(outer);
    return value;
  }

  /** The text of a host; an IPv4 address as a number. */
  host(): PackedHost {
    const outer = this.enter();
    const { position, end } = this;
    const packed = this.#ipv4(position, end);
    const value = packed ?? this.#bytes.toString('utf8', position, end);
    this.leave(outer);
    return value;
  }

  /** Undefined for anything but a dotted quad; a leading zero would make two texts of one address. */
  #ipv4(start: number, end: number): number | undefined {
    if (end - start > 15) return undefined;
    let value = 0;
    let part = -1;
    let dots = 0;
    for (let at = start; at < end; at++) {
      const code = this.#bytes[at] as number;
      if (code === 46) {
        if (part < 0 || ++dots > 3) return undefined;
        value = (value << 8) | part;
        part = -1;
        continue;
      }
      const digit = code - 48;
      if (digit < 0 || digit > 9 || part === 0) return undefined;
      part = part < 0 ? digit : part * 10 + digit;
      if (part > 255) return undefined;
    }
    return dots === 3 && part >= 0 ? (value << 8) | part : undefined;
  }

  #equals(other: string, start: number, end: number): boolean {
    if (other.length !== end - start) return false;
    for (let i = 0; i < other.length; i++) if (other.charCodeAt(i) !== this.#bytes[start + i]) return false;
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
