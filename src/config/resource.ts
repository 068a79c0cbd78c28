/** Names, states and errors of xDS resources, independent of where they come from. */

import type { LoadShare } from '../core/load.ts';
import type { ConfigSourceConfig } from './config-source.ts';

export type ResourceKind =
  | 'listener'
  | 'routes'
  | 'scoped-routes'
  | 'virtual-host'
  | 'cluster'
  | 'endpoints'
  | 'secret'
  | 'extension-config'
  | 'runtime';

export const TYPE_URLS: Readonly<Record<ResourceKind, string>> = Object.freeze({
  listener: 'type.googleapis.com/envoy.config.listener.v3.Listener',
  routes: 'type.googleapis.com/envoy.config.route.v3.RouteConfiguration',
  'scoped-routes': 'type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration',
  'virtual-host': 'type.googleapis.com/envoy.config.route.v3.VirtualHost',
  cluster: 'type.googleapis.com/envoy.config.cluster.v3.Cluster',
  endpoints: 'type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment',
  secret: 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret',
  'extension-config': 'type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig',
  runtime: 'type.googleapis.com/envoy.service.runtime.v3.Runtime',
});

export interface ResourceKey {
  readonly kind: ResourceKind;
  readonly name: string;
  /** Where it is fetched; undefined: over the aggregated stream of its authority. */
  readonly source?: ConfigSourceConfig | undefined;
  /** Milliseconds to wait for it on the aggregated stream, 0: without end (Envoy X-84); undefined: as long as the client does (gRFC A57). */
  readonly waitMs?: number | undefined;
}

/** Equal for keys of the same resource. */
export function resourceId(kind: ResourceKind, name: string, source?: ConfigSourceConfig): string {
  return source === undefined ? `${kind} ${name}` : `${kind} ${name}\n${source.id}`;
}

/** One reason why a resource was rejected: where, what, and what to do. */
export interface ResourceError {
  readonly kind: ResourceKind;
  readonly name: string;
  /** Path of the offending field in proto names, e.g. `virtual_hosts[0].routes[2].match.safe_regex`; empty for the whole resource. */
  readonly field: string;
  readonly reason: string;
}

export function describeResourceError(error: ResourceError): string {
  return `${error.kind} "${error.name}"${error.field === '' ? '' : ` at ${error.field}`}: ${error.reason}`;
}

/** Thrown inside decoders and parsers only, and turned into a `ResourceError` at their edge. */
export class ConfigProblem extends Error {
  override readonly name = 'ConfigProblem';
  readonly field: string;
  readonly reason: string;
  constructor(field: string, reason: string) {
    super(`${field}: ${reason}`);
    this.field = field;
    this.reason = reason;
  }
}

/** Field that was set but has no effect. Counted, not repeated. */
export interface UnsupportedField {
  readonly kind: ResourceKind | 'bootstrap';
  readonly field: string;
  /** Name of the resource; of a bootstrap where it was read. */
  readonly resource: string;
}

/** State of one resource as the rest of the mesh sees it. */
export type ResourceState<R> =
  | { readonly status: 'waiting' }
  | { readonly status: 'present'; readonly value: R; readonly version: string }
  /** Does not exist (timer, or deletion), or was rejected and has no good predecessor. */
  | { readonly status: 'failed'; readonly reason: string };

export interface ResourceTypes {
  readonly listener: import('./listener.ts').ListenerConfig;
  readonly routes: import('./routes.ts').RouteConfiguration;
  readonly cluster: import('./cluster.ts').ClusterConfig;
  readonly endpoints: import('./endpoints.ts').EndpointsConfig;
  readonly 'scoped-routes': import('./scoped-routes.ts').ScopedRoutesConfig;
  readonly 'virtual-host': import('./routes.ts').VirtualHostConfig;
  readonly secret: import('./secret.ts').SecretConfig;
  readonly 'extension-config': import('./extension.ts').ExtensionConfig;
  readonly runtime: import('./runtime.ts').RuntimeConfig;
}

/** Where configuration comes from: an xDS client, or a file. */
export interface ResourceCache {
  get<K extends ResourceKind>(kind: K, name: string, source?: ConfigSourceConfig): ResourceState<ResourceTypes[K]>;
  /**
   * All scoped routes of a source, once its list has come: `name` is `*`, or an `xdstp:` collection. They are wanted under that name, and
   * a change of any of them is a change of it. Absent: the source has none.
   */
  scopes?(name: string, source?: ConfigSourceConfig): ResourceState<readonly ResourceTypes['scoped-routes'][]>;
}

