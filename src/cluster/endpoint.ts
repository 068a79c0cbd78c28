/** One endpoint of a living cluster: identity by address, so that its counters and connections survive updates. */
import type { EndpointConfig, LocalityConfig } from '../config/endpoints.ts';
import type { Endpoint, HealthStatus } from '../core/endpoint.ts';
import type { ClientSecurity } from '../core/tls.ts';
import type { Connection, Transport } from '../core/transport.ts';
import type { MeshCluster } from './cluster.ts';

interface Slot {
  readonly transport: Transport;
  readonly secure: boolean;
  readonly connection: Connection;
}

export function addressOf(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

export class MeshEndpoint implements Endpoint {
  readonly host: string;
  readonly port: number;
  readonly cluster: MeshCluster;
  config: EndpointConfig;
  place: LocalityConfig;
  /** True while a new assignment names it; see `MeshCluster.assign`. */
  kept = true;
  active = 0;
  ejected = false;
  /** No assignment names it any more; calls that began before may still use it, and what they open is closed after them. */
  gone = false;
  #slots: Slot[] | undefined = undefined;
  #draining: readonly Connection[] | undefined = undefined;
  #address: string | undefined = undefined;

  constructor(cluster: MeshCluster, config: EndpointConfig, place: LocalityConfig) {
    this.cluster = cluster;
    this.host = config.host;
    this.port = config.port;
    this.config = config;
    this.place = place;
  }

  /** Made on first use: of a hundred thousand endpoints few are ever called. */
  get address(): string {
    return (this.#address ??= addressOf(this.host, this.port));
  }

  get hostname(): string {
    return this.config.hostname;
  }

  get locality(): string {
    return this.place.locality;
  }

  get weight(): number {
    return this.config.weight;
  }

  get health(): HealthStatus {
    return this.config.health;
  }

  get security(): ClientSecurity | undefined {
    return this.cluster.securityOf(this.config.metadata);
  }

  connection(transport: Transport, secure: boolean): Connection {
    const asked = secure && this.security === undefined;
    const slots = this.#slots;
    if (slots !== undefined) {
      for (let i = 0; i < slots.length; i++) {
        const slot = slots[i];
        if (slot !== undefined && slot.transport === transport && slot.secure === asked) return slot.connection;
      }
    }
    const connection = transport.connect(this, asked);
    this.#slots = [...(slots ?? []), { transport, secure: asked, connection }];
    return connection;
  }

  /** How many connections or pools exist, for `describe()`. */
  get connections(): number {
    return this.#slots?.length ?? 0;
  }

  /** No new calls will come. */
  leave(): Promise<void> {
    this.gone = true;
    return this.drain();
  }

  /** Lets running exchanges end and closes; the next call would open anew (a changed transport socket uses this). */
  async drain(): Promise<void> {
    const connections = (this.#slots ?? []).map((slot) => slot.connection);
    this.#slots = undefined;
    if (connections.length === 0) return;
    this.#draining = [...(this.#draining ?? []), ...connections];
    await Promise.all(connections.map((connection) => connection.close()));
    this.#draining = this.#draining.filter((connection) => !connections.includes(connection));
  }

  /** Ends running exchanges at once, also on connections that drain; for a mesh whose time to drain is over. */
  destroy(error: Error): void {
    void this.drain();
    for (const connection of this.#draining ?? []) connection.destroy?.(error);
  }
}
