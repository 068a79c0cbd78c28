/**
 * Reads Envoy's bootstrap (envoy.config.bootstrap.v3.Bootstrap, from JSON or YAML) as far as it says where configuration comes from and
 * who this node is; everything else that is set is recorded as without effect. Every error names the field and the file.
 */
import type { Bootstrap } from '../config/bootstrap.ts';
import { TYPE_URLS } from '../config/resource.ts';
import type { AnyMessage } from '../core/extension.ts';
import type { Environment } from '../core/environment.ts';
import { ProtoProblem, jsonToAny, knows } from '../proto/any.ts';
import { withKnownTypes } from '../proto/discovery-json.ts';
import { withoutUnknownFields } from '../proto/unknown-fields.ts';
import type { JsonRecord } from './bootstrap-json.ts';
import { deepFreeze, readNode } from './bootstrap-node.ts';
import { EnvoyClusters } from './envoy-clusters.ts';
import { ProtoFields } from './envoy-fields.ts';
import { dynamicResources } from './envoy-sources.ts';
import type { DynamicResources } from './envoy-sources.ts';
import { BootstrapSecrets, PROTO_CURE } from './envoy-tls.ts';
import type { ParseDocument } from './envoy-tls.ts';

export interface EnvoyBootstrapOptions {
  /** For `%ENVIRONMENT(NAME)%` and the like. */
  readonly env: Environment;
  /** For files that the bootstrap names: secrets. */
  readonly parse: ParseDocument;
  /** It is for another machine: files of secrets that are not here pass. */
  readonly elsewhere?: boolean;
}

/** Throws `MeshError` with code `ERR_MESH_BOOTSTRAP`. */
export function readEnvoyBootstrap(document: JsonRecord, origin: string, options: EnvoyBootstrapOptions): Bootstrap {
  const unsupported = new Set<string>();
  const root = new ProtoFields(document, '', origin, unsupported);
  const fixed = root.fields('static_resources');
  const clusters = fixed?.messages('clusters') ?? [];
  const listeners = fixed?.messages('listeners') ?? [];
  const secrets = fixed?.messages('secrets') ?? [];
  fixed?.recordRest();
  const known = new EnvoyClusters(clusters, new BootstrapSecrets(secrets, options.parse, options.elsewhere));
  const dynamic = dynamicResources(root.fields('dynamic_resources'), { clusters: known, env: options.env });
  const runtime = runtimeLayers(root.fields('layered_runtime'), dynamic.sourceOf);
  const node = root.fields('node');
  const identity = readNode(node);
  node?.reads('metadata', 'locality');
  node?.recordRest();
  const staticResources = [
    ...listeners.flatMap((listener) => resource(TYPE_URLS.listener, listener)),
    // Those that lead to a control plane are no targets of calls.
    ...clusters
      .filter((cluster) => !known.used.has(cluster.string('name') ?? ''))
      .flatMap((cluster) => resource(TYPE_URLS.cluster, cluster)),
    ...secrets.flatMap((secret) => resource(TYPE_URLS.secret, secret)),
    ...runtime.resources,
  ];
  if (
    dynamic.servers.length === 0 &&
    staticResources.length === 0 &&
    dynamic.sources.listener === 'none' &&
    dynamic.sources.cluster === 'none'
  )
    throw root.problem('dynamic_resources', 'names no source, and static_resources is empty', 'Nothing could ever be configured');
  root.recordRest();
  return deepFreeze<Bootstrap>({
    format: 'envoy',
    servers: dynamic.servers,
    sources: dynamic.sources,
    clusters: { ...known.servers(), ...dynamic.extra },
    staticResources,
    runtime: runtime.layers,
    unsupported: [...unsupported].sort(),
    node: identity,
    certificateProviders: {},
    serverListenerTemplate: undefined,
    clientListenerTemplate: '%s',
    authorities: {},
    origin,
  });
}

/** None where inmesh has no such resources. */
function resource(typeUrl: string, fields: ProtoFields): readonly AnyMessage[] {
  if (!knows(typeUrl)) {
    fields.unsupported.add(fields.path);
    return [];
  }
  try {
    const unknown: string[] = [];
    const json = withoutUnknownFields(typeUrl, withKnownTypes(fields.raw), unknown) as JsonRecord;
    for (const path of unknown) fields.unsupported.add(`${fields.path}.${path}`);
    // Envoy gives listeners without a name one of its own.
    const name = typeUrl === TYPE_URLS.listener && (json['name'] ?? '') === '' ? { name: fields.path } : {};
    return [jsonToAny({ ...json, ...name, '@type': typeUrl })];
  } catch (error) {
    if (error instanceof ProtoProblem) throw fields.problem('', `cannot be read: ${error.message}`, PROTO_CURE);
    throw error;
  }
}

interface RuntimeLayers {
  readonly resources: readonly AnyMessage[];
  readonly layers: Bootstrap['runtime'];
}

/** Layers of the runtime in order: static ones become resources, `rtds_layer` names one to be had; layers of disk and admin port have no effect. */
function runtimeLayers(runtime: ProtoFields | undefined, sourceOf: DynamicResources['sourceOf']): RuntimeLayers {
  const resources: AnyMessage[] = [];
  const layers: Bootstrap['runtime'][number][] = [];
  for (const layer of runtime?.messages('layers') ?? []) {
    const name = layer.requiredString('name');
    const values = layer.fields('static_layer');
    const rtds = layer.fields('rtds_layer');
    if (values !== undefined) {
      resources.push(
        ...resource(TYPE_URLS.runtime, new ProtoFields({ name, layer: values.raw }, layer.path, layer.origin, layer.unsupported)),
      );
      layers.push({ name });
    } else if (rtds !== undefined) {
      const source = sourceOf(rtds, 'rtds_config');
      if (source === 'none') throw rtds.problem('rtds_config', 'is missing');
      layers.push({ name: rtds.string('name') || name, ...(source !== undefined && { source }) });
      rtds.recordRest();
    }
    layer.recordRest();
  }
  runtime?.recordRest();
  return { resources, layers };
}
