/**
 * Reads a resource's name without decoding the resource: in all five types it is the string in field 1, which encoders write
 * first. Used to find the bytes to compare with, and to skip what nobody asked for.
 */

const text = new TextDecoder();
const NAME_TAG = 0x0a;

/** Undefined when the message does not begin with its name; the caller then has to decode it. */
export function peekName(bytes: Uint8Array): string | undefined {
  if (bytes[0] !== NAME_TAG) return undefined;
  let length = 0;
  let at = 1;
  for (let shift = 0; shift <= 28; shift += 7) {
    const byte = bytes[at++];
    if (byte === undefined) return undefined;
    length += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return length === 0 || at + length > bytes.length ? undefined : text.decode(bytes.subarray(at, at + length));
  }
  return undefined;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}
