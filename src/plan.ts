/**
 * Snapshot → plan: route tables whose leaves are targets with assembled stacks. Parts whose resources did not change are reused, so an
 * update of endpoints compiles nothing; stacks are assembled on a route's first use (thousands of routes, few used).
 */
import { filterProblems, filtersIn } from './config/extension.ts';
import type { HttpFilterConfig, HttpManagerConfig } from './config/listener.ts';
import { onDemandFilter } from './config/on-demand.ts';
import { sameRoutes, sameScopes } from './config/resolve-scopes.ts';
import type { FilterOverrides, RouteConfiguration } from './config/routes.ts';
import type { ResolvedCluster, ResolvedRoutes, ResolvedScopes, Snapshot } from './config/snapshot.ts';
import type { Attempt, Call, OutboundCall } from './core/call.ts';
import type { Deps } from './core/extension.ts';
import { failure, FAILURES } from './core/failure.ts';
import type { Handler, Layer } from './core/handler.ts';
import { stack } from './core/handler.ts';
import type { ObserverSet } from './core/observer.ts';
import { failureReply } from './core/reply.ts';
import type { InboundTarget, OutboundTarget, TargetLabels } from './core/target.ts';
import type { MeshCluster } from './cluster/cluster.ts';
import type { Clusters } from './cluster/clusters.ts';
import type { Demands } from './demand.ts';
import type { FilterChain } from './filters/chain.ts';
import { inbound } from './inbound.ts';
import { OnDemandTargets } from './on-demand-targets.ts';
import { outbound } from './outbound.ts';
import { answer } from './routing/answer.ts';
import type { Runtime } from './routing/runtime.ts';
import { mutateHeaders } from './routing/mutate-headers.ts';
import type { RouteContext, RouteMatcher } from './routing/route-table.ts';
import { RouteTable } from './routing/route-table.ts';
import type { ScopeEntry } from './routing/scoped-table.ts';
import { ScopedTable } from './routing/scoped-table.ts';

export interface PlanDeps {
  /** Values that routes look up; absent where there are none. */
  readonly runtime?: Runtime;
  readonly deps: Deps;
  readonly clusters: Clusters;
  readonly filters: FilterChain;
  readonly attemptLayers: readonly Layer<Attempt>[];
  /** Takes what calls ask for by themselves; absent: nothing is asked for on demand. */
  readonly demands?: Demands;
  /** Observers of a target: metrics, tracing, the cluster's own. */
  observers(direction: Call['direction'], labels: TargetLabels, cluster: MeshCluster | undefined): ObserverSet;
}

export type Routed<T> = { readonly ok: true; readonly table: RouteMatcher<T> } | { readonly ok: false; readonly reason: string };

interface Tables {
  readonly outbound: Routed<OutboundTarget>;
  readonly inbound: Routed<InboundTarget>;
}

interface Part extends Tables {
  readonly routes: ResolvedRoutes | ResolvedScopes;
  /** Of scoped routes: the tables of each route configuration. */
  readonly byConfig?: ReadonlyMap<RouteConfiguration, Tables>;
}

/** What the stacks of a root are assembled from, whichever of its plans their tables were made for. */
class Current {
  #snapshot: Snapshot;
  /** What ECDS brought last. Connections that outlive their listener go on with it: no snapshot knows their manager any more. */
  readonly #filters = new WeakMap<HttpManagerConfig, readonly HttpFilterConfig[]>();

  constructor(snapshot: Snapshot) {
    this.#snapshot = snapshot;
    this.take(snapshot);
  }

  get snapshot(): Snapshot {
    return this.#snapshot;
  }

  take(snapshot: Snapshot): void {
    this.#snapshot = snapshot;
    for (const [manager, filters] of snapshot.filters ?? []) this.#filters.set(manager, filters);
  }

  filters(manager: HttpManagerConfig): readonly HttpFilterConfig[] {
    return this.#filters.get(manager) ?? manager.filters;
  }
}

/** The compiled form of one root. */
export class RootPlan {
  snapshot: Snapshot;
  readonly current: Current;
  readonly #parts: ReadonlyMap<HttpManagerConfig, Part>;
  /** Stacks assembled so far, for `describe()`. */
  readonly assembled: Map<string, readonly string[]>;

  constructor(current: Current, parts: ReadonlyMap<HttpManagerConfig, Part>, assembled: Map<string, readonly string[]>) {
    this.snapshot = current.snapshot;
    this.current = current;
    this.#parts = parts;
    this.assembled = assembled;
  }