/** What changed; undefined: anything may have. */
export type Changes = readonly ResourceKey[] | undefined;

/** A cache that is told what is wanted and tells of changes; implemented by `xds/client.ts` and by `sources/`. */
export interface ConfigSource extends ResourceCache {
  readonly name: string;
  /** Declares the whole set of resources needed now: subscribes and unsubscribes by difference. */
  want(keys: readonly ResourceKey[]): void;
  /** Called after each batch of changes, never re-entrantly. One listener: the mesh. */
  onChange(listener: (changes?: Changes) => void): void;
  /** Names of the listeners that the source has by itself: all of a `mesh.yaml`, those of a wildcard LDS; empty for names on demand. */
  listeners(): readonly string[];
  /** Whether all of `listeners()` are there: false until the first list of a wildcard LDS has come. Absent: always. */
  allListed?(): boolean;
  /**
   * Addresses of inbound listeners, of those that come by themselves, that were refused and have no value; port 0: it may be any. Absent:
   * the source has none.
   */
  refusedInbound?(): readonly import('./listener.ts').SocketAddress[];
  /**
   * Names of the client listeners that could configure calls to `authority` (`host[:port]`, lower case), best first. On demand over xDS:
   * the authority with its port, without it, then `client_default_listener_resource_name_template` applied (duplicates removed).
   * A `mesh.yaml`: those of its hosts that match.
   */
  candidates(authority: string): readonly string[];
  /**
   * Name of the server listener for a bound address: `server_listener_resource_name_template` with `%s` = `IP:port`; for a `mesh.yaml`
   * the listener of its `inbound` entry with that port. Undefined: none is asked for by name; one of `listeners()` may have the address.
   */
  inboundListener(host: string, port: number): string | undefined;
  describe(): SourceDescription;
  /**
   * Counters of a cluster with `lrs_server`, and of its assignment (empty: it has the cluster's name), which are reported to whoever sent
   * the cluster; undefined where nobody can be told. Absent: a source that takes no reports.
   */
  reportLoad?(cluster: string, service: string): LoadShare | undefined;
  /** What CSDS tells beyond `describe()`: who asks, and the bytes that came. Absent: there is neither. */
  status?(): SourceStatus | undefined;
  close(): Promise<void>;
}

/** The content of one resource for CSDS (gRFC A40). */
export interface ResourceContent extends ResourceDescription {
  /** Bytes of the value in use, a copy; undefined: there is none. */
  readonly raw: Uint8Array | undefined;
  /** Held by the bootstrap, not discovered. */
  readonly fixed: boolean;
}

export interface SourceStatus {
  readonly node: import('../proto/discovery.ts').NodeMessage;
  /** Made one by one, since their bytes are copies. */
  resources(): Iterable<ResourceContent>;
}

export interface ResourceDescription {
  readonly typeUrl: string;
  readonly name: string;
  readonly version: string;
  /** As CSDS names them (gRFC A40, A88). */
  readonly status: 'REQUESTED' | 'DOES_NOT_EXIST' | 'ACKED' | 'NACKED' | 'TIMEOUT' | 'RECEIVED_ERROR';
  readonly error: string | undefined;
  /** The last attempt that failed, with the version that was refused and its wall time in ms; absent when the newest one was good. */
  readonly failed?: { readonly details: string; readonly version: string; readonly at: number };
  /** Wall time in ms of the last accepted update; 0 when there was none. */
  readonly updatedAt: number;
}

export interface ServerDescription {
  readonly uri: string;
  readonly connected: boolean;
  /** Why there is no connection; undefined while there is one, or none was needed. */
  readonly problem: string | undefined;
}

/** The file that holds the last good configuration. */
export interface LastGoodDescription {
  readonly path: string;
  /** Wall time in ms when the file that was found at start had been written; undefined: there was none that could be used. */
  readonly savedAt: number | undefined;
  /** Served from, since the control plane has not answered yet. */
  readonly inUse: boolean;
}

export interface SourceDescription {
  readonly name: string;
  readonly connected: boolean;
  /** Last connection problem, or undefined. */
  readonly problem: string | undefined;
  /** The control planes in use, with the streams' state; the first that is `active` answers. Absent for files. */
  readonly servers?: readonly ServerDescription[];
  /** Where load is reported; absent where no cluster asked for it. */
  readonly loadReports?: readonly ServerDescription[];
  /** Absent unless such a file is kept. */
  readonly lastGood?: LastGoodDescription;
  readonly resources: readonly ResourceDescription[];
  readonly unsupported: readonly UnsupportedField[];
}
