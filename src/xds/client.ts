/**
 * The xDS client as a `ConfigSource`: one cache, one stream per control plane, subscriptions by difference. Uses the first server of
 * each list (fallback, gRFC A71, is to come). Names with an `xdstp:` authority go to that authority's server (gRFC A47).
 */
import type { Clock } from '../core/clock.ts';
import { Lane } from '../core/lane.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { AdsTransport } from '../core/transport.ts';
import type { Bootstrap, XdsServerConfig } from '../config/bootstrap.ts';
import type {
  Changes,
  ConfigSource,
  ResourceKey,
  ResourceKind,
  ResourceState,
  ResourceTypes,
  SourceDescription,
} from '../config/resource.ts';
import type { NodeMessage } from '../proto/discovery.ts';
import { XdsCache } from './cache.ts';
import type { ServerTraits } from './cache.ts';
import { authorityOf, canonicalName, listenerCandidates, serverListenerName } from './names.ts';
import type { DecodeContext, ResourceType } from './resource-type.ts';
import { ServerLink } from './server-link.ts';

const CLIENT_FEATURES = [
  'envoy.lb.does_not_support_overprovisioning',
  'xds.config.resource-in-sotw',
  'xds.config.supports-resource-in-sotw',
];

export interface XdsClientOptions {
  readonly bootstrap: Bootstrap;
  /** Called once for each control plane, when something is first asked of it. */
  readonly transport: (server: XdsServerConfig) => AdsTransport;
  readonly types: readonly ResourceType[];
  readonly decode: Pick<DecodeContext, 'filters' | 'lbPolicies'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Envoy's sidecar view: LDS and CDS of the first server are subscribed whole. */
  readonly wildcard: boolean;
  readonly userAgentVersion: string;
}

export class XdsClient implements ConfigSource {
  readonly name: string;
  readonly #options: XdsClientOptions;
  readonly #context: Omit<DecodeContext, 'unsupported'>;
  readonly #node: NodeMessage;
  readonly #cache: XdsCache;
  readonly #lane = new Lane();
  readonly #links = new Map<string, ServerLink>();
  readonly #main: ServerLink;
  #wanted = new Map<string, ResourceKey>();
  #listener: ((changes?: Changes) => void) | undefined;
  #closed = false;

