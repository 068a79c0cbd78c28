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
import type { TlsMaterial } from './tls.ts';
import { PROVIDER } from './tls.ts';

/** The message in proto JSON, with `@type`. */
export function encodeToJson<K extends ResourceKind>(kind: K, value: ResourceTypes[K], material: TlsMaterial = PROVIDER): JsonObject {
  return { '@type': TYPE_URLS[kind], ...fields(kind, value, material) };
}

function fields(kind: ResourceKind, value: unknown, material: TlsMaterial): JsonObject {
  switch (kind) {
    case 'listener':
      return encodeListener(value as ListenerConfig, material);
    case 'routes':
      return encodeRoutes(value as RouteConfiguration);
    case 'cluster':
      return encodeCluster(value as ClusterConfig, material);
    case 'endpoints':
      return encodeEndpoints(value as EndpointsConfig);
    default:
      throw new TypeError(`resources of kind ${kind} are served as they are given, not encoded`);
  }
}

/** Remembers bytes by the identity of the value and of the certificates in it. */
export class Encoder {
  readonly #known = new WeakMap<object, WeakMap<object, AnyMessage>>();

  encode<K extends ResourceKind>(kind: K, value: ResourceTypes[K], material: TlsMaterial = PROVIDER): AnyMessage {
    let variants = this.#known.get(value);
    if (variants === undefined) {
      variants = new WeakMap();
      this.#known.set(value, variants);
    }
    let packed = variants.get(keyOf(material));
    if (packed === undefined) {
      packed = jsonToAny(encodeToJson(kind, value, material));
      variants.set(keyOf(material), packed);
    }
    return packed;
  }
}

/** Inline certificates are told apart by themselves, so that a wrapper made anew does not encode anew. */
function keyOf(material: TlsMaterial): object {
  return material.kind === 'inline' ? material.certificates : material;
}
