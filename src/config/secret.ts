/** envoy.extensions.transport_sockets.tls.v3.Secret as a plain frozen type. Comes over SDS with issue 4. */

export interface SecretConfig {
  readonly name: string;
  readonly certificate: { readonly certificateChain: string; readonly privateKey: string } | undefined;
  readonly trustedCa: string | undefined;
}
