/**
 * A `ConfigSource` without client listeners: each authority has a route configuration that is asked for by name ("9080"), as istiod's
 * sidecar feed offers them. Around any other source; what it adds is the listener that such routes would stand in.
 */
import type { LoadShare } from '../core/load.ts';
import type { ConfigSourceConfig } from '../config/config-source.ts';
import type { ListenerConfig, SocketAddress } from '../config/listener.ts';
import { ON_DEMAND_TYPE } from '../config/on-demand.ts';
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
import { canonicalName, percentEncode, withoutPort } from './names.ts';

const PREFIX = 'rds:';
/** Listeners that are looked at without being wanted yet. */
const MAX_SPARE = 1000;
const ROUTER = 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router';

/** What Envoy would have to be told for the same: a connection manager with RDS, and nothing but on-demand discovery and a router. */
function listenerOf(name: string): ListenerConfig {
  return Object.freeze({
    name,
    api: Object.freeze({
      routeConfigName: name.slice(PREFIX.length),
      routeConfig: undefined,
      filters: Object.freeze([
        { name: 'on_demand', typeUrl: ON_DEMAND_TYPE, disabled: false, terminal: false, config: { clusters: undefined } },
        { name: 'router', typeUrl: ROUTER, disabled: false, terminal: true, config: undefined },
      ]),
      maxStreamDurationMs: undefined,
      stripPort: 'none',
      statPrefix: '',
    }),
    address: undefined,
    direction: 'unspecified',
    filterChains: [],
    defaultFilterChain: undefined,
  });
}

/**
 * The name by a template: `%s` is the authority as it came, `%host%` its host, `%port%` its port (80 where it has none). In an `xdstp:`
 * template they are percent-encoded (gRFC A47).
 */
export function routeConfigName(template: string, authority: string): string {
  const host = withoutPort(authority);
  const values: Readonly<Record<string, string>> = { '%s': authority, '%host%': host, '%port%': authority.slice(host.length + 1) || '80' };
  const encode = template.startsWith('xdstp:') ? percentEncode : (text: string): string => text;
  return canonicalName(template.replace(/%host%|%port%|%s/g, (key) => encode(values[key] ?? key)));
}

export class NamedRoutesSource implements ConfigSource {
  readonly name: string;
  readonly #inner: ConfigSource;
  readonly #templates: readonly string[];
  /** Kept while they are wanted, so that they keep their identity. */
  #wanted = new Map<string, ResourceState<ListenerConfig>>();
  readonly #spare = new Map<string, ResourceState<ListenerConfig>>();

  /** `templates`: names of the route configurations to ask for, best first. Owns `inner`. */
  constructor(inner: ConfigSource, templates: readonly string[]) {
    this.name = inner.name;
    this.#inner = inner;
    this.#templates = templates;
  }

  get<K extends ResourceKind>(kind: K, name: string, source?: ConfigSourceConfig): ResourceState<ResourceTypes[K]> {
    if (!isOurs(kind, name, source)) return this.#inner.get(kind, name, source);
    return this.#listener(name) as ResourceState<ResourceTypes[K]>;
  }

  scopes(name: string, source?: ConfigSourceConfig): ResourceState<readonly ResourceTypes['scoped-routes'][]> {
    return this.#inner.scopes?.(name, source) ?? { status: 'waiting' };
  }

  want(keys: readonly ResourceKey[]): void {
    const theirs: ResourceKey[] = [];
    const kept = new Map<string, ResourceState<ListenerConfig>>();
    for (const key of keys) {
      if (isOurs(key.kind, key.name, key.source)) kept.set(key.name, this.#listener(key.name));
      else theirs.push(key);
    }
    this.#wanted = kept;
    this.#spare.clear();
    this.#inner.want(theirs);
  }

  onChange(listener: (changes?: Changes) => void): void {
    this.#inner.onChange(listener);
  }

  listeners(): readonly string[] {
    return this.#inner.listeners();
  }

  allListed(): boolean {
    return this.#inner.allListed?.() ?? true;
  }

  refusedInbound(): readonly SocketAddress[] {
    return this.#inner.refusedInbound?.() ?? [];
  }

  candidates(authority: string): readonly string[] {
    return [...new Set(this.#templates.map((template) => PREFIX + routeConfigName(template, authority)))];
  }

  inboundListener(host: string, port: number): string | undefined {
    return this.#inner.inboundListener(host, port);
  }

  describe(): SourceDescription {
    return this.#inner.describe();
  }

  reportLoad(cluster: string, service: string): LoadShare | undefined {
    return this.#inner.reportLoad?.(cluster, service);
  }

  status(): SourceStatus | undefined {
    return this.#inner.status?.();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  #listener(name: string): ResourceState<ListenerConfig> {
    const known = this.#wanted.get(name) ?? this.#spare.get(name);
    if (known !== undefined) return known;
    const made: ResourceState<ListenerConfig> = Object.freeze({ status: 'present', value: listenerOf(name), version: '' });
    if (this.#spare.size >= MAX_SPARE) this.#spare.clear();
    this.#spare.set(name, made);
    return made;
  }
}

function isOurs(kind: ResourceKind, name: string, source: ConfigSourceConfig | undefined): boolean {
  return kind === 'listener' && source === undefined && name.startsWith(PREFIX);
}
