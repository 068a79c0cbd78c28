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
import type { SocketAddress } from '../config/listener.ts';
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
import type { Authority } from './authority.ts';
import type { ServerTraits } from './cache-entry.ts';
import { contentsOf, describeEntries } from './contents.ts';
import { FeedPool } from './feed-pool.ts';
import { LastGood, identityOf } from './last-good-use.ts';
import { LoadReporters } from './load-reporters.ts';
import { EVERYTHING, canonicalName, inCollection, listenerCandidates, serverListenerName } from './names.ts';
import { refusedAddresses } from './refused-listeners.ts';
import type { DecodeContext, ResourceType } from './resource-type.ts';
import { Servers } from './servers.ts';
import type { Transports } from './servers.ts';
import type { Space } from './space.ts';
import { Spaces, noSource } from './spaces.ts';
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
  /** Called for each control plane when something is first asked of it, and again where nothing was in between. */
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

type Touched = Map<Authority, Set<ResourceKind>>;

export class XdsClient implements ConfigSource {
  readonly name: string;
  readonly #options: XdsClientOptions;
  readonly #node: NodeMessage;
  readonly #static: StaticResources;
  readonly #pool: FeedPool;
  readonly #loads: LoadReporters;
  readonly #lane = new Lane();
  readonly #spaces: Spaces;
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
    const servers = new Servers(bootstrap, {
      grpc: options.transport,
      rest: options.restTransport ?? missing('REST'),
      path: options.pathTransport ?? missing('file'),
    });
    this.#static = new StaticResources(bootstrap.staticResources, types, context, bootstrap.origin);
    const wildcard = options.wildcard ? SIDECAR : NONE;
    this.#pool = new FeedPool({
      clock,
      random,
      log,
      types,
      session: { node, context },
      changed: (space, keys) => this.#updated(space, keys),
      responded: () => this.#lastGood?.answered(),
      failed: (space) => this.#lastGood?.unreachable(space),
      owner: (space, name) => this.#spaces.owner(space, name),
    });
    this.#loads = new LoadReporters({ clock, random, log, node });
    const expired = (keys: readonly ResourceKey[]): void => this.#changed(keys);
    this.#spaces = new Spaces({ bootstrap, servers, pool: this.#pool, wildcard, clock, log, expired });
    const { main } = this.#spaces;
    if (options.lastGood !== undefined) {
      this.#lastGood = new LastGood({
        file: { path: options.lastGood, identity: identityOf(bootstrap), types, context, clock, log },
        main,
        owner: (name) => this.#spaces.owner(main, name),
        wildcard,
        restored: (keys) => this.#changed(keys),
      });
    }
    for (const kind of wildcard) {
      const space = this.#spaces.whole(kind);
      if (space !== undefined) this.#spaces.owner(space, '')?.subscribe([kind]);
    }
  }

  get<K extends ResourceKind>(kind: K, name: string, source?: ConfigSourceConfig): ResourceState<ResourceTypes[K]> {
    const canonical = canonicalName(name);
    const fixed = source === undefined ? this.#static.get(kind, canonical) : undefined;
    if (fixed !== undefined) return fixed as ResourceState<ResourceTypes[K]>;
    const space = this.#spaces.find(kind, source);
    if (space === 'none') return { status: 'failed', reason: noSource(kind, name) };
    return space?.cache.get(kind, canonical) ?? { status: 'waiting' };
  }

  scopes(name: string, source?: ConfigSourceConfig): ResourceState<readonly ResourceTypes['scoped-routes'][]> {
    const collection = canonicalName(name);
    const list = this.get('scoped-routes', collection, source);
    const space = this.#spaces.find('scoped-routes', source);
    if (list.status !== 'present' || space === undefined || space === 'none') return list as ResourceState<never>;
    const { cache } = space;
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
    const left = new Set<Space>();
    for (const key of before) if (!wanted.has(key)) left.add(this.#remove(key, touched));
    this.#wanted = wanted;
    for (const space of left) this.#spaces.tidy(space);
    for (const [authority, kinds] of touched) authority.subscribe(kinds);
    if (touched.size > 0) this.#lastGood?.asked();
    // Never from within `want`: the caller is in the middle of something.
    if (known.length > 0) queueMicrotask(() => this.#changed(known));
  }

  onChange(listener: (changes?: Changes) => void): void {
    this.#listener = listener;
  }

  listeners(): readonly string[] {
    const whole = this.#spaces.whole('listener')?.cache.names('listener') ?? [];
    return [...new Set([...this.#static.names('listener'), ...whole])];
  }

  allListed(): boolean {
    return this.#spaces.whole('listener')?.cache.listed('listener') ?? true;
  }

  refusedInbound(): readonly SocketAddress[] {
    const refusals = this.#spaces.whole('listener')?.cache.refusals('listener') ?? [];
    return [...this.#static.refusals('listener'), ...refusals].flatMap(refusedAddresses);
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
    const caches = Array.from(this.#spaces.values(), ({ cache }) => describeEntries(cache.entries()));
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
    if (this.#closed || this.#static.get('cluster', cluster) !== undefined) return undefined;
    const { authority } = this.#spaces.place('cluster', cluster, undefined);
    return authority && this.#loads.open(authority.primary, cluster, service);
  }

  status(): SourceStatus {
    return { node: this.#node, resources: () => contentsOf(this.#static, this.#spaces.values()) };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all([this.#loads.close(), this.#pool.close(), this.#lastGood?.close()]);
    // When nothing comes in any more that could set a timer.
    for (const { cache } of this.#spaces.values()) cache.close();
  }

  /** True when the state is known at once. */
  #add({ kind, name, source, waitMs }: ResourceKey, touched: Touched): boolean {
    if (source === undefined && this.#static.get(kind, name) !== undefined) return true;
    const place = this.#spaces.place(kind, name, source);
    const { space, authority } = place;
    const problem = authority === undefined ? place.problem : authority.refuses(kind);
    if (authority === undefined || problem !== undefined) {
      space.cache.addFailed(kind, name, NOBODY, problem ?? '');
      return true;
    }
    const known = space.cache.add(kind, name, authority, waitMs);
    authority.add(kind, name);
    touch(touched, authority, kind);
    return known;
  }

  /** The space that it was in. */
  #remove({ kind, name, source }: ResourceKey, touched: Touched): Space {
    const { space, authority } = this.#spaces.place(kind, name, source);
    if (authority === undefined) {
      space.cache.remove(kind, name, false);
      return space;
    }
    // The legacy wildcard cannot be taken back (Envoy X-50): what was subscribed whole stays, and is known when it is wanted again.
    if (name === EVERYTHING) return space;
    space.cache.remove(kind, name, authority.isWildcard(kind));
    if (!authority.has(kind, name)) return space;
    authority.remove(kind, name);
    touch(touched, authority, kind);
    return space;
  }

  #updated(space: Space, keys: readonly ResourceKey[]): void {
    if (space === this.#spaces.main) this.#lastGood?.changed();
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
