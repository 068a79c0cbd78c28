/** Fields of ClusterLoadAssignment and what is in it, as keys for a `switch` over the bytes (`endpoints-reader.ts`). */
import { BYTES, VARINT } from './wire.ts';

/** One key for both kinds of field in a `switch`: number and wire type. */
export function key(field: number, wireType: number): number {
  return (field << 3) | wireType;
}
export const F1 = key(1, BYTES);
export const F2 = key(2, BYTES);
export const F2_VARINT = key(2, VARINT);
export const F3 = key(3, BYTES);
export const F3_VARINT = key(3, VARINT);
export const F4 = key(4, BYTES);
export const F5 = key(5, BYTES);
export const F5_VARINT = key(5, VARINT);
export const F6 = key(6, BYTES);
export const F7 = key(7, BYTES);
export const F8 = key(8, BYTES);
