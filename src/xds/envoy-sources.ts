/** `dynamic_resources` of an Envoy bootstrap: the aggregated stream, and where listeners and clusters come from (Envoy ). */
import type { Bootstrap, XdsServerConfig } from '../config/bootstrap.ts';
import type { ApiConfigSource, ApiServiceConfig, ConfigSourceConfig } from '../config/config-source.ts';
import type { ProtoFields } from './envoy-fields.ts';
import { grpcServices } from './envoy-services.ts';
import type { ServiceContext, Speech } from './envoy-services.ts';

type Dialect = Pick<ApiConfigSource, 'protocol' | 'aggregated'>;

/** ApiConfigSource.ApiType by name and by number. */
const API_TYPES: ReadonlyMap<unknown, Dialect> = new Map<unknown, Dialect>(
  (
    [
      ['REST', 1, 'rest', false],
      ['GRPC', 2, 'sotw', false],
      ['DELTA_GRPC', 3, 'delta', false],
      ['AGGREGATED_GRPC', 5, 'sotw', true],
      ['AGGREGATED_DELTA_GRPC', 6, 'delta', true],
    ] as const
  ).flatMap(([name, number, protocol, aggregated]) => [
    [name, { protocol, aggregated }],
    [number, { protocol, aggregated }],
  ]),
);
const VERSIONS: ReadonlySet<unknown> = new Set([undefined, 'AUTO', 'V3', 0, 2]);

export interface DynamicResources {
  readonly servers: readonly XdsServerConfig[];
  readonly sources: Bootstrap['sources'];
  /** Servers of sources that no cluster stands for, under names that no cluster has. */
  readonly extra: Readonly<Record<string, XdsServerConfig>>;
  /** Reads another config source; undefined: the aggregated stream, `none`: the field is missing. */
  readonly sourceOf: (parent: ProtoFields, key: string) => ConfigSourceConfig | 'none' | undefined;
}

export function dynamicResources(fields: ProtoFields | undefined, context: ServiceContext): DynamicResources {
  const ads = fields?.fields('ads_config');
  const servers = ads === undefined ? [] : adsServers(ads, context);
  const reader = new SourceReader(servers.length > 0, context);
  const listener = reader.read(fields, 'lds_config');
  const cluster = reader.read(fields, 'cds_config');
  fields?.recordRest();
  return {
    servers,
    sources: { ...(listener !== undefined && { listener }), ...(cluster !== undefined && { cluster }) },
    extra: reader.extra,
    sourceOf: (parent, key) => reader.read(parent, key),
  };
}

function adsServers(ads: ProtoFields, context: ServiceContext): readonly XdsServerConfig[] {
  const { protocol } = dialectOf(ads);
  if (protocol === 'rest') throw ads.problem('api_type', 'must be GRPC or DELTA_GRPC: REST cannot carry the aggregated stream');
  const servers = grpcServices(ads, { protocol, aggregated: true }, context);
  if (servers.length === 0) throw ads.problem('grpc_services', 'is empty or missing', 'Name at least one control plane');
  // The node is sent in the first message only, whatever this says.
  ads.reads('set_node_on_first_message_only');
  ads.recordRest();
  return servers;
}

function dialectOf(source: ProtoFields): Dialect {
  const given = source.value('api_type');
  const dialect = API_TYPES.get(given);
  if (dialect === undefined)
    throw source.problem('api_type', given === undefined ? 'is missing' : 'is not supported', 'Use GRPC, DELTA_GRPC or REST');
  if (!VERSIONS.has(source.value('transport_api_version'))) throw source.problem('transport_api_version', 'must be V3');
  return dialect;
}

class SourceReader {
  readonly extra: Record<string, XdsServerConfig> = Object.create(null);
  readonly #ads: boolean;
  readonly #context: ServiceContext;

  constructor(ads: boolean, context: ServiceContext) {
    this.#ads = ads;
    this.#context = context;
  }

  /** Undefined: the aggregated stream; `none`: there are only static ones. */
  read(parent: ProtoFields | undefined, key: string): ConfigSourceConfig | 'none' | undefined {
    const fields = parent?.fields(key);
    if (fields === undefined) return 'none';
    if (!VERSIONS.has(fields.value('resource_api_version'))) throw fields.problem('resource_api_version', 'must be V3');
    const source = this.#source(fields);
    fields.recordRest();
    return source;
  }

  #source(fields: ProtoFields): ConfigSourceConfig | undefined {
    if (fields.has('ads') || fields.has('self')) {
      if (!this.#ads) throw fields.problem(fields.has('ads') ? 'ads' : 'self', 'needs dynamic_resources.ads_config, which is missing');
      return undefined;
    }
    const initialFetchTimeoutMs = fields.durationMs('initial_fetch_timeout');
    if (initialFetchTimeoutMs !== undefined && initialFetchTimeoutMs < 0)
      throw fields.problem('initial_fetch_timeout', 'must not be negative');
    const api = fields.fields('api_config_source');
    if (api !== undefined) return this.#api(api, initialFetchTimeoutMs);
    const file = fields.fields('path_config_source');
    const path = file === undefined ? fields.string('path') : file.requiredString('path');
    if (path === undefined || path === '') throw fields.problem('', 'must have ads, api_config_source or path_config_source');
    const watchedDirectory = file?.fields('watched_directory')?.requiredString('path');
    file?.recordRest();
    return { kind: 'path', id: JSON.stringify(['path', path, watchedDirectory]), path, watchedDirectory, initialFetchTimeoutMs };
  }

  #api(api: ProtoFields, initialFetchTimeoutMs: number | undefined): ApiConfigSource {
    const dialect = dialectOf(api);
    const services = dialect.protocol === 'rest' ? this.#clusters(api) : this.#grpc(api, { ...dialect, protocol: dialect.protocol });
    if (services.length === 0)
      throw api.problem(dialect.protocol === 'rest' ? 'cluster_names' : 'grpc_services', 'is empty or missing', 'Name a control plane');
    const refreshDelayMs = api.durationMs('refresh_delay') ?? 0;
    if (dialect.protocol === 'rest' && refreshDelayMs <= 0) throw api.problem('refresh_delay', 'must be set and above 0 for REST');
    const requestTimeoutMs = api.durationMs('request_timeout') ?? 1000;
    if (requestTimeoutMs <= 0) throw api.problem('request_timeout', 'must be above 0');
    if (dialect.protocol !== 'rest') {
      for (const key of ['refresh_delay', 'request_timeout']) if (api.has(key)) api.unsupported.add(api.pathOf(key));
    }
    api.reads('set_node_on_first_message_only');
    api.recordRest();
    const source = { kind: 'api' as const, ...dialect, services, refreshDelayMs, requestTimeoutMs, initialFetchTimeoutMs };
    return { ...source, id: JSON.stringify(source) };
  }

  #clusters(api: ProtoFields): readonly ApiServiceConfig[] {
    return (api.array('cluster_names') ?? []).map((name) => {
      if (typeof name !== 'string' || name === '') throw api.problem('cluster_names', 'must be a list of names');
      this.#context.clusters.server(name, api, 'cluster_names');
      return { kind: 'cluster', name, metadata: [] };
    });
  }

  /** Servers with credentials and metadata of their own get a name under which the client finds them. */
  #grpc(api: ProtoFields, speech: Speech): readonly ApiServiceConfig[] {
    return grpcServices(api, speech, this.#context).map((server, index) => {
      const name = `${api.path}.grpc_services[${index}]`;
      this.extra[name] = server;
      return { kind: 'cluster', name, metadata: [] };
    });
  }
}
