/** Listener: API listeners of gRPC clients, and socket listeners of servers and of the sidecar view (gRPC §4.2, §4.3). */
import type { ListenerConfig } from '../../config/listener.ts';
import { ConfigProblem } from '../../config/resource.ts';
import { typeNameOf } from '../../proto/any.ts';
import type { Listener } from '../../proto/gen/envoy/config/listener/v3/listener_pb.js';
import type { ListenerFilter } from '../../proto/gen/envoy/config/listener/v3/listener_components_pb.js';
import { unwrap } from './any.ts';
import { checkDuplicateChains } from './chain-duplicates.ts';
import { filterChain } from './filter-chain.ts';
import type { ListenerSurroundings } from './filter-chain.ts';
import { HTTP_MANAGER, httpManager } from './http-manager.ts';
import type { Scope } from './scope.ts';
import { tcpAddress } from './socket-address.ts';
import { enumName } from './values.ts';

const LISTENER_FILTERS = 'envoy.extensions.filters.listener.';
/** They find out what Node knows anyway (TLS, HTTP version) or where a redirected connection was going. */
const HARMLESS_FILTERS: ReadonlySet<string> = new Set([
  'tls_inspector.v3.TlsInspector',
  'http_inspector.v3.HttpInspector',
  'original_dst.v3.OriginalDst',
]);
const HARMLESS_NAMES: ReadonlySet<string> = new Set([
  'envoy.filters.listener.tls_inspector',
  'envoy.filters.listener.http_inspector',
  'envoy.filters.listener.original_dst',
]);

function isHarmless(filter: ListenerFilter): boolean {
  if (filter.configType.case !== 'typedConfig') return HARMLESS_NAMES.has(filter.name);
  const typeName = typeNameOf(filter.configType.value.typeUrl);
  return typeName.startsWith(LISTENER_FILTERS) && HARMLESS_FILTERS.has(typeName.slice(LISTENER_FILTERS.length));
}

function listenerFilters(filters: readonly ListenerFilter[], scope: Scope, lenient: boolean): void {
  for (const [i, filter] of filters.entries()) {
    if (!lenient && !isHarmless(filter))
      throw new ConfigProblem(`listener_filters[${i}]`, `listener filter "${filter.name}" is not supported`);
    scope.unsupported(`listener_filters[${i}]=${filter.name}`);
  }
}

function address(message: Listener): { readonly host: string; readonly port: number } {
  const chosen = message.address?.address;
  const at = 'address.socket_address';
  if (chosen?.case !== 'socketAddress') throw new ConfigProblem('address', 'a listener needs an api_listener or a socket_address'); // rules 9, 11
  const { value } = chosen;
  const protocol: number = value.protocol;
  if (protocol !== 0) throw new ConfigProblem(`${at}.protocol`, 'only TCP listeners are supported');
  if (value.address === '') throw new ConfigProblem(`${at}.address`, 'must not be empty');
  if (value.portSpecifier.case !== 'portValue') throw new ConfigProblem(at, 'needs port_value');
  if (value.portSpecifier.value > 65_535) throw new ConfigProblem(`${at}.port_value`, `${value.portSpecifier.value} is not a port`);
  return { host: value.address, port: value.portSpecifier.value };
}

/** What kind of address it is that no TCP server of ours can have: UDP (HTTP/3), a pipe, an internal listener; undefined for the others. */
function foreignAddress(message: Listener): string | undefined {
  if (message.listenerSpecifier.case === 'internalListener') return 'internal_listener';
  const chosen = message.address?.address;
  if (chosen?.case === 'pipe') return 'address.pipe';
  if (chosen?.case === 'envoyInternalAddress') return 'address.envoy_internal_address';
  return chosen?.case === 'socketAddress' && (chosen.value.protocol as number) === 1 ? 'address.socket_address.protocol' : undefined;
}

function apiListener(message: Listener, scope: Scope): ListenerConfig | undefined {
  if (message.apiListener === undefined) return undefined;
  const path = 'api_listener.api_listener';
  if (message.apiListener.apiListener === undefined) throw new ConfigProblem(path, 'is missing');
  const packed = unwrap(message.apiListener.apiListener, path, scope);
  if (typeNameOf(packed.typeUrl) !== HTTP_MANAGER)
    throw new ConfigProblem(path, `${typeNameOf(packed.typeUrl)} is not an HttpConnectionManager`); // rule 4
  const api = httpManager(packed, path, scope, 'outbound', false);
  return { name: message.name, api, address: undefined, direction: 'unspecified', filterChains: [], defaultFilterChain: undefined };
}

/** The message has been surveyed. */
export function listener(message: Listener, scope: Scope): ListenerConfig {
  const api = apiListener(message, scope);
  if (api !== undefined) return api;
  const direction = enumName(['unspecified', 'inbound', 'outbound'], message.trafficDirection, 'traffic_direction');
  const elsewhere = foreignAddress(message);
  if (elsewhere !== undefined) {
    // Nobody binds or calls it here; a server that asked for it by name refuses connections, since it has no address and no chains.
    scope.unsupported(elsewhere);
    return { name: message.name, api: undefined, address: undefined, direction, filterChains: [], defaultFilterChain: undefined };
  }
  const bound = address(message);
  const lenient = direction === 'outbound';
  const around: ListenerSurroundings = { direction: direction === 'unspecified' ? 'any' : direction, lenient };
  listenerFilters(message.listenerFilters, scope, lenient);
  const filterChains = message.filterChains.map((chain, i) => filterChain(chain, `filter_chains[${i}]`, scope, around));
  checkDuplicateChains(filterChains);
  const fallback = message.defaultFilterChain && filterChain(message.defaultFilterChain, 'default_filter_chain', scope, around);
  if (filterChains.length === 0 && fallback === undefined) throw new ConfigProblem('filter_chains', 'the listener has no filter chain'); // rule 15
  const more = message.additionalAddresses.flatMap((each) => tcpAddress(each.address));
  return {
    name: message.name,
    api: undefined,
    address: bound,
    ...(more.length > 0 && { moreAddresses: more }),
    direction,
    filterChains,
    defaultFilterChain: fallback,
  };
}
