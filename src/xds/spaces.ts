/**
 * Where names belong: the space of their config source, and in it the authority that answers for them (gRFC A47). Made when something of
 * them is first asked for. What is subscribed there is the client's business.
 */
import type { Bootstrap, XdsServerConfig } from '../config/bootstrap.ts';
import type { ConfigSourceConfig } from '../config/config-source.ts';
import type { ResourceKey, ResourceKind } from '../config/resource.ts';
import type { Clock } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import { Authority } from './authority.ts';
import { XdsCache } from './cache.ts';
import type { FeedConfig } from './feed.ts';
import type { FeedPool } from './feed-pool.ts';
import { authorityOf } from './names.ts';
import type { Servers } from './servers.ts';
import { Space } from './space.ts';

const NONE: ReadonlySet<ResourceKind> = new Set();
/** The authority of names without one; no name has this. */
const TOP = '\n';

export interface SpacesOptions {
  readonly bootstrap: Bootstrap;
  readonly servers: Servers;
  readonly pool: FeedPool;
  /** Types that are subscribed whole. */
  readonly wildcard: ReadonlySet<ResourceKind>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Called when a timer has changed states. */
  readonly expired: (keys: readonly ResourceKey[]) => void;
}

/** Nobody answers for the name; `space` knows it all the same, as one that can never come. */
export type Place =
  | { readonly space: Space; readonly authority: Authority }
  | { readonly space: Space; readonly authority: undefined; readonly problem: string };

export class Spaces {
  /** The aggregated streams. */
  readonly main: Space;
  readonly #options: SpacesOptions;
  /** By the id of their source; under the empty id the aggregated streams. */
  readonly #spaces = new Map<string, Space>();

  constructor(options: SpacesOptions) {
    this.#options = options;
    this.main = this.#space(undefined);
  }

  values(): Iterable<Space> {
    return this.#spaces.values();
  }

  /** `none`: the bootstrap has no source for what it does not list itself. Undefined: nothing was asked of the source. */
  find(kind: ResourceKind, source: ConfigSourceConfig | undefined): Space | 'none' | undefined {
    const from = this.#sourceOf(kind, source);
    return from === 'none' ? from : this.#spaces.get(from?.id ?? '');
  }

  place(kind: ResourceKind, name: string, given: ConfigSourceConfig | undefined): Place {
    const source = this.#sourceOf(kind, given);
    if (source === 'none') return { space: this.main, authority: undefined, problem: noSource(kind, name) };
    const space = this.#space(source);
    const authority = this.#authority(space, name);
    return typeof authority === 'string' ? { space, authority: undefined, problem: authority } : { space, authority };
  }

  /** Who answers for a name that came by itself. */
  owner(space: Space, name: string): Authority | undefined {
    const authority = this.#authority(space, name);
    return typeof authority === 'string' ? undefined : authority;
  }

  /** Where a type is subscribed whole, if it is. */
  whole(kind: ResourceKind): Space | undefined {
    if (!this.#options.wildcard.has(kind)) return undefined;
    const source = this.#sourceOf(kind, undefined);
    return source === 'none' ? undefined : this.#space(source);
  }

  /** Closes what nothing is asked of any more: sources come and go with the resources that name them. The top-level servers are always asked. */
  tidy(space: Space): void {
    for (const [id, authority] of space.authorities) {
      if (!authority.unused || (space === this.main && id === TOP)) continue;
      space.authorities.delete(id);
      authority.close();
    }
    if (space.source !== undefined && space.authorities.size === 0 && [...space.cache.entries()].length === 0)
      this.#spaces.delete(space.source.id);
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
    const { clock, expired } = this.#options;
    const cache = new XdsCache({ clock, expired: (keys) => expired(space.keys(keys)), waitMs: source?.initialFetchTimeoutMs });
    const space: Space = new Space(cache, source);
    this.#spaces.set(id, space);
    return space;
  }

  /** A text says why nobody answers for the name. */
  #authority(space: Space, name: string): Authority | string {
    const id = space.source === undefined ? authorityOf(name) : undefined;
    const known = space.authorities.get(id ?? TOP);
    if (known !== undefined) return known;
    const servers = this.#serversOf(space, id);
    if (typeof servers === 'string') return servers;
    const { log, pool } = this.#options;
    const authority = new Authority({
      servers,
      cache: space.cache,
      log,
      open: (config, user) => pool.open(space, config, user),
      release: (feed, user) => pool.release(space, feed, user),
    });
    space.authorities.set(id ?? TOP, authority);
    return authority;
  }

  #serversOf(space: Space, authority: string | undefined): readonly FeedConfig[] | string {
    const { bootstrap, servers } = this.#options;
    if (space.source !== undefined) return servers.ofSource(space.source, this.#wholeOf(space.source));
    if (authority !== undefined) {
      const own = Object.hasOwn(bootstrap.authorities, authority) ? bootstrap.authorities[authority]?.servers : undefined;
      if (own === undefined || own.length === 0) return `the bootstrap has no authority "${authority}"`;
      // A server of the top-level list is the same feed, with what is subscribed whole there.
      return own.map((server) => servers.feed(server, this.#isMain(server) ? this.#mainWildcard() : NONE));
    }
    if (bootstrap.servers.length === 0) return `the bootstrap ${bootstrap.origin} names no control plane (ads_config)`;
    return bootstrap.servers.map((server) => servers.feed(server, this.#mainWildcard()));
  }

  #isMain(server: XdsServerConfig): boolean {
    return this.#options.bootstrap.servers.some((own) => JSON.stringify(own) === JSON.stringify(server));
  }

  #mainWildcard(): ReadonlySet<ResourceKind> {
    const { bootstrap, wildcard } = this.#options;
    const { sources } = bootstrap;
    return new Set([...wildcard].filter((kind) => (kind !== 'listener' && kind !== 'cluster') || sources[kind] === undefined));
  }

  /** Types that are subscribed whole at a source: those that the bootstrap sends there. */
  #wholeOf(source: ConfigSourceConfig): ReadonlySet<ResourceKind> {
    return new Set(
      [...this.#options.wildcard].filter((kind) => {
        const own = this.#sourceOf(kind, undefined);
        return own !== 'none' && own?.id === source.id;
      }),
    );
  }
}

export function noSource(kind: ResourceKind, name: string): string {
  return `the bootstrap has no ${kind} "${name}" and no source of others`;
}
