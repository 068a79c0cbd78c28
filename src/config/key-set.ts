/** A set of resource keys, for sets of many thousands: no text is made for a key without a config source of its own. */
import type { ResourceKey, ResourceKind } from './resource.ts';

/** Equal for keys of one kind that mean the same resource. */
function idOf({ name, source }: ResourceKey): string {
  return source === undefined ? name : `${name}\n${source.id}`;
}

export class KeySet implements Iterable<ResourceKey> {
  readonly #kinds = new Map<ResourceKind, Map<string, ResourceKey>>();
  #size = 0;

  constructor(keys: Iterable<ResourceKey> = []) {
    for (const key of keys) this.add(key);
  }

  get size(): number {
    return this.#size;
  }

  /** False when it was there already. */
  add(key: ResourceKey): boolean {
    let keys = this.#kinds.get(key.kind);
    if (keys === undefined) this.#kinds.set(key.kind, (keys = new Map<string, ResourceKey>()));
    const before = keys.size;
    keys.set(idOf(key), key);
    if (keys.size === before) return false;
    this.#size++;
    return true;
  }

  has(key: ResourceKey): boolean {
    return this.#kinds.get(key.kind)?.has(idOf(key)) ?? false;
  }

  equals(other: KeySet): boolean {
    if (this.#size !== other.size) return false;
    for (const [kind, keys] of this.#kinds) {
      const others = other.#kinds.get(kind);
      if (keys.size !== (others?.size ?? 0)) return false;
      for (const id of keys.keys()) if (others?.has(id) !== true) return false;
    }
    return true;
  }

  *[Symbol.iterator](): Iterator<ResourceKey> {
    for (const keys of this.#kinds.values()) yield* keys.values();
  }
}
