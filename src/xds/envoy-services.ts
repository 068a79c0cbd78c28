/**
 * Envoy's GrpcService and ApiConfigSource as control planes: which server, with which credentials and metadata, spoken to how. Credentials
 * that are not understood are an error, since less proof, or less checking, than was asked for must never be what comes of it.
 */
import { isIP } from 'node:net';
import type { CallCredentialsConfig, ChannelCredentialsConfig, KeepaliveConfig, XdsServerConfig } from '../config/bootstrap.ts';
import { identityProblem } from '../config/control-plane-identity.ts';
import type { TlsSourceConfig } from '../config/tls.ts';
import type { Environment } from '../core/environment.ts';
import type { EnvoyClusters } from './envoy-clusters.ts';
import type { ProtoFields } from './envoy-fields.ts';
import { initialMetadata } from './envoy-metadata.ts';

const REFRESH_MS = 600_000;
const LOCAL_TARGET = /^(unix:|localhost:|127\.|\[::1\])/;

export interface ServiceContext {
  readonly clusters: EnvoyClusters;
  readonly env: Environment;
}

export type Speech = Pick<XdsServerConfig, 'protocol' | 'aggregated'>;

/** `grpc_services` in order of preference. */
export function grpcServices(source: ProtoFields, speech: Speech, context: ServiceContext): readonly XdsServerConfig[] {
  return source.messages('grpc_services').map((service) => grpcService(service, speech, context));
}

function grpcService(service: ProtoFields, speech: Speech, { clusters, env }: ServiceContext): XdsServerConfig {
  const envoy = service.fields('envoy_grpc');
  const google = service.fields('google_grpc');
  if ((envoy === undefined) === (google === undefined)) throw service.problem('', 'must have either envoy_grpc or google_grpc');
  const base = envoy === undefined ? googleGrpc(google as ProtoFields, env) : envoyGrpc(envoy, clusters);
  const metadata = initialMetadata(service, env);
  const server: XdsServerConfig = { ...base, ...speech, ...(metadata.length > 0 && { metadata }) };
  const problem = identityProblem(server);
  if (problem !== undefined) throw service.problem('', problem, 'Use TLS, or initial_metadata to send a token in the clear on purpose');
  service.recordRest();
  return server;
}

function envoyGrpc(envoy: ProtoFields, clusters: EnvoyClusters): XdsServerConfig {
  const server = clusters.server(envoy.requiredString('cluster_name'), envoy, 'cluster_name');
  envoy.recordRest();
  return server;
}

function googleGrpc(google: ProtoFields, env: Environment): XdsServerConfig {
  const uri = google.requiredString('target_uri');
  for (const key of ['credentials_factory_name', 'channel_credentials_plugin', 'call_credentials_plugin'])
    if (google.has(key)) throw google.problem(key, 'is not supported', 'Use channel_credentials');
  const credentials = channelCredentials(google, uri, env);
  const callCredentials = google.messages('call_credentials').map((entry) => callCredential(entry));
  const keepalive = channelKeepalive(google.fields('channel_args'));
  google.reads('stat_prefix');
  google.recordRest();
  return {
    uri,
    credentials,
    features: [],
    protocol: 'sotw',
    aggregated: false,
    ...(callCredentials.length > 0 && { callCredentials }),
    ...(keepalive !== undefined && { keepalive }),
  };
}

function channelCredentials(google: ProtoFields, uri: string, env: Environment): ChannelCredentialsConfig {
  const channel = google.fields('channel_credentials');
  if (channel === undefined) return { type: 'insecure' };
  if (channel.has('google_default')) return { type: 'google_default' };
  const ssl = channel.fields('ssl_credentials');
  if (ssl !== undefined) return sslCredentials(ssl, uri, env);
  if (!channel.has('local_credentials'))
    throw channel.problem('', 'must have ssl_credentials, google_default or local_credentials', 'Leave it out for plaintext');
  if (!LOCAL_TARGET.test(uri)) throw channel.problem('local_credentials', `are for this machine only, not for ${uri}`);
  return { type: 'insecure' };
}

