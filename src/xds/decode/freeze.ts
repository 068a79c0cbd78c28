/** Makes a configuration immutable, all the way down. What filters and policies parsed is theirs and stays as it is. */

const OPAQUE: ReadonlySet<string> = new Set(['config', 'endpoints']);

export function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value) || ArrayBuffer.isView(value)) return value;
  Object.freeze(value);
  for (const [key, inner] of Object.entries(value)) if (!OPAQUE.has(key)) freeze(inner);
  return value;
}
