/**
 * The bytes of a resource for as long as it is cached: to recognise it when it comes again, for the last-good file, for CSDS. A text of one
 * character for each byte takes half the room of a small view, and neither holds on to the message that the resource came in.
 */
import { sameBytes } from './peek-name.ts';

/** Longer ones stay bytes: comparing them makes no copy. */
const MAX_TEXT = 65_536;

export type KeptBytes = string | Uint8Array;

export function keepBytes(bytes: Uint8Array): KeptBytes {
  return bytes.length <= MAX_TEXT ? bufferOf(bytes).toString('latin1') : bytes.slice();
}

export function keptEquals(kept: KeptBytes, bytes: Uint8Array): boolean {
  if (typeof kept !== 'string') return sameBytes(kept, bytes);
  return kept.length === bytes.length && kept === bufferOf(bytes).toString('latin1');
}

export function bytesOf(kept: KeptBytes): Uint8Array {
  return typeof kept === 'string' ? Buffer.from(kept, 'latin1') : kept;
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