/** gRPC's own TLS: the name of the target is checked; without root_certs the roots of the system count. */
function sslCredentials(ssl: ProtoFields, uri: string, env: Environment): ChannelCredentialsConfig {
  const roots = dataSource(ssl.fields('root_certs'), env);
  const key = dataSource(ssl.fields('private_key'), env);
  const chain = dataSource(ssl.fields('cert_chain'), env);
  if ((key === undefined) !== (chain === undefined))
    throw ssl.problem(key === undefined ? 'private_key' : 'cert_chain', 'is missing, but its other half is set', 'Give both or neither');
  const fileOf = (source: TlsSourceConfig | undefined): string | undefined => (source?.kind === 'file' ? source.path : undefined);
  if ([roots, key, chain].every((source) => source === undefined || source.kind === 'file')) {
    return {
      type: 'tls',
      certificateFile: fileOf(chain),
      privateKeyFile: fileOf(key),
      caCertificateFile: fileOf(roots),
      refreshIntervalMs: REFRESH_MS,
    };
  }
  const host = hostOf(uri);
  const address = isIP(host) !== 0;
  return {
    type: 'tls_context',
    tls: {
      identity: chain === undefined || key === undefined ? undefined : { kind: 'pair', certificateChain: chain, privateKey: key },
      roots: roots ?? { kind: 'system' },
      sanMatchers: address ? [{ type: 'ip', matcher: { kind: 'exact', value: host, ignoreCase: false } }] : [],
      alpn: ['h2'],
      minVersion: 'TLSv1.2',
      maxVersion: undefined,
      sni: address ? '' : host,
      autoHostSni: false,
      autoSniSanValidation: !address,
    },
  };
}

function hostOf(uri: string): string {
  const authority = uri.replace(/^(dns|ipv4|ipv6):(\/\/[^/]*\/)?/, '');
  return authority.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}

function dataSource(source: ProtoFields | undefined, env: Environment): TlsSourceConfig | undefined {
  if (source === undefined) return undefined;
  const file = source.string('filename');
  if (file !== undefined && file !== '')
    return { kind: 'file', path: file, watchedDirectory: source.fields('watched_directory')?.string('path') };
  const bytes = source.string('inline_bytes');
  const name = source.string('environment_variable');
  const pem = source.string('inline_string') ?? (bytes === undefined ? undefined : Buffer.from(bytes, 'base64').toString('utf8'));
  const text = name === undefined ? pem : env[name];
  if (name !== undefined && text === undefined) throw source.problem('environment_variable', `${name} is not set`);
  if (text === undefined || text === '') throw source.problem('', 'needs filename, inline_string, inline_bytes or environment_variable');
  return { kind: 'inline', pem: text };
}

function callCredential(entry: ProtoFields): CallCredentialsConfig {
  const token = entry.string('access_token');
  if (token !== undefined) {
    if (!/^[!-~]+$/.test(token)) throw entry.problem('access_token', 'is empty, or holds what no header can carry');
    return { type: 'access_token', token };
  }
  if (entry.has('google_compute_engine')) return { type: 'google_compute_engine' };
  throw entry.problem(
    '',
    `has ${entry.keys().join(', ') || 'nothing'}, which is not supported`,
    'Supported are access_token and google_compute_engine; a token from a file goes into initial_metadata as %FILE_CONTENT(PATH)%',
  );
}

/** gRPC's own channel arguments for keep-alive; others have no effect. */
function channelKeepalive(args: ProtoFields | undefined): KeepaliveConfig | undefined {
  const map = args?.fields('args');
  if (args === undefined || map === undefined) return undefined;
  const of = (key: string): number | undefined => map.fields(key)?.uint('int_value');
  const intervalMs = of('grpc.keepalive_time_ms');
  const timeoutMs = of('grpc.keepalive_timeout_ms');
  map.recordRest();
  if (intervalMs === undefined && timeoutMs === undefined) return undefined;
  return { ...(intervalMs !== undefined && { intervalMs }), ...(timeoutMs !== undefined && { timeoutMs }) };
}
