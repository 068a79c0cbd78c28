/** Which filter factory takes a configuration, and which side of a call it is for. */
import type { AnyMessage, FilterFactory } from '../../core/extension.ts';
import type { Scope } from './scope.ts';

export type FilterDirection = 'inbound' | 'outbound' | 'any';

export interface FilterSide {
  readonly direction: FilterDirection;
  /**
   * What is not known is passed over and recorded, marked optional or not: outbound listeners of the sidecar view, which are full of filters
   * of others (Istio's, say) and guard nothing of ours. Elsewhere it rejects (gRFC A39).
   */
  readonly lenient: boolean;
}

export function factoryFor(packed: Pick<AnyMessage, 'typeUrl'>, scope: Scope): FilterFactory<unknown> | undefined {
  return scope.context.filters.find((factory) => factory.typeUrls.includes(packed.typeUrl));
}

export function serves(factory: FilterFactory<unknown>, direction: FilterDirection): boolean {
  return direction === 'any' || factory.directions.includes(direction);
}
