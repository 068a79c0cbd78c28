/**
 * envoy.config.core.v3.ConfigSource: where a resource is fetched. `ads` and `self` are the aggregated stream (gRPC rules 6 and 27); API and
 * path sources are Envoy's.
 */
import type { ApiConfigSource, ApiServiceConfig, ConfigSourceConfig, PathConfigSource } from '../../config/config-source.ts';
import { ConfigProblem } from '../../config/resource.ts';
import type { ApiConfigSource as ApiMessage, ConfigSource as Message } from '../../proto/gen/envoy/config/core/v3/config_source_pb.js';
import type { GrpcService } from '../../proto/gen/envoy/config/core/v3/grpc_service_pb.js';
import type { Scope } from './scope.ts';
import { milliseconds } from './values.ts';

/** ApiConfigSource.ApiType; V2 has no number of its own left. */
const API_TYPES: Readonly<Record<number, Pick<ApiConfigSource, 'protocol' | 'aggregated'>>> = {
  1: { protocol: 'rest', aggregated: false },
  2: { protocol: 'sotw', aggregated: false },
  3: { protocol: 'delta', aggregated: false },
  5: { protocol: 'sotw', aggregated: true },
  6: { protocol: 'delta', aggregated: true },
};
const V3 = 2;
const AUTO = 0;
const REQUEST_TIMEOUT_MS = 1000;

function service(message: GrpcService, path: string): ApiServiceConfig {
  const metadata = message.initialMetadata.map(({ key, value }) => ({ key: key.toLowerCase(), value }));
  const target = message.targetSpecifier;
  if (target.case === 'envoyGrpc') {
    if (target.value.clusterName === '') throw new ConfigProblem(`${path}.envoy_grpc.cluster_name`, 'must not be empty');
    return { kind: 'cluster', name: target.value.clusterName, metadata };
  }
  if (target.case !== 'googleGrpc') throw new ConfigProblem(path, 'neither envoy_grpc nor google_grpc is set');
  const { targetUri, channelCredentials, callCredentials } = target.value;
  if (targetUri === '') throw new ConfigProblem(`${path}.google_grpc.target_uri`, 'must not be empty');
  // Sending less proof than was asked for would fail at best.
  if (callCredentials.length > 0) throw new ConfigProblem(`${path}.google_grpc.call_credentials`, 'are not supported here');
  const kind = channelCredentials?.credentialSpecifier.case;
  if (kind === 'sslCredentials') {
    const ssl = channelCredentials?.credentialSpecifier.value as {
      readonly rootCerts?: unknown;
      readonly privateKey?: unknown;
      readonly certChain?: unknown;
    };
    if (ssl.rootCerts !== undefined || ssl.privateKey !== undefined || ssl.certChain !== undefined)
      throw new ConfigProblem(
        `${path}.google_grpc.channel_credentials.ssl_credentials`,
        'with certificates of its own is not supported here',
      );
    return { kind: 'target', uri: targetUri, tls: true, metadata };
  }
  if (kind === 'googleDefault') throw new ConfigProblem(`${path}.google_grpc.channel_credentials.google_default`, 'is not supported here');
  return { kind: 'target', uri: targetUri, tls: false, metadata };
}

function apiSource(message: ApiMessage, initialFetchTimeoutMs: number | undefined, path: string): ApiConfigSource {
  const type = API_TYPES[message.apiType];
  if (type === undefined) throw new ConfigProblem(`${path}.api_type`, `value ${message.apiType} is not supported`);
  const named = message.clusterNames.map((name): ApiServiceConfig => ({ kind: 'cluster', name, metadata: [] }));
  const services = [...message.grpcServices.map((entry, i) => service(entry, `${path}.grpc_services[${i}]`)), ...named];
  if (services.length === 0) throw new ConfigProblem(path, 'names no server: grpc_services and cluster_names are empty');
  const refreshDelayMs = milliseconds(message.refreshDelay, `${path}.refresh_delay`) ?? 0;
  if (type.protocol === 'rest' && refreshDelayMs <= 0) throw new ConfigProblem(`${path}.refresh_delay`, 'must be set and above 0 for REST');
  const rest = {
    kind: 'api' as const,
    ...type,
    services,
    refreshDelayMs,
    requestTimeoutMs: milliseconds(message.requestTimeout, `${path}.request_timeout`) ?? REQUEST_TIMEOUT_MS,
    initialFetchTimeoutMs,
  };
  return { ...rest, id: JSON.stringify(rest) };
}

function pathSource(path: string, watchedDirectory: string | undefined, initialFetchTimeoutMs: number | undefined): PathConfigSource {
  return { kind: 'path', id: JSON.stringify(['path', path, watchedDirectory]), path, watchedDirectory, initialFetchTimeoutMs };
}

/** Where a resource comes from, and for how long to wait for it where that is the aggregated stream: `waitMs` of its `ResourceKey`. */
export function timedSource(
  message: Message | undefined,
  path: string,
  scope: Scope,
): { readonly source?: ConfigSourceConfig; readonly waitMs?: number } {
  const source = configSource(message, path, scope, true);
  if (source !== undefined) return { source };
  const waitMs = milliseconds(message?.initialFetchTimeout, `${path}.initial_fetch_timeout`);
  return waitMs === undefined ? {} : { waitMs };
}

/** Undefined: the aggregated stream. `timed`: the caller has the time to wait for a resource of it. */
export function configSource(message: Message | undefined, path: string, scope: Scope, timed = false): ConfigSourceConfig | undefined {
  if (message === undefined)
    throw new ConfigProblem(path, 'the config source must be ads, self, api_config_source or path_config_source, not absent');
  const version: number = message.resourceApiVersion;
  // Envoy X-7. `AUTO` is what those who set nothing send.
  if (version !== V3 && version !== AUTO) throw new ConfigProblem(`${path}.resource_api_version`, 'must be V3');
  if (message.authorities.length > 0) scope.unsupported(`${path}.authorities`);
  const timeout = milliseconds(message.initialFetchTimeout, `${path}.initial_fetch_timeout`);
  const specifier = message.configSourceSpecifier;
  switch (specifier.case) {
    case 'ads':
    case 'self':
      // Else how long to wait for a resource of the aggregated stream is the client's own rule (gRFC A57).
      if (timeout !== undefined && !timed) scope.unsupported(`${path}.initial_fetch_timeout`);
      return undefined;
    case 'apiConfigSource':
      return apiSource(specifier.value, timeout, `${path}.api_config_source`);
    case 'pathConfigSource': {
      const { path: file, watchedDirectory } = specifier.value;
      if (file === '') throw new ConfigProblem(`${path}.path_config_source.path`, 'must not be empty');
      return pathSource(file, watchedDirectory?.path, timeout);
    }
    case 'path':
      if (specifier.value === '') throw new ConfigProblem(`${path}.path`, 'must not be empty');
      return pathSource(specifier.value, undefined, timeout);
    default:
      throw new ConfigProblem(
        path,
        `the config source must be ads, self, api_config_source or path_config_source, not ${specifier.case ?? 'absent'}`,
      );
  }
}
