/** The edge of all decoders: bytes in, a frozen value or errors out, never a throw (gRPC rule 1). */
import type { ClusterConfig } from '../../config/cluster.ts';
import type { EndpointsConfig } from '../../config/endpoints.ts';
import type { ListenerConfig } from '../../config/listener.ts';
import { ConfigProblem, TYPE_URLS } from '../../config/resource.ts';
import type { ResourceKind } from '../../config/resource.ts';
import type { RouteConfiguration, VirtualHostConfig } from '../../config/routes.ts';
import type { ScopedRoutesConfig } from '../../config/scoped-routes.ts';
import type { SecretConfig } from '../../config/secret.ts';
import type { Message } from '../../proto/any.ts';
import type { Cluster } from '../../proto/gen/envoy/config/cluster/v3/cluster_pb.js';
import type { Listener } from '../../proto/gen/envoy/config/listener/v3/listener_pb.js';
import type { RouteConfiguration as RouteConfigurationMessage } from '../../proto/gen/envoy/config/route/v3/route_pb.js';
import type { VirtualHost } from '../../proto/gen/envoy/config/route/v3/route_components_pb.js';
import type { ScopedRouteConfiguration } from '../../proto/gen/envoy/config/route/v3/scoped_route_pb.js';
import type { Secret } from '../../proto/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.js';
import type { DecodeContext, Decoded } from '../resource-type.ts';
import { cluster } from './cluster.ts';
import { decodeEndpoints, endpointsInSteps } from './endpoints.ts';
import { freeze } from './freeze.ts';
import { listener } from './listener.ts';
import { discoveredVirtualHost, routeConfiguration } from './routes.ts';
import { Scope } from './scope.ts';
import { scopedRouteConfiguration } from './scoped-routes.ts';
import { secret } from './secret.ts';
import { survey } from './survey.ts';

/** Configuration, its virtual hosts, each of them, its routes, each of them. */
const ROUTE_DEPTH = 5;

function bounded<R>(kind: ResourceKind, context: DecodeContext, decode: (scope: Scope) => R): Decoded<R> {
  const scope = new Scope(kind, context);
  try {
    const value = decode(scope);
    return { ok: true, name: scope.name, value };
  } catch (error) {
    return refused(kind, scope, error);
  }
}

function refused(kind: ResourceKind, { name }: Scope, error: unknown): Extract<Decoded<never>, { ok: false }> {
  if (error instanceof ConfigProblem) return { ok: false, name, errors: [{ kind, name, field: error.field, reason: error.reason }] };
  // A filter of somebody else, or a mistake of ours: the resource is rejected, the others of the response are not lost.
  const reason = `the decoder failed: ${error instanceof Error ? error.message : String(error)}`;
  return { ok: false, name, errors: [{ kind, name, field: '', reason }] };
}

function surveyed<M extends Message & { readonly name: string }>(kind: ResourceKind, bytes: Uint8Array, scope: Scope): M {
  const message = scope.unpack<M>({ typeUrl: TYPE_URLS[kind], value: bytes }, '');
  scope.name = message.name;
  if (message.name === '') throw new ConfigProblem('name', 'must not be empty');
  survey(message, '', scope);
  return message;
}

export function decodeListener(bytes: Uint8Array, context: DecodeContext): Decoded<ListenerConfig> {
  return bounded('listener', context, (scope) => freeze(listener(surveyed<Listener>('listener', bytes, scope), scope)));
}

export function decodeRoutes(bytes: Uint8Array, context: DecodeContext): Decoded<RouteConfiguration> {
  return bounded('routes', context, (scope) =>
    freeze(routeConfiguration(surveyed<RouteConfigurationMessage>('routes', bytes, scope), '', scope), ROUTE_DEPTH),
  );
}

export function decodeCluster(bytes: Uint8Array, context: DecodeContext): Decoded<ClusterConfig> {
  return bounded('cluster', context, (scope) => freeze(cluster(surveyed<Cluster>('cluster', bytes, scope), scope)));
}

export function decodeScopedRoutes(bytes: Uint8Array, context: DecodeContext): Decoded<ScopedRoutesConfig> {
  return bounded('scoped-routes', context, (scope) =>
    freeze(scopedRouteConfiguration(surveyed<ScopedRouteConfiguration>('scoped-routes', bytes, scope), '', scope), ROUTE_DEPTH + 1),
  );
}

export function decodeSecret(bytes: Uint8Array, context: DecodeContext): Decoded<SecretConfig> {
  return bounded('secret', context, (scope) => freeze(secret(surveyed<Secret>('secret', bytes, scope), scope)));
}

export function decodeVirtualHost(bytes: Uint8Array, context: DecodeContext): Decoded<VirtualHostConfig> {
  return bounded('virtual-host', context, (scope) =>
    freeze(discoveredVirtualHost(surveyed<VirtualHost>('virtual-host', bytes, scope), scope), ROUTE_DEPTH - 1),
  );
}

/** Not frozen: there are many, and they are handed to pickers as they are. */
export function decodeEndpointsResource(bytes: Uint8Array, context: DecodeContext): Decoded<EndpointsConfig> {
  return bounded('endpoints', context, (scope) => decodeEndpoints(bytes, '', scope, ''));
}

/** The same in steps; see `ResourceType.decodeInSteps`. */
export function* decodeEndpointsInSteps(
  bytes: Uint8Array,
  context: DecodeContext,
  previous: EndpointsConfig | undefined,
): Generator<undefined, Decoded<EndpointsConfig>> {
  const scope = new Scope('endpoints', context);
  try {
    const value = yield* endpointsInSteps(bytes, '', scope, '', previous);
    return { ok: true, name: scope.name, value };
  } catch (error) {
    return refused('endpoints', scope, error);
  }
}
