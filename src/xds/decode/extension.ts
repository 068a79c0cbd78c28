/**
 * HTTP filters over ECDS (Envoy X-92): the place in a listener (ExtensionConfigSource) and the resource (TypedExtensionConfig). The resource
 * is parsed here, so that a bad one is refused; whether its type fits the place is for whoever brings the two together.
 */
import type { ExtensionConfig } from '../../config/extension.ts';
import type { FilterDiscoveryConfig, HttpFilterConfig } from '../../config/listener.ts';
import { ConfigProblem } from '../../config/resource.ts';
import { typeNameOf } from '../../proto/any.ts';
import type { ExtensionConfigSource } from '../../proto/gen/envoy/config/core/v3/config_source_pb.js';
import type { TypedExtensionConfig } from '../../proto/gen/envoy/config/core/v3/extension_pb.js';
import type { HttpFilter } from '../../proto/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js';
import { unwrap } from './any.ts';
import { configSource } from './config-source.ts';
import { factoryFor, serves } from './filter-factories.ts';
import type { FilterSide } from './filter-factories.ts';
import type { Scope } from './scope.ts';

const PREFIX = 'type.googleapis.com/';

function defaultOf(
  message: ExtensionConfigSource,
  typeUrls: readonly string[],
  path: string,
  scope: Scope,
): FilterDiscoveryConfig['fallback'] {
  if (message.defaultConfig === undefined) return undefined;
  const at = `${path}.default_config`;
  const packed = unwrap(message.defaultConfig, at, scope);
  const factory = factoryFor(packed, scope);
  if (factory === undefined || !typeUrls.includes(packed.typeUrl))
    throw new ConfigProblem(at, `is of type ${typeNameOf(packed.typeUrl)}, which type_urls does not list`);
  return { typeUrl: packed.typeUrl, config: scope.parse(at, (context) => factory.parse(packed, context)) };
}

/** Undefined: left out, since none of the types is known and the filter is optional, or guards nothing of ours. */
export function discoveredFilter(
  filter: HttpFilter,
  message: ExtensionConfigSource,
  place: string,
  scope: Scope,
  { direction, lenient }: FilterSide,
): HttpFilterConfig | undefined {
  const path = `${place}.config_discovery`;
  if (message.typeUrls.length === 0) throw new ConfigProblem(`${path}.type_urls`, 'must not be empty');
  const typeUrls = message.typeUrls.map((url) => PREFIX + typeNameOf(url));
  const factories = typeUrls.map((typeUrl) => factoryFor({ typeUrl }, scope));
  const unknown = typeUrls.filter((_, i) => {
    const factory = factories[i];
    return factory === undefined || !serves(factory, direction);
  });
  if (unknown.length > 0) {
    const names = unknown.map(typeNameOf).join(', ');
    if (lenient || (filter.isOptional && unknown.length === typeUrls.length)) {
      scope.unsupported(`${place}=${names}`);
      return undefined;
    }
    // Optional, and some types are known: it stands, and what comes of the others is refused and never passed over.
    if (!filter.isOptional) throw new ConfigProblem(`${path}.type_urls`, `filter "${filter.name}": type ${names} is not supported here`);
    scope.unsupported(`${path}.type_urls=${names}`);
  }
  const known = typeUrls.filter((typeUrl) => !unknown.includes(typeUrl));
  const terminal = known.map((typeUrl) => factoryFor({ typeUrl }, scope)?.terminal ?? false);
  if (terminal.some((one) => one !== terminal[0]))
    throw new ConfigProblem(`${path}.type_urls`, 'terminal filters, such as the router, and others cannot stand in one place');
  if (message.configSource === undefined) throw new ConfigProblem(`${path}.config_source`, 'is missing');
  const source = configSource(message.configSource, `${path}.config_source`, scope);
  const fallback = defaultOf(message, known, path, scope);
  const withoutWarming = message.applyDefaultConfigWithoutWarming;
  if (withoutWarming && fallback === undefined)
    throw new ConfigProblem(`${path}.apply_default_config_without_warming`, 'needs a default_config');
  return {
    name: filter.name,
    typeUrl: '',
    disabled: filter.disabled,
    terminal: terminal[0] ?? false,
    config: undefined,
    discovery: { ...(source && { source }), typeUrls: known, fallback, withoutWarming },
  };
}

/** The message has been surveyed. Directions are the place's business. */
export function extensionConfig(message: TypedExtensionConfig, scope: Scope): ExtensionConfig {
  const path = 'typed_config';
  if (message.typedConfig === undefined) throw new ConfigProblem(path, 'is missing');
  const packed = unwrap(message.typedConfig, path, scope);
  const factory = factoryFor(packed, scope);
  if (factory === undefined) throw new ConfigProblem(path, `filter type ${typeNameOf(packed.typeUrl)} is not supported`);
  return {
    name: message.name,
    typeUrl: packed.typeUrl,
    terminal: factory.terminal ?? false,
    config: scope.parse(path, (context) => factory.parse(packed, context)),
  };
}
