/** Scoped routes: the key builder of a connection manager, its inline list, and ScopedRouteConfiguration (Envoy X-91). */
import type { ScopeFragmentConfig, ScopedRoutesConfig, ScopedRoutesRefConfig } from '../../config/scoped-routes.ts';
import { ConfigProblem } from '../../config/resource.ts';
import type { ScopedRouteConfiguration } from '../../proto/gen/envoy/config/route/v3/scoped_route_pb.js';
import type {
  ScopedRoutes,
  ScopedRoutes_ScopeKeyBuilder_FragmentBuilder,
} from '../../proto/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js';
import { configSource } from './config-source.ts';
import { routeConfiguration } from './routes.ts';
import { join } from './scope.ts';
import type { Scope } from './scope.ts';

function fragment(builder: ScopedRoutes_ScopeKeyBuilder_FragmentBuilder, path: string): ScopeFragmentConfig {
  const at = `${path}.header_value_extractor`;
  if (builder.type.case !== 'headerValueExtractor') throw new ConfigProblem(path, 'header_value_extractor is missing');
  const { name, elementSeparator: separator, extractType } = builder.type.value;
  if (name === '') throw new ConfigProblem(`${at}.name`, 'must not be empty');
  const header = name.toLowerCase();
  if (extractType.case === 'index') {
    if (extractType.value > 0 && separator === '') throw new ConfigProblem(`${at}.index`, 'above 0 needs an element_separator');
    return { header, separator, take: { kind: 'index', index: extractType.value } };
  }
  if (extractType.case !== 'element') throw new ConfigProblem(at, 'neither index nor element is set');
  const { key, separator: between } = extractType.value;
  if (key === '') throw new ConfigProblem(`${at}.element.key`, 'must not be empty');
  if (between === '') throw new ConfigProblem(`${at}.element.separator`, 'must not be empty');
  return { header, separator, take: { kind: 'key', separator: between, key } };
}

/** Of a resource (`path` is empty), or of the list in a connection manager. */
export function scopedRouteConfiguration(message: ScopedRouteConfiguration, path: string, scope: Scope): ScopedRoutesConfig {
  if (message.name === '') throw new ConfigProblem(join(path, 'name'), 'must not be empty');
  const at = join(path, 'key');
  const key = (message.key?.fragments ?? []).map(({ type }, i) => {
    if (type.case !== 'stringKey') throw new ConfigProblem(`${at}.fragments[${i}]`, 'string_key is missing');
    return type.value;
  });
  if (key.length === 0) throw new ConfigProblem(`${at}.fragments`, 'a scope needs a key');
  const { routeConfiguration: own, routeConfigurationName: named } = message;
  if (own === undefined && named === '') throw new ConfigProblem(path, 'neither route_configuration nor route_configuration_name is set');
  if (own !== undefined && named !== '')
    throw new ConfigProblem(path, 'only one of route_configuration and route_configuration_name may be set');
  return {
    name: message.name,
    routeConfigName: own === undefined ? named : undefined,
    routeConfig: own && routeConfiguration(own, join(path, 'route_configuration'), scope),
    key,
    onDemand: message.onDemand,
  };
}

/** Two scopes for one key: nobody could say which routes a request gets (Envoy rejects them as well). */
function checkKeys(scopes: readonly ScopedRoutesConfig[], path: string): void {
  const seen = new Map<string, string>();
  for (const [i, { name, key }] of scopes.entries()) {
    const id = JSON.stringify(key);
    const other = seen.get(id);
    if (other !== undefined) throw new ConfigProblem(`${path}[${i}].key`, `scope "${other}" has the same key`);
    seen.set(id, name);
  }
}

function listOf(message: ScopedRoutes, path: string, scope: Scope): ScopedRoutesRefConfig['scopes'] {
  const specifier = message.configSpecifier;
  if (specifier.case === 'scopedRouteConfigurationsList') {
    const at = `${path}.scoped_route_configurations_list.scoped_route_configurations`;
    const list = specifier.value.scopedRouteConfigurations.map((entry, i) => scopedRouteConfiguration(entry, `${at}[${i}]`, scope));
    checkKeys(list, at);
    return { kind: 'inline', list };
  }
  if (specifier.case !== 'scopedRds') throw new ConfigProblem(path, 'neither scoped_rds nor scoped_route_configurations_list is set');
  const { scopedRdsConfigSource, srdsResourcesLocator } = specifier.value;
  const source = configSource(scopedRdsConfigSource, `${path}.scoped_rds.scoped_rds_config_source`, scope);
  return { kind: 'discovered', source, resourcesLocator: srdsResourcesLocator };
}

export function scopedRoutes(message: ScopedRoutes, path: string, scope: Scope): ScopedRoutesRefConfig {
  const builders = message.scopeKeyBuilder?.fragments ?? [];
  if (builders.length === 0) throw new ConfigProblem(`${path}.scope_key_builder.fragments`, 'must not be empty');
  const builder = builders.map((entry, i) => fragment(entry, `${path}.scope_key_builder.fragments[${i}]`));
  const scopes = listOf(message, path, scope);
  const named = scopes.kind === 'discovered' || scopes.list.some(({ routeConfigName }) => routeConfigName !== undefined);
  const routesSource =
    message.rdsConfigSource === undefined && !named ? undefined : configSource(message.rdsConfigSource, `${path}.rds_config_source`, scope);
  return { name: message.name, builder, routesSource, scopes };
}
