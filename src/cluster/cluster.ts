/**
 * A living cluster: endpoints kept by address across updates, the picker over them, limits in use, outlier detection and breaker.
 * Survives plans; `clusters.ts` decides when it is made, updated and closed.
 */
import type { BreakerConfig, ClusterConfig, OutlierConfig } from '../config/cluster.ts';
import type { EndpointConfig, EndpointsConfig } from '../config/endpoints.ts';
import type { Attempt, OutboundCall } from '../core/call.ts';
import type { Cluster, Endpoint, LbPolicy, Picker } from '../core/endpoint.ts';
import type { Deps, LbPolicyFactory } from '../core/extension.ts';
import type { Observer } from '../core/observer.ts';
import type { ClientSecurity } from '../core/tls.ts';
import { buildClusterPicker } from '../balancing/priority.ts';
import { lbPolicy } from '../balancing/registry.ts';
import { Breaker } from '../resilience/breaker.ts';
import { OutlierDetector } from '../resilience/outlier-detection.ts';
import type { EjectionOwner } from '../resilience/outlier-detection.ts';
import { KnownEndpoints } from './known-endpoints.ts';
import { OriginalDst } from './original-dst.ts';
import { MeshEndpoint } from './endpoint.ts';
import type { Home } from './endpoint.ts';
import { LoadCounter } from './load.ts';
import type { OpenLoad } from './load.ts';
import { SocketMatches } from './socket-matches.ts';
import type { MetadataReader } from './socket-matches.ts';

export interface ClusterDeps extends Deps {
  /** Makes the client side of a transport socket (security/tls-context.ts). */
  readonly security: (config: NonNullable<ClusterConfig['tls']>) => ClientSecurity;
  /** Reads an endpoint's metadata, for clusters that choose TLS by it. */
  readonly metadata: MetadataReader;
  readonly lbPolicies: readonly LbPolicyFactory<unknown>[];
  /** Absent: nobody is told of the load. */
  readonly load?: OpenLoad;
  /** Breakers given in code, by cluster name; they win over the configuration's. */
  readonly breakers: Readonly<Record<string, BreakerConfig>>;
}

interface Place {
  readonly locality: string;
  readonly priority: number;
  readonly weight: number | undefined;
  readonly hosts: readonly MeshEndpoint[];
}

/** Its own observer: outlier detection, whatever its configuration at the time. */
export class MeshCluster implements Cluster, Observer, EjectionOwner {
  readonly name: string;
  requests = 0;
  pending = 0;
  retries = 0;
  /** Attempts that have ended so far. */
  ended = 0;
  config: ClusterConfig;
  security: ClientSecurity | undefined;
  #sockets: SocketMatches | undefined;
  breaker: Breaker | undefined;
  /** Why there are no endpoints, for failures and `describe()`. */
  note = '';
  readonly #deps: ClusterDeps;
  #policy: LbPolicy;
  #picker: Picker | undefined;
  #places: readonly Place[] = [];
  #assignment: EndpointsConfig | undefined;
  #endpoints: readonly MeshEndpoint[] = [];
  /** Removed endpoints whose exchanges have not ended yet. */
  #leaving: Map<MeshEndpoint, Promise<void>> | undefined;
  #outlier: OutlierDetector | undefined;
  /** Of a cluster that dials what calls name; it has no assignment but its own. */
  #originalDst: OriginalDst | undefined;
  #counter: LoadCounter | undefined;
  #closed = false;

  constructor(config: ClusterConfig, deps: ClusterDeps) {
    this.name = config.name;
    this.#deps = deps;
    this.config = config;
    this.#secure(config);
    this.#policy = lbPolicy(config.lb, deps, deps.lbPolicies);
    this.breaker = this.#breakerOf(config);
    this.#setOutlier(config.outlier);
    this.#setOriginalDst(config);
  }

  get http2(): boolean {
    return this.config.http2;
  }

  get connectTimeoutMs(): number {
    return this.config.connectTimeoutMs;
  }

