/** What a third party implements to add a filter or an LB policy: one object, registered by type URL. */
import type { Call } from './call.ts';
import type { Clock } from './clock.ts';
import type { LbPolicy } from './endpoint.ts';
import type { Layer } from './handler.ts';
import type { Logger } from './log.ts';
import type { Random } from './random.ts';

export interface Deps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** A `google.protobuf.Any` as it came. */
export interface AnyMessage {
  readonly typeUrl: string;
  readonly value: Uint8Array;
}

/** Help for `parse`: throw `ConfigProblem` (from `config/resource.ts`) to reject the resource. */
export interface ParseContext {
  /** Decodes a message whose schema inmesh knows (protobuf-es shape); throws `ConfigProblem` for others. */
  unpack<T>(any: AnyMessage): T;
  /** Records a field that was set and has no effect; shown by `mesh.describe()`. */
  unsupported(field: string): void;
  /** Where the configuration lies in its resource. */
  readonly path: string;
  /** The source that an `envoy.config.core.v3.ConfigSource` names: undefined is the aggregated stream. Throws `ConfigProblem`. */
  configSource(message: unknown, field: string): unknown;
}

export interface FilterFactory<C> {
  /** e.g. `type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC`; the per-route type's URL as well. */
  readonly typeUrls: readonly string[];
  readonly directions: readonly Call['direction'][];
  /** True only for the router. */
  readonly terminal?: boolean;
  parse(config: AnyMessage, context: ParseContext): C;
  /** Config of `typed_per_filter_config`. Absent: the filter takes no override. */
  parseOverride?(config: AnyMessage, context: ParseContext): C;
  /** With this config it decides by dynamic metadata, which other filters would have to write. Absent: it never does. */
  readsMetadata?(config: C): boolean;
  /** Undefined: with this config the filter does nothing. */
  layer(config: C, deps: Deps): Layer<Call> | undefined;
}

export interface LbPolicyFactory<C> {
  /** Type URL of the policy's message. */
  readonly typeUrl: string;
  readonly name: string;
  parse(config: AnyMessage, context: ParseContext): C;
  create(config: C, deps: Deps): LbPolicy;
}
