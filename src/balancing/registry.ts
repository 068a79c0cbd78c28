/** REGISTRY of LB policies: a new policy is one file and one line here. */
import type { LbConfig } from '../config/cluster.ts';
import type { LbPolicy } from '../core/endpoint.ts';
import { MeshError } from '../core/errors.ts';
import type { Deps, LbPolicyFactory } from '../core/extension.ts';
import { leastRequest } from './least-request.ts';
import { random } from './random.ts';
import { roundRobin } from './round-robin.ts';

export const LB_POLICIES: readonly LbPolicyFactory<unknown>[] = [roundRobin, leastRequest, random];

/**
 * The policy that a cluster's configuration names, from `known` (default: the policies of this registry).
 * A `config.config` of undefined means the policy's defaults (what CDS `lb_policy` says by an enum).
 * Throws `ERR_MESH_UNSUPPORTED` for a name that nobody registered; the decoder rejects such clusters before.
 */
export function lbPolicy(config: LbConfig, deps: Deps, known: readonly LbPolicyFactory<unknown>[] = LB_POLICIES): LbPolicy {
  const factory = known.find(({ name }) => name === config.policy);
  if (factory === undefined) {
    const cure = `Use one of ${known.map(({ name }) => name).join(', ')}, or register the policy with createMesh({ lbPolicies })`;
    throw new MeshError('ERR_MESH_UNSUPPORTED', `LB policy "${config.policy}" is not known`, { cure });
  }
  return factory.create(config.config, deps);
}
