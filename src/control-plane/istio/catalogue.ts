/**
 * What istiod would serve one node of a `mesh.yaml`, under its names and in its shapes, by the generator that the node's metadata chooses.
 * Resources given raw are served as they are.
 */
import type { AnyMessage } from '../../core/extension.ts';
import { TYPE_URLS } from '../../config/resource.ts';
import { jsonToAny } from '../../proto/any.ts';
import type { MeshFile } from '../../sources/mesh-yaml/types.ts';
import type { Catalogue, Receiver, Served } from '../catalogue.ts';
import type { JsonObject } from '../encode/json.ts';
import { clusterNames, endpointsOf, grpcCluster, sidecarCluster, sidecarExtras } from './clusters.ts';
import { SERVER_PREFIX, clientListener, expandListener, serverListener } from './listeners-grpc.ts';
import { sidecarListeners } from './listeners-sidecar.ts';
import type { IstioNode } from './node.ts';
import { Registry, clusterKey } from './registry.ts';
import type { OutboundPolicy } from './routes.ts';
import { grpcRoutes, sidecarRoutes } from './routes.ts';

export class IstioCatalogue implements Catalogue {
  readonly versioned = true;
  readonly #file: MeshFile;
  readonly #node: IstioNode;
  readonly #plain: Catalogue;
  readonly #policy: OutboundPolicy;
  readonly #registry: Registry;
  readonly #push: string;
  readonly #extras: ReadonlyMap<string, JsonObject>;
  /** By type and name; made when they are first asked for. */
  readonly #made = new Map<string, Served | undefined>();
  #listeners: ReadonlyMap<string, AnyMessage> | undefined;
  /** What was sent before, so that what is the same stays the same. */
  readonly #shelf: Map<string, Served>;

  /** `plain`: secrets and raw resources. `push`: version of everything; `shelf`: shared by all catalogues of the node. */
  constructor(
    file: MeshFile,
    node: IstioNode,
    parts: { readonly plain: Catalogue; readonly policy: OutboundPolicy; readonly push: string; readonly shelf: Map<string, Served> },
  ) {
    this.#file = file;
    this.#node = node;
    this.#plain = parts.plain;
    this.#policy = parts.policy;
    this.#push = parts.push;
    this.#shelf = parts.shelf;
    this.#registry = new Registry(file);
    this.#extras = node.generator === 'sidecar' ? sidecarExtras(file.inbound) : new Map();
  }

  /** One push, one version, whatever has changed. */
  version(): string {
    return this.#push;
  }

  /** A sidecar gets all listeners and clusters, whatever it names. */
  whole(typeUrl: string): boolean {
    return this.#node.generator === 'sidecar' && (typeUrl === TYPE_URLS.listener || typeUrl === TYPE_URLS.cluster);
  }

  /** istiod's generator for gRPC clients knows nothing of the incremental dialect: it is a trap, so it is one here. */
  forgets(typeUrl: string): boolean {
    return this.#node.generator === 'grpc' && (typeUrl === TYPE_URLS.listener || typeUrl === TYPE_URLS.cluster);
  }

  expand(typeUrl: string, name: string): readonly string[] {
    if (typeUrl !== TYPE_URLS.listener || this.#node.generator === 'sidecar') return [name];
    const names = expandListener(this.#registry, this.#node, name);
    return names.length === 0 ? [name] : names;
  }

  names(typeUrl: string): readonly string[] {
    return [...new Set([...this.#own(typeUrl), ...this.#raw(typeUrl)])];
  }

  get(typeUrl: string, name: string, receiver: Receiver): Served | undefined {
    if (typeUrl === TYPE_URLS.secret) return this.#plain.get(typeUrl, name, receiver);
    const key = `${typeUrl} ${name}`;
    if (!this.#made.has(key)) this.#made.set(key, this.#make(key, typeUrl, name));
    const made = this.#made.get(key);
    return made === undefined && this.#raw(typeUrl).has(name) ? this.#plain.get(typeUrl, name, receiver) : made;
  }

  #make(key: string, typeUrl: string, name: string): Served | undefined {
    const packed = this.#build(typeUrl, name);
    if (packed === undefined) return undefined;
    const known = this.#shelf.get(key);
    if (known !== undefined && Buffer.compare(known.body.value, packed.value) === 0) return known;
    const served: Served = { name, body: packed, aliases: [], ttlMs: undefined, version: undefined };
    this.#shelf.set(key, served);
    return served;
  }

  /** Names of raw resources. */
  #raw(typeUrl: string): ReadonlySet<string> {
    const given = this.#file.resources.filter((json) => json['@type'] === typeUrl);
    return new Set(given.map((json) => String(json['name'] ?? json['cluster_name'] ?? json['clusterName'] ?? '')));
  }

  #own(typeUrl: string): readonly string[] {
    const { services, portNumbers } = this.#registry;
    const sidecar = this.#node.generator === 'sidecar';
    switch (typeUrl) {
      case TYPE_URLS.listener:
        if (sidecar) return [...this.#sidecarListeners().keys()];
        return services.flatMap(({ host, ports }) => ports.map(({ number }) => `${host}:${number}`));
      case TYPE_URLS.routes:
        if (sidecar) return portNumbers.map(String);
        return services.flatMap(({ host, ports }) => ports.map(({ number }) => clusterKey(number, '', host)));
      case TYPE_URLS.cluster:
        return [...clusterNames(this.#registry), ...this.#extras.keys()];
      case TYPE_URLS.endpoints:
        return clusterNames(this.#registry);
      default:
        return [];
    }
  }

  #build(typeUrl: string, name: string): AnyMessage | undefined {
    if (typeUrl === TYPE_URLS.listener && this.#node.generator === 'sidecar') return this.#sidecarListeners().get(name);
    const json = this.#json(typeUrl, name);
    return json === undefined ? undefined : jsonToAny({ '@type': typeUrl, ...json });
  }

  #json(typeUrl: string, name: string): JsonObject | undefined {
    const registry = this.#registry;
    const node = this.#node;
    const sidecar = node.generator === 'sidecar';
    switch (typeUrl) {
      case TYPE_URLS.listener:
        return name.startsWith(SERVER_PREFIX) ? serverListener(this.#file, node, name) : clientListener(registry, node, name);
      case TYPE_URLS.routes:
        return sidecar ? sidecarRoutes(registry, node, name, this.#policy) : grpcRoutes(registry, node, name);
      case TYPE_URLS.cluster:
        return sidecar ? (sidecarCluster(registry, name) ?? this.#extras.get(name)) : grpcCluster(registry, name);
      case TYPE_URLS.endpoints:
        return endpointsOf(registry, name, node);
      default:
        return undefined;
    }
  }

  #sidecarListeners(): ReadonlyMap<string, AnyMessage> {
    this.#listeners ??= sidecarListeners(this.#registry, this.#file, this.#node);
    return this.#listeners;
  }
}
