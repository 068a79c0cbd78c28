/** Makes a configuration immutable. What filters and policies parsed is theirs and stays as it is. */

const OPAQUE: ReadonlySet<string> = new Set(['config', 'endpoints']);

/**
 * Freezes `value` and what lies below it, down to `depth` levels: freezing costs about a microsecond an object, so large tables are
 * frozen where others hold on to them, and below that types say `readonly`.
 */
export function freeze<T>(value: T, depth = Number.POSITIVE_INFINITY): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value) || ArrayBuffer.isView(value)) return value;
  Object.freeze(value);
  if (depth > 1) for (const [key, inner] of Object.entries(value)) if (!OPAQUE.has(key)) freeze(inner, depth - 1);
  return value;
}
