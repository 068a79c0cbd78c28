/**
 * The sidecar view of the serving side: which of the listeners that a control plane sends by itself (wildcard LDS) serves a bound address,
 * as the sidecar would have bound it (envoy.config.listener.v3.Listener `address`, `traffic_direction: INBOUND`). Server listeners that are
 * asked for by name belong to the source.
 */
import type { ListenerConfig } from './config/listener.ts';
import type { ConfigSource } from './config/resource.ts';
import type { Root } from './roots.ts';

/** `passthrough`: none of them, and all have come. Undefined: more may come. */
type Found = Root | 'passthrough' | undefined;

const isEvery = (host: string): boolean => host === '0.0.0.0' || host === '::';

export class InboundSockets {
  readonly #source: ConfigSource;
  readonly #demand: (name: string) => Root;
  /** Until something changes. */
  readonly #found = new Map<string, Found>();
  /** Names of the last that served an address: what once was guarded is never left alone because its listener is gone. */
  readonly #last = new Map<string, string>();

  constructor(source: ConfigSource, demand: (name: string) => Root) {
    this.#source = source;
    this.#demand = demand;
  }

  forget(): void {
    this.#found.clear();
  }

  root(host: string, port: number): Found {
    const key = `${host} ${port}`;
    if (this.#found.has(key)) return this.#found.get(key);
    const name = this.#listenerOf(host, port) ?? this.#last.get(key);
    if (name !== undefined) this.#last.set(key, name);
    const unlisted = this.#source.allListed?.() === false;
    const found = name === undefined ? (unlisted ? undefined : 'passthrough') : this.#demand(name);
    this.#found.set(key, found);
    return found;
  }

  /** On that very address, else one on all addresses, else any on the port where the server is bound to all addresses. */
  #listenerOf(host: string, port: number): string | undefined {
    const rank = (listener: ListenerConfig): number => {
      const own = listener.address?.host ?? '';
      return own === host ? 3 : isEvery(own) ? 2 : isEvery(host) ? 1 : 0;
    };
    let best: ListenerConfig | undefined;
    for (const name of this.#source.listeners()) {
      const state = this.#source.get('listener', name);
      if (state.status !== 'present') continue;
      const { value } = state;
      if (value.direction !== 'inbound' || value.address?.port !== port) continue;
      if (rank(value) > (best === undefined ? 0 : rank(best))) best = value;
    }
    return best?.name;
  }
}
