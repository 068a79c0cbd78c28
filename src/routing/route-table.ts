/**
 * A route configuration as something to ask: which target for this call? Virtual host by authority, first matching route, weighted
 * cluster. What a target is decides whoever makes the leaves; they are made on first use and kept.
 */
import type { RouteConfiguration, RouteEntryConfig, VirtualHostConfig, WeightedClusterConfig } from '../config/routes.ts';
import { NO_HEADER_MUTATION } from '../config/routes.ts';
import type { RequestHead } from '../core/call.ts';
import type { Random } from '../core/random.ts';
import { firstHeaderValue } from '../matching/header.ts';
import { CompiledRoute, Probe } from './compiled-route.ts';
import { NONE, RouteIndex } from './route-index.ts';
import type { Runtime } from './runtime.ts';
import { VirtualHosts } from './virtual-hosts.ts';
import { RuntimeWeights, WeightedChoice } from './weighted-clusters.ts';

/** Where a target stands. */
export interface RouteContext {
  readonly routeConfig: RouteConfiguration;
  readonly virtualHost: VirtualHostConfig;
  readonly route: RouteEntryConfig;
  /** The chosen entry of `weighted_clusters`. */
  readonly weighted: WeightedClusterConfig | undefined;
  /** Empty when the route answers by itself, and when the header of `cluster_header` is absent or empty (Envoy D4: not found). */
  readonly clusterName: string;
}

export type MakeLeaf<T> = (where: RouteContext) => T;

/** What matching needs of a call, and the one thing it writes. */
export interface Matchable {
  readonly head: RequestHead;
  matchedLength: number;
}

/** Header values whose targets are kept; the application chooses them, so their number is bounded. */
const MAX_HEADER_CLUSTERS = 128;

const SLASH = 47;

/** The targets of one route. */
class Leaves<T> {
  readonly #where: RouteContext;
  readonly #make: MakeLeaf<T>;
  readonly #choice: WeightedChoice | undefined;
  /** Of HTTP calls, where the runtime has a say. */
  readonly #runtime: RuntimeWeights | undefined;
  readonly #weighted: readonly WeightedClusterConfig[];
  readonly #header: string | undefined;
  #only: T | undefined;
  readonly #byEntry: (T | undefined)[] = [];
  readonly #byName = new Map<string, T>();

  constructor(where: RouteContext, make: MakeLeaf<T>, runtime: Runtime | undefined) {
    const { action } = where.route;
    const cluster = action.kind === 'forward' ? action.cluster : undefined;
    this.#where = cluster?.kind === 'cluster' ? { ...where, clusterName: cluster.name } : where;
    this.#make = make;
    this.#weighted = cluster?.kind === 'weighted' ? cluster.clusters : [];
    const weights = this.#weighted.map((entry) => entry.weight);
    this.#choice = weights.length === 0 ? undefined : new WeightedChoice(weights);
    const prefix = cluster?.kind === 'weighted' ? cluster.runtimeKeyPrefix : undefined;
    if (prefix !== undefined && runtime !== undefined && this.#choice !== undefined) {
      const keys = this.#weighted.map(({ name }) => `${prefix}.${name}`);
      this.#runtime = new RuntimeWeights(runtime, keys, weights, this.#choice);
    }
    this.#header = cluster?.kind === 'cluster-header' ? cluster.header : undefined;
  }

  /** The target where nothing of the call decides on it. */
  only(): T | undefined {
    return this.#choice === undefined && this.#header === undefined ? (this.#only ??= this.#make(this.#where)) : undefined;
  }

