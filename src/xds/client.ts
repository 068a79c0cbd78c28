/**
 * The xDS client as a `ConfigSource`: subscriptions by difference, each name at the authority or the config source that answers for it.
 * Names with an `xdstp:` authority go to that authority's servers (gRFC A47); protocol and fallback are done further down.
 */
import type { Clock } from '../core/clock.ts';
import { Lane } from '../core/lane.ts';
import type { LoadShare } from '../core/load.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import type { AdsTransport } from '../core/transport.ts';
import type { Bootstrap, XdsServerConfig } from '../config/bootstrap.ts';
import type { ConfigSourceConfig } from '../config/config-source.ts';
import { KeySet } from '../config/key-set.ts';
import type {
  Changes,
  ConfigSource,
  ResourceKey,
  ResourceKind,
  ResourceState,
  ResourceTypes,
  SourceDescription,
  SourceStatus,
  UnsupportedField,
} from '../config/resource.ts';
import type { NodeMessage } from '../proto/discovery.ts';
import { Authority } from './authority.ts';
import { XdsCache } from './cache.ts';
import type { ServerTraits } from './cache-entry.ts';
import { contentsOf } from './contents.ts';
import type { FeedConfig } from './feed.ts';
import { FeedPool } from './feed-pool.ts';
import { LastGood, identityOf } from './last-good-use.ts';
import { LoadReporters } from './load-reporters.ts';
import { EVERYTHING, authorityOf, canonicalName, inCollection, listenerCandidates, serverListenerName } from './names.ts';
import type { DecodeContext, ResourceType } from './resource-type.ts';
import { Servers } from './servers.ts';
import type { Transports } from './servers.ts';
import { Space } from './space.ts';
import { StaticResources } from './static-resources.ts';

const CLIENT_FEATURES = [
  'envoy.lb.does_not_support_overprovisioning',
  'xds.config.resource-in-sotw',
  'xds.config.supports-resource-in-sotw',
  'xds.config.supports-resource-ttl',
];
const NONE: ReadonlySet<ResourceKind> = new Set();
const SIDECAR: ReadonlySet<ResourceKind> = new Set(['listener', 'cluster']);

export interface XdsClientOptions {
  readonly bootstrap: Bootstrap;
  /** Called once for each control plane, when something is first asked of it. */
  readonly transport: (server: XdsServerConfig) => AdsTransport;
  /** For config sources that poll by REST, and those that are files; absent where none can occur. */
  readonly restTransport?: Transports['rest'];
  readonly pathTransport?: Transports['path'];
  readonly types: readonly ResourceType[];
  readonly decode: Pick<DecodeContext, 'filters' | 'lbPolicies'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Envoy's sidecar view: LDS and CDS of the first server are subscribed whole. */
  readonly wildcard: boolean;
  readonly userAgentVersion: string;
  /** Path of the last-good file; absent: none is kept. */
  readonly lastGood?: string;
}

type Place = { readonly space: Space; readonly authority: Authority } | { readonly problem: string };
type Touched = Map<Authority, Set<ResourceKind>>;

export class XdsClient implements ConfigSource {
  readonly name: string;
  readonly #options: XdsClientOptions;
  readonly #node: NodeMessage;
  readonly #servers: Servers;
  readonly #static: StaticResources;
  readonly #pool: FeedPool;
  readonly #loads: LoadReporters;
  readonly #lane = new Lane();
  /** By the id of their source; under the empty id the aggregated streams. */
  readonly #spaces = new Map<string, Space>();
  readonly #main: Space;
  readonly #wildcard: ReadonlySet<ResourceKind>;
  readonly #lastGood: LastGood | undefined;
  #wanted = new KeySet();
  #listener: ((changes?: Changes) => void) | undefined;
  #closed = false;

