/**
 * One xDS client for the whole process: meshes with the same bootstrap share it, and so its streams and its cache. Each has a view of its
 * own, a `ConfigSource`; the client is asked for what any of them wants, and closed with the last. Opening it is left to the caller.
 */
import type { Bootstrap } from '../config/bootstrap.ts';
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
} from '../config/resource.ts';
import type { ConfigSourceConfig } from '../config/config-source.ts';
import type { SocketAddress } from '../config/listener.ts';
import type { LoadShare } from '../core/load.ts';
import type { LogFields, Logger } from '../core/log.ts';
import { fingerprint } from './fingerprint.ts';

/** Several installs of inmesh may be in one process; the key of an entry has the version, so that only equals meet. */
const REGISTRY: unique symbol = Symbol.for('inmesh.xds.1') as never;

type Registry = Map<string, SharedClient>;

function registry(): Registry {
  const place = globalThis as { [REGISTRY]?: Registry };
  return (place[REGISTRY] ??= new Map());
}

/** What must be equal for sharing: the whole bootstrap but where it was read, since names, credentials and providers are all in it. */
export function sharingKey(bootstrap: Bootstrap, wildcard: boolean, version: string, lastGood?: string): string {
  return `${version} ${fingerprint([wildcard, lastGood ?? '', { ...bootstrap, origin: '' }])}`;
}

/** A view of the client of this key; `open` makes the client when there is none. What the client logs goes to the loggers of all views. */
export function shareClient(key: string, log: Logger, open: (log: Logger) => ConfigSource): ConfigSource {
  const clients = registry();
  let shared = clients.get(key);
  if (shared === undefined) {
    shared = new SharedClient(open, () => clients.delete(key));
    clients.set(key, shared);
  }
  return shared.view(log);
}

class SharedClient {
  readonly client: ConfigSource;
  readonly #views = new Set<ClientView>();
  readonly #onLast: () => void;
  /** True while the views are told of a change: what they want meanwhile is asked for once, at the end. */
  #telling = false;
  #stale = false;

  constructor(open: (log: Logger) => ConfigSource, onLast: () => void) {
    this.#onLast = onLast;
    this.client = open(new ViewsLogger(this.#views));
    this.client.onChange((changes) => this.#tell(changes));
  }

  view(log: Logger): ClientView {
    const view = new ClientView(this, log);
    this.#views.add(view);
    return view;
  }

  wants(key: ResourceKey): boolean {
    for (const view of this.#views) if (view.wanted.has(key)) return true;
    return false;
  }

  /** Asks for the union. Within a change only at its end: what one view gives up may be what the next one is about to want. */
  ask(): void {
    if (this.#telling) {
      this.#stale = true;
      return;
    }
    const [only, ...others] = this.#views;
    if (only === undefined) return;
    const union = others.length === 0 ? only.wanted : new KeySet();
    if (others.length > 0) for (const { wanted } of this.#views) for (const key of wanted) union.add(key);
    this.client.want([...union]);
  }

  /** Closes the client with its last view. */
  async remove(view: ClientView): Promise<void> {
    if (!this.#views.delete(view)) return;
    if (this.#views.size > 0) {
      this.ask();
      return;
    }
    this.#onLast();
    await this.client.close();
  }

  #tell(changes: Changes): void {
    this.#telling = true;
    for (const view of this.#views) view.tell(changes);
    this.#telling = false;
    if (!this.#stale) return;
    this.#stale = false;
    this.ask();
  }
}

/** One mesh's part of a shared client. */
class ClientView implements ConfigSource {
  readonly name: string;
  readonly log: Logger;
  wanted = new KeySet();
  readonly #shared: SharedClient;
  #listener: ((changes?: Changes) => void) | undefined;
  #closed = false;

  constructor(shared: SharedClient, log: Logger) {
    this.#shared = shared;
    this.log = log;
    this.name = shared.client.name;
  }

  get<K extends ResourceKind>(kind: K, name: string, source?: ConfigSourceConfig): ResourceState<ResourceTypes[K]> {
    return this.#shared.client.get(kind, name, source);
  }

  scopes(name: string, source?: ConfigSourceConfig): ResourceState<readonly ResourceTypes['scoped-routes'][]> {
    return this.#shared.client.scopes?.(name, source) ?? { status: 'waiting' };
  }

  want(keys: readonly ResourceKey[]): void {
    if (this.#closed) return;
    const wanted = new KeySet(keys);
    // What another view has asked for already is new to this one: the client will not tell of it.
    const known = [...wanted].some(
      (key) => !this.wanted.has(key) && this.#shared.wants(key) && this.get(key.kind, key.name, key.source).status !== 'waiting',
    );
    this.wanted = wanted;
    this.#shared.ask();
    if (known) queueMicrotask(() => this.tell(undefined));
  }

  onChange(listener: (changes?: Changes) => void): void {
    this.#listener = listener;
  }

  listeners(): readonly string[] {
    return this.#shared.client.listeners();
  }

  allListed(): boolean {
    return this.#shared.client.allListed?.() ?? true;
  }

  refusedInbound(): readonly SocketAddress[] {
    return this.#shared.client.refusedInbound?.() ?? [];
  }

  candidates(authority: string): readonly string[] {
    return this.#shared.client.candidates(authority);
  }

  inboundListener(host: string, port: number): string | undefined {
    return this.#shared.client.inboundListener(host, port);
  }

  describe(): SourceDescription {
    return this.#shared.client.describe();
  }

  reportLoad(cluster: string, service: string): LoadShare | undefined {
    return this.#closed ? undefined : this.#shared.client.reportLoad?.(cluster, service);
  }

  status(): SourceStatus | undefined {
    return this.#shared.client.status?.();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#shared.remove(this);
  }

  tell(changes: Changes): void {
    if (this.#closed) return;
    try {
      this.#listener?.(changes);
    } catch (error) {
      // The other meshes must hear of the change all the same.
      this.log.error('a configuration could not be applied', { error: error instanceof Error ? error.stack : String(error) });
    }
  }
}

/** The loggers of all views, each told once. */
class ViewsLogger implements Logger {
  readonly #views: ReadonlySet<ClientView>;

  constructor(views: ReadonlySet<ClientView>) {
    this.#views = views;
  }

  debug(message: string, fields?: LogFields): void {
    for (const log of this.#loggers()) log.debug(message, fields);
  }
  info(message: string, fields?: LogFields): void {
    for (const log of this.#loggers()) log.info(message, fields);
  }
  warn(message: string, fields?: LogFields): void {
    for (const log of this.#loggers()) log.warn(message, fields);
  }
  error(message: string, fields?: LogFields): void {
    for (const log of this.#loggers()) log.error(message, fields);
  }

  #loggers(): ReadonlySet<Logger> {
    return new Set(Array.from(this.#views, (view) => view.log));
  }
}
