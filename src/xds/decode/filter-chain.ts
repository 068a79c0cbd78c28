/** Filter chains of socket listeners (gRPC rules 12 to 16; Envoy T-9). */
import type { FilterChainConfig, FilterChainMatchConfig, HttpManagerConfig } from '../../config/listener.ts';
import type { CidrConfig } from '../../config/matchers.ts';
import { ConfigProblem } from '../../config/resource.ts';
import { typeNameOf } from '../../proto/any.ts';
import type { CidrRange } from '../../proto/gen/envoy/config/core/v3/address_pb.js';
import type { Filter, FilterChain, FilterChainMatch } from '../../proto/gen/envoy/config/listener/v3/listener_components_pb.js';
import { unwrap } from './any.ts';
import type { FilterDirection } from './filter-factories.ts';
import { HTTP_MANAGER, httpManager } from './http-manager.ts';
import type { Scope } from './scope.ts';
import { downstreamTls } from './tls.ts';
import { cidr, enumName } from './values.ts';

const SOURCE_TYPES = ['any', 'same-ip-or-loopback', 'external'] as const;
/** Writes down who the peer is, as metadata: rules that read it reject. */
const AUTHN = 'io.istio.network.authn.Config';
/** Network filters that only count or tag; nothing is let in or kept out by them. */
const OBSERVING_FILTERS: ReadonlySet<string> = new Set([
  'envoy.tcp.metadataexchange.config.MetadataExchange',
  'io.istio.network.metadata_exchange.Config',
  AUTHN,
]);

export interface ListenerSurroundings {
  readonly direction: FilterDirection;
  /** Whether a filter that we cannot run may be passed over: it guards nothing of ours on outbound listeners. */
  readonly lenient: boolean;
}

function ranges(list: readonly CidrRange[], path: string): CidrConfig[] {
  return list.map((range, i) => cidr(range, `${path}[${i}]`));
}

function chainMatch(match: FilterChainMatch | undefined, path: string): FilterChainMatchConfig {
  const port = match?.destinationPort;
  if (port !== undefined && (port < 1 || port > 65_535)) throw new ConfigProblem(`${path}.destination_port`, `${port} is not a port`);
  for (const [i, value] of (match?.sourcePorts ?? []).entries()) {
    if (value < 1 || value > 65_535) throw new ConfigProblem(`${path}.source_ports[${i}]`, `${value} is not a port`);
  }
  return {
    destinationPort: port,
    prefixRanges: ranges(match?.prefixRanges ?? [], `${path}.prefix_ranges`),
    serverNames: (match?.serverNames ?? []).map((name) => name.toLowerCase()),
    transportProtocol: match?.transportProtocol ?? '',
    applicationProtocols: match?.applicationProtocols ?? [],
    directSourcePrefixRanges: ranges(match?.directSourcePrefixRanges ?? [], `${path}.direct_source_prefix_ranges`),
    sourceType: enumName(SOURCE_TYPES, match?.sourceType ?? 0, `${path}.source_type`),
    sourcePrefixRanges: ranges(match?.sourcePrefixRanges ?? [], `${path}.source_prefix_ranges`),
    sourcePorts: match?.sourcePorts ?? [],
  };
}

function typedFilter(filter: Filter, path: string, scope: Scope): ReturnType<typeof unwrap> {
  if (filter.configType.case !== 'typedConfig') throw new ConfigProblem(path, `network filter "${filter.name}" has no typed_config`);
  return unwrap(filter.configType.value, `${path}.typed_config`, scope);
}

/** Undefined for a chain that is not HTTP. */
function chainManager(filters: readonly Filter[], path: string, scope: Scope, around: ListenerSurroundings): HttpManagerConfig | undefined {
  const names = new Set<string>();
  const types = filters.map((filter, i) => {
    if (filter.name === '') throw new ConfigProblem(`${path}[${i}].name`, 'a filter needs a name');
    if (names.has(filter.name)) throw new ConfigProblem(`${path}[${i}].name`, `filter name "${filter.name}" is used twice`);
    names.add(filter.name);
    return typedFilter(filter, `${path}[${i}]`, scope);
  });
  const at = types.findIndex((packed) => typeNameOf(packed.typeUrl) === HTTP_MANAGER);
  for (const [i, packed] of types.entries()) {
    const typeName = typeNameOf(packed.typeUrl);
    if (i === at) continue;
    if (at >= 0 && typeName === HTTP_MANAGER) throw new ConfigProblem(`${path}[${i}]`, 'a second HTTP connection manager');
    if (at >= 0 && i > at) throw new ConfigProblem(`${path}[${i}]`, `network filter ${typeName} after the HTTP connection manager`);
    if (at >= 0 && !around.lenient && !OBSERVING_FILTERS.has(typeName)) {
      throw new ConfigProblem(
        `${path}[${i}]`,
        `network filter ${typeName} before the HTTP connection manager is not supported, and could be there to keep callers out`,
      );
    }
    scope.unsupported(`${path}[${i}]=${typeName}`);
  }
  const packed = types[at];
  const authn = types.some(({ typeUrl }) => typeNameOf(typeUrl) === AUTHN) ? AUTHN : undefined;
  return packed && httpManager(packed, `${path}[${at}].typed_config`, scope, around.direction, true, authn);
}

export function filterChain(chain: FilterChain, path: string, scope: Scope, around: ListenerSurroundings): FilterChainConfig {
  if (chain.filters.length === 0) throw new ConfigProblem(`${path}.filters`, 'a filter chain needs filters');
  return {
    name: chain.name,
    match: chainMatch(chain.filterChainMatch, `${path}.filter_chain_match`),
    tls: downstreamTls(chain.transportSocket, `${path}.transport_socket`, scope),
    http: chainManager(chain.filters, `${path}.filters`, scope, around),
  };
}
