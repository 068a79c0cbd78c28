/**
 * Cluster.transport_socket_matches: TLS by endpoint, chosen by the endpoint's metadata `envoy.transport_socket_match`; the first match counts, and
 * the cluster's own transport socket where none does (envoy.config.cluster.v3.Cluster; Istio's auto-mTLS and Envoy Gateway live on it).
 */
import type { SocketMatchConfig } from '../config/cluster.ts';
import type { UpstreamTlsConfig } from '../config/tls.ts';
import type { ClientSecurity } from '../core/tls.ts';

const NAMESPACE = 'envoy.transport_socket_match';

/** `filter_metadata` of an endpoint, from the bytes of its envoy.config.core.v3.Metadata. */
export type MetadataReader = (bytes: Uint8Array) => Readonly<Record<string, Readonly<Record<string, unknown>>>>;

interface Match {
  readonly match: Readonly<Record<string, unknown>>;
  readonly security: ClientSecurity | undefined;
}

export class SocketMatches {
  readonly #matches: readonly Match[];
  readonly #read: MetadataReader;
  /** By the bytes of the metadata, which endpoints share. */
  readonly #known = new WeakMap<Uint8Array, { readonly security: ClientSecurity | undefined } | undefined>();

  constructor(configs: readonly SocketMatchConfig[], security: (config: UpstreamTlsConfig) => ClientSecurity, read: MetadataReader) {
    this.#matches = configs.map(({ match, tls }) => ({ match, security: tls === undefined ? undefined : security(tls) }));
    this.#read = read;
  }

  /** Undefined: no entry matches. */
  of(metadata: Uint8Array | undefined): { readonly security: ClientSecurity | undefined } | undefined {
    if (metadata === undefined) return this.#find({});
    if (!this.#known.has(metadata)) this.#known.set(metadata, this.#find(this.#read(metadata)[NAMESPACE] ?? {}));
    return this.#known.get(metadata);
  }

  #find(labels: Readonly<Record<string, unknown>>): Match | undefined {
    return this.#matches.find(({ match }) => Object.entries(match).every(([key, value]) => sameJson(labels[key], value)));
  }
}

/** Envoy compares values as protobuf does: by type and content. */
function sameJson(a: unknown, b: unknown): boolean {
  return a !== undefined && JSON.stringify(a) === JSON.stringify(b);
}