  pick(probe: Probe): T {
    if (this.#choice !== undefined) {
      const { protocol } = probe.head;
      const choice = this.#runtime === undefined || protocol === 'grpc' ? this.#choice : this.#runtime.current();
      return this.#entry(choice.choose(probe.value, protocol));
    }
    if (this.#header !== undefined) return this.#named(firstHeaderValue(probe.head, this.#header) ?? '');
    return (this.#only ??= this.#make(this.#where));
  }

  forget(clusters: ReadonlySet<string>): void {
    if (clusters.has(this.#where.clusterName)) this.#only = undefined;
    for (const [index, { name }] of this.#weighted.entries()) if (clusters.has(name)) this.#byEntry[index] = undefined;
    for (const name of clusters) this.#byName.delete(name);
  }

  #entry(index: number): T {
    const weighted = this.#weighted[index];
    return (this.#byEntry[index] ??= this.#make({ ...this.#where, weighted, clusterName: weighted?.name ?? '' }));
  }

  #named(clusterName: string): T {
    const known = this.#byName.get(clusterName);
    if (known !== undefined) return known;
    const made = this.#make({ ...this.#where, clusterName });
    if (this.#byName.size >= MAX_HEADER_CLUSTERS) this.#byName.clear();
    this.#byName.set(clusterName, made);
    return made;
  }
}

class HostRoutes<T> {
  readonly #routeConfig: RouteConfiguration;
  readonly #virtualHost: VirtualHostConfig;
  readonly #make: MakeLeaf<T>;
  readonly #routes: readonly CompiledRoute[];
  readonly #index: RouteIndex;
  readonly #runtime: Runtime | undefined;
  readonly #leaves: (Leaves<T> | undefined)[] = [];
  readonly #probe = new Probe();
  /** Begins every path that the first route, which then takes all of them, asks for; undefined where there is more to decide. */
  readonly #first: '' | '/' | undefined;
  #toHttps: T | undefined;

  constructor(routeConfig: RouteConfiguration, virtualHost: VirtualHostConfig, make: MakeLeaf<T>, runtime: Runtime | undefined) {
    this.#routeConfig = routeConfig;
    this.#virtualHost = virtualHost;
    this.#make = make;
    this.#runtime = runtime;
    this.#routes = virtualHost.routes.map((route, index) => new CompiledRoute(index, route, runtime));
    this.#index = new RouteIndex(this.#routes);
    const [first] = this.#routes;
    const takesAll = first?.unconditional === true && first.kind === 'prefix' && virtualHost.requireTls === 'none';
    this.#first = takesAll && (first.key === '' || first.key === '/') ? first.key : undefined;
  }

  match(call: Matchable, random: Random): T | undefined {
    if (this.#first !== undefined && (this.#first === '' || call.head.path.charCodeAt(0) === SLASH)) {
      const only = this.#leavesOf(0, this.#routes[0] as CompiledRoute).only();
      if (only !== undefined) {
        call.matchedLength = this.#first.length;
        return only;
      }
    }
    if (this.#virtualHost.requireTls !== 'none' && mustBeHttps(call.head, this.#virtualHost.requireTls)) {
      return (this.#toHttps ??= this.#make(this.#where(TO_HTTPS)));
    }
    const probe = this.#probe;
    probe.begin(call.head, random);
    const index = this.#index.first(probe);
    const route = index === NONE ? undefined : this.#routes[index];
    if (route === undefined) {
      probe.end();
      return undefined;
    }
    call.matchedLength = route.matchedLength;
    const target = this.#leavesOf(index, route).pick(probe);
    probe.end();
    return target;
  }

  forget(clusters: ReadonlySet<string> | undefined): void {
    if (clusters === undefined) {
      this.#leaves.length = 0;
      this.#toHttps = undefined;
    } else for (const leaves of this.#leaves) leaves?.forget(clusters);
  }

  #leavesOf(index: number, route: CompiledRoute): Leaves<T> {
    return (this.#leaves[index] ??= new Leaves(this.#where(route.config), this.#make, this.#runtime));
  }

  #where(route: RouteEntryConfig): RouteContext {
    return { routeConfig: this.#routeConfig, virtualHost: this.#virtualHost, route, weighted: undefined, clusterName: '' };
  }
}

/** The redirect of `require_tls` (Envoy R-7). gRPC knows no such thing. */
function mustBeHttps(head: RequestHead, required: VirtualHostConfig['requireTls']): boolean {
  if (head.protocol === 'grpc' || (head.headers.get('x-forwarded-proto') ?? head.scheme) === 'https') return false;
  return required === 'all' || head.headers.get('x-envoy-internal') !== 'true';
}

const TO_HTTPS: RouteEntryConfig = Object.freeze({
  name: 'require_tls',
  match: { path: { kind: 'prefix', value: '', caseSensitive: true }, headers: [], query: [], fraction: undefined, grpc: false },
  action: {
    kind: 'redirect',
    status: 301,
    scheme: undefined,
    httpsRedirect: true,
    host: undefined,
    port: undefined,
    path: undefined,
    stripQuery: false,
  },
  headers: NO_HEADER_MUTATION,
  filterOverrides: {},
} as const);

/** Whether compiling the route may fail: then it is done at once and not with the first call. */
function hasPatterns({ match: { path, headers, query } }: RouteEntryConfig): boolean {
  return path.kind === 'regex' || headers.length > 0 || query.length > 0;
}

/** Something to ask for the target of a call: the table of one route configuration, or of several (`scoped-table.ts`). */
export interface RouteMatcher<T> {
  /** The target, or undefined when nothing matches. Sets `call.matchedLength` for `prefix_rewrite`. */
  match(call: Matchable, random: Random): T | undefined;
  /** Targets that lead to these clusters, or all, are made anew with their next call; calls that run keep theirs. */
  forget(clusters?: ReadonlySet<string>): void;
}

export class RouteTable<T> implements RouteMatcher<T> {
  readonly config: RouteConfiguration;
  readonly #hosts: VirtualHosts<VirtualHostConfig, HostRoutes<T>>;
  readonly #unknownHost: ((authority: string) => T | undefined) | undefined;

  /**
   * Throws `ConfigProblem` for patterns that decoding should have rejected. `unknownHost`: the target of an authority without a virtual host,
   * where more may be had.
   */
  constructor(config: RouteConfiguration, leaf: MakeLeaf<T>, unknownHost?: (authority: string) => T | undefined, runtime?: Runtime) {
    this.config = config;
    this.#unknownHost = unknownHost;
    this.#hosts = new VirtualHosts(
      config.virtualHosts,
      config.ignorePortInHostMatching,
      (host: VirtualHostConfig) => new HostRoutes(config, host, leaf, runtime),
    );
    for (const host of config.virtualHosts) if (host.routes.some(hasPatterns)) this.#hosts.prepare(host);
  }

  /** Undefined when no virtual host or no route matches. */
  match(call: Matchable, random: Random): T | undefined {
    const host = this.#hosts.find(call.head.authority);
    return host === undefined ? this.#unknownHost?.(call.head.authority) : host.match(call, random);
  }

  forget(clusters?: ReadonlySet<string>): void {
    for (const host of this.#hosts.made()) host.forget(clusters);
  }
}
