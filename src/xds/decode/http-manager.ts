/** HttpConnectionManager (gRPC rules 4 to 8). */
import type { HttpConnectionManager } from '../../proto/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.js';
import type { HttpManagerConfig } from '../../config/listener.ts';
import { ConfigProblem } from '../../config/resource.ts';
import type { AnyMessage } from '../../core/extension.ts';
import { timedSource } from './config-source.ts';
import { httpFilters } from './filters.ts';
import type { FilterDirection } from './filter-factories.ts';
import { routeConfiguration } from './routes.ts';
import type { Scope } from './scope.ts';
import { scopedRoutes } from './scoped-routes.ts';
import { survey } from './survey.ts';
import { milliseconds } from './values.ts';

export const HTTP_MANAGER = 'envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager';

function routesOf(
  manager: HttpConnectionManager,
  path: string,
  scope: Scope,
): Pick<HttpManagerConfig, 'routeConfig' | 'routeConfigName' | 'routesSource' | 'routesWaitMs' | 'scopedRoutes'> {
  const specifier = manager.routeSpecifier;
  if (specifier.case === 'routeConfig') {
    return { routeConfigName: undefined, routeConfig: routeConfiguration(specifier.value, `${path}.route_config`, scope) };
  }
  if (specifier.case === 'rds') {
    const { source, waitMs } = timedSource(specifier.value.configSource, `${path}.rds.config_source`, scope);
    if (specifier.value.routeConfigName === '') throw new ConfigProblem(`${path}.rds.route_config_name`, 'must not be empty');
    return {
      routeConfigName: specifier.value.routeConfigName,
      routeConfig: undefined,
      ...(source && { routesSource: source }),
      ...(waitMs !== undefined && { routesWaitMs: waitMs }),
    };
  }
  if (specifier.case === 'scopedRoutes') {
    const scopes = scopedRoutes(specifier.value, `${path}.scoped_routes`, scope);
    return { routeConfigName: undefined, routeConfig: undefined, scopedRoutes: scopes };
  }
  throw new ConfigProblem(path, 'neither rds, route_config nor scoped_routes is set');
}

/**
 * A peer's address that is taken from headers feeds access rules, so a manager that wants that is rejected (gRPC rule 5), except on
 * the outbound side of the sidecar view, where there is no peer.
 */
function checkPeerAddress(manager: HttpConnectionManager, path: string, direction: FilterDirection, scope: Scope): void {
  const fields = [
    ...(manager.xffNumTrustedHops === 0 ? [] : [`${path}.xff_num_trusted_hops`]),
    ...(manager.originalIpDetectionExtensions.length === 0 ? [] : [`${path}.original_ip_detection_extensions`]),
  ];
  for (const field of fields) {
    if (direction !== 'outbound') throw new ConfigProblem(field, 'the address of a peer is never taken from headers');
    scope.unsupported(field);
  }
}

export function httpManager(
  packed: AnyMessage,
  path: string,
  scope: Scope,
  direction: FilterDirection,
  sidecar: boolean,
  passed?: string,
): HttpManagerConfig {
  const manager = scope.unpack<HttpConnectionManager>(packed, path);
  survey(manager, path, scope);
  checkPeerAddress(manager, path, sidecar ? direction : 'any', scope);
  return {
    ...routesOf(manager, path, scope),
    filters: httpFilters(
      manager.httpFilters,
      `${path}.http_filters`,
      scope,
      { direction, lenient: sidecar && direction === 'outbound' },
      passed,
    ),
    maxStreamDurationMs: milliseconds(
      manager.commonHttpProtocolOptions?.maxStreamDuration,
      `${path}.common_http_protocol_options.max_stream_duration`,
    ),
    stripPort:
      manager.stripPortMode.case === 'stripAnyHostPort' && manager.stripPortMode.value
        ? 'any'
        : manager.stripMatchingHostPort
          ? 'matching'
          : 'none',
    statPrefix: manager.statPrefix,
  };
}
