/**
 * Filters that only Istio's own Envoy has, as every sidecar listener carries them: types that nobody else has a schema for. Their place in
 * messages that are otherwise written in JSON is here as well, since JSON cannot hold a type without a schema.
 */
import type { AnyMessage } from '../../core/extension.ts';
import { jsonToAny, pack, typeNameOf, unpack } from '../../proto/any.ts';
import type { Listener } from '../../proto/gen/envoy/config/listener/v3/listener_pb.js';
import type { HttpConnectionManager } from '../../proto/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js';
import type { JsonObject } from '../encode/json.ts';

interface Private {
  readonly name: string;
  readonly packed: AnyMessage;
}

const TYPE = 'type.googleapis.com/';
const NOTHING = new Uint8Array();

/** `istio.alpn`: which protocols to offer, by the protocol of the call. */
const ALPN: Private = {
  name: 'istio.alpn',
  packed: {
    typeUrl: `${TYPE}istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig`,
    value: Buffer.concat([
      alpnOverride(0, ['istio-http/1.0', 'istio', 'http/1.0']),
      alpnOverride(1, ['istio-http/1.1', 'istio', 'http/1.1']),
      alpnOverride(2, ['istio-h2', 'istio', 'h2']),
    ]),
  },
};
const PEER_METADATA: Private = {
  name: 'istio.metadata_exchange',
  packed: { typeUrl: `${TYPE}io.istio.http.peer_metadata.Config`, value: NOTHING },
};
const STATS: Private = { name: 'istio.stats', packed: { typeUrl: `${TYPE}stats.PluginConfig`, value: NOTHING } };
const NETWORK_METADATA: Private = {
  name: 'istio.metadata_exchange',
  packed: { typeUrl: `${TYPE}envoy.tcp.metadataexchange.config.MetadataExchange`, value: text(1, 'istio-peer-exchange') },
};

/** A connection manager in JSON, with Istio's filters at their places: metadata first, statistics before the router. */
export function managerWithPrivateFilters(json: JsonObject, direction: 'inbound' | 'outbound'): AnyMessage {
  const packed = jsonToAny(json);
  const { $typeName: _type, httpFilters, ...manager } = unpack<HttpConnectionManager>(packed);
  const router = httpFilters.slice(-1);
  const filters = [
    httpFilter(PEER_METADATA),
    ...(direction === 'outbound' ? [httpFilter(ALPN)] : []),
    ...httpFilters.slice(0, -1),
    httpFilter(STATS),
    ...router,
  ];
  return pack(typeNameOf(packed.typeUrl), { ...manager, httpFilters: filters });
}

/** A listener in JSON whose filter chains have no filters yet; `managers` are those of its chains, in their order, undefined for none. */
export function listenerWithManagers(json: JsonObject, managers: readonly (AnyMessage | undefined)[]): AnyMessage {
  const packed = jsonToAny(json);
  const { $typeName: _type, filterChains, ...listener } = unpack<Listener>(packed);
  const chains = filterChains.map(({ $typeName: _chain, ...chain }, index) => {
    const manager = managers[index];
    if (manager === undefined) return chain;
    const before = listener.trafficDirection === INBOUND ? [httpFilter(NETWORK_METADATA)] : [];
    const filter = { name: 'envoy.filters.network.http_connection_manager', configType: { case: 'typedConfig', value: manager } };
    return { ...chain, filters: [...before, filter] };
  });
  return pack(typeNameOf(packed.typeUrl), { ...listener, filterChains: chains });
}

/** envoy.config.core.v3.TrafficDirection. */
const INBOUND: number = 1;

function httpFilter({ name, packed }: Private) {
  return { name, configType: { case: 'typedConfig', value: { ...packed } } };
}

function alpnOverride(protocol: number, names: readonly string[]): Buffer {
  const body = Buffer.concat([Buffer.from([0x08, protocol]), ...names.map((name) => text(2, name))]);
  return Buffer.concat([Buffer.from([0x0a, body.length]), body]);
}

/** A short text in a field. */
function text(field: number, value: string): Buffer {
  return Buffer.concat([Buffer.from([(field << 3) | 2, Buffer.byteLength(value)]), Buffer.from(value)]);
}
