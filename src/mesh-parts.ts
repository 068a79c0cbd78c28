/** What a mesh is made of beside its source: the supplies of TLS and telemetry, extensions, limits. Wired in `start.ts`, used by `mesh.ts`. */
import type { BreakerConfig } from './config/cluster.ts';
import type { DownstreamTlsConfig, UpstreamTlsConfig } from './config/tls.ts';
import type { Attempt, Call, InboundCall } from './core/call.ts';
import type { Clock } from './core/clock.ts';
import type { FilterFactory, LbPolicyFactory } from './core/extension.ts';
import type { Layer } from './core/handler.ts';
import type { Logger } from './core/log.ts';
import type { Observer } from './core/observer.ts';
import type { Random } from './core/random.ts';
import type { TargetLabels } from './core/target.ts';
import type { ClientSecurity, ServerSecurity } from './core/tls.ts';
import type { MeshCluster } from './cluster/cluster.ts';
import type { RuntimeLayer } from './runtime-layers.ts';
import type { CallCounters } from './telemetry/call-metrics.ts';

/** TLS contexts as the mesh needs them (security/tls-context.ts). */
export interface TlsSupply {
  client(config: UpstreamTlsConfig): ClientSecurity;
  server(config: DownstreamTlsConfig): ServerSecurity;
  /** Secrets of the source may have changed. */
  refresh?(): void;
  close(): void | Promise<void>;
}

/** What the telemetry side contributes to every target. */
export interface TelemetrySupply {
  observers(direction: Call['direction'], labels: TargetLabels, cluster: MeshCluster | undefined): readonly Observer[];
  /** Runs the application inside the call's context (trace, forwarded headers). */
  runInContext<R>(call: InboundCall, run: () => R): R;
  /** Counters and latencies by route and cluster, as plain data. */
  describe(): readonly CallCounters[];
  close(): void | Promise<void>;
}

/** What decided which hosts belong to the mesh; `none`: nothing names any (docs/hosts.md). */
export type IncludeRule = 'option' | 'INMESH_INCLUDE' | 'mesh.yaml include' | 'mesh.yaml hosts' | 'none';

export interface MeshParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly telemetry: TelemetrySupply;
  readonly filters: readonly FilterFactory<unknown>[];
  readonly lbPolicies: readonly LbPolicyFactory<unknown>[];
  readonly breakers: Readonly<Record<string, BreakerConfig>>;
  readonly attemptLayers: readonly Layer<Attempt>[];
  /** Milliseconds that a call may wait for the first configuration. */
  readonly startTimeoutMs: number;
  /** Clusters are asked for when a call first chooses them, not when a route names them; default false. */
  readonly clustersOnDemand?: boolean;
  /** Layers of the runtime, later ones win; absent: there is none, and defaults count. */
  readonly runtime?: readonly RuntimeLayer[];
}
