/** The feeds of a client: authorities with the same server configuration share one, and so its streams (gRFC A47). */
import type { ResourceKey, ServerDescription } from '../config/resource.ts';
import type { Authority } from './authority.ts';
import { Feed } from './feed.ts';
import type { FeedConfig, FeedOptions } from './feed.ts';
import type { Space } from './space.ts';

interface Shared {
  readonly feed: Feed;
  readonly users: Set<Authority>;
}

export interface FeedPoolOptions extends Pick<FeedOptions, 'clock' | 'random' | 'log' | 'types' | 'session'> {
  readonly changed: (space: Space, keys: readonly ResourceKey[]) => void;
  readonly responded: () => void;
  readonly failed: (space: Space) => void;
  readonly owner: (space: Space, name: string) => Authority | undefined;
}

export class FeedPool {
  readonly #options: FeedPoolOptions;
  readonly #feeds = new Map<string, Shared>();
  readonly #closing = new Set<Promise<void>>();

  constructor(options: FeedPoolOptions) {
    this.#options = options;
  }

  values(): readonly Feed[] {
    return Array.from(this.#feeds.values(), ({ feed }) => feed);
  }

  /** A server that is asked over several streams of its own, in the same state, is there once. */
  describe(): readonly ServerDescription[] {
    const servers = new Map<string, ServerDescription>();
    for (const { traits, connected, problem } of this.values())
      servers.set(JSON.stringify([traits.uri, connected, problem]), { uri: traits.uri, connected, problem });
    return [...servers.values()];
  }

  open(space: Space, config: FeedConfig, user: Authority): Feed {
    const id = idOf(space, config);
    const shared = this.#feeds.get(id) ?? { feed: this.#make(space, config), users: new Set<Authority>() };
    this.#feeds.set(id, shared);
    shared.users.add(user);
    return shared.feed;
  }

  /** A feed that nobody uses is closed; the others' names stay subscribed there. */
  release(space: Space, feed: Feed, user: Authority): void {
    const id = idOf(space, feed.config);
    const shared = this.#feeds.get(id);
    if (shared?.feed !== feed) return;
    shared.users.delete(user);
    if (shared.users.size > 0) {
      feed.subscribe(this.#options.types.map(({ kind }) => kind));
      feed.retime();
      return;
    }
    this.#feeds.delete(id);
    const closed = feed.close().finally(() => this.#closing.delete(closed));
    this.#closing.add(closed);
  }

  async close(): Promise<void> {
    await Promise.all([...this.values().map((feed) => feed.close()), ...this.#closing]);
  }

  #make(space: Space, config: FeedConfig): Feed {
    const { clock, random, log, types, session, changed, responded, failed, owner } = this.#options;
    return new Feed({
      config,
      cache: space.cache,
      clock,
      random,
      log,
      types,
      session,
      changed: (keys) => changed(space, keys),
      owner: (name) => owner(space, name),
      responded: (feed) => {
        responded();
        for (const user of this.#usersOf(space, feed)) user.responded(feed);
      },
      failed: (feed) => {
        failed(space);
        for (const user of this.#usersOf(space, feed)) user.failed(feed);
      },
    });
  }

  #usersOf(space: Space, feed: Feed): readonly Authority[] {
    return [...(this.#feeds.get(idOf(space, feed.config))?.users ?? [])];
  }
}

function idOf(space: Space, config: FeedConfig): string {
  return `${space.source?.id ?? ''}\n${config.id}`;
}
