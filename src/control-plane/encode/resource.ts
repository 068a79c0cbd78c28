/** Any resource of a `mesh.yaml` as an xDS message: config type → proto JSON → bytes. Unchanged resources are encoded once. */
import type { ClusterConfig } from '../../config/cluster.ts';
import type { EndpointsConfig } from '../../config/endpoints.ts';
import type { ListenerConfig } from '../../config/listener.ts';
import type { ResourceKind, ResourceTypes } from '../../config/resource.ts';
import { TYPE_URLS } from '../../config/resource.ts';
import type { RouteConfiguration } from '../../config/routes.ts';
import type { AnyMessage } from '../../core/extension.ts';
import { jsonToAny } from '../../proto/any.ts';
import { encodeCluster, encodeEndpoints } from './cluster.ts';
import type { JsonObject } from './json.ts';
import { encodeListener } from './listener.ts';
import { encodeRoutes } from './routes.ts';
import type { InlineCertificates } from './tls.ts';

/** The message in proto JSON, with `@type`. */
export function encodeToJson<K extends ResourceKind>(kind: K, value: ResourceTypes[K], inline?: InlineCertificates): JsonObject {
  return { '@type': TYPE_URLS[kind], ...fields(kind, value, inline) };
}

function fields(kind: ResourceKind, value: unknown, inline: InlineCertificates | undefined): JsonObject {
  switch (kind) {
    case 'listener':
      return encodeListener(value as ListenerConfig, inline);
    case 'routes':
      return encodeRoutes(value as RouteConfiguration);
    case 'cluster':
      return encodeCluster(value as ClusterConfig, inline);
    case 'endpoints':
      return encodeEndpoints(value as EndpointsConfig);
    default:
      throw new TypeError(`resources of kind ${kind} are served as they are given, not encoded`);
  }
}

const NO_INLINE = {};

/** Remembers bytes by the identity of the value and of the certificates in it. */
export class Encoder {
  readonly #known = new WeakMap<object, WeakMap<object, AnyMessage>>();

  encode<K extends ResourceKind>(kind: K, value: ResourceTypes[K], inline?: InlineCertificates): AnyMessage {
    let variants = this.#known.get(value);
    if (variants === undefined) {
      variants = new WeakMap();
      this.#known.set(value, variants);
    }
    let packed = variants.get(inline ?? NO_INLINE);
    if (packed === undefined) {
      packed = jsonToAny(encodeToJson(kind, value, inline));
      variants.set(inline ?? NO_INLINE, packed);
    }
    return packed;
  }
}
