/** A `MeshEngine` on a source whose resources the test sets, on simulated time, with a scripted transport. No sockets. */
import { expect, onTestFinished } from 'vitest';
import type { ClusterConfig } from '../../src/config/cluster.ts';
import { DEFAULT_THRESHOLDS } from '../../src/config/cluster.ts';
import type { EndpointConfig, EndpointsConfig } from '../../src/config/endpoints.ts';
import type { HttpManagerConfig, ListenerConfig } from '../../src/config/listener.ts';
import type {
  Changes,
  ConfigSource,
  ResourceKey,
  ResourceKind,
  ResourceState,
  ResourceTypes,
  SourceDescription,
} from '../../src/config/resource.ts';
import type { RouteConfiguration } from '../../src/config/routes.ts';
import { OutboundCall } from '../../src/core/call.ts';
import type { RequestHead } from '../../src/core/call.ts';
import type { Failure } from '../../src/core/failure.ts';
import { silentLogger } from '../../src/core/log.ts';
import type { Observer } from '../../src/core/observer.ts';
import type { Reply } from '../../src/core/reply.ts';
import { LB_POLICIES } from '../../src/balancing/registry.ts';
import { FILTERS } from '../../src/filters/registry.ts';
import { hostPatterns } from '../../src/matching/host-patterns.ts';
import type { MeshParts, TlsSupply } from '../../src/mesh.ts';
import { MeshEngine } from '../../src/mesh.ts';
import { Telemetry } from '../../src/telemetry/telemetry.ts';
import { FakeClock, SeededRandom } from '../../src/testing/index.ts';
import { forward, requestHead, route, routeConfig, virtualHost } from '../unit/routing/builders.ts';
import type { Line } from './scripted-transport.ts';
import { ScriptedTransport } from './scripted-transport.ts';

export function manager(change: Partial<HttpManagerConfig> = {}): HttpManagerConfig {
  return {
    routeConfigName: undefined,
    routeConfig: undefined,
    filters: [],
    maxStreamDurationMs: undefined,
    stripPort: 'none',
    statPrefix: '',
    ...change,
  };
}

/** A client listener that asks RDS for `routes`, or carries them. */
export function apiListener(name: string, routes: string | RouteConfiguration): ListenerConfig {
  const api = manager(typeof routes === 'string' ? { routeConfigName: routes } : { routeConfig: routes });
  return { name, api, address: undefined, direction: 'unspecified', filterChains: [], defaultFilterChain: undefined };
}

/** Everything under `domains` (default all) goes to `cluster`. */
export function routesTo(name: string, cluster: string, domains: readonly string[] = ['*']): RouteConfiguration {
  return routeConfig({
    name,
    virtualHosts: [
      virtualHost({
        domains,
        routes: [route({ name: `to ${cluster}`, action: forward({ cluster: { kind: 'cluster', name: cluster } }) })],
      }),
    ],
  });
}

export function clusterConfig(name: string, change: Partial<ClusterConfig> = {}): ClusterConfig {
  return {
    name,
    discovery: { kind: 'eds', serviceName: name },
    lb: { policy: 'round_robin', config: undefined },
    thresholds: { default: DEFAULT_THRESHOLDS, high: DEFAULT_THRESHOLDS },
    outlier: undefined,
    tls: undefined,
    http2: false,
    connectTimeoutMs: 5000,
    maxRequestsPerConnection: undefined,
    breaker: undefined,
    reportLoad: false,
    panicThreshold: 50,
    localityWeighted: false,
    ...change,
  };
}

/** Endpoints on 10.0.0.x, one for each number. */
export function endpointsOf(cluster: string, ...numbers: readonly number[]): EndpointsConfig {
  const endpoint = (n: number): EndpointConfig => ({
    host: `10.0.0.${n}`,
    port: 80,
    hostname: '',
    weight: 1,
    health: 'unknown',
    metadata: undefined,
  });
  return {
    clusterName: cluster,
    localities: [{ locality: 'a', priority: 0, weight: 1, endpoints: numbers.map(endpoint) }],
    dropOverloads: [],
    overprovisioningFactor: 140,
  };
}

/** A source by hand. What was never set is waited for; `candidates` follows the on-demand rule (port, then without). */
export class FakeSource implements ConfigSource {
  readonly name = 'fake';
  wanted: readonly ResourceKey[] = [];
  problem: string | undefined;
  listed: readonly string[] = [];
  closed = false;
  readonly #states = new Map<string, ResourceState<unknown>>();
  #listener: ((changes?: Changes) => void) | undefined;
  #version = 0;
  #changed: ResourceKey[] = [];

