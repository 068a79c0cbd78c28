/**
 * What a process needs to know to begin: the gRPC bootstrap file (grpc_xds_bootstrap_format, gRFCs A27 A47 A65 A71) or Envoy's
 * (envoy.config.bootstrap.v3.Bootstrap) as plain frozen types; read by `xds/bootstrap.ts` and `xds/envoy-bootstrap.ts`.
 */
import type { AnyMessage } from '../core/extension.ts';
import type { ConfigSourceConfig } from './config-source.ts';
import type { UpstreamTlsConfig } from './tls.ts';

export interface Bootstrap {
  /** Which of the two formats it was. Envoy subscribes to all listeners and clusters, gRPC to names (Envoy X-9). */
  readonly format: 'grpc' | 'envoy';
  /** The aggregated stream: servers in order of preference. Empty where an Envoy bootstrap has no `ads_config`. */
  readonly servers: readonly XdsServerConfig[];
  /** Envoy: where listeners and clusters come from; `none`: only the static ones. Absent: the aggregated stream. */
  readonly sources: { readonly listener?: ConfigSourceConfig | 'none'; readonly cluster?: ConfigSourceConfig | 'none' };
  /** Control planes behind the static clusters that `envoy_grpc.cluster_name` and `cluster_names` can name. */
  readonly clusters: Readonly<Record<string, XdsServerConfig>>;
  /** Listeners, clusters and secrets of `static_resources`: always there. */
  readonly staticResources: readonly AnyMessage[];
  /** Layers of the runtime in order, later ones win: Runtime resources by name, of `staticResources` or over RTDS. */
  readonly runtime: readonly { readonly name: string; readonly source?: ConfigSourceConfig }[];
  /** Paths of fields that were set and have no effect. */
  readonly unsupported: readonly string[];
  readonly node: NodeConfig;
  readonly certificateProviders: Readonly<Record<string, CertificateProviderConfig>>;
  readonly serverListenerTemplate: string | undefined;
  /** Default `%s`. */
  readonly clientListenerTemplate: string;
  readonly authorities: Readonly<Record<string, AuthorityConfig>>;
  /** Where it was read from, for error messages: a path, or the name of an environment variable. */
  readonly origin: string;
}

export interface XdsServerConfig {
  /** A gRPC target. */
  readonly uri: string;
  readonly credentials: ChannelCredentialsConfig;
  readonly features: readonly string[];
  /** State of the world or incremental. gRPC's bootstrap cannot say: `sotw` unless an option does. */
  readonly protocol: 'sotw' | 'delta';
  /** One stream for all types (ADS), or one for each. */
  readonly aggregated: boolean;
  /** Tokens for every stream; all are sent, never over an insecure channel (gRFC A97). Absent: none. */
  readonly callCredentials?: readonly CallCredentialsConfig[];
  /** Sent at the start of every stream, over whatever channel there is (Envoy's GrpcService.initial_metadata). Absent: none. */
  readonly metadata?: readonly MetadataEntryConfig[];
  /** Absent: the defaults of the transport. */
  readonly keepalive?: KeepaliveConfig;
}

export type ChannelCredentialsConfig =
  | { readonly type: 'insecure' }
  /** TLS with files; the server's name is checked. */
  | ({ readonly type: 'tls' } & FileWatcherConfig)
  /** TLS with the system's trust anchors, and a token of Google's application-default credentials. */
  | { readonly type: 'google_default' }
  /** TLS as an Envoy transport socket says it. */
  | { readonly type: 'tls_context'; readonly tls: UpstreamTlsConfig };

export type CallCredentialsConfig =
  /** A JWT in a file, read again as it expires (gRFC A97). */
  | { readonly type: 'jwt_token_file'; readonly path: string }
  /** A token in the bootstrap itself (Envoy's google_grpc). */
  | { readonly type: 'access_token'; readonly token: string }
  /** The service account of the machine, from the metadata server. */
  | { readonly type: 'google_compute_engine' };

export interface MetadataEntryConfig {
  /** Lower case. */
  readonly key: string;
  /** Joined; a file is read for each stream, without white space at its ends. */
  readonly parts: readonly (string | { readonly file: string })[];
}

/** HTTP/2 pings that notice a connection which nobody answers any more. */
export interface KeepaliveConfig {
  /** Milliseconds of silence before a ping; undefined: the transport's default. */
  readonly intervalMs?: number;
  /** Milliseconds to wait for the answer; undefined: the transport's default. */
  readonly timeoutMs?: number;
}

/** `file_watcher` plugin and `tls` credentials: paths and refresh interval (default 600 000 ms). */
export interface FileWatcherConfig {
  readonly certificateFile: string | undefined;
  readonly privateKeyFile: string | undefined;
  readonly caCertificateFile: string | undefined;
  readonly refreshIntervalMs: number;
}

export type CertificateProviderConfig = { readonly plugin: 'file_watcher' } & FileWatcherConfig;

export interface NodeConfig {
  readonly id: string;
  readonly cluster: string;
  readonly locality: { readonly region: string; readonly zone: string; readonly subZone: string };
  /** Any JSON. */
  readonly metadata: Readonly<Record<string, unknown>>;
}

export interface AuthorityConfig {
  readonly servers: readonly XdsServerConfig[];
  readonly clientListenerTemplate: string;
}
