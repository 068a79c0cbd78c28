/**
 * The running mesh: wires source, clusters, plans and adapters, and owns every lifetime. `facade.ts` is what applications see of it;
 * `start.ts` reads configuration and attaches the source.
 */
import type { ConfigSource } from './config/resource.ts';
import type { DownstreamTlsConfig } from './config/tls.ts';
import type { Call, InboundCall, OutboundCall } from './core/call.ts';
import type { Clock } from './core/clock.ts';
import type { InboundEngine, OutboundEngine } from './core/engine.ts';
import type { Deps } from './core/extension.ts';
import { MeshError } from './core/errors.ts';
import type { FailureKind } from './core/failure.ts';
import { failure, FAILURES } from './core/failure.ts';
import { Lane } from './core/lane.ts';
import { InFlight, ObserverSet } from './core/observer.ts';
import type { Random } from './core/random.ts';
import type { Reply } from './core/reply.ts';
import { failureReply } from './core/reply.ts';
import { Scope } from './core/scope.ts';
import type { Awaited, InboundTarget, OutboundTarget, TargetLabels } from './core/target.ts';
import type { ServerSecurity } from './core/tls.ts';
import type { MeshCluster } from './cluster/cluster.ts';
import { Clusters } from './cluster/clusters.ts';
import { Demands } from './demand.ts';
import { FilterChain } from './filters/chain.ts';
import { MeshInboundListener } from './inbound-listeners.ts';
import { InboundSockets } from './inbound-sockets.ts';
import { load } from './lazy.ts';
import type { HostPatterns } from './matching/host-patterns.ts';
import { exactHosts } from './matching/host-patterns.ts';
import type { IncludeRule, MeshParts, TlsSupply } from './mesh-parts.ts';
import type { PlanDeps } from './plan.ts';
import type { Lookup, Root } from './roots.ts';
import { Asked, Roots } from './roots.ts';
import { RuntimeLayers } from './runtime-layers.ts';
import { Patience, Waiter, Waiters } from './waiters.ts';

export type { IncludeRule, MeshParts, TelemetrySupply, TlsSupply } from './mesh-parts.ts';

const UNROUTED: TargetLabels = Object.freeze({ listener: '', routeConfig: '', virtualHost: '', route: '', cluster: '' });

