/** Cluster (gRPC §4.5 rules 27 to 36; Envoy §3, §4). */
import type { BreakerConfig, ClusterConfig, SocketMatchConfig } from '../../config/cluster.ts';
import type { EndpointsConfig } from '../../config/endpoints.ts';
import { ConfigProblem } from '../../config/resource.ts';
import { pack } from '../../proto/any.ts';
import type { JsonObject } from '../../proto/any.ts';
import type { Cluster } from '../../proto/gen/envoy/config/cluster/v3/cluster_pb.js';
import { decodeEndpoints } from './endpoints.ts';
import { timedSource } from './config-source.ts';
import { lbPolicy } from './lb-policy.ts';
import type { ChosenPolicy } from './lb-policy.ts';
import { outlierDetection, thresholds } from './outlier.ts';
import type { Scope } from './scope.ts';
import { upstreamTls } from './tls.ts';
import { upstreamProtocol } from './upstream-protocol.ts';
import { positiveMilliseconds } from './values.ts';

const DISCOVERY_TYPES = ['STATIC', 'STRICT_DNS', 'LOGICAL_DNS', 'EDS', 'ORIGINAL_DST'];
const DEFAULT_CONNECT_TIMEOUT_MS = 5000;
const DEFAULT_PANIC_THRESHOLD = 50;
const BREAKER_DEFAULTS: BreakerConfig = Object.freeze({
  errorThresholdPercentage: 50,
  volumeThreshold: 20,
  resetTimeoutMs: 10_000,
  windowMs: 10_000,
});

/** The cluster itself knows where to go; there is nothing to choose from. */
const CLUSTER_PROVIDED: ChosenPolicy = Object.freeze({ lb: { policy: 'round_robin', config: undefined }, localityWeighted: false });

function staticEndpoints(cluster: Cluster, scope: Scope): EndpointsConfig {
  const assignment = cluster.loadAssignment;
  if (assignment === undefined) return { clusterName: cluster.name, localities: [], dropOverloads: [], overprovisioningFactor: 140 };
  // The same reader as for EDS, so that both have the same rules.
  const { value } = pack('envoy.config.endpoint.v3.ClusterLoadAssignment', { ...assignment });
  return decodeEndpoints(value, 'load_assignment', scope, cluster.name);
}

function discovery(cluster: Cluster, scope: Scope): ClusterConfig['discovery'] {
  const chosen = cluster.clusterDiscoveryType;
  if (chosen.case === 'clusterType') {
    scope.unsupported(`cluster_type=${chosen.value.name}`);
    return { kind: 'unavailable', reason: `cluster type "${chosen.value.name}" is not supported` };
  }
  const type = DISCOVERY_TYPES[chosen.value ?? 0] ?? String(chosen.value);
  if (type === 'STATIC') return { kind: 'static', endpoints: staticEndpoints(cluster, scope) };
  if (type === 'ORIGINAL_DST') return { kind: 'original-dst' };
  if (chosen.value !== undefined && DISCOVERY_TYPES[chosen.value] === undefined)
    throw new ConfigProblem('type', `unknown value ${chosen.value}`);
  if (type !== 'EDS') {
    scope.unsupported(`type=${type}`);
    return { kind: 'unavailable', reason: `clusters of type ${type} are not supported (EDS, STATIC and ORIGINAL_DST are)` };
  }
  const config = cluster.edsClusterConfig;
  if (config === undefined) throw new ConfigProblem('eds_cluster_config', 'is missing in a cluster of type EDS');
  const from = timedSource(config.edsConfig, 'eds_cluster_config.eds_config', scope);
  if (config.serviceName === '' && cluster.name.startsWith('xdstp:'))
    throw new ConfigProblem('eds_cluster_config.service_name', 'is needed, since the name of the cluster is an xdstp: name');
  return { kind: 'eds', serviceName: config.serviceName === '' ? cluster.name : config.serviceName, ...from };
}

function setting(config: JsonObject, name: keyof BreakerConfig): number {
  const value = config[name] ?? BREAKER_DEFAULTS[name];
  if (typeof value !== 'number' || !(value > 0))
    throw new ConfigProblem(`metadata.filter_metadata["inmesh"].breaker.${name}`, 'must be a number above 0');
  return value;
}

/** `metadata.filter_metadata.inmesh.breaker`, with the keys of `BreakerConfig`: how an xDS server asks for the opossum breaker. */
function breaker(cluster: Cluster): BreakerConfig | undefined {
  const config = cluster.metadata?.filterMetadata['inmesh']?.['breaker'];
  if (config === undefined || config === null || config === false) return undefined;
  if (config === true) return BREAKER_DEFAULTS;
  if (typeof config !== 'object' || Array.isArray(config))
    throw new ConfigProblem('metadata.filter_metadata["inmesh"].breaker', 'must be an object, or true');
  return {
    errorThresholdPercentage: setting(config, 'errorThresholdPercentage'),
    volumeThreshold: setting(config, 'volumeThreshold'),
    resetTimeoutMs: setting(config, 'resetTimeoutMs'),
    windowMs: setting(config, 'windowMs'),
  };
}

function socketMatches(message: Cluster, scope: Scope): readonly SocketMatchConfig[] {
  return message.transportSocketMatches.map(({ name, match, transportSocket }, i) => {
    const at = `transport_socket_matches[${i}]`;
    if (transportSocket === undefined) throw new ConfigProblem(`${at}.transport_socket`, 'is missing');
    return { name, match: match ?? {}, tls: upstreamTls(transportSocket, `${at}.transport_socket`, scope) };
  });
}

function panicThreshold(cluster: Cluster): number {
  const value = cluster.commonLbConfig?.healthyPanicThreshold?.value ?? DEFAULT_PANIC_THRESHOLD;
  if (!(value >= 0 && value <= 100)) throw new ConfigProblem('common_lb_config.healthy_panic_threshold', `${value} is not a percentage`);
  return value;
}

/** The message has been surveyed. */
export function cluster(message: Cluster, scope: Scope): ClusterConfig {
  if (message.lrsServer !== undefined && message.lrsServer.configSourceSpecifier.case !== 'self')
    throw new ConfigProblem('lrs_server', 'must be self'); // rule 30
  const protocol = upstreamProtocol(message, scope);
  const found = discovery(message, scope);
  return {
    name: message.name,
    discovery: found,
    ...(found.kind === 'original-dst' || found.kind === 'unavailable' ? CLUSTER_PROVIDED : lbPolicy(message, scope)),
    thresholds: thresholds(message.circuitBreakers, 'circuit_breakers'),
    outlier: outlierDetection(message.outlierDetection, 'outlier_detection'),
    tls: upstreamTls(message.transportSocket, 'transport_socket', scope),
    ...(message.transportSocketMatches.length > 0 && { sockets: socketMatches(message, scope) }),
    ...protocol,
    connectTimeoutMs: positiveMilliseconds(message.connectTimeout, 'connect_timeout') ?? DEFAULT_CONNECT_TIMEOUT_MS,
    breaker: breaker(message),
    reportLoad: message.lrsServer !== undefined,
    ...(message.lrsReportEndpointMetrics.length > 0 && { loadMetrics: message.lrsReportEndpointMetrics }),
    panicThreshold: panicThreshold(message),
  };
}
