/**
 * One server as the client sees it: one stream for all types or one for each (Envoy X-1), and the names subscribed there. Which
 * server is asked for what is the authority's business (`authority.ts`).
 */
import type { ResourceKind } from '../config/resource.ts';
import type { AdsTransport } from '../core/transport.ts';
import type { ServerTraits, XdsCache } from './cache.ts';
import { DIALECTS } from './dialects.ts';
import type { ResourceType } from './resource-type.ts';
import { ServerLink } from './server-link.ts';
import type { LinkOptions } from './server-link.ts';

/** Where a feed leads and how it speaks. Feeds of equal `id` are one. */
export interface FeedConfig {
  readonly id: string;
  readonly traits: ServerTraits;
  readonly protocol: 'sotw' | 'delta';
  readonly aggregated: boolean;
  /** Types that are subscribed whole. */
  readonly wildcard: ReadonlySet<ResourceKind>;
  readonly transport: () => AdsTransport;
  /** Has other services than discovery: what is no gRPC server takes no load reports. */
  readonly grpc?: boolean;
}

export interface FeedOptions extends Pick<LinkOptions, 'clock' | 'random' | 'log' | 'changed' | 'owner'> {
  readonly config: FeedConfig;
  readonly cache: XdsCache;
  readonly types: readonly ResourceType[];
  readonly session: Pick<LinkOptions['session'], 'node' | 'context'>;
  /** A response is about to be applied. */
  readonly responded: (feed: Feed) => void;
  /** A stream ended without a response. */
  readonly failed: (feed: Feed) => void;
}

export class Feed {
  readonly config: FeedConfig;
  readonly #options: FeedOptions;
  readonly #names = new Map<ResourceKind, Set<string>>();
  /** By type; under `undefined` the one for all types. */
  readonly #links = new Map<ResourceKind | undefined, ServerLink>();
  #transport: AdsTransport | undefined;
  #closed = false;

  constructor(options: FeedOptions) {
    this.config = options.config;
    this.#options = options;
  }

  get traits(): ServerTraits {
    return this.config.traits;
  }

  get connected(): boolean {
    return [...this.#links.values()].some((link) => link.connected);
  }

  /** Why there is no connection, in words; undefined while there is one, or none was needed. */
  get problem(): string | undefined {
    const problems = new Set([...this.#links.values()].flatMap(({ problem }) => (problem === undefined ? [] : [problem])));
    return problems.size === 0 ? undefined : [...problems].join('; ');
  }

  isWildcard(kind: ResourceKind): boolean {
    return this.config.wildcard.has(kind);
  }

  /** Why a type cannot be had here; undefined when it can. */
  refuses(kind: ResourceKind): string | undefined {
    const { config, types } = this.#options;
    if (!types.some((type) => type.kind === kind)) return `resources of type ${kind} are not supported`;
    if (config.aggregated || DIALECTS[config.protocol].method(kind) !== undefined) return undefined;
    return `${config.traits.uri} is asked in the state-of-the-world dialect, which has no stream for resources of type ${kind}`;
  }

  /** The subscribed names of a type; change it, then call `subscribe`. */
  names(kind: ResourceKind): Set<string> {
    let names = this.#names.get(kind);
    if (names === undefined) this.#names.set(kind, (names = new Set<string>()));
    return names;
  }

  /** Tells the server of changed names. The first call opens the stream. */
  subscribe(kinds: Iterable<ResourceKind>): void {
    if (this.#closed) return;
    if (this.config.aggregated) {
      this.#link(undefined)?.subscribe(kinds);
      return;
    }
    for (const kind of kinds) this.#link(kind)?.subscribe([kind]);
  }

  /** Starts the timers of what is awaited from this server as of now. */
  retime(): void {
    for (const link of this.#links.values()) link.retime();
  }

  forgetVersions(): void {
    for (const link of this.#links.values()) link.forgetVersions();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#links.values()].map((link) => link.close()));
    this.#transport?.close();
  }

  #link(kind: ResourceKind | undefined): ServerLink | undefined {
    const known = this.#links.get(kind);
    if (known !== undefined) return known;
    const { config, cache, types, session, responded, failed, ...rest } = this.#options;
    const dialect = DIALECTS[config.protocol];
    const method = dialect.method(kind);
    if (method === undefined) return undefined;
    const link = new ServerLink({
      ...rest,
      server: config.traits,
      cache,
      dialect,
      method,
      names: this.#names,
      session: {
        ...session,
        types: kind === undefined ? types : types.filter((type) => type.kind === kind),
        wildcard: config.wildcard,
      },
      transport: () => (this.#transport ??= config.transport()),
      responded: () => responded(this),
      failed: () => failed(this),
    });
    this.#links.set(kind, link);
    return link;
  }
}