export class MeshEngine implements OutboundEngine, InboundEngine {
  readonly clock: Clock;
  readonly parts: MeshParts;
  readonly scope = new Scope();
  epoch = 0;
  draining = false;
  closed = false;
  source: ConfigSource | undefined;
  roots: Roots | undefined;
  clusters: Clusters | undefined;
  runtime: RuntimeLayers | undefined;
  /** Why no source could be attached; calls to included hosts fail with it. */
  problem = '';
  include: HostPatterns | undefined;
  includeRule: IncludeRule = 'mesh.yaml hosts';
  readonly asked = new Asked();
  #tls: TlsSupply | undefined;
  #sockets: InboundSockets | undefined;
  #unrouted: OutboundTarget | undefined;
  #unroutedInbound: InboundTarget | undefined;
  #known = new Map<string, boolean>();
  /** What the call that `open` was last asked about waits for; undefined: its listener or routes. */
  #awaited: Awaited | undefined;
  readonly #random: Random;
  readonly #waiters: Waiters;
  readonly #listeners = new Map<string, MeshInboundListener>();
  readonly #lane = new Lane();
  readonly #inFlight = new InFlight(() => {
    if (this.draining) this.#waiters.wake();
  });

  constructor(parts: MeshParts) {
    this.parts = parts;
    this.clock = parts.clock;
    this.#random = parts.random;
    this.#waiters = new Waiters(parts.clock);
    ObserverSet.report = (error) => parts.log.warn('an observer threw', { error: String(error) });
  }

  /** Calls in flight in both directions. */
  get active(): number {
    return this.#inFlight.count;
  }

  /** Gives the engine its configuration; called once, maybe after the first calls have come. */
  attach(source: ConfigSource, include: HostPatterns | undefined, tls: TlsSupply): void {
    if (this.closed) {
      void source.close();
      void tls.close();
      return;
    }
    const { clock, random, log } = this.parts;
    const deps: Deps = { clock, random, log };
    this.source = this.scope.own(source);
    this.scope.own({ close: () => tls.close() });
    this.clusters = this.scope.own(
      new Clusters({
        ...deps,
        security: (config) => tls.client(config),
        metadata: (bytes) => load('./xds/decode/endpoint-metadata').endpointMetadata(bytes),
        lbPolicies: this.parts.lbPolicies,
        breakers: this.parts.breakers,
        load: (cluster, service) => source.reportLoad?.(cluster, service),
      }),
    );
    const clusters = this.clusters;
    const demands = this.scope.own(
      new Demands({
        clock,
        lazy: this.parts.clustersOnDemand ?? false,
        useOf: (name) => clusters.living(name)?.used,
        hostOf: (name, from) => source.get('virtual-host', name, from),
        changed: () => this.#lane.run(() => this.roots?.sync()),
      }),
    );
    const layers = this.parts.runtime ?? [];
    const runtime = layers.length === 0 ? undefined : new RuntimeLayers(layers);
    this.runtime = runtime;
    const plan: PlanDeps = {
      deps,
      ...(runtime && { runtime: runtime.runtime }),
      demands,
      clusters,
      filters: new FilterChain(this.parts.filters, deps),
      attemptLayers: this.parts.attemptLayers,
      observers: (direction, labels, cluster) => this.#observers(direction, labels, cluster),
    };
    this.include = include;
    this.#tls = tls;
    const roots = new Roots(source, this.clusters, plan, () => this.#changed(), {
      asked: this.asked,
      always: runtime?.keys ?? [],
      startTimeoutMs: this.parts.startTimeoutMs,
    });
    runtime?.refresh(source);
    this.roots = roots;
    this.#sockets = new InboundSockets(source, (name) => roots.demand(name));
    source.onChange((changes) =>
      this.#lane.run(() => {
        // Before the clusters, which may be made in this step and must find the secrets of now.
        if (changes === undefined || changes.some(({ kind }) => kind === 'secret')) tls.refresh?.();
        if (changes === undefined || changes.some(({ kind }) => kind === 'runtime')) runtime?.refresh(source);
        roots.sync(changes);
        if (demands.answered()) this.#waiters.wake();
      }),
    );
    for (const host of include === undefined ? [] : exactHosts(include.patterns))
      for (const name of source.candidates(host)) roots.demand(name);
    for (const name of include === undefined ? source.listeners() : []) roots.demand(name);
    // Layers are asked for although no listener may be yet.
    if (runtime !== undefined) roots.sync();
    this.#changed();
  }

  /** No source will come: calls to included hosts fail with `problem`. */
  abandon(problem: string, include: HostPatterns | undefined): void {
    this.problem = problem;
    this.include = include;
    this.#changed();
  }

  includes(authority: string): boolean {
    let included = this.#known.get(authority);
    if (included === undefined) {
      included = this.include === undefined ? (this.source?.candidates(authority).length ?? 0) > 0 : this.include.matches(authority);
      if (this.#known.size > 10_000) this.#known.clear();
      this.#known.set(authority, included);
      this.asked.add(authority, false);
    }
    return included;
  }

  open(call: OutboundCall): OutboundTarget | Reply | undefined {
    if (this.closed) return this.#refuse(call, FAILURES.meshClosed, 'the mesh is closed');
    const lookup = this.#lookup(call.head.authority);
    if (lookup === undefined || lookup.status === 'waiting') return undefined;
    if (lookup.status === 'failed') return this.#refuse(call, FAILURES.routeNotFound, lookup.reason);
    const { tables } = lookup;
    for (let i = 0; i < tables.length; i++) {
      const target = tables[i]?.match(call, this.#random);
      if (target === undefined) continue;
      if (target.waiting === true) return target.awaits === undefined ? undefined : this.#demand(call, target.awaits);
      call.startedAt = this.clock.now();
      call.target = target;
      target.observers.callStart(call);
      return target;
    }
    const { method, authority, path } = call.head;
    return this.#refuse(call, FAILURES.routeNotFound, `no route for ${method} ${authority}${path} in listener "${lookup.listener}"`);
  }

  async handle(call: OutboundCall): Promise<Reply> {
    this.#awaited = undefined;
    const opened = call.target ?? this.open(call) ?? (await this.#waitFor(call));
    if (!('handler' in opened)) return opened;
    try {
      return await opened.handler.handle(call);
    } catch (error) {
      return failureReply(
        failure(FAILURES.filterFailed, `a layer failed: ${error instanceof Error ? error.message : String(error)}`, error),
      );
    }
  }

  /** Waits until every listener that is asked for has an answer. */
  async ready(timeoutMs: number): Promise<void> {
    const deadline = this.clock.now() + timeoutMs;
    for (;;) {
      if (this.closed) throw new MeshError('ERR_MESH_CLOSED', 'the mesh was closed while it waited for its configuration');
      if (this.problem !== '') throw new MeshError('ERR_MESH_CONFIG', this.problem);
      // First, since a look-up may ask for listeners: those of the sidecar view are not known by name before they are there.
      if (this.#settled()) return;
      const roots = this.roots === undefined ? undefined : [...this.roots.values()];
      if (roots !== undefined && roots.every((root) => root.status !== 'waiting')) {
        const broken = roots.filter((root) => root.status === 'failed');
        if (roots.length > 0 && broken.length === roots.length && roots.every((root) => !this.#optional(root))) {
          throw new MeshError('ERR_MESH_CONFIG', `no listener could be configured: ${broken.map((root) => root.reason).join('; ')}`);
        }
        return;
      }
      if (!(await this.#waiters.wait(deadline))) {
        const waiting = (roots ?? []).filter((root) => root.status === 'waiting').map((root) => root.name);
        const problem = this.source?.describe().problem;
        throw new MeshError(
          'ERR_MESH_START_TIMEOUT',
          `no complete configuration within ${timeoutMs} ms${waiting.length === 0 ? '' : `, still waiting for ${waiting.join(', ')}`}`,
          {
            cure: problem === undefined ? 'Check that the control plane knows these names' : `The control plane says: ${problem}`,
          },
        );
      }
    }
  }

  listen(host: string, port: number): MeshInboundListener {
    const key = `${host}|${port}`;
    let listener = this.#listeners.get(key);
    if (listener === undefined) {
      const tls = (config: DownstreamTlsConfig): ServerSecurity => {
        if (this.#tls === undefined) throw new MeshError('ERR_MESH_CONFIG', 'no configuration is attached');
        return this.#tls.server(config);
      };
      listener = new MeshInboundListener(host, port, {
        clock: this.clock,
        random: this.#random,
        security: tls,
        unrouted: () => this.#noRoute(),
        root: (h, p) => this.#inboundRoot(h, p),
        named: (h, p) => this.source?.inboundListener(h, p) !== undefined,
      });
      this.#listeners.set(key, listener);
    }
    return listener;
  }

  runInContext<R>(call: InboundCall, run: () => R): R {
    return this.parts.telemetry.runInContext(call, run);
  }

  /** Refuses new inbound work, waits for what runs (at most `drainMs`), then closes everything. */
  async close(drainMs: number): Promise<void> {
    if (this.closed) return;
    this.draining = true;
    for (const listener of this.#listeners.values()) listener.refresh();
    const deadline = this.clock.now() + drainMs;
    while (this.active > 0 && this.clock.now() < deadline) await this.#waiters.wait(deadline);
    this.closed = true;
    this.epoch++;
    this.#waiters.wake();
    // The time to drain is over: what still runs fails now, or `close` would wait for a peer that never answers.
    if (this.active > 0) this.clusters?.destroy(new MeshError('ERR_MESH_CLOSED', 'the mesh was closed while the call was running'));
    await this.scope.close();
    await this.parts.telemetry.close();
  }

  /** Asks for what the call needs. A file, or a list that is complete, knows at once. */
  #demand(call: OutboundCall, awaited: Awaited): OutboundTarget | Reply | undefined {
    if (awaited.demand()) return this.open(call);
    this.#awaited = awaited;
    return undefined;
  }

  #lookup(authority: string): Lookup | undefined {
    if (this.problem !== '') return { status: 'failed', reason: this.problem };
    return this.roots?.lookup(authority);
  }

  /** Listeners that were only asked for because a name might be meant (the authority without its port...) may be absent. */
  #optional(root: Root): boolean {
    return this.include !== undefined && this.include.patterns.every((pattern) => pattern.includes('*')) && root.plan === undefined;
  }

  /** With several candidates per host, one that is there is enough. */
  #settled(): boolean {
    const { include, roots } = this;
    if (include === undefined || roots === undefined) return false;
    const found = exactHosts(include.patterns).map((host) => roots.lookup(host));
    return found.length > 0 && found.every((lookup) => lookup.status === 'ready');
  }

  #noRoute(): InboundTarget {
    return (this.#unroutedInbound ??= {
      handler: { handle: () => Promise.resolve(failureReply(failure(FAILURES.routeNotFound, 'no route'))) },
      steps: undefined,
      observers: this.#observers('inbound', UNROUTED, undefined),
      labels: UNROUTED,
      clock: this.clock,
    });
  }

  #inboundRoot(host: string, port: number): Root | 'passthrough' | undefined {
    if (this.source === undefined || this.roots === undefined) return undefined;
    const name = this.source.inboundListener(host, port);
    return name === undefined ? this.#sockets?.root(host, port) : this.roots.demand(name);
  }

  #observers(direction: Call['direction'], labels: TargetLabels, cluster: MeshCluster | undefined): ObserverSet {
    const own = this.parts.telemetry.observers(direction, labels, cluster);
    const counter = cluster?.counter;
    return new ObserverSet(
      [...own, ...(cluster === undefined ? [] : [cluster]), ...(counter === undefined ? [] : [counter])],
      this.#inFlight,
    );
  }

  #changed(): void {
    this.epoch++;
    this.#known = new Map();
    this.#sockets?.forget();
    for (const listener of this.#listeners.values()) listener.refresh();
    this.#waiters.wake();
  }

  /** Fails a call that has no route; it is started all the same, so that it is counted and traced. */
  #refuse(call: OutboundCall, kind: FailureKind, message: string, status?: number): Reply {
    this.#unrouted ??= {
      handler: { handle: () => Promise.resolve(failureReply(failure(FAILURES.routeNotFound, 'no route'))) },
      direct: undefined,
      observers: this.#observers('outbound', UNROUTED, undefined),
      cluster: undefined,
      labels: UNROUTED,
      clock: this.clock,
    };
    call.startedAt = this.clock.now();
    call.target = this.#unrouted;
    call.target.observers.callStart(call);
    return failureReply(failure(kind, message), status);
  }

  async #waitFor(call: OutboundCall): Promise<OutboundTarget | Reply> {
    const patience = new Patience(this.clock, Math.min(this.clock.now() + this.parts.startTimeoutMs, call.deadline));
    for (;;) {
      patience.for(this.#awaited);
      const waiter = new Waiter();
      call.pending = waiter;
      const changed = await this.#waiters.wait(patience.until, waiter);
      call.pending = undefined;
      if (call.cancelled !== undefined) return failureReply(call.cancelled);
      this.#awaited = undefined;
      const opened = this.open(call);
      if (opened !== undefined) return opened;
      if (!changed && this.clock.now() >= patience.until) return this.#waitedInVain(call, patience.awaited);
    }
  }

  #waitedInVain(call: OutboundCall, awaited: Awaited | undefined): Reply {
    const { authority } = call.head;
    if (this.clock.now() >= call.deadline)
      return this.#refuse(call, FAILURES.deadlineExceeded, `the deadline passed while the configuration of "${authority}" was awaited`);
    if (awaited === undefined) return this.#startTimeout(call);
    const ms = Math.min(awaited.timeoutMs, this.parts.startTimeoutMs);
    return this.#refuse(call, awaited.kind, `${awaited.what} was asked for and did not come within ${ms} ms`, awaited.status);
  }

  #startTimeout(call: OutboundCall): Reply {
    const lookup = this.#lookup(call.head.authority);
    const asked = lookup?.status === 'waiting' ? ` (asked for listeners ${lookup.asked.map((name) => `"${name}"`).join(', ')})` : '';
    const awaited = this.roots?.awaited(call.head.authority) ?? [];
    const still = awaited.length === 0 ? '' : `; still awaited: ${awaited.slice(0, 5).join(', ')}${awaited.length > 5 ? ', ...' : ''}`;
    const problem = this.source?.describe().problem;
    return this.#refuse(
      call,
      FAILURES.startTimeout,
      `no configuration for "${call.head.authority}" within ${this.parts.startTimeoutMs} ms${asked}${still}${problem === undefined ? '' : `; control plane: ${problem}`}`,
    );
  }
}
