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

/** Where endpoints stand: shared by those of one locality. */
export interface Home {
  readonly cluster: MeshCluster;
  readonly place: LocalityConfig;
}

/** What an endpoint has once somebody has used it: of a hundred thousand few are ever called. */
class Use {
  readonly host: string;
  readonly address: string;
  slots: Slot[] | undefined = undefined;
  draining: readonly Connection[] | undefined = undefined;

  constructor(host: string, port: number) {
    this.host = host;
    this.address = addressOf(host, port);
  }
}

const KEPT = 1;
const EJECTED = 2;
const GONE = 4;

/** 64 bytes. */
export class MeshEndpoint implements Endpoint {
  config: EndpointConfig;
  home: Home;
  active = 0;
  #state = KEPT;
  #use: Use | undefined = undefined;

  constructor(home: Home, config: EndpointConfig) {
    this.config = config;
    this.home = home;
  }

  get cluster(): MeshCluster {
    return this.home.cluster;
  }

  get host(): string {
    return this.#used.host;
  }

  get port(): number {
    return this.config.port;
  }

  get address(): string {
    return this.#used.address;
  }

  get hostname(): string {
    return this.config.hostname;
  }

  get locality(): string {
    return this.home.place.locality;
  }

  get priority(): number {
    return this.home.place.priority;
  }

  get weight(): number {
    return this.config.weight;
  }

  get health(): HealthStatus {
    return this.config.health;
  }

  get security(): ClientSecurity | undefined {
    return this.home.cluster.securityOf(this.config);
  }

  /** True while a new assignment names it; see `MeshCluster.assign`. */
  get kept(): boolean {
    return (this.#state & KEPT) !== 0;
  }

  set kept(value: boolean) {
    this.#state = value ? this.#state | KEPT : this.#state & ~KEPT;
  }

  get ejected(): boolean {
    return (this.#state & EJECTED) !== 0;
  }

  set ejected(value: boolean) {
    this.#state = value ? this.#state | EJECTED : this.#state & ~EJECTED;
  }

  /** No assignment names it any more; calls that began before may still use it, and what they open is closed after them. */
  get gone(): boolean {
    return (this.#state & GONE) !== 0;
  }

  connection(transport: Transport, secure: boolean): Connection {
    const asked = secure && this.security === undefined;
    const use = this.#used;
    const { slots } = use;
    if (slots !== undefined) {
      for (let i = 0; i < slots.length; i++) {
        const slot = slots[i];
        if (slot !== undefined && slot.transport === transport && slot.secure === asked) return slot.connection;
      }
    }
    const connection = transport.connect(this, asked);
    use.slots = [...(slots ?? []), { transport, secure: asked, connection }];
    return connection;
  }

  /** How many connections or pools exist, for `describe()`. */
  get connections(): number {
    return this.#use?.slots?.length ?? 0;
  }

  /** No new calls will come. */
  leave(): Promise<void> {
    this.#state |= GONE;
    return this.drain();
  }

  /** Lets running exchanges end and closes; the next call would open anew (a changed transport socket uses this). */
  async drain(): Promise<void> {
    const use = this.#use;
    if (use?.slots === undefined) return;
    const connections = use.slots.map((slot) => slot.connection);
    use.slots = undefined;
    use.draining = [...(use.draining ?? []), ...connections];
    await Promise.all(connections.map((connection) => connection.close()));
    use.draining = use.draining.filter((connection) => !connections.includes(connection));
  }

  /** Ends running exchanges at once, also on connections that drain; for a mesh whose time to drain is over. */
  destroy(error: Error): void {
    void this.drain();
    for (const connection of this.#use?.draining ?? []) connection.destroy?.(error);
  }

  get #used(): Use {
    return (this.#use ??= new Use(this.config.host, this.config.port));
  }
}
