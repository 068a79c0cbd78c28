/** envoy.config.core.v3.TypedExtensionConfig as a plain frozen type: an HTTP filter's configuration that comes by ECDS (Envoy X-92). */

export interface ExtensionConfig {
  readonly name: string;
  readonly typeUrl: string;
  /** The bytes of the `Any`; parsed by the filter that asks for it, since only that knows direction and path. */
  readonly value: Uint8Array;
}
