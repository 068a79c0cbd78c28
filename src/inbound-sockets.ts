/**
 * The sidecar view of the serving side: which of the listeners that a control plane sends by itself (wildcard LDS) serves a bound address,
 * as the sidecar would have bound it (envoy.config.listener.v3.Listener `address`, `traffic_direction: INBOUND`). Server listeners that are
 * asked for by name belong to the source.
 */
import type { ListenerConfig } from './config/listener.ts';
import type { ConfigSource } from './config/resource.ts';
import type { Root } from './roots.ts';

/** `passthrough`: none of them, and all have come. Undefined: more may come, or one was refused. */
type Found = Root | 'passthrough' | undefined;

const isEvery = (host: string): boolean => host === '0.0.0.0' || host === '::';

/** How well the address of a listener fits the bound one; 0: not at all. */
function rank(own: string, bound: string): number {
  return own === bound ? 3 : isEvery(own) ? 2 : isEvery(bound) ? 1 : 0;
}

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
    const found = name === undefined ? (this.#isOpen(host, port) ? 'passthrough' : undefined) : this.#demand(name);
    this.#found.set(key, found);
    return found;
  }

  /** All have come, and none was refused that could have been for this address: its rules would be missing. */
  #isOpen(host: string, port: number): boolean {
    if (this.#source.allListed?.() === false) return false;
    const refused = this.#source.refusedInbound?.() ?? [];
    return !refused.some((address) => (address.port === 0 || address.port === port) && rank(address.host, host) > 0);
  }

  /** On that very address, else one on all addresses, else any on the port where the server is bound to all addresses. */
  #listenerOf(host: string, port: number): string | undefined {
    let best: ListenerConfig | undefined;
    let most = 0;
    for (const name of this.#source.listeners()) {
      const state = this.#source.get('listener', name);
      if (state.status !== 'present') continue;
      const { value } = state;
      if (value.direction !== 'inbound' || value.address === undefined) continue;
      const addresses = [value.address, ...(value.moreAddresses ?? [])];
      const fits = Math.max(...addresses.map((own) => (own.port === port ? rank(own.host, host) : 0)));
      if (fits <= most) continue;
      best = value;
      most = fits;
    }
    return best?.name;
  }
}
