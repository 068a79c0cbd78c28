/**
 * envoy.config.core.v3.ConfigSource as plain frozen types: where a resource is fetched, when that is not the aggregated stream that named
 * it. Which server stands behind a cluster name is the bootstrap's business.
 */

/** `ads` and `self` have no such object: they mean the aggregated stream (gRPC rules 6 and 27; Envoy treats `self` alike for us). */
export type ConfigSourceConfig = ApiConfigSource | PathConfigSource;

interface Common {
  /** Equal for equal sources: part of a resource's identity. */
  readonly id: string;
  /**
   * Milliseconds to wait for the first answer, then whoever waits goes on without; default 15 000, 0: no end
   * (ConfigSource.initial_fetch_timeout, Envoy X-84).
   */
  readonly initialFetchTimeoutMs: number | undefined;
}

/** ConfigSource.api_config_source (envoy.config.core.v3.ApiConfigSource). */
export interface ApiConfigSource extends Common {
  readonly kind: 'api';
  readonly protocol: 'sotw' | 'delta' | 'rest';
  /** AGGREGATED_GRPC and AGGREGATED_DELTA_GRPC: one stream for all types; else one for each type. */
  readonly aggregated: boolean;
  /** In order of preference. */
  readonly services: readonly ApiServiceConfig[];
  /** REST: pause between polls, to which up to the same again is added (Envoy X-100). */
  readonly refreshDelayMs: number;
  /** REST; default 1000. */
  readonly requestTimeoutMs: number;
}

export type ApiServiceConfig =
  /** `envoy_grpc.cluster_name` or `cluster_names`: a static cluster of the bootstrap. */
  | { readonly kind: 'cluster'; readonly name: string; readonly metadata: readonly MetadataConfig[] }
  /** `google_grpc.target_uri`, in plaintext or with the system's trust anchors. */
  | { readonly kind: 'target'; readonly uri: string; readonly tls: boolean; readonly metadata: readonly MetadataConfig[] };

export interface MetadataConfig {
  readonly key: string;
  readonly value: string;
}

/** ConfigSource.path_config_source: a file that holds a DiscoveryResponse (Envoy ). */
export interface PathConfigSource extends Common {
  readonly kind: 'path';
  readonly path: string;
  readonly watchedDirectory: string | undefined;
}
