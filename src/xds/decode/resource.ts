/** The edge of all decoders: bytes in, a frozen value or errors out, never a throw (gRPC rule 1). */
import type { ClusterConfig } from '../../config/cluster.ts';
import type { EndpointsConfig } from '../../config/endpoints.ts';
import type { ExtensionConfig } from '../../config/extension.ts';
import type { ListenerConfig } from '../../config/listener.ts';
import { ConfigProblem, TYPE_URLS } from '../../config/resource.ts';
import type { ResourceKind } from '../../config/resource.ts';
import type { RouteConfiguration, VirtualHostConfig } from '../../config/routes.ts';
import type { RuntimeConfig } from '../../config/runtime.ts';
import type { ScopedRoutesConfig } from '../../config/scoped-routes.ts';
import type { SecretConfig } from '../../config/secret.ts';
import type { Message } from '../../proto/any.ts';
import type { Cluster } from '../../proto/gen/envoy/config/cluster/v3/cluster_pb.js';
import type { TypedExtensionConfig } from '../../proto/gen/envoy/config/core/v3/extension_pb.js';
import type { Listener } from '../../proto/gen/envoy/config/listener/v3/listener_pb.js';
import type { VirtualHost } from '../../proto/gen/envoy/config/route/v3/route_components_pb.js';
import type { ScopedRouteConfiguration } from '../../proto/gen/envoy/config/route/v3/scoped_route_pb.js';
import type { Secret } from '../../proto/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.js';
import type { Runtime as RuntimeMessage } from '../../proto/gen/envoy/service/runtime/v3/rtds_pb.js';
import type { DecodeContext, Decoded } from '../resource-type.ts';
import { cluster } from './cluster.ts';
import { decodeEndpoints, endpointsInSteps } from './endpoints.ts';
import { extensionConfig } from './extension.ts';
import { freeze } from './freeze.ts';
import { knownClusters } from './known-clusters.ts';
import { listener } from './listener.ts';
import { discoveredVirtualHost } from './routes.ts';
import { routesInSteps } from './routes-in-steps.ts';
import { runtime } from './runtime.ts';
import { Scope } from './scope.ts';
import { scopedRouteConfiguration } from './scoped-routes.ts';
import { secret } from './secret.ts';
import { survey } from './survey.ts';

/** A virtual host, its routes, each of them, what each has. */
const HOST_DEPTH = 4;

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
  return bounded('routes', context, (scope) => whole(routesInSteps(bytes, scope)));
}

/** The same in steps; see `ResourceType.decodeInSteps`. */
export function decodeRoutesInSteps(bytes: Uint8Array, context: DecodeContext): Generator<undefined, Decoded<RouteConfiguration>> {
  return inSteps('routes', context, (scope) => routesInSteps(bytes, scope));
}

export function decodeCluster(bytes: Uint8Array, context: DecodeContext): Decoded<ClusterConfig> {
  return bounded('cluster', context, (scope) =>
    knownClusters(context).take(bytes, scope, () => freeze(cluster(surveyed<Cluster>('cluster', bytes, scope), scope))),
  );
}

export function decodeScopedRoutes(bytes: Uint8Array, context: DecodeContext): Decoded<ScopedRoutesConfig> {
  return bounded('scoped-routes', context, (scope) =>
    freeze(scopedRouteConfiguration(surveyed<ScopedRouteConfiguration>('scoped-routes', bytes, scope), '', scope), HOST_DEPTH + 2),
  );
}

export function decodeRuntime(bytes: Uint8Array, context: DecodeContext): Decoded<RuntimeConfig> {
  return bounded('runtime', context, (scope) => freeze(runtime(surveyed<RuntimeMessage>('runtime', bytes, scope))));
}

export function decodeExtensionConfig(bytes: Uint8Array, context: DecodeContext): Decoded<ExtensionConfig> {
  return bounded('extension-config', context, (scope) =>
    freeze(extensionConfig(surveyed<TypedExtensionConfig>('extension-config', bytes, scope), scope)),
  );
}

export function decodeSecret(bytes: Uint8Array, context: DecodeContext): Decoded<SecretConfig> {
  return bounded('secret', context, (scope) => freeze(secret(surveyed<Secret>('secret', bytes, scope), scope)));
}

export function decodeVirtualHost(bytes: Uint8Array, context: DecodeContext): Decoded<VirtualHostConfig> {
  return bounded('virtual-host', context, (scope) =>
    freeze(discoveredVirtualHost(surveyed<VirtualHost>('virtual-host', bytes, scope), scope), HOST_DEPTH),
  );
}

/** Not frozen: there are many, and they are handed to pickers as they are. */
export function decodeEndpointsResource(bytes: Uint8Array, context: DecodeContext): Decoded<EndpointsConfig> {
  return bounded('endpoints', context, (scope) => decodeEndpoints(bytes, '', scope, ''));
}

/** The same in steps; see `ResourceType.decodeInSteps`. */
export function decodeEndpointsInSteps(
  bytes: Uint8Array,
  context: DecodeContext,
  previous: EndpointsConfig | undefined,
): Generator<undefined, Decoded<EndpointsConfig>> {
  return inSteps('endpoints', context, (scope) => endpointsInSteps(bytes, '', scope, '', previous));
}

function* inSteps<R>(
  kind: ResourceKind,
  context: DecodeContext,
  decode: (scope: Scope) => Generator<undefined, R>,
): Generator<undefined, Decoded<R>> {
  const scope = new Scope(kind, context);
  try {
    const value = yield* decode(scope);
    return { ok: true, name: scope.name, value };
  } catch (error) {
    return refused(kind, scope, error);
  }
}

function whole<R>(steps: Generator<undefined, R>): R {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}
