/**
 * Walks from a listener to everything it needs: routes, clusters, endpoints (gRFC A74). Pure: it returns the keys that it used or
 * missed, and a snapshot when every one has a value or an error. A failed piece counts as resolved, so that it blocks nobody else.
 */
import type { ClusterConfig } from './cluster.ts';
import type { ConfigSourceConfig } from './config-source.ts';
import type { Demand } from './demand.ts';
import { hasDiscoveredFilters, resolveFilters } from './extension.ts';
import { NO_DEMAND } from './demand.ts';
import type { FilterChainConfig, HttpFilterConfig, HttpManagerConfig, ListenerConfig } from './listener.ts';
import { clustersInAdvance, clustersOfRoutes } from './on-demand.ts';
import type { ResourceCache, ResourceKey } from './resource.ts';
import { resolveScopes, routesOfScopes } from './resolve-scopes.ts';
import type { ScopeWalk } from './resolve-scopes.ts';
import type { RouteConfiguration, VirtualHostConfig } from './routes.ts';
import type { ResolvedCluster, ResolvedRoutes, ResolvedScopes, Snapshot } from './snapshot.ts';
import { secretsOf } from './secret.ts';
import type { CommonTlsConfig } from './tls.ts';
import { baseOf, belongsTo, withVirtualHosts } from './vhds.ts';

export type Resolution =
  | { readonly status: 'complete'; readonly used: readonly ResourceKey[]; readonly snapshot: Snapshot }
  | {
      readonly status: 'waiting';
      readonly used: readonly ResourceKey[];
      readonly missing: readonly ResourceKey[];
      /**
       * What can be served already, where only clusters are missing: for the first configuration of a root, so that one silent cluster does
       * not hold up all the others (grpc-js-xds waits for ever). Never for an update: there the old snapshot serves until all is there.
       */
      readonly partial: Snapshot | undefined;
    }
  | { readonly status: 'failed'; readonly used: readonly ResourceKey[]; readonly reason: string };

/** Every connection manager of a listener: the API listener's, or those of its filter chains. */
export function managersOf(listener: ListenerConfig): readonly HttpManagerConfig[] {
  if (listener.api !== undefined) return [listener.api];
  return chainsOf(listener).flatMap((chain) => (chain.http === undefined ? [] : [chain.http]));
}

function chainsOf(listener: ListenerConfig): readonly FilterChainConfig[] {
  return listener.defaultFilterChain === undefined ? listener.filterChains : [...listener.filterChains, listener.defaultFilterChain];
}

class Walk implements ScopeWalk {
  readonly used: ResourceKey[] = [];
  readonly missing: ResourceKey[] = [];
  readonly cache: ResourceCache;
  readonly demand: Demand;

  constructor(cache: ResourceCache, demand: Demand) {
    this.cache = cache;
    this.demand = demand;
  }

  routes(manager: HttpManagerConfig): ResolvedRoutes | undefined {
    if (manager.routeConfig !== undefined) return this.whole(manager.routeConfig);
    return this.named(manager.routeConfigName ?? '', manager.routesSource, manager.routesWaitMs);
  }

  named(name: string, source: ConfigSourceConfig | undefined, waitMs?: number): ResolvedRoutes | undefined {
    const key: ResourceKey = { kind: 'routes', name, source, waitMs };
    this.used.push(key);
    const state = this.cache.get('routes', key.name, key.source);
    if (state.status === 'present') return this.whole(state.value);
    if (state.status === 'failed') return { ok: false, reason: `route configuration "${key.name}": ${state.reason}` };
    this.missing.push(key);
    return undefined;
  }

  /** With the virtual hosts that calls have asked for; one that was never there holds up nobody but those calls. */
  whole(base: RouteConfiguration): ResolvedRoutes {
    const { vhds } = base;
    if (vhds === undefined || this.demand.hosts.size === 0) return { ok: true, config: base };
    const found: VirtualHostConfig[] = [];
    for (const host of this.demand.hosts.values()) {
      if (!belongsTo(host, base)) continue;
      const key: ResourceKey = { kind: 'virtual-host', name: host.name, source: vhds.source };
      this.used.push(key);
      const state = this.cache.get('virtual-host', key.name, key.source);
      if (state.status === 'present') found.push(state.value);
      else if (state.status === 'waiting' && host.settled) this.missing.push(key);
    }
    return { ok: true, config: withVirtualHosts(base, found) };
  }

