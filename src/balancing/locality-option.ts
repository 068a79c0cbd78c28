/** `locality_lb_config`, which several policy messages share (envoy.extensions.load_balancing_policies.common.v3). */
import type { ParseContext } from '../core/extension.ts';
import type { LocalityLbConfig } from '../proto/gen/envoy/extensions/load_balancing_policies/common/v3/common_pb.js';

/** Whether localities are chosen by weight (Envoy 3.3). Zone-aware routing is recorded as unsupported. */
export function localityWeightedOption(message: LocalityLbConfig | undefined, context: ParseContext): boolean {
  const choice = message?.localityConfigSpecifier.case;
  if (choice === 'zoneAwareLbConfig') context.unsupported('locality_lb_config.zone_aware_lb_config');
  return choice === 'localityWeightedLbConfig';
}
