/** A ClusterLoadAssignment from its bytes, at once or in steps; `endpoints-reader.ts` reads, this says where it stands. */
import type { EndpointsConfig } from '../../config/endpoints.ts';
import { ConfigProblem } from '../../config/resource.ts';
import { EndpointsReader } from './endpoints-reader.ts';
import { join } from './scope.ts';
import type { Scope } from './scope.ts';

/**
 * `fallbackName` names the cluster that an unnamed `load_assignment` belongs to; empty where a name is needed. Endpoints that are as in
 * `previous` keep their objects: of a hundred thousand, ten change.
 */
export function* endpointsInSteps(
  bytes: Uint8Array,
  path: string,
  scope: Scope,
  fallbackName: string,
  previous?: EndpointsConfig,
): Generator<undefined, EndpointsConfig> {
  try {
    return yield* new EndpointsReader(bytes, scope, path !== '', previous).read(fallbackName);
  } catch (error) {
    if (!(error instanceof ConfigProblem) || path === '') throw error;
    throw new ConfigProblem(join(path, error.field), error.reason);
  }
}

export function decodeEndpoints(bytes: Uint8Array, path: string, scope: Scope, fallbackName: string): EndpointsConfig {
  const steps = endpointsInSteps(bytes, path, scope, fallbackName);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}
