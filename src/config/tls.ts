/** UpstreamTlsContext and DownstreamTlsContext (envoy.extensions.transport_sockets.tls.v3) as plain frozen types. */
import type { ConfigSourceConfig } from './config-source.ts';
import type { StringMatcherConfig } from './matchers.ts';

/** A Secret over SDS; `waitMs` is that of its `ResourceKey`. */
export interface SecretReference {
  readonly name: string;
  readonly source?: ConfigSourceConfig;
  readonly waitMs?: number;
}

/** Where certificates or trust anchors come from. */
export type TlsSourceConfig =
  /** A `certificate_providers` instance of the bootstrap (gRFC A29). */
  | { readonly kind: 'provider'; readonly instance: string; readonly certificateName: string }
  /** PEM in the resource itself. */
  | { readonly kind: 'inline'; readonly pem: string }
  /** Files, watched for moves in `watchedDirectory` or their own directories. */
  | { readonly kind: 'file'; readonly path: string; readonly watchedDirectory: string | undefined }
  /**
   * A Secret by name, over SDS; without `source` over the aggregated stream. `fallback` counts where the secret has no trust anchors (the
   * default context of a combined validation context, Envoy T-1).
   */
  | (SecretReference & { readonly kind: 'sds'; readonly fallback?: TlsSourceConfig })
  /** Trust anchors by SPIFFE trust domain, each for identities of its own domain only (Envoy T-6). */
  | { readonly kind: 'spiffe'; readonly domains: readonly { readonly name: string; readonly bundle: TlsSourceConfig }[] }
  | { readonly kind: 'system' };

export type IdentitySourceConfig =
  | (SecretReference & { readonly kind: 'sds' })
  | { readonly kind: 'provider'; readonly instance: string; readonly certificateName: string }
  | { readonly kind: 'pair'; readonly certificateChain: TlsSourceConfig; readonly privateKey: TlsSourceConfig };

export interface SanMatcherConfig {
  /** `any` for the deprecated `match_subject_alt_names`, which looks at every type. */
  readonly type: 'any' | 'dns' | 'uri' | 'email' | 'ip';
  readonly matcher: StringMatcherConfig;
}

export interface CommonTlsConfig {
  /** Own certificate and key; undefined: none is presented. */
  readonly identity: IdentitySourceConfig | undefined;
  /** Trust anchors; undefined: the peer's chain is not verified (Envoy T-2, T-5). */
  readonly roots: TlsSourceConfig | undefined;
  /** Any of them must accept one of the peer's SANs; empty: any identity of the roots. */
  readonly sanMatchers: readonly SanMatcherConfig[];
  readonly alpn: readonly string[];
  readonly minVersion: 'TLSv1.2' | 'TLSv1.3' | undefined;
  readonly maxVersion: 'TLSv1.2' | 'TLSv1.3' | undefined;
}

export interface UpstreamTlsConfig extends CommonTlsConfig {
  /** Empty: no SNI is sent. */
  readonly sni: string;
  readonly autoHostSni: boolean;
  readonly autoSniSanValidation: boolean;
}

export interface DownstreamTlsConfig extends CommonTlsConfig {
  readonly requireClientCertificate: boolean;
}