  constructor(options: XdsClientOptions) {
    const { bootstrap, clock } = options;
    this.#options = options;
    this.#cache = new XdsCache(clock, () => this.#changed());
    this.#context = { ...options.decode, certificateProviders: new Set(Object.keys(bootstrap.certificateProviders)) };
    this.#node = {
      ...bootstrap.node,
      userAgentName: 'inmesh',
      userAgentVersion: options.userAgentVersion,
      clientFeatures: CLIENT_FEATURES,
    };
    const [server] = bootstrap.servers;
    if (server === undefined) throw new TypeError('a bootstrap has at least one server');
    this.name = `xds:${server.uri}`;
    this.#main = this.#link(server, options.wildcard);
    if (options.wildcard) this.#main.subscribe([]);
  }

  get<K extends ResourceKind>(kind: K, name: string): ResourceState<ResourceTypes[K]> {
    return this.#cache.get(kind, canonicalName(name));
  }

  want(keys: readonly ResourceKey[]): void {
    if (this.#closed) return;
    const before = this.#wanted;
    const wanted = new Map<string, ResourceKey>();
    const touched = new Map<ServerLink, Set<ResourceKind>>();
    let known = false;
    for (const { kind, name: given } of keys) {
      const name = canonicalName(given);
      const id = `${kind} ${name}`;
      wanted.set(id, { kind, name });
      if (!before.has(id) && this.#add(kind, name, touched)) known = true;
    }
    for (const [id, { kind, name }] of before) if (!wanted.has(id)) this.#remove(kind, name, touched);
    this.#wanted = wanted;
    for (const [link, kinds] of touched) link.subscribe(kinds);
    // Never from within `want`: the caller is in the middle of something.
    if (known) queueMicrotask(() => this.#changed());
  }

  onChange(listener: (changes?: Changes) => void): void {
    this.#listener = listener;
  }

  listeners(): readonly string[] {
    return this.#options.wildcard ? this.#cache.names('listener') : [];
  }

  candidates(authority: string): readonly string[] {
    return listenerCandidates(authority, this.#options.bootstrap.clientListenerTemplate);
  }

  inboundListener(host: string, port: number): string | undefined {
    const { serverListenerTemplate } = this.#options.bootstrap;
    return serverListenerTemplate === undefined ? undefined : serverListenerName(serverListenerTemplate, host, port);
  }

  describe(): SourceDescription {
    const links = [...this.#links.values()];
    const problems = links.flatMap(({ problem }) => (problem === undefined ? [] : [problem]));
    return {
      name: this.name,
      connected: this.#main.connected,
      problem: problems.length === 0 ? undefined : problems.join('; '),
      ...this.#cache.describe(),
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#cache.close();
    await Promise.all([...this.#links.values()].map((link) => link.close()));
  }

  /** True when the state is known at once. */
  #add(kind: ResourceKind, name: string, touched: Map<ServerLink, Set<ResourceKind>>): boolean {
    const link = this.#linkOf(name);
    if (link === undefined) {
      this.#cache.addFailed(kind, name, NO_SERVER, `the bootstrap has no authority "${authorityOf(name) ?? ''}"`);
      return true;
    }
    if (!this.#options.types.some((type) => type.kind === kind)) {
      this.#cache.addFailed(kind, name, link.server, `resources of type ${kind} are not supported`);
      return true;
    }
    const known = this.#cache.add(kind, name, link.server);
    link.names(kind).add(name);
    touch(touched, link, kind);
    return known;
  }

  #remove(kind: ResourceKind, name: string, touched: Map<ServerLink, Set<ResourceKind>>): void {
    const link = this.#linkOf(name);
    this.#cache.remove(kind, name, link?.isWildcard(kind) ?? false);
    if (link?.names(kind).delete(name) === true) touch(touched, link, kind);
  }

  #linkOf(name: string): ServerLink | undefined {
    const authority = authorityOf(name);
    if (authority === undefined) return this.#main;
    const { authorities } = this.#options.bootstrap;
    const server = Object.hasOwn(authorities, authority) ? authorities[authority]?.servers[0] : undefined;
    return server === undefined ? undefined : this.#link(server, false);
  }

  /** Requests for the same server configuration share one stream (gRFC A47). */
  #link(server: XdsServerConfig, wildcard: boolean): ServerLink {
    const id = JSON.stringify([server.uri, server.credentials, server.features.toSorted()]);
    const existing = this.#links.get(id);
    if (existing !== undefined) return existing;
    const { clock, random, log, types } = this.#options;
    const traits: ServerTraits = {
      uri: server.uri,
      failOnDataErrors: server.features.includes('fail_on_data_errors'),
      timerIsTransient: server.features.includes('resource_timer_is_transient_error'),
    };
    const link = new ServerLink({
      server: traits,
      cache: this.#cache,
      clock,
      random,
      log,
      transport: () => this.#options.transport(server),
      changed: () => this.#changed(),
      session: {
        types,
        wildcard: new Set(wildcard ? types.filter(({ fullState }) => fullState).map(({ kind }) => kind) : []),
        node: this.#node,
        context: this.#context,
      },
    });
    this.#links.set(id, link);
    return link;
  }

  #changed(): void {
    if (this.#closed) return;
    this.#lane.run(() => {
      try {
        this.#listener?.(undefined);
      } catch (error) {
        // A fault in what compiles the configuration must not end the stream: the next update may mend it.
        this.#options.log.error('a configuration could not be applied', { error: error instanceof Error ? error.stack : String(error) });
      }
    });
  }
}

const NO_SERVER: ServerTraits = { uri: '', failOnDataErrors: false, timerIsTransient: false };

function touch(touched: Map<ServerLink, Set<ResourceKind>>, link: ServerLink, kind: ResourceKind): void {
  const kinds = touched.get(link);
  if (kinds === undefined) touched.set(link, new Set([kind]));
  else kinds.add(kind);
}
