/** The living upstream as the data path sees it; implemented in `cluster/`, read by pickers, adapters and observers. */
import type { OutboundCall } from './call.ts';
import type { ClientSecurity } from './tls.ts';
import type { Connection, Transport } from './transport.ts';

/** envoy.config.core.v3.HealthStatus. UNKNOWN counts as healthy (Envoy L-1). */
export type HealthStatus = 'unknown' | 'healthy' | 'unhealthy' | 'draining' | 'timeout' | 'degraded';

export interface Endpoint {
  /** `ip:port`, IPv6 in brackets: identity within the cluster. */
  readonly address: string;
  readonly host: string;
  readonly port: number;
  /** The endpoint's hostname from EDS, or empty. */
  readonly hostname: string;
  readonly cluster: Cluster;
  /** TLS to this endpoint; undefined for plaintext. */
  readonly security: ClientSecurity | undefined;
  /** `region/zone/sub_zone`. */
  readonly locality: string;
  readonly weight: number;
  readonly health: HealthStatus;
  /** Attempts in flight. */
  active: number;
  /** Taken out by outlier detection. */
  readonly ejected: boolean;
  /** The connection of this endpoint for a transport, made on first use and kept until the endpoint goes. */
  connection(transport: Transport, secure: boolean): Connection;
}

export interface Cluster {
  readonly name: string;
  /** TLS of the cluster's own transport socket; undefined for plaintext. Endpoints may have another (`Endpoint.security`). */
  readonly security: ClientSecurity | undefined;
  /** Upstream HTTP version, from HttpProtocolOptions. */
  readonly http2: boolean;
  readonly connectTimeoutMs: number;
  readonly maxRequestsPerConnection: number | undefined;
  /** Attempts in flight, attempts without a connection yet, retries in flight (Envoy's circuit-breaker gauges). */
  requests: number;
  pending: number;
  retries: number;
  pick(call: OutboundCall): Endpoint | undefined;
  /** The category whose share of calls this one falls into, and is dropped with (`drop_overloads`); undefined: go on. */
  shed?(): string | undefined;
  /** A call was refused before an endpoint was chosen; without a category by a circuit breaker. */
  onDrop?(category?: string): void;
}

/** Endpoints considered together by one LB policy: chosen by priority, locality and health before. */
export interface HostSet {
  readonly hosts: readonly Endpoint[];
}

/** Chooses an endpoint now. A momentary value, rebuilt when hosts change. */
export interface Picker {
  pick(call: OutboundCall): Endpoint | undefined;
}

/** A function from a host set to a picker. `previous` lets a policy keep its place, or its table when nothing changed. */
export interface LbPolicy {
  readonly name: string;
  build(hosts: HostSet, previous: Picker | undefined): Picker;
}
