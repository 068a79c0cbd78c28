/** The contract between the protocol (`client.ts`, `sotw.ts`) and the decoders (`decode/`): one object per xDS resource type. */
import type { FilterFactory, LbPolicyFactory } from '../core/extension.ts';
import type { ResourceError, ResourceKind, ResourceTypes } from '../config/resource.ts';

export interface DecodeContext {
  readonly filters: readonly FilterFactory<unknown>[];
  readonly lbPolicies: readonly LbPolicyFactory<unknown>[];
  /** Names of the bootstrap's `certificate_providers`; a resource naming another is rejected. */
  readonly certificateProviders: ReadonlySet<string>;
  /** Records a field that was set and has no effect. */
  unsupported(kind: ResourceKind, field: string, resource: string): void;
}

export type Decoded<R> =
  | { readonly ok: true; readonly name: string; readonly value: R }
  /** `name` is empty when not even that could be read. */
  | { readonly ok: false; readonly name: string; readonly errors: readonly ResourceError[] };

export interface ResourceType<K extends ResourceKind = ResourceKind> {
  readonly kind: K;
  readonly typeUrl: string;
  /** LDS and CDS: a response is the complete list, absence is deletion (gRFC A27, Envoy X-16). */
  readonly fullState: boolean;
  /** VHDS: the name that is asked for stands in the wrapper only; the resource's own is another (Envoy X-90). */
  readonly namedByWrapper?: boolean;
  /** `bytes` is the value of the `Any`. Never throws. */
  decode(bytes: Uint8Array, context: DecodeContext): Decoded<ResourceTypes[K]>;
  /**
   * The same for resources that can be large: yields about every millisecond of work, so that decoding can be spread over several
   * tasks of the event loop. Absent: `decode` is used. `previous` is the last good value: unchanged parts may keep their objects.
   */
  decodeInSteps?(
    bytes: Uint8Array,
    context: DecodeContext,
    previous: ResourceTypes[K] | undefined,
  ): Generator<undefined, Decoded<ResourceTypes[K]>>;
}
