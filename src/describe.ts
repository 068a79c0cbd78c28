/** `mesh.describe()`: the running mesh as plain data, the content of CSDS (gRFC A40) and more; serialisable as JSON. */
import { filterProblems } from './config/extension.ts';
import type { RuntimeValue } from './config/runtime.ts';
import type { SourceDescription } from './config/resource.ts';
import type { MeshCluster } from './cluster/cluster.ts';
import type { IncludeRule, MeshEngine } from './mesh.ts';
import type { CallCounters } from './telemetry/call-metrics.ts';

export interface MeshDescription {
  /** `waiting` until a source is attached, `failed` when none could be. */
  readonly state: 'waiting' | 'running' | 'draining' | 'closed' | 'failed';
  /** Why the state is `failed`; else empty. */
  readonly problem: string;
  /** Patterns of hosts that belong to the mesh; undefined: every host that the source lists. */
  readonly include: readonly string[] | undefined;
  /** Which rule applied to the authorities that were called so far: the newest 1000, the newest last. */
  readonly hosts: readonly HostDescription[];
  /** Outbound and inbound. */
  readonly callsInFlight: number;
  /** Where configuration comes from: connection, every resource with version, status and error, every field that has no effect. */
  readonly source: SourceDescription | undefined;
  /** Values of the runtime in force; absent where there are no layers. */
  readonly runtime?: Readonly<Record<string, RuntimeValue>>;
  readonly listeners: readonly ListenerDescription[];
  readonly clusters: readonly ClusterDescription[];
  /** One entry per route and cluster, out and in: see docs/reference/metrics.md. */
  readonly metrics: readonly CallCounters[];
}

export interface HostDescription {
  /** `host[:port]` as the mesh was asked about it. */
  readonly authority: string;
  /** False: calls pass through untouched. */
  readonly included: boolean;
  /** The rule that decided (docs/hosts.md); `none`: no rule names hosts, `xds target`: a gRPC client with an `xds:///` target. */
  readonly by: IncludeRule | 'xds target';
  /** The listener that configures it, once there is one. */
  readonly listener?: string;
  /** Why there is none, or what is awaited. */
  readonly reason?: string;
}

export interface ListenerDescription {
  readonly name: string;
  readonly status: 'waiting' | 'ready' | 'failed';
  /** Why the status is `failed`; else empty. */
  readonly reason: string;
  /** Resources that are still awaited. */
  readonly missing: readonly string[];
  /** Filters over ECDS whose configuration is not there or cannot be used, and why. */
  readonly problems: readonly string[];
  /** Layer names, outermost first, of every stack assembled so far, by route. */
  readonly stacks: Readonly<Record<string, readonly string[]>>;
}

export interface ClusterDescription {
  readonly name: string;
  readonly lbPolicy: string;
  readonly tls: boolean;
  /** Why TLS cannot be done now; empty when it can. */
  readonly tlsProblem: string;
  /** `closed`, `open` or `half-open`; undefined: the cluster has no breaker. */
  readonly breaker: string | undefined;
  /** Attempts in flight, attempts that wait for a connection, and retries in flight: what the thresholds limit. */
  readonly requests: number;
  readonly pending: number;
  readonly retries: number;
  /** What is wrong with its configuration or endpoints; empty when nothing is. */
  readonly note: string;
  readonly endpoints: readonly EndpointDescription[];
}

export interface EndpointDescription {
  /** `host:port`. */
  readonly address: string;
  /** `region/zone/sub-zone`. */
  readonly locality: string;
  readonly priority: number;
  readonly weight: number;
  /** As the configuration says. */
  readonly health: string;
  /** By outlier detection, now. */
  readonly ejected: boolean;
  /** Attempts in flight. */
  readonly active: number;
  /** Open connections. */
  readonly connections: number;
}

export function describe(engine: MeshEngine): MeshDescription {
  return {
    state: stateOf(engine),
    problem: engine.problem,
    include: engine.include?.patterns,
    hosts: [...engine.asked].map(([authority, lookedUp]) => describeHost(engine, authority, lookedUp)),
    callsInFlight: engine.active,
    source: engine.source?.describe(),
    ...(engine.runtime && { runtime: engine.runtime.runtime.values }),
    listeners: Array.from(engine.roots?.values() ?? [], (root) => ({
      name: root.name,
      status: root.status,
      reason: root.reason,
      missing: root.missing.map((key) => `${key.kind} "${key.name}"`),
      problems: root.snapshot === undefined ? [] : filterProblems(root.snapshot),
      stacks: Object.fromEntries(root.plan?.assembled ?? []),
    })),
    clusters: engine.clusters?.look(describeCluster) ?? [],
    metrics: engine.parts.telemetry.describe(),
  };
}

function stateOf(engine: MeshEngine): MeshDescription['state'] {
  if (engine.closed) return 'closed';
  if (engine.draining) return 'draining';
  if (engine.problem !== '') return 'failed';
  return engine.source === undefined ? 'waiting' : 'running';
}

/** Looked up without a pattern that names it: only an `xds:///` target is. */
function describeHost(engine: MeshEngine, authority: string, lookedUp: boolean): HostDescription {
  const matched = engine.includes(authority);
  const host = { authority, included: matched || lookedUp, by: matched || !lookedUp ? engine.includeRule : 'xds target' } as const;
  if (!host.included) return host;
  if (engine.problem !== '') return { ...host, reason: engine.problem };
  const found = engine.roots?.explain(authority);
  if (found === undefined) return { ...host, reason: 'the configuration is awaited' };
  if (found.status === 'ready') return { ...host, listener: found.listener };
  const reason = found.status === 'failed' ? found.reason : `asked for ${found.asked.map((name) => `listener "${name}"`).join(', ')}`;
  return { ...host, reason };
}

function describeCluster(cluster: MeshCluster): ClusterDescription {
  return {
    name: cluster.name,
    lbPolicy: cluster.lbName,
    tls: cluster.security !== undefined,
    tlsProblem: cluster.security === undefined || cluster.security.secureContext() !== undefined ? '' : cluster.security.problem,
    breaker: cluster.breaker?.state,
    requests: cluster.requests,
    pending: cluster.pending,
    retries: cluster.retries,
    note: cluster.note,
    endpoints: cluster.endpoints.map((endpoint) => ({
      address: endpoint.address,
      locality: endpoint.locality,
      priority: endpoint.priority,
      weight: endpoint.weight,
      health: endpoint.health,
      ejected: endpoint.ejected,
      active: endpoint.active,
      connections: endpoint.connections,
    })),
  };
}
