/** Which LB policy a cluster has: the first known of `load_balancing_policy` (gRFC A52), else what `lb_policy` stands for. */
import type { LbConfig } from '../../config/cluster.ts';
import { ConfigProblem } from '../../config/resource.ts';
import type { AnyMessage } from '../../core/extension.ts';
import { pack, typeNameOf } from '../../proto/any.ts';
import type { Cluster, Cluster_SlowStartConfig, LoadBalancingPolicy } from '../../proto/gen/envoy/config/cluster/v3/cluster_pb.js';
import type { WrrLocality } from '../../proto/gen/envoy/extensions/load_balancing_policies/wrr_locality/v3/wrr_locality_pb.js';
import { unwrap } from './any.ts';
import type { Scope } from './scope.ts';

const POLICIES = 'envoy.extensions.load_balancing_policies';
const WRR_LOCALITY = `${POLICIES}.wrr_locality.v3.WrrLocality`;
const MAX_DEPTH = 16;
const LB_POLICY_NAMES = [
  'ROUND_ROBIN',
  'LEAST_REQUEST',
  'RING_HASH',
  'RANDOM',
  '4',
  'MAGLEV',
  'CLUSTER_PROVIDED',
  'LOAD_BALANCING_POLICY_CONFIG',
];

export interface ChosenPolicy {
  readonly lb: LbConfig;
  readonly localityWeighted: boolean;
}

function parsed(packed: AnyMessage, path: string, scope: Scope): LbConfig | undefined {
  const factory = scope.context.lbPolicies.find((candidate) => candidate.typeUrl === packed.typeUrl);
  return factory && { policy: factory.name, config: scope.parse(path, (context) => factory.parse(packed, context)) };
}

/** Policies of a typed message say for themselves whether localities are weighted, by `locality_lb_config` or a field of that name. */
function saysLocalityWeighted(packed: AnyMessage, path: string, scope: Scope): boolean {
  if (!typeNameOf(packed.typeUrl).startsWith(POLICIES)) return false;
  const message = scope.unpack<{
    readonly localityLbConfig?: { readonly localityConfigSpecifier: { readonly case?: string } };
    readonly localityWeightedLbConfig?: object;
  }>(packed, path);
  return (
    message.localityLbConfig?.localityConfigSpecifier.case === 'localityWeightedLbConfig' || message.localityWeightedLbConfig !== undefined
  );
}

function firstKnown(policy: LoadBalancingPolicy, path: string, scope: Scope, depth: number): ChosenPolicy {
  if (depth > MAX_DEPTH) throw new ConfigProblem(path, `policies are nested deeper than ${MAX_DEPTH}`);
  const passed: string[] = [];
  for (const [i, entry] of policy.policies.entries()) {
    const at = `${path}.policies[${i}].typed_extension_config.typed_config`;
    const given = entry.typedExtensionConfig?.typedConfig;
    if (given === undefined) throw new ConfigProblem(`${path}.policies[${i}]`, 'typed_config is missing');
    const packed = unwrap(given, at, scope);
    if (typeNameOf(packed.typeUrl) === WRR_LOCALITY) {
      const { endpointPickingPolicy } = scope.unpack<WrrLocality>(packed, at);
      if (endpointPickingPolicy === undefined) throw new ConfigProblem(`${at}.endpoint_picking_policy`, 'is missing');
      return { lb: firstKnown(endpointPickingPolicy, `${at}.endpoint_picking_policy`, scope, depth + 1).lb, localityWeighted: true };
    }
    const lb = parsed(packed, at, scope);
    if (lb !== undefined) return { lb, localityWeighted: saysLocalityWeighted(packed, at, scope) };
    passed.push(typeNameOf(packed.typeUrl));
  }
  throw new ConfigProblem(
    path,
    passed.length === 0 ? 'the list of policies is empty' : `none of these policies is supported: ${passed.join(', ')}`,
  );
}

function slowStart(config: Cluster_SlowStartConfig | undefined): Readonly<Record<string, unknown>> {
  if (config === undefined) return {};
  const { slowStartWindow, aggression, minWeightPercent } = config;
  return {
    slowStartConfig: {
      ...(slowStartWindow && { slowStartWindow }),
      ...(aggression && { aggression }),
      ...(minWeightPercent && { minWeightPercent }),
    },
  };
}

function consistentHashing(cluster: Cluster): Readonly<Record<string, unknown>> {
  const config = cluster.commonLbConfig?.consistentHashingLbConfig;
  if (config === undefined) return {};
  const { useHostnameForHashing, hashBalanceFactor } = config;
  return { consistentHashingLbConfig: { useHostnameForHashing, ...(hashBalanceFactor !== undefined && { hashBalanceFactor }) } };
}

/** The typed message that says the same as the enum and its configuration. */
function fromEnum(cluster: Cluster): AnyMessage | undefined {
  const config = cluster.lbConfig;
  switch (cluster.lbPolicy as number) {
    case 0:
      return pack(
        `${POLICIES}.round_robin.v3.RoundRobin`,
        slowStart(config.case === 'roundRobinLbConfig' ? config.value.slowStartConfig : undefined),
      );
    case 1: {
      const own = config.case === 'leastRequestLbConfig' ? config.value : undefined;
      return pack(`${POLICIES}.least_request.v3.LeastRequest`, {
        ...(own?.choiceCount !== undefined && { choiceCount: own.choiceCount }),
        ...(own?.activeRequestBias && { activeRequestBias: own.activeRequestBias }),
        ...slowStart(own?.slowStartConfig),
      });
    }
    case 2: {
      const own = config.case === 'ringHashLbConfig' ? config.value : undefined;
      return pack(`${POLICIES}.ring_hash.v3.RingHash`, {
        hashFunction: (own?.hashFunction ?? 0) + 1, // XX_HASH is 0 there and 1 here
        ...(own?.minimumRingSize !== undefined && { minimumRingSize: own.minimumRingSize }),
        ...(own?.maximumRingSize !== undefined && { maximumRingSize: own.maximumRingSize }),
        ...consistentHashing(cluster),
      });
    }
    case 3:
      return pack(`${POLICIES}.random.v3.Random`, {});
    case 5: {
      const tableSize = config.case === 'maglevLbConfig' ? config.value.tableSize : undefined;
      return pack(`${POLICIES}.maglev.v3.Maglev`, { ...(tableSize !== undefined && { tableSize }), ...consistentHashing(cluster) });
    }
    default:
      return undefined;
  }
}

/** `lb_policy` is not looked at where `load_balancing_policy` is set (gRFC A52). */
export function lbPolicy(cluster: Cluster, scope: Scope): ChosenPolicy {
  const localityWeighted = cluster.commonLbConfig?.localityConfigSpecifier.case === 'localityWeightedLbConfig';
  if (cluster.loadBalancingPolicy !== undefined) {
    const chosen = firstKnown(cluster.loadBalancingPolicy, 'load_balancing_policy', scope, 1);
    return { lb: chosen.lb, localityWeighted: chosen.localityWeighted || localityWeighted };
  }
  const name = LB_POLICY_NAMES[cluster.lbPolicy] ?? String(cluster.lbPolicy);
  const packed = fromEnum(cluster);
  const lb = packed && parsed(packed, 'lb_policy', scope);
  if (lb === undefined) throw new ConfigProblem('lb_policy', `LB policy ${name} is not supported`);
  return { lb, localityWeighted };
}
