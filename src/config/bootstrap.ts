/** The gRPC bootstrap file (grpc_xds_bootstrap_format, gRFCs A27 A47 A65 A71) as plain frozen types; read by `xds/bootstrap.ts`. */

export interface Bootstrap {
  /** In order of preference. */
  readonly servers: readonly XdsServerConfig[];
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
}

export type ChannelCredentialsConfig = { readonly type: 'insecure' } | ({ readonly type: 'tls' } & FileWatcherConfig);

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
