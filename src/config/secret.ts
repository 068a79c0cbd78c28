/** envoy.extensions.transport_sockets.tls.v3.Secret as a plain frozen type: what SDS brings (Envoy X-93). */
import type { CommonTlsConfig, IdentitySourceConfig, SanMatcherConfig, SecretReference, TlsSourceConfig } from './tls.ts';

export type SecretConfig =
  | { readonly kind: 'certificate'; readonly name: string; readonly identity: IdentitySourceConfig }
  | {
      readonly kind: 'validation';
      readonly name: string;
      /** Undefined: the secret has none, so the default validation context's count, or nothing can be verified. */
      readonly roots: TlsSourceConfig | undefined;
      readonly sanMatchers: readonly SanMatcherConfig[];
    }
  /** Valid, and of no use here: session ticket keys, generic secrets. */
  | { readonly kind: 'other'; readonly name: string; readonly what: string };

/** The secrets that a TLS configuration cannot do without. */
export function secretsOf(tls: CommonTlsConfig | undefined): readonly SecretReference[] {
  if (tls === undefined) return [];
  const found: SecretReference[] = [];
  if (tls.identity?.kind === 'sds') found.push(tls.identity);
  if (tls.roots?.kind === 'sds') found.push(tls.roots);
  return found;
}