  cluster(name: string, source?: ConfigSourceConfig): ResolvedCluster | undefined {
    const key: ResourceKey = { kind: 'cluster', name, source };
    this.used.push(key);
    const state = this.cache.get('cluster', name, source);
    if (state.status === 'failed') return { ok: false, reason: `cluster "${name}": ${state.reason}` };
    if (state.status === 'waiting') {
      this.missing.push(key);
      return undefined;
    }
    const config = state.value;
    let secured = this.secrets(config.tls);
    for (const { tls } of config.sockets ?? []) if (!this.secrets(tls)) secured = false;
    const resolved = this.#endpoints(config);
    return secured ? resolved : undefined;
  }

  /** Whether every secret of a TLS configuration has a value or an error (Envoy X-93: until then what needs it is not ready). */
  secrets(tls: CommonTlsConfig | undefined): boolean {
    let settled = true;
    for (const { name, source, waitMs } of secretsOf(tls)) {
      const key: ResourceKey = { kind: 'secret', name, source, waitMs };
      this.used.push(key);
      if (this.cache.get('secret', name, source).status !== 'waiting') continue;
      this.missing.push(key);
      settled = false;
    }
    return settled;
  }

  /** A cluster that stays in use while a newer one is incomplete: with the secrets and endpoints that it names itself. */
  kept(before: ResolvedCluster): ResolvedCluster {
    if (!before.ok) return before;
    const { tls, sockets = [] } = before.config;
    for (const own of [tls, ...sockets.map((socket) => socket.tls)]) this.secrets(own);
    const now = this.#endpoints(before.config);
    return now?.ok === true && now.endpoints !== undefined ? now : before;
  }

  #endpoints(config: ClusterConfig): ResolvedCluster | undefined {
    if (config.discovery.kind === 'unavailable') return { ok: false, reason: `cluster "${config.name}": ${config.discovery.reason}` };
    if (config.discovery.kind === 'static') return { ok: true, config, endpoints: config.discovery.endpoints, note: '' };
    if (config.discovery.kind === 'original-dst') return { ok: true, config, endpoints: undefined, note: '' };
    const { serviceName, source, waitMs } = config.discovery;
    const endpointsKey: ResourceKey = { kind: 'endpoints', name: serviceName, source, waitMs };
    this.used.push(endpointsKey);
    const endpoints = this.cache.get('endpoints', endpointsKey.name, endpointsKey.source);
    if (endpoints.status === 'present') return { ok: true, config, endpoints: endpoints.value, note: '' };
    if (endpoints.status === 'failed')
      return { ok: true, config, endpoints: undefined, note: `endpoints "${endpointsKey.name}": ${endpoints.reason}` };
    this.missing.push(endpointsKey);
    return undefined;
  }

  /** What calls have asked for. One that was never there holds up nobody but those calls: it is simply not in `clusters` yet. */
  demanded(routes: Iterable<ResolvedRoutes>, clusters: Map<string, ResolvedCluster>): void {
    const { demand } = this;
    if (demand.clusters.size === 0) return;
    const referenced = Array.from(routes, (resolved) => (resolved.ok ? clustersOfRoutes(resolved.config) : NONE));
    for (const { name, source, byHeader, settled } of demand.clusters.values()) {
      if (clusters.has(name) || (!byHeader && !referenced.some((names) => names.has(name)))) continue;
      const { length } = this.missing;
      const resolved = this.cluster(name, source);
      if (resolved !== undefined) clusters.set(name, resolved);
      else if (!settled) this.missing.length = length;
    }
  }
}

const NONE: ReadonlySet<string> = new Set();

/** One cluster as it is now; undefined: something of it is awaited. */
export function resolveCluster(name: string, cache: ResourceCache): ResolvedCluster | undefined {
  return new Walk(cache, NO_DEMAND).cluster(name);
}

/**
 * The clusters of a snapshot that stays in force while a newer one is incomplete, as they are now: their endpoints and limits go on
 * following the source. What the source no longer has stays as it was.
 */