  constructor(options: XdsClientOptions) {
    const { bootstrap, clock, random, log, types } = options;
    this.#options = options;
    const context = { ...options.decode, certificateProviders: new Set(Object.keys(bootstrap.certificateProviders)) };
    const node: NodeMessage = (this.#node = {
      ...bootstrap.node,
      userAgentName: 'inmesh',
      userAgentVersion: options.userAgentVersion,
      clientFeatures: CLIENT_FEATURES,
    });
    const [server] = bootstrap.servers;
    this.name = server === undefined ? `bootstrap:${bootstrap.origin}` : `xds:${server.uri}`;
    this.#servers = new Servers(bootstrap, {
      grpc: options.transport,
      rest: options.restTransport ?? missing('REST'),
      path: options.pathTransport ?? missing('file'),
    });
    this.#static = new StaticResources(bootstrap.staticResources, types, context, bootstrap.origin);
    this.#wildcard = options.wildcard ? SIDECAR : NONE;
    this.#pool = new FeedPool({
      clock,
      random,
      log,
      types,
      session: { node, context },
      changed: (space, keys) => this.#updated(space, keys),
      responded: () => this.#lastGood?.answered(),
      failed: (space) => this.#lastGood?.unreachable(space),
      owner: (space, name) => this.#ownerOf(space, name),
    });
    this.#loads = new LoadReporters({ clock, random, log, node });
    this.#main = this.#space(undefined);
    if (options.lastGood !== undefined) {
      this.#lastGood = new LastGood({
        file: { path: options.lastGood, identity: identityOf(bootstrap), types, context, clock, log },
        main: this.#main,
        owner: (name) => this.#ownerOf(this.#main, name),
        wildcard: this.#wildcard,
        restored: (keys) => this.#changed(keys),
      });
    }
    for (const kind of this.#wildcard) this.#subscribeWhole(kind);
  }

  get<K extends ResourceKind>(kind: K, name: string, source?: ConfigSourceConfig): ResourceState<ResourceTypes[K]> {
    const canonical = canonicalName(name);
    const fixed = source === undefined ? this.#static.get(kind, canonical) : undefined;
    if (fixed !== undefined) return fixed as ResourceState<ResourceTypes[K]>;
    const from = this.#sourceOf(kind, source);
    if (from === 'none') return { status: 'failed', reason: `the bootstrap has no ${kind} "${name}" and no source of others` };
    return this.#spaces.get(from?.id ?? '')?.cache.get(kind, canonical) ?? { status: 'waiting' };
  }

  scopes(name: string, source?: ConfigSourceConfig): ResourceState<readonly ResourceTypes['scoped-routes'][]> {
    const collection = canonicalName(name);
    const list = this.get('scoped-routes', collection, source);
    const cache = this.#spaces.get(source?.id ?? '')?.cache;
    if (list.status !== 'present' || cache === undefined) return list as ResourceState<never>;
    const members = cache.names('scoped-routes').filter((member) => inCollection(member, new Set([collection])));
    const values = members.flatMap((member) => {
      const state = cache.get('scoped-routes', member);
      return state.status === 'present' ? [state.value] : [];
    });
    return { status: 'present', value: values, version: list.version };
  }

  want(keys: readonly ResourceKey[]): void {
    if (this.#closed) return;
    const before = this.#wanted;
    const wanted = new KeySet();
    const touched: Touched = new Map();
    const known: ResourceKey[] = [];
    for (const given of keys) {
      const name = canonicalName(given.name);
      const key = name === given.name ? given : { ...given, name };
      if (wanted.add(key) && !before.has(key) && this.#add(key, touched)) known.push(key);
    }
    for (const key of before) if (!wanted.has(key)) this.#remove(key, touched);
    this.#wanted = wanted;
    for (const [authority, kinds] of touched) authority.subscribe(kinds);
    if (touched.size > 0) this.#lastGood?.asked();
    // Never from within `want`: the caller is in the middle of something.
    if (known.length > 0) queueMicrotask(() => this.#changed(known));
  }

  onChange(listener: (changes?: Changes) => void): void {
    this.#listener = listener;
  }

  listeners(): readonly string[] {
    const whole = this.#wholeSpaces('listener').flatMap(({ cache }) => cache.names('listener'));
    return [...new Set([...this.#static.names('listener'), ...whole])];
  }

  allListed(): boolean {
    return this.#wholeSpaces('listener').every(({ cache }) => cache.listed('listener'));
  }

  candidates(authority: string): readonly string[] {
    return listenerCandidates(authority, this.#options.bootstrap.clientListenerTemplate);
  }

  inboundListener(host: string, port: number): string | undefined {
    const { serverListenerTemplate } = this.#options.bootstrap;
    return serverListenerTemplate === undefined ? undefined : serverListenerName(serverListenerTemplate, host, port);
  }

  describe(): SourceDescription {
    const feeds = this.#pool.values();
    const problems = feeds.flatMap(({ problem }) => (problem === undefined ? [] : [problem]));
    const loadReports = this.#loads.describe();
    const caches = Array.from(this.#spaces.values(), ({ cache }) => cache.describe());
    return {
      name: this.name,
      connected: feeds.some(({ connected }) => connected),
      problem: problems.length === 0 ? undefined : [...new Set(problems)].join('; '),
      servers: this.#pool.describe(),
      ...(loadReports.length > 0 && { loadReports }),
      ...(this.#lastGood && { lastGood: this.#lastGood.describe() }),
      resources: [...this.#static.describe(), ...caches.flatMap(({ resources }) => resources)],
      unsupported: [
        ...bootstrapFields(this.#options.bootstrap),
        ...this.#static.unsupported,
        ...caches.flatMap(({ unsupported }) => unsupported),
      ],
    };
  }

  /** To the first of the servers that answer for the cluster. */
  reportLoad(cluster: string, service: string): LoadShare | undefined {
    const place =
      this.#closed || this.#static.get('cluster', cluster) !== undefined ? undefined : this.#place('cluster', cluster, undefined);
    return place === undefined || 'problem' in place ? undefined : this.#loads.open(place.authority.primary, cluster, service);
  }

  status(): SourceStatus {
    return { node: this.#node, resources: () => contentsOf(this.#static, this.#spaces.values()) };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const { cache } of this.#spaces.values()) cache.close();
    await this.#loads.close();
    await Promise.all([this.#pool.close(), this.#lastGood?.close()]);
  }

  /** True when the state is known at once. */
  #add({ kind, name, source }: ResourceKey, touched: Touched): boolean {
    if (source === undefined && this.#static.get(kind, name) !== undefined) return true;
    const place = this.#place(kind, name, source);
    const problem = 'problem' in place ? place.problem : place.authority.refuses(kind);
    if ('problem' in place || problem !== undefined) {
      this.#main.cache.addFailed(kind, name, NOBODY, problem ?? '');
      return true;
    }
    const { space, authority } = place;
    const known = space.cache.add(kind, name, authority);
    authority.add(kind, name);
    touch(touched, authority, kind);
    return known;
  }

  #remove({ kind, name, source }: ResourceKey, touched: Touched): void {
    const place = this.#place(kind, name, source);
    if ('problem' in place) {
      this.#main.cache.remove(kind, name, false);
      return;
    }
    // The legacy wildcard cannot be taken back (Envoy X-50): what was subscribed whole stays, and is known when it is wanted again.
    if (name === EVERYTHING) return;
    const { space, authority } = place;
    space.cache.remove(kind, name, authority.isWildcard(kind));
    if (!authority.has(kind, name)) return;
    authority.remove(kind, name);
    touch(touched, authority, kind);
  }

  #place(kind: ResourceKind, name: string, given: ConfigSourceConfig | undefined): Place {
    const source = this.#sourceOf(kind, given);
    if (source === 'none') return { problem: `the bootstrap has no ${kind} "${name}" and no source of others` };
    const space = this.#space(source);
    const authority = this.#authority(space, name);
    return typeof authority === 'string' ? { problem: authority } : { space, authority };
  }

  /** Listeners and clusters may have a source of their own in Envoy's bootstrap; whatever else names none comes over the aggregated stream. */
  #sourceOf(kind: ResourceKind, source: ConfigSourceConfig | undefined): ConfigSourceConfig | 'none' | undefined {
    if (source !== undefined || (kind !== 'listener' && kind !== 'cluster')) return source;
    return this.#options.bootstrap.sources[kind];
  }

  #space(source: ConfigSourceConfig | undefined): Space {
    const id = source?.id ?? '';
    const known = this.#spaces.get(id);
    if (known !== undefined) return known;
    const expired = (keys: readonly ResourceKey[]): void => this.#changed(space.keys(keys));
    const space = new Space(new XdsCache({ clock: this.#options.clock, expired, waitMs: source?.initialFetchTimeoutMs }), source);
    this.#spaces.set(id, space);
    return space;
  }

  /** A text says why nobody answers for the name. */
  #authority(space: Space, name: string): Authority | string {
    const id = space.source === undefined ? authorityOf(name) : undefined;
    const known = space.authorities.get(id ?? '\n');
    if (known !== undefined) return known;
    const servers = this.#serversOf(space, id);
    if (typeof servers === 'string') return servers;
    const authority = new Authority({
      servers,
      cache: space.cache,
      log: this.#options.log,
      open: (config, user) => this.#pool.open(space, config, user),
      release: (feed, user) => this.#pool.release(space, feed, user),
    });
    space.authorities.set(id ?? '\n', authority);
    return authority;
  }

  #serversOf(space: Space, authority: string | undefined): readonly FeedConfig[] | string {
    const { bootstrap } = this.#options;
    if (space.source !== undefined) return this.#servers.ofSource(space.source, this.#wholeOf(space.source));
    if (authority !== undefined) {
      const servers = Object.hasOwn(bootstrap.authorities, authority) ? bootstrap.authorities[authority]?.servers : undefined;
      if (servers === undefined || servers.length === 0) return `the bootstrap has no authority "${authority}"`;
      // A server of the top-level list is the same feed, with what is subscribed whole there.
      return servers.map((server) => this.#servers.feed(server, this.#isMain(server) ? this.#mainWildcard() : NONE));
    }
    if (bootstrap.servers.length === 0) return `the bootstrap ${bootstrap.origin} names no control plane (ads_config)`;
    return bootstrap.servers.map((server) => this.#servers.feed(server, this.#mainWildcard()));
  }

  #isMain(server: XdsServerConfig): boolean {
    return this.#options.bootstrap.servers.some((own) => JSON.stringify(own) === JSON.stringify(server));
  }

  #mainWildcard(): ReadonlySet<ResourceKind> {
    const { sources } = this.#options.bootstrap;
    return new Set([...this.#wildcard].filter((kind) => (kind !== 'listener' && kind !== 'cluster') || sources[kind] === undefined));
  }

  /** Types that are subscribed whole at a source: those that the bootstrap sends there. */
  #wholeOf(source: ConfigSourceConfig): ReadonlySet<ResourceKind> {
    return new Set(
      [...this.#wildcard].filter((kind) => {
        const own = this.#sourceOf(kind, undefined);
        return own !== 'none' && own?.id === source.id;
      }),
    );
  }

  #wholeSpaces(kind: ResourceKind): readonly Space[] {
    if (!this.#wildcard.has(kind)) return [];
    const source = this.#sourceOf(kind, undefined);
    return source === 'none' ? [] : [this.#space(source)];
  }

  #subscribeWhole(kind: ResourceKind): void {
    for (const space of this.#wholeSpaces(kind)) {
      const authority = this.#authority(space, '');
      if (typeof authority !== 'string') authority.subscribe([kind]);
    }
  }

  #ownerOf(space: Space, name: string): Authority | undefined {
    const authority = this.#authority(space, name);
    return typeof authority === 'string' ? undefined : authority;
  }

  #updated(space: Space, keys: readonly ResourceKey[]): void {
    if (space === this.#main) this.#lastGood?.changed();
    this.#changed(space.keys(keys));
  }

  #changed(keys: Changes): void {
    if (this.#closed) return;
    this.#lane.run(() => {
      try {
        this.#listener?.(keys);
      } catch (error) {
        // A fault in what compiles the configuration must not end the stream: the next update may mend it.
        this.#options.log.error('a configuration could not be applied', { error: error instanceof Error ? error.stack : String(error) });
      }
    });
  }
}

const NOBODY: { readonly server: ServerTraits } = { server: { uri: '', failOnDataErrors: false, timerIsTransient: false } };

function bootstrapFields({ unsupported, origin }: Bootstrap): readonly UnsupportedField[] {
  return unsupported.map((field) => ({ kind: 'bootstrap', field, resource: origin }));
}

function missing(what: string): () => never {
  return () => {
    throw new TypeError(`no ${what} transport was given`);
  };
}

function touch(touched: Touched, authority: Authority, kind: ResourceKind): void {
  const kinds = touched.get(authority);
  if (kinds === undefined) touched.set(authority, new Set([kind]));
  else kinds.add(kind);
}
