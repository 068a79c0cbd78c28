/** The HTTP filters of a connection manager, and their overrides on routes (gRFC A39, gRPC rules 7 and 25; Envoy R-110). */
import type { Any } from '@bufbuild/protobuf/wkt';
import type { HttpFilter } from '../../proto/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js';
import type { FilterConfig } from '../../proto/gen/envoy/config/route/v3/route_components_pb.js';
import type { HttpFilterConfig } from '../../config/listener.ts';
import { ConfigProblem } from '../../config/resource.ts';
import type { FilterOverride, FilterOverrides } from '../../config/routes.ts';
import { typeNameOf } from '../../proto/any.ts';
import { unwrap } from './any.ts';
import { discoveredFilter } from './extension.ts';
import { factoryFor, serves } from './filter-factories.ts';
import type { FilterSide } from './filter-factories.ts';
import { checkMetadataRules, metadataWriter } from './metadata-rules.ts';
import { join } from './scope.ts';
import type { Scope } from './scope.ts';

const FILTER_CONFIG = 'envoy.config.route.v3.FilterConfig';
const NO_OVERRIDES: FilterOverrides = Object.freeze({});

/** Undefined: skipped, since it is optional and unknown. */
function httpFilter(filter: HttpFilter, path: string, scope: Scope, side: FilterSide): HttpFilterConfig | undefined {
  if (filter.configType.case === 'configDiscovery') return discoveredFilter(filter, filter.configType.value, path, scope, side);
  const { direction, lenient } = side;
  const optional = filter.isOptional || lenient;
  if (filter.configType.case !== 'typedConfig') {
    if (optional) {
      scope.unsupported(`${path}=${filter.name}`);
      return undefined;
    }
    throw new ConfigProblem(path, `filter "${filter.name}": typed_config is missing`);
  }
  const at = `${path}.typed_config`;
  const packed = unwrap(filter.configType.value, at, scope);
  const factory = factoryFor(packed, scope);
  if (factory === undefined || !serves(factory, direction)) {
    if (optional) {
      scope.unsupported(`${path}=${typeNameOf(packed.typeUrl)}`);
      return undefined;
    }
    const reason = factory === undefined ? 'is not supported' : `does not work on ${direction} calls`;
    throw new ConfigProblem(at, `filter "${filter.name}" of type ${typeNameOf(packed.typeUrl)} ${reason}`);
  }
  return {
    name: filter.name,
    typeUrl: packed.typeUrl,
    disabled: filter.disabled,
    terminal: factory.terminal ?? false,
    config: scope.parse(at, (context) => factory.parse(packed, context)),
  };
}

/** `passed`: a network filter before them that has no effect and could write metadata. */
export function httpFilters(
  filters: readonly HttpFilter[],
  path: string,
  scope: Scope,
  side: FilterSide,
  passed?: string,
): HttpFilterConfig[] {
  const names = new Set<string>();
  const found: HttpFilterConfig[] = [];
  let skipped = passed;
  for (const [i, filter] of filters.entries()) {
    const at = `${path}[${i}]`;
    if (filter.name === '') throw new ConfigProblem(`${at}.name`, 'a filter needs a name');
    if (names.has(filter.name)) throw new ConfigProblem(`${at}.name`, `filter name "${filter.name}" is used twice`);
    names.add(filter.name);
    const config = httpFilter(filter, at, scope, side);
    if (config !== undefined) found.push(config);
    else skipped ??= filter.name;
  }
  const last = found.at(-1);
  if (last === undefined) throw new ConfigProblem(path, 'the list of HTTP filters is empty');
  if (!last.terminal) throw new ConfigProblem(path, `the last filter, "${last.name}", is not terminal: the router is missing`);
  const early = found.find((filter) => filter.terminal && filter !== last);
  if (early !== undefined) throw new ConfigProblem(path, `terminal filter "${early.name}" is not the last one`);
  const writer = side.lenient ? undefined : metadataWriter(found, skipped);
  if (writer === undefined) return found;
  checkMetadataRules(found, writer, path);
  return found.map((filter) => (filter.terminal ? filter : { ...filter, metadataWriter: writer }));
}

/** Undefined: skipped. */
function filterOverride(given: Any, path: string, scope: Scope): FilterOverride | undefined {
  let packed = unwrap(given, path, scope);
  let disabled = false;
  let optional = false;
  if (typeNameOf(packed.typeUrl) === FILTER_CONFIG) {
    const wrapper = scope.unpack<FilterConfig>(packed, path);
    ({ disabled, isOptional: optional } = wrapper);
    if (wrapper.config === undefined) {
      if (disabled || optional) return disabled ? { disabled, config: undefined } : undefined;
      throw new ConfigProblem(`${path}.config`, 'FilterConfig without config');
    }
    packed = unwrap(wrapper.config, `${path}.config`, scope);
  }
  const factory = factoryFor(packed, scope);
  if (factory?.parseOverride === undefined) {
    // An override of a filter that is not known has nothing to override: where the filter itself counts, its listener is rejected.
    if (factory !== undefined && !optional)
      throw new ConfigProblem(path, `filter type ${typeNameOf(packed.typeUrl)} takes no configuration per route`);
    scope.unsupported(`${path}=${typeNameOf(packed.typeUrl)}`);
    return disabled ? { disabled, config: undefined } : undefined;
  }
  return { disabled, typeUrl: packed.typeUrl, config: scope.parse(path, (context) => factory.parseOverride?.(packed, context)) };
}

/** `typed_per_filter_config` of one level. */
export function filterOverrides(map: Readonly<Record<string, Any>>, path: string, scope: Scope): FilterOverrides {
  const entries = Object.entries(map);
  if (entries.length === 0) return NO_OVERRIDES;
  const found: Record<string, FilterOverride> = {};
  for (const [name, packed] of entries) {
    const override = filterOverride(packed, `${join(path, 'typed_per_filter_config')}["${name}"]`, scope);
    if (override !== undefined) Object.defineProperty(found, name, { value: override, enumerable: true });
  }
  return found;
}