  get<K extends ResourceKind>(kind: K, name: string): ResourceState<ResourceTypes[K]> {
    return (this.#states.get(`${kind} ${name}`) ?? { status: 'waiting' }) as ResourceState<ResourceTypes[K]>;
  }

  put<K extends ResourceKind>(kind: K, name: string, value: ResourceTypes[K]): this {
    this.#states.set(`${kind} ${name}`, { status: 'present', value, version: String(++this.#version) });
    this.#changed.push({ kind, name });
    return this;
  }

  fail(kind: ResourceKind, name: string, reason = 'does not exist'): this {
    this.#states.set(`${kind} ${name}`, { status: 'failed', reason });
    this.#changed.push({ kind, name });
    return this;
  }

  /** Undefined until a scope was put, or `scopesThere` was set. */
  scopesThere = false;

  scopes(name: string): ResourceState<readonly ResourceTypes['scoped-routes'][]> {
    const listed = this.#states.get(`scoped-routes ${name}`);
    if (listed?.status === 'failed') return listed;
    const values = [...this.#states].flatMap(([id, state]) =>
      id.startsWith('scoped-routes ') && state.status === 'present' ? [state.value as ResourceTypes['scoped-routes']] : [],
    );
    return this.scopesThere || values.length > 0 ? { status: 'present', value: values, version: '1' } : { status: 'waiting' };
  }

  wait(kind: ResourceKind, name: string): this {
    this.#states.delete(`${kind} ${name}`);
    this.#changed.push({ kind, name });
    return this;
  }

  /** A cluster with its endpoints. */
  cluster(name: string, ...numbers: readonly number[]): this {
    return this.put('cluster', name, clusterConfig(name)).put('endpoints', name, endpointsOf(name, ...numbers));
  }

  /** Tells the mesh what changed since the last time. */
  push(): void {
    this.#listener?.(this.#changed.splice(0));
  }

  /** Tells the mesh that anything may have changed. */
  pushAll(): void {
    this.#changed = [];
    this.#listener?.();
  }

  want(keys: readonly ResourceKey[]): void {
    this.wanted = keys;
  }

  /** `kind name` of all that is wanted, sorted. */
  get asked(): readonly string[] {
    return this.wanted.map(({ kind, name }) => `${kind} ${name}`).sort();
  }

  onChange(listener: (changes?: Changes) => void): void {
    this.#listener = listener;
  }

  listeners(): readonly string[] {
    return this.listed;
  }

  candidates(authority: string): readonly string[] {
    const host = authority.replace(/:\d+$/, '');
    return host === authority ? [host] : [authority, host];
  }

  inboundListener(host: string, port: number): string | undefined {
    return port === 9 ? undefined : `inbound/${host}:${port}`;
  }

  describe(): SourceDescription {
    return { name: 'fake', connected: true, problem: this.problem, resources: [], unsupported: [] };
  }

  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
}

export const NO_TLS: TlsSupply = {
  client: () => {
    throw new Error('no TLS in this test');
  },
  server: () => {
    throw new Error('no TLS in this test');
  },
  close: () => undefined,
};

export interface EngineSetup {
  readonly engine: MeshEngine;
  readonly source: FakeSource;
  readonly clock: FakeClock;
  readonly telemetry: Telemetry;
  readonly transport: ScriptedTransport;
  call(authority: string, head?: Partial<Omit<RequestHead, 'headers'>>, headers?: Readonly<Record<string, string>>): OutboundCall;
  /** Runs a call to its end; its reply. */
  send(authority: string, head?: Partial<Omit<RequestHead, 'headers'>>): Promise<{ readonly call: OutboundCall; readonly reply: Reply }>;
}

export interface EngineOptions {
  readonly include?: readonly string[] | undefined;
  /** False: the test attaches the source itself. */
  readonly attach?: boolean;
  readonly lines?: readonly Line[];
  readonly parts?: Partial<MeshParts>;
  readonly observers?: readonly Observer[];
}

/** Closed when the test ends, with no timer left. */
export function engineSetup(options: EngineOptions = {}): EngineSetup {
  const clock = new FakeClock();
  const source = new FakeSource();
  const telemetry = new Telemetry({ clock, observers: options.observers ?? [], tracer: () => undefined, bridge: () => undefined });
  const engine = new MeshEngine({
    clock,
    random: new SeededRandom(7),
    log: silentLogger,
    telemetry,
    filters: FILTERS,
    lbPolicies: LB_POLICIES,
    breakers: {},
    attemptLayers: [],
    startTimeoutMs: 15_000,
    ...options.parts,
  });
  const transport = new ScriptedTransport(options.lines ?? [], clock);
  if (options.attach ?? true) engine.attach(source, options.include === undefined ? undefined : hostPatterns(options.include), NO_TLS);
  onTestFinished(async () => {
    await engine.close(0);
    expect(clock.pending, 'timers left').toBe(0);
    expect(engine.active, 'calls left').toBe(0);
  });
  const call: EngineSetup['call'] = (authority, head = {}, headers = {}) =>
    new OutboundCall(requestHead({ authority, ...head }, headers), { replayable: true }, transport);
  return {
    engine,
    source,
    clock,
    telemetry,
    transport,
    call,
    async send(authority, head) {
      const one = call(authority, head);
      const answered = engine.handle(one);
      let reply: Reply | undefined;
      void answered.then((r) => (reply = r));
      for (let i = 0; i < 100 && reply === undefined; i++) await clock.advance(200);
      if (reply === undefined) throw new Error('the call does not end');
      finish(one, reply);
      return { call: one, reply };
    },
  };
}

/** What a front does with a reply: shows a failure and ends the call, or takes the body. */
export function finish(call: OutboundCall, reply: Reply): void {
  if (reply.failure === undefined && !call.ended) reply.body.deliver(undefined);
  if (!call.ended) call.end(reply.status, reply.grpcStatus, reply.failure);
}

export function detailsOf(failed: Failure | undefined): string | undefined {
  return failed?.kind.details;
}
