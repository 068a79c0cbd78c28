/** envoy.service.runtime.v3.Runtime as a plain frozen type: one layer of runtime values (Envoy X-94). */

export type RuntimeValue = number | boolean | string | { readonly numerator: number; readonly denominator: number };

export interface RuntimeConfig {
  readonly name: string;
  /** Keys with dots, nested structs flattened. */
  readonly values: Readonly<Record<string, RuntimeValue>>;
}