  get maxRequestsPerConnection(): number | undefined {
    return this.config.maxRequestsPerConnection;
  }

  get endpoints(): readonly MeshEndpoint[] {
    return this.#endpoints;
  }

  /** Differs from the last time it was asked when there were attempts since, or are some now (NaN differs from itself). */
  get used(): number {
    return this.requests > 0 ? Number.NaN : this.ended;
  }

  /** TLS to an endpoint, by its metadata; undefined for plaintext. */
  securityOf(config: EndpointConfig): ClientSecurity | undefined {
    if (this.#sockets === undefined) return this.security;
    const chosen = this.#sockets.of(config.metadata);
    return chosen === undefined ? this.security : chosen.security;
  }

  get lbName(): string {
    return this.#policy.name;
  }

  pick(call: OutboundCall): Endpoint | undefined {
    return this.#picker?.pick(call);
  }

  /** The first category of `drop_overloads` whose lot falls on this call, in their order (gRFC A27). */
  shed(): string | undefined {
    const drops = this.#assignment?.dropOverloads;
    if (drops === undefined || drops.length === 0) return undefined;
    return drops.find(({ numerator, denominator }) => this.#deps.random.next() * denominator < numerator)?.category;
  }

  onDrop(category?: string): void {
    this.#counter?.drop(category);
  }

  /** Counts for load reports, from the first call on that needs it; undefined where the cluster has no `lrs_server`. */
  get counter(): LoadCounter | undefined {
    const { load } = this.#deps;
    if (!this.config.reportLoad || load === undefined || this.#closed) return undefined;
    this.#counter ??= new LoadCounter(this.name, load);
    this.#counter.count(reportedService(this.config), this.config.loadMetrics);
    return this.#counter;
  }

  onAttemptEnd(attempt: Attempt): void {
    this.ended++;
    const { outlier } = this.config;
    if (outlier !== undefined && !this.#closed) (this.#outlier ??= new OutlierDetector(outlier, this, this.#deps)).onAttemptEnd(attempt);
    const endpoint = attempt.endpoint as MeshEndpoint | undefined;
    if (endpoint?.gone === true && endpoint.active === 0) void endpoint.drain();
  }

  ejectionsChanged(): void {
    this.#rebuild();
  }

  /** Takes a new configuration. Endpoints stay; connections are remade only when the transport changed (Envoy X-86). */
  configure(config: ClusterConfig): void {
    const before = this.config;
    if (before === config) return;
    this.config = config;
    if (
      before.tls !== config.tls ||
      before.sockets !== config.sockets ||
      before.http2 !== config.http2 ||
      before.connectTimeoutMs !== config.connectTimeoutMs
    ) {
      this.#secure(config);
      for (const endpoint of this.#endpoints) void endpoint.drain();
    }
    if (before.lb !== config.lb) {
      this.#policy = lbPolicy(config.lb, this.#deps, this.#deps.lbPolicies);
      this.#picker = undefined;
    }
    if (before.breaker !== config.breaker) {
      this.breaker?.close();
      this.breaker = this.#breakerOf(config);
    }
    if (before.outlier !== config.outlier) this.#setOutlier(config.outlier);
    this.#counter?.count(config.reportLoad ? reportedService(config) : undefined, config.loadMetrics);
    if (before.discovery.kind !== config.discovery.kind) this.#setOriginalDst(config);
    this.#rebuild();
  }

  /** Takes an assignment: endpoints are added, kept or removed by address; the removed ones drain. Touches nothing if it is the same object. */
  assign(assignment: EndpointsConfig | undefined, note: string): void {
    this.note = note;
    if (this.#originalDst !== undefined || (assignment === this.#assignment && this.#picker !== undefined)) return;
    this.#take(assignment);
  }

  #take(assignment: EndpointsConfig | undefined): void {
    this.#assignment = assignment;
    const known = new KnownEndpoints(this.#endpoints);
    let after: MeshEndpoint[] = [];
    const localities = assignment?.localities ?? [];
    const places = localities.map((place): Place => {
      const home: Home = { cluster: this, place };
      const hosts = place.endpoints.map((config) => {
        const endpoint = known.take(config);
        if (endpoint === undefined) return new MeshEndpoint(home, config);
        // Its labels may have made it another kind of peer: connections of before must not be used.
        if (this.#sockets !== undefined && endpoint.security !== this.securityOf(config)) void endpoint.drain();
        endpoint.config = config;
        endpoint.home = home;
        return endpoint;
      });
      // Of one locality the list is both.
      if (localities.length === 1) after = hosts;
      else for (const endpoint of hosts) after.push(endpoint);
      return { locality: place.locality, priority: place.priority, weight: place.weight, hosts };
    });
    this.#endpoints = after;
    this.#places = places;
    for (const endpoint of known.left()) this.#leave(endpoint);
    this.#rebuild();
  }

  /** Lets running attempts end, then closes. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#outlier?.close();
    this.breaker?.close();
    for (const endpoint of this.#endpoints) this.#leave(endpoint);
    if (this.#leaving !== undefined) await Promise.all(this.#leaving.values());
    // Last, so that what ran until now is in the final report.
    this.#counter?.count(undefined);
  }

  /** Ends running attempts at once; `close` then has nothing to wait for. */
  destroy(error: Error): void {
    for (const endpoint of this.#endpoints) endpoint.destroy(error);
    for (const endpoint of this.#leaving?.keys() ?? []) endpoint.destroy(error);
  }

  #leave(endpoint: MeshEndpoint): void {
    const leaving = (this.#leaving ??= new Map<MeshEndpoint, Promise<void>>());
    if (leaving.has(endpoint)) return;
    const left = endpoint.leave().finally(() => leaving.delete(endpoint));
    leaving.set(endpoint, left);
  }

  #secure({ tls, sockets }: ClusterConfig): void {
    this.security = tls === undefined ? undefined : this.#deps.security(tls);
    this.#sockets = sockets === undefined ? undefined : new SocketMatches(sockets, this.#deps.security, this.#deps.metadata);
  }

  #breakerOf(config: ClusterConfig): Breaker | undefined {
    const chosen = this.#deps.breakers[config.name] ?? config.breaker;
    return chosen === undefined ? undefined : new Breaker(config.name, chosen, this.#deps);
  }

  /** The detector is made with the first attempt that ends: most clusters have one configured, and few are called. */
  #setOutlier(config: OutlierConfig | undefined): void {
    this.#outlier?.close();
    this.#outlier = undefined;
    if (config === undefined) for (const endpoint of this.#endpoints) endpoint.ejected = false;
    // One that is ejected comes back by the rules of now.
    else if (this.#endpoints.some(({ ejected }) => ejected)) this.#outlier = new OutlierDetector(config, this, this.#deps);
  }

  #setOriginalDst(config: ClusterConfig): void {
    const before = this.#originalDst;
    this.#originalDst = undefined;
    if (config.discovery.kind === 'original-dst') {
      this.#originalDst = new OriginalDst((assignment) => {
        this.#take(assignment);
        return this.#endpoints;
      });
    }
    if (before !== undefined || this.#originalDst !== undefined) this.#take(undefined);
  }

  #rebuild(): void {
    if (this.#originalDst !== undefined) {
      this.#picker = this.#originalDst;
      return;
    }
    this.#picker = buildClusterPicker(
      {
        localities: this.#places,
        policy: this.#policy,
        overprovisioningFactor: this.#assignment?.overprovisioningFactor ?? 140,
        panicThreshold: this.config.panicThreshold,
        localityWeighted: this.config.localityWeighted,
        random: this.#deps.random,
      },
      this.#picker,
    );
  }
}

/** `eds_cluster_config.service_name`, empty where there is none: what a report calls the cluster beside its name. */
function reportedService({ name, discovery }: ClusterConfig): string {
  return discovery.kind === 'eds' && discovery.serviceName !== name ? discovery.serviceName : '';
}