export function refresh(
  snapshot: Snapshot,
  cache: ResourceCache,
  demand = NO_DEMAND,
): { readonly used: readonly ResourceKey[]; readonly snapshot: Snapshot } {
  const walk = new Walk(cache, demand);
  const routes = new Map<HttpManagerConfig, ResolvedRoutes>();
  for (const [manager, before] of snapshot.routes) routes.set(manager, before.ok ? walk.whole(baseOf(before.config)) : before);
  const clusters = new Map<string, ResolvedCluster>();
  for (const [name, before] of snapshot.clusters) {
    const now = walk.cluster(name, demand.clusters.get(name)?.source);
    clusters.set(name, now?.ok === true ? now : walk.kept(before));
  }
  // The wait may be long, and certificates are rotated meanwhile.
  for (const { tls } of chainsOf(snapshot.listener)) walk.secrets(tls);
  walk.demanded([...routes.values(), ...[...(snapshot.scopes?.values() ?? [])].flatMap(routesOfScopes)], clusters);
  const filters = snapshot.filters && new Map<HttpManagerConfig, readonly HttpFilterConfig[]>();
  for (const [manager, before] of snapshot.filters ?? []) filters?.set(manager, resolveFilters(manager, walk, before) ?? before);
  return { used: walk.used, snapshot: { ...snapshot, routes, clusters, ...(filters && { filters }) } };
}

/** `before`: what serves this root now. */
export function resolve(root: string, cache: ResourceCache, demand = NO_DEMAND, before?: Snapshot): Resolution {
  const walk = new Walk(cache, demand);
  const key: ResourceKey = { kind: 'listener', name: root };
  walk.used.push(key);
  const state = cache.get('listener', root);
  if (state.status === 'waiting') return { status: 'waiting', used: walk.used, missing: [key], partial: undefined };
  if (state.status === 'failed') return { status: 'failed', used: walk.used, reason: `listener "${root}": ${state.reason}` };

  const routes = new Map<HttpManagerConfig, ResolvedRoutes>();
  const names = new Set<string>();
  let scopes: Map<HttpManagerConfig, ResolvedScopes> | undefined;
  const all: ResolvedRoutes[] = [];
  const managers = managersOf(state.value);
  let filters: Map<HttpManagerConfig, readonly HttpFilterConfig[]> | undefined;
  for (const { tls } of chainsOf(state.value)) walk.secrets(tls);
  for (const manager of managers) {
    if (!hasDiscoveredFilters(manager)) continue;
    const found = resolveFilters(manager, walk, before?.filters?.get(manager));
    if (found !== undefined) (filters ??= new Map<HttpManagerConfig, readonly HttpFilterConfig[]>()).set(manager, found);
  }
  // Secrets and filters: without them nothing of the listener may be served.
  const unguarded = walk.missing.length > 0;
  const took = (manager: HttpManagerConfig, resolved: ResolvedRoutes): void => {
    all.push(resolved);
    if (!resolved.ok || demand.lazy) return;
    for (const name of clustersInAdvance(resolved.config, filters?.get(manager) ?? manager.filters)) names.add(name);
  };
  for (const manager of managers) {
    if (manager.scopedRoutes !== undefined) {
      const inbound = state.value.api === undefined && state.value.direction !== 'outbound';
      const resolved = resolveScopes(manager.scopedRoutes, walk, inbound);
      if (resolved === undefined) continue;
      (scopes ??= new Map<HttpManagerConfig, ResolvedScopes>()).set(manager, resolved);
      for (const one of routesOfScopes(resolved)) took(manager, one);
      continue;
    }
    const resolved = walk.routes(manager);
    if (resolved === undefined) continue;
    routes.set(manager, resolved);
    took(manager, resolved);
  }
  const clusters = new Map<string, ResolvedCluster>();
  let served = false;
  for (const name of names) {
    const resolved = walk.cluster(name);
    served ||= resolved?.ok === true;
    clusters.set(name, resolved ?? { ok: false, waiting: true, reason: `cluster "${name}" is still awaited` });
  }
  walk.demanded(all, clusters);
  const snapshot: Snapshot = { root, listener: state.value, routes, clusters, ...(scopes && { scopes }), ...(filters && { filters }) };
  if (walk.missing.length === 0) return { status: 'complete', used: walk.used, snapshot };
  const partial = served && !unguarded && routes.size + (scopes?.size ?? 0) === managers.length ? snapshot : undefined;
  return { status: 'waiting', used: walk.used, missing: walk.missing, partial };
}
