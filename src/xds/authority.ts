/**
 * Who answers for a set of names: servers in order of preference, with fallback to the next when the stream of the one in use died and
 * something is missing, and return as soon as a better one answers (gRFC A47, A71). Opening feeds is the pool's business.
 */
import type { ResourceKind } from '../config/resource.ts';
import type { Logger } from '../core/log.ts';
import type { ResourceOwner, ServerTraits, XdsCache } from './cache.ts';
import type { Feed, FeedConfig } from './feed.ts';

export interface AuthorityOptions {
  /** In order of preference, at least one. */
  readonly servers: readonly FeedConfig[];
  readonly cache: XdsCache;
  readonly log: Logger;
  /** The feed of a server, shared with other authorities. */
  readonly open: (config: FeedConfig, user: Authority) => Feed;
  /** This authority does not need the feed any more. */
  readonly release: (feed: Feed, user: Authority) => void;
}

export class Authority implements ResourceOwner {
  readonly #options: AuthorityOptions;
  readonly #names = new Map<ResourceKind, Set<string>>();
  /** The feeds in use: all that are better than the active one go on trying; the last one is active. */
  readonly #feeds: Feed[] = [];
  #closed = false;

  constructor(options: AuthorityOptions) {
    this.#options = options;
  }

  /** Of the active server. */
  get server(): ServerTraits {
    const traits = (this.#feeds.at(-1)?.config ?? this.#options.servers[0])?.traits;
    if (traits === undefined) throw new TypeError('an authority has at least one server');
    return traits;
  }

  /** The first of the servers, whichever is in use. */
  get primary(): FeedConfig | undefined {
    return this.#options.servers[0];
  }

  get feeds(): readonly Feed[] {
    return this.#feeds;
  }

  isWildcard(kind: ResourceKind): boolean {
    return this.#active().isWildcard(kind);
  }

  refuses(kind: ResourceKind): string | undefined {
    return this.#active().refuses(kind);
  }

  /** Nothing is asked for, neither by name nor whole. */
  get unused(): boolean {
    if (this.#options.servers.some(({ wildcard }) => wildcard.size > 0)) return false;
    for (const names of this.#names.values()) if (names.size > 0) return false;
    return true;
  }

  has(kind: ResourceKind, name: string): boolean {
    return this.#names.get(kind)?.has(name) ?? false;
  }

  /** Call `subscribe` after a set of changes. */
  add(kind: ResourceKind, name: string): void {
    this.#active();
    let names = this.#names.get(kind);
    if (names === undefined) this.#names.set(kind, (names = new Set<string>()));
    names.add(name);
    for (const feed of this.#feeds) feed.names(kind).add(name);
  }

  remove(kind: ResourceKind, name: string): void {
    this.#names.get(kind)?.delete(name);
    for (const feed of this.#feeds) feed.names(kind).delete(name);
  }

  subscribe(kinds: Iterable<ResourceKind>): void {
    if (this.#closed) return;
    const list = [...kinds];
    this.#active();
    for (const feed of this.#feeds) feed.subscribe(list);
    this.#fallBack();
  }

  /** A feed's stream ended without a response. */
  failed(feed: Feed): void {
    if (feed === this.#feeds.at(-1)) this.#fallBack();
  }

  /** A feed answers. */
  responded(feed: Feed): void {
    const index = this.#feeds.indexOf(feed);
    if (index < 0 || index === this.#feeds.length - 1) return;
    const { cache, log, release } = this.#options;
    log.info('a control plane of higher preference answers again; returning to it', { server: feed.traits.uri });
    // What is awaited is awaited from another one now (gRFC A57); who stays with that one waits anew, too.
    cache.disconnected(this.server);
    for (const lower of this.#feeds.splice(index + 1)) {
      for (const [kind, names] of this.#names) for (const name of names) lower.names(kind).delete(name);
      release(lower, this);
    }
    feed.retime();
  }

  /** Gives up its feeds; once it is unused, and for good. */
  close(): void {
    this.#closed = true;
    for (const feed of this.#feeds.splice(0)) this.#options.release(feed, this);
  }

  #active(): Feed {
    const active = this.#feeds.at(-1);
    if (active !== undefined) return active;
    return this.#open(0);
  }

  #open(index: number): Feed {
    const config = this.#options.servers[index];
    if (config === undefined) throw new TypeError('an authority has at least one server');
    const feed = this.#options.open(config, this);
    this.#feeds.push(feed);
    return feed;
  }

  /** gRFC A71: only with a resource missing; with everything cached, the old data is better than another server's. */
  #fallBack(): void {
    const { servers, cache, log } = this.#options;
    for (;;) {
      const active = this.#active();
      const next = servers[this.#feeds.length];
      if (next === undefined || active.problem === undefined || active.connected || !cache.lacks(this, active.config.wildcard)) return;
      log.warn('falling back to the next control plane', { from: active.traits.uri, to: next.traits.uri, problem: active.problem });
      // What the better server accepted before is not what the cache will hold when it comes back.
      for (const feed of this.#feeds) feed.forgetVersions();
      const feed = this.#open(this.#feeds.length);
      const kinds = new Set<ResourceKind>(feed.config.wildcard);
      for (const [kind, names] of this.#names) {
        for (const name of names) feed.names(kind).add(name);
        if (names.size > 0) kinds.add(kind);
      }
      feed.subscribe(kinds);
    }
  }
}
