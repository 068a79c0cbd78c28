/**
 * The parts of undici that the adapter runs on, loaded one by one: the whole library costs 30 ms more at start-up, nearly all of it for a
 * `fetch` of its own that nobody here calls. These paths are not undici's API, so the main entry stands in when one is missing.
 */
import { createRequire } from 'node:module';
import type { Client as ClientType, Dispatcher as DispatcherType, Pool as PoolType } from 'undici';

type Method = (this: DispatcherType, ...values: readonly unknown[]) => unknown;

const require = createRequire(import.meta.url);

function load<T>(path: string, name: string): T {
  try {
    return require(`undici/lib/${path}`) as T;
  } catch {
    return (require('undici') as Record<string, unknown>)[name] as T;
  }
}

export const Dispatcher = load<typeof DispatcherType>('dispatcher/dispatcher.js', 'Dispatcher');
export const Client = load<typeof ClientType>('dispatcher/client.js', 'Client');

/** undici's own pool, for HTTP/2. */
export function createPool(origin: string, options: PoolType.Options): PoolType {
  return new (load<typeof PoolType>('dispatcher/pool.js', 'Pool'))(origin, options);
}

/** An agent of our own for hosts outside the mesh, where no dispatcher was there before. */
export function createAgent(): DispatcherType {
  return new (load<new () => DispatcherType>('dispatcher/agent.js', 'Agent'))();
}

const METHODS = ['request', 'stream', 'pipeline', 'connect', 'upgrade'] as const;

/** `dispatcher.request()` and its kin, which undici's main entry puts on every dispatcher; here they are loaded when they are called. */
export function addMethods(dispatcher: { readonly prototype: object }): void {
  for (const name of METHODS) {
    const method: Method = function (...values) {
      const api = load<Partial<Record<string, Method>>>('api/index.js', 'Dispatcher');
      const found = api[name] ?? (api as { prototype?: Partial<Record<string, Method>> }).prototype?.[name];
      return found?.apply(this, [...values]);
    };
    Object.defineProperty(dispatcher.prototype, name, { value: method, writable: true, configurable: true });
  }
}
