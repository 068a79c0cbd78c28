/** XXH64, the hash of Envoy's consistent hashing. The one module that knows `xxhash-wasm`, which is loaded when asked for. */
import { MeshError } from '../core/errors.ts';

let hash: ((text: string, seed?: bigint) => bigint) | undefined;

/** Loads and starts the hash function once; to be awaited before a plan that hashes is used. */
export async function loadXxhash(): Promise<void> {
  if (hash !== undefined) return;
  const { default: xxhash } = await import('xxhash-wasm');
  const api = await xxhash();
  hash = (text, seed) => api.h64(text, seed);
}

/** Hash of the UTF-8 bytes of `text`. `seed` (default 0) chains several values. */
export function xxh64(text: string, seed?: bigint): bigint {
  if (hash === undefined)
    throw new MeshError('ERR_MESH_CONFIG', 'xxh64 was called before it was loaded', { cure: 'Await loadXxhash() first.' });
  return hash(text, seed);
}
