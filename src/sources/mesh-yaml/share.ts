/** Structural sharing: what did not change from one load of a file to the next keeps its identity, so that plans reuse what they compiled. */

type Container = Readonly<Record<string, unknown>> | readonly unknown[];

function isContainer(value: unknown): value is Container {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return Array.isArray(value) || prototype === Object.prototype || prototype === null;
}

function equalBytes(a: unknown, b: unknown): boolean {
  return a instanceof Uint8Array && b instanceof Uint8Array && Buffer.compare(a, b) === 0;
}

/** `next`, with every part that equals the part of `previous` in the same place replaced by it; `previous` itself when all do. Freezes. */
export function share<T>(previous: T | undefined, next: T): T {
  return shareValue(previous, next) as T;
}

function shareValue(previous: unknown, next: unknown): unknown {
  if (Object.is(previous, next)) return next;
  if (!isContainer(next)) return equalBytes(previous, next) ? previous : next;
  if (Array.isArray(next)) return shareList(Array.isArray(previous) ? (previous as readonly unknown[]) : [], next);
  return shareRecord(
    isContainer(previous) && !Array.isArray(previous) ? (previous as Readonly<Record<string, unknown>>) : undefined,
    next as Readonly<Record<string, unknown>>,
  );
}

/** An element is compared with the one at its index and, where the list grew or shrank, at its distance from the end. */
function shareList(previous: readonly unknown[], next: readonly unknown[]): readonly unknown[] {
  const shift = previous.length - next.length;
  let same = shift === 0;
  const result = next.map((value, index) => {
    const first = shareValue(previous[index], value);
    const shared = shift === 0 || first === previous[index] ? first : keepBetter(first, previous[index + shift], value);
    if (shared !== previous[index]) same = false;
    return shared;
  });
  if (same) return previous;
  return Object.isFrozen(next) && result.every((value, index) => Object.is(value, next[index])) ? next : Object.freeze(result);
}

function keepBetter(first: unknown, fromEnd: unknown, value: unknown): unknown {
  const shared = shareValue(fromEnd, value);
  return shared === fromEnd ? shared : first;
}

function shareRecord(previous: Readonly<Record<string, unknown>> | undefined, next: Readonly<Record<string, unknown>>): unknown {
  const keys = Object.keys(next);
  let same = previous !== undefined && Object.keys(previous).length === keys.length;
  let replaced = false;
  const entries: [string, unknown][] = [];
  for (const key of keys) {
    const had = previous !== undefined && Object.hasOwn(previous, key);
    const shared = shareValue(had ? previous[key] : undefined, next[key]);
    entries.push([key, shared]);
    if (!had || !Object.is(shared, previous[key])) same = false;
    if (!Object.is(shared, next[key])) replaced = true;
  }
  if (same) return previous;
  // Constants such as `NO_HEADER_MUTATION` stay themselves.
  return !replaced && Object.isFrozen(next) ? next : Object.freeze(Object.fromEntries(entries));
}

/** The same for a map of named values. */
export function shareMap<V>(previous: ReadonlyMap<string, V> | undefined, next: ReadonlyMap<string, V>): ReadonlyMap<string, V> {
  const result = new Map<string, V>();
  let same = previous?.size === next.size;
  for (const [name, value] of next) {
    const before = previous?.get(name);
    const shared = share(before, value);
    result.set(name, shared);
    if (shared !== before) same = false;
  }
  return same && previous !== undefined ? previous : result;
}