  /** The same plan with clusters whose configuration changed: their stacks are assembled anew, no table is indexed again. */
  with(changed: ReadonlySet<string>): RootPlan {
    for (const { outbound } of this.#parts.values()) if (outbound.ok) outbound.table.forget(changed);
    return new RootPlan(this.current, this.#parts, this.assembled);
  }

  /** The same for managers whose filters changed (ECDS): all their stacks, and no others. */
  withFilters(managers: readonly HttpManagerConfig[]): RootPlan {
    for (const manager of managers) {
      const part = this.#parts.get(manager);
      if (part?.outbound.ok === true) part.outbound.table.forget();
      if (part?.inbound.ok === true) part.inbound.table.forget();
    }
    return new RootPlan(this.current, this.#parts, this.assembled);
  }

  outbound(manager: HttpManagerConfig): Routed<OutboundTarget> | undefined {
    return this.#parts.get(manager)?.outbound;
  }

  inbound(manager: HttpManagerConfig): Routed<InboundTarget> | undefined {
    return this.#parts.get(manager)?.inbound;
  }

  part(manager: HttpManagerConfig): Part | undefined {
    return this.#parts.get(manager);
  }
}

/** Compiles `snapshot`; returns `previous` itself, which then is about `snapshot`, when nothing but endpoints changed. */
export function compile(snapshot: Snapshot, previous: RootPlan | undefined, plan: PlanDeps): RootPlan {
  const parts = new Map<HttpManagerConfig, Part>();
  const assembled = new Map<string, readonly string[]>();
  const current = previous?.current ?? new Current(snapshot);
  let same = previous !== undefined && previous.snapshot.listener === snapshot.listener;
  const refiltered: HttpManagerConfig[] = [];
  const partBefore = (manager: HttpManagerConfig): Part | undefined => {
    const before = previous?.part(manager);
    if (previous === undefined || before === undefined) return undefined;
    const [then, now] = [filtersIn(previous.snapshot, manager), filtersIn(snapshot, manager)];
    if (then === now) return before;
    // Tables know what the on-demand filter says.
    if (onDemandFilter(then) !== onDemandFilter(now)) return undefined;
    refiltered.push(manager);
    return before;
  };
  for (const [manager, routes] of snapshot.routes) {
    const before = partBefore(manager);
    if (before !== undefined && sameRoutes(before.routes as ResolvedRoutes, routes)) {
      parts.set(manager, before);
      continue;
    }
    same = false;
    parts.set(manager, { routes, ...tables(manager, routes, snapshot, current, plan, assembled) });
  }
  for (const [manager, scopes] of snapshot.scopes ?? []) {
    const before = partBefore(manager);
    if (before !== undefined && sameScopes(before.routes as ResolvedScopes, scopes)) {
      parts.set(manager, before);
      continue;
    }
    same = false;
    const tablesOf = (routes: ResolvedRoutes): Tables => tables(manager, routes, snapshot, current, plan, assembled);
    const onDemand = new TargetMaker(manager, current, plan, assembled).onDemand(plan.demands, filtersIn(snapshot, manager));
    const made = scopedTables(scopes, before?.byConfig, tablesOf, onDemand);
    parts.set(manager, { routes: scopes, ...made });
    if (scopes.ok && scopes.problems.length > 0)
      plan.deps.log.warn('scopes are left out', { listener: snapshot.root, problems: scopes.problems.join('; ') });
  }
  // From here on nothing can fail.
  const changed = previous === undefined ? NO_CLUSTERS : changedClusters(previous.snapshot.clusters, snapshot.clusters);
  current.take(snapshot);
  if (!same || refiltered.length > 0) warnOfFilters(snapshot, plan.deps);
  let made: RootPlan;
  if (same && previous !== undefined) {
    previous.snapshot = snapshot;
    made = previous;
  } else {
    if (previous !== undefined) for (const [name, layers] of previous.assembled) assembled.set(name, layers);
    made = new RootPlan(current, parts, assembled);
  }
  if (changed.size > 0) made = made.with(changed);
  return refiltered.length === 0 ? made : made.withFilters(refiltered);
}

function warnOfFilters(snapshot: Snapshot, { log }: Deps): void {
  const problems = filterProblems(snapshot);
  if (problems.length > 0) log.warn('filters lack their configuration', { listener: snapshot.root, problems: problems.join('; ') });
}

type ResolvedClusters = ReadonlyMap<string, ResolvedCluster>;

const NO_CLUSTERS: ReadonlySet<string> = new Set();

/** A stack depends on the configuration of its cluster, or on the reason why there is none; never on its endpoints. */
export function sameForStacks(a: ResolvedCluster, b: ResolvedCluster): boolean {
  return a.ok ? b.ok && a.config === b.config : !b.ok && a.reason === b.reason;
}

function changedClusters(before: ResolvedClusters, now: ResolvedClusters): ReadonlySet<string> {
  if (before === now) return NO_CLUSTERS;
  const changed = new Set<string>();
  for (const [name, resolved] of now) {
    const known = before.get(name);
    if (known === undefined || !sameForStacks(known, resolved)) changed.add(name);
  }
  for (const name of before.keys()) if (!now.has(name)) changed.add(name);
  return changed;
}

function tables(
  manager: HttpManagerConfig,
  routes: ResolvedRoutes,
  snapshot: Snapshot,
  current: Current,
  plan: PlanDeps,
  assembled: Map<string, readonly string[]>,
): Tables {
  if (!routes.ok) return { outbound: routes, inbound: routes };
  const maker = new TargetMaker(manager, current, plan, assembled);
  const unknownHost = maker.onDemand(plan.demands, filtersIn(snapshot, manager)).unknownHost(routes.config);
  const outboundTable = new RouteTable<OutboundTarget>(routes.config, (where) => maker.outbound(where), unknownHost, plan.runtime);
  // Tables index eagerly; the inbound one is made only where the listener is a server's.
  const inboundTable =
    snapshot.listener.api === undefined
      ? new RouteTable<InboundTarget>(routes.config, (where) => maker.inbound(where), undefined, plan.runtime)
      : undefined;
  return {
    outbound: { ok: true, table: outboundTable },
    inbound:
      inboundTable === undefined ? { ok: false, reason: 'an API listener serves no inbound traffic' } : { ok: true, table: inboundTable },
  };
}

/** One table for each route configuration, whatever the number of scopes that have it; those of before are used again. */
function scopedTables(
  scopes: ResolvedScopes,
  known: ReadonlyMap<RouteConfiguration, Tables> | undefined,
  tablesOf: (routes: ResolvedRoutes) => Tables,
  onDemand: OnDemandTargets,
): Tables & Pick<Part, 'byConfig'> {
  if (!scopes.ok) return { outbound: scopes, inbound: scopes };
  const byConfig = new Map<RouteConfiguration, Tables>();
  const outboundScopes: ScopeEntry<OutboundTarget>[] = [];
  const inboundScopes: ScopeEntry<InboundTarget>[] = [];
  for (const { scope, routes } of scopes.scopes) {
    const { key } = scope;
    if (routes === undefined) outboundScopes.push({ key, content: { target: onDemand.scope(scope) } });
    else if (!routes.ok)
      outboundScopes.push({ key, content: { target: onDemand.withoutRoutes(scope.routeConfigName ?? '', routes.reason) } });
    if (routes?.ok !== true) continue;
    const made = byConfig.get(routes.config) ?? known?.get(routes.config) ?? tablesOf(routes);
    byConfig.set(routes.config, made);
    if (made.outbound.ok) outboundScopes.push({ key, content: { table: made.outbound.table } });
    if (made.inbound.ok) inboundScopes.push({ key, content: { table: made.inbound.table } });
  }
  return {
    byConfig,
    outbound: { ok: true, table: new ScopedTable(scopes.builder, outboundScopes) },
    inbound: { ok: true, table: new ScopedTable(scopes.builder, inboundScopes) },
  };
}

class TargetMaker {
  readonly #manager: HttpManagerConfig;
  readonly #current: Current;
  readonly #plan: PlanDeps;
  readonly #assembled: Map<string, readonly string[]>;

  constructor(manager: HttpManagerConfig, current: Current, plan: PlanDeps, assembled: Map<string, readonly string[]>) {
    this.#manager = manager;
    this.#current = current;
    this.#plan = plan;
    this.#assembled = assembled;
  }

  onDemand(demands: Demands | undefined, filters: readonly HttpFilterConfig[]): OnDemandTargets {
    const local = (labels: TargetLabels, handler: Handler<OutboundCall>, name: string): OutboundTarget =>
      this.#local(labels, handler, [name]);
    return new OnDemandTargets({ filters, root: this.#current.snapshot.root, demands, local });
  }

  outbound(where: RouteContext): OutboundTarget {
    const { deps, clusters } = this.#plan;
    const labels = this.#labels(where);
    const filters = this.#filters(where, 'outbound');
    const { action } = where.route;
    if (action.kind !== 'forward') return this.#answering(where, labels, filters);
    const resolved = this.#current.snapshot.clusters.get(where.clusterName);
    if (resolved === undefined && where.clusterName !== '' && this.#plan.demands !== undefined)
      return this.onDemand(this.#plan.demands, this.#configured).cluster(where, labels, levelsOf(where));
    const cluster = clusters.get(where.clusterName);
    if (cluster === undefined || resolved?.ok === false) {
      const reason = resolved?.ok === false ? resolved.reason : `the route names cluster "${where.clusterName}", which is not configured`;
      const target = this.#local(labels, stack<OutboundCall>(filters, notFound(reason, action.clusterNotFoundStatus)), [
        'cluster-not-found',
      ]);
      return resolved?.ok === false && resolved.waiting === true ? { ...target, waiting: true } : target;
    }
    const made = outbound({ where, action, manager: this.#manager, cluster, filters, attemptLayers: this.#plan.attemptLayers }, deps);
    this.#remember(labels, made.names);
    return {
      handler: made.handler,
      direct: made.direct,
      observers: this.#plan.observers('outbound', labels, cluster),
      cluster,
      labels,
      clock: deps.clock,
    };
  }

  inbound(where: RouteContext): InboundTarget {
    const labels = this.#labels(where);
    const made = inbound({ where, filters: this.#filters(where, 'inbound') }, answer(where));
    this.#remember(labels, made.names);
    return {
      handler: made.handler,
      steps: made.steps,
      observers: this.#plan.observers('inbound', labels, undefined),
      labels,
      clock: this.#plan.deps.clock,
    };
  }

  #answering(where: RouteContext, labels: TargetLabels, filters: readonly Layer<Call>[]): OutboundTarget {
    const mutation = mutateHeaders(where);
    const layers: Layer<OutboundCall>[] = mutation === undefined ? [...filters] : [...filters, mutation];
    const innermost: Handler<OutboundCall> = answer(where) ?? notFound('the route has no action that can be done here', 503);
    return this.#local(labels, stack(layers, innermost), [...layers.map((l) => l.name), 'answer']);
  }

  #local(labels: TargetLabels, handler: Handler<OutboundCall>, names: readonly string[]): OutboundTarget {
    this.#remember(labels, names);
    const { deps } = this.#plan;
    return {
      handler,
      direct: undefined,
      observers: this.#plan.observers('outbound', labels, undefined),
      cluster: undefined,
      labels,
      clock: deps.clock,
    };
  }

  #filters(where: RouteContext, direction: Call['direction']): readonly Layer<Call>[] {
    return this.#plan.filters.layers(this.#configured, levelsOf(where), direction);
  }

  get #configured(): readonly HttpFilterConfig[] {
    return this.#current.filters(this.#manager);
  }

  #labels(where: RouteContext): TargetLabels {
    return Object.freeze({
      listener: this.#current.snapshot.root,
      routeConfig: where.routeConfig.name,
      virtualHost: where.virtualHost.name,
      route: where.route.name === '' ? describeMatch(where) : where.route.name,
      cluster: where.clusterName,
    });
  }

  #remember(labels: TargetLabels, names: readonly string[]): void {
    this.#assembled.set(`${labels.virtualHost}/${labels.route}${labels.cluster === '' ? '' : ` -> ${labels.cluster}`}`, names);
  }
}

/** Overrides of filters, most specific first. */
function levelsOf(where: RouteContext): readonly FilterOverrides[] {
  const levels = [where.route.filterOverrides, where.virtualHost.filterOverrides];
  return where.weighted === undefined ? levels : [where.weighted.filterOverrides, ...levels];
}

function describeMatch(where: RouteContext): string {
  const { path } = where.route.match;
  return `${path.kind} ${path.value}`;
}

function notFound(reason: string, status: number): Handler<OutboundCall> {
  const failed = failure(FAILURES.clusterNotFound, reason);
  return { handle: () => Promise.resolve(failureReply(failed, status)) };
}
