/**
 * The parts of undici that the adapter runs on, loaded one by one: the whole library costs 30 ms more at start-up, nearly all of it for a
 * `fetch` of its own that nobody here calls. These paths are not undici's API, so the main entry stands in when one is missing.
 */
import { createRequire } from 'node:module';
import type { Dispatcher as DispatcherType, Pool as PoolType } from 'undici';

const require = createRequire(import.meta.url);

function load<T>(path: string, name: string): T {
  try {
    return require(`undici/lib/dispatcher/${path}`) as T;
  } catch {
    return (require('undici') as Record<string, unknown>)[name] as T;
  }
}

export const Dispatcher = load<typeof DispatcherType>('dispatcher.js', 'Dispatcher');
export const Pool = load<typeof PoolType>('pool.js', 'Pool');

/** An agent of our own for hosts outside the mesh, where no dispatcher was there before. */
export function createAgent(): DispatcherType {
  return new (load<new () => DispatcherType>('agent.js', 'Agent'))();
}
