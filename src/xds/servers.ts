/** From what the bootstrap and resources say about control planes to feeds: traits, transports, and what cannot be had here. */
import type { Bootstrap, XdsServerConfig } from '../config/bootstrap.ts';
import type { ApiConfigSource, ApiServiceConfig, ConfigSourceConfig, PathConfigSource } from '../config/config-source.ts';
import type { ResourceKind } from '../config/resource.ts';
import type { AdsTransport } from '../core/transport.ts';
import type { ServerTraits } from './cache.ts';
import type { FeedConfig } from './feed.ts';
import { fingerprint } from './fingerprint.ts';

/** How connections are made; each is called once for what is asked of it. */
export interface Transports {
  readonly grpc: (server: XdsServerConfig) => AdsTransport;
  readonly rest: (server: XdsServerConfig, source: ApiConfigSource) => AdsTransport;
  readonly path: (source: PathConfigSource) => AdsTransport;
}

/** Equal for equal servers; the tokens of a server's configuration cannot be read out of it. */
export function serverId(server: XdsServerConfig): string {
  return fingerprint({ ...server, features: server.features.toSorted() });
}

export function traitsOf(server: Pick<XdsServerConfig, 'uri' | 'features'>): ServerTraits {
  return {
    uri: server.uri,
    failOnDataErrors: server.features.includes('fail_on_data_errors'),
    timerIsTransient: server.features.includes('resource_timer_is_transient_error'),
  };
}

export class Servers {
  readonly #bootstrap: Bootstrap;
  readonly #transports: Transports;
  readonly #traits = new Map<string, ServerTraits>();

  constructor(bootstrap: Bootstrap, transports: Transports) {
    this.#bootstrap = bootstrap;
    this.#transports = transports;
  }

  feed(server: XdsServerConfig, wildcard: ReadonlySet<ResourceKind>): FeedConfig {
    const { protocol, aggregated } = server;
    const id = serverId(server);
    return {
      id,
      traits: this.#traitsOf(id, server),
      protocol,
      aggregated,
      wildcard,
      transport: () => this.#transports.grpc(server),
      grpc: true,
    };
  }

  /** The servers of a config source in order; a text says why there is none. */
  ofSource(source: ConfigSourceConfig, wildcard: ReadonlySet<ResourceKind>): readonly FeedConfig[] | string {
    if (source.kind === 'path') {
      const uri = `file ${source.path}`;
      const traits = this.#traitsOf(source.id, { uri, features: [] });
      return [{ id: source.id, traits, protocol: 'sotw', aggregated: false, wildcard, transport: () => this.#transports.path(source) }];
    }
    const feeds: FeedConfig[] = [];
    for (const service of source.services) {
      const server = this.#server(service);
      if (typeof server === 'string') return server;
      const { protocol, aggregated } = source;
      const dialect = protocol === 'rest' ? 'sotw' : protocol;
      const whole: XdsServerConfig = { ...server, protocol: dialect, aggregated };
      const id = `${protocol} ${serverId(whole)}`;
      const transport = (): AdsTransport => (protocol === 'rest' ? this.#transports.rest(whole, source) : this.#transports.grpc(whole));
      feeds.push({ id, traits: this.#traitsOf(id, whole), protocol: dialect, aggregated, wildcard, transport, grpc: protocol !== 'rest' });
    }
    return feeds;
  }

  #server(service: ApiServiceConfig): XdsServerConfig | string {
    const server = this.#serverOf(service);
    if (typeof server === 'string' || service.metadata.length === 0) return server;
    const given = service.metadata.map(({ key, value }) => ({ key, parts: [value] }));
    return { ...server, metadata: [...(server.metadata ?? []), ...given] };
  }

  #serverOf(service: ApiServiceConfig): XdsServerConfig | string {
    if (service.kind === 'cluster') {
      const { clusters, origin } = this.#bootstrap;
      const server = Object.hasOwn(clusters, service.name) ? clusters[service.name] : undefined;
      return server ?? `its config source names cluster "${service.name}", which is not in static_resources of the bootstrap ${origin}`;
    }
    return {
      uri: service.uri,
      credentials: service.tls ? SYSTEM_TLS : { type: 'insecure' },
      features: [],
      protocol: 'sotw',
      aggregated: false,
    };
  }

  /** One object for a server, since caches compare traits by identity. */
  #traitsOf(id: string, server: Pick<XdsServerConfig, 'uri' | 'features'>): ServerTraits {
    let traits = this.#traits.get(id);
    if (traits === undefined) this.#traits.set(id, (traits = traitsOf(server)));
    return traits;
  }
}

const SYSTEM_TLS = {
  type: 'tls',
  certificateFile: undefined,
  privateKeyFile: undefined,
  caCertificateFile: undefined,
  refreshIntervalMs: 600_000,
} as const;
