/**
 * Reads the gRPC xDS bootstrap (grpc_xds_bootstrap_format; gRFCs A27 A29 A36 A47 A65 A71): JSON text to the frozen types of
 * `config/bootstrap.ts`. Every error names the field and the file. Files of certificates are not opened here.
 */
import { dirname } from 'node:path';
import { MeshError } from '../core/errors.ts';
import type {
  AuthorityConfig,
  Bootstrap,
  CallCredentialsConfig,
  CertificateProviderConfig,
  ChannelCredentialsConfig,
  FileWatcherConfig,
  XdsServerConfig,
} from '../config/bootstrap.ts';
import { identityProblem } from '../config/control-plane-identity.ts';
import { JsonFields } from './bootstrap-json.ts';
import { deepFreeze, readNode } from './bootstrap-node.ts';

const DEFAULT_REFRESH_MS = 600_000;
const SUPPORTED_CREDENTIALS = 'insecure, tls, google_default';

/** The keys that `file_watcher` and the `tls` credentials share (gRFCs A29, A65). */
function readFiles(fields: JsonFields | undefined): FileWatcherConfig {
  const certificateFile = fields?.string('certificate_file');
  const privateKeyFile = fields?.string('private_key_file');
  const refreshIntervalMs = fields?.durationMs('refresh_interval') ?? DEFAULT_REFRESH_MS;
  if (fields !== undefined) {
    if ((certificateFile === undefined) !== (privateKeyFile === undefined)) {
      const [given, other] =
        certificateFile === undefined ? ['private_key_file', 'certificate_file'] : ['certificate_file', 'private_key_file'];
      throw fields.problem(other, `is missing, but ${given} is set`, 'Give both or neither');
    }
    if (refreshIntervalMs <= 0) throw fields.problem('refresh_interval', 'must be more than 0');
    // Ignoring it would trust other roots than the ones asked for.
    if (fields.has('spiffe_trust_bundle_map_file'))
      throw fields.problem('spiffe_trust_bundle_map_file', 'is not supported yet', 'Use ca_certificate_file');
  }
  return { certificateFile, privateKeyFile, caCertificateFile: fields?.string('ca_certificate_file'), refreshIntervalMs };
}

function readCredentials(server: JsonFields): ChannelCredentialsConfig {
  const list = server.array('channel_creds');
  if (list === undefined || list.length === 0) {
    throw server.problem('channel_creds', list === undefined ? 'is missing' : 'is empty', 'Name at least one of: ' + SUPPORTED_CREDENTIALS);
  }
  const seen: string[] = [];
  for (const [index, item] of list.entries()) {
    const entry = new JsonFields(item, server.pathOf(`channel_creds`) + `[${index}]`, server.origin);
    const type = entry.requiredString('type');
    if (type === 'insecure' || type === 'google_default') return { type };
    if (type === 'tls') return { type, ...readFiles(entry.fields('config')) };
    seen.push(type);
  }
  throw server.problem(
    'channel_creds',
    `has no type that inmesh supports (found ${seen.join(', ')})`,
    `Supported are: ${SUPPORTED_CREDENTIALS}`,
  );
}

/** All that are supported are used, and unknown ones are skipped (gRFC A97); a wrong JSON type is wrong all the same. */
function readCallCredentials(fields: JsonFields): readonly CallCredentialsConfig[] {
  return (fields.array('call_creds') ?? []).flatMap((item, index): CallCredentialsConfig[] => {
    const entry = new JsonFields(item, `${fields.pathOf('call_creds')}[${index}]`, fields.origin);
    const type = entry.requiredString('type');
    const config = entry.fields('config');
    if (type !== 'jwt_token_file') return [];
    if (config === undefined) throw entry.problem('config', 'is missing', 'Give {"jwt_token_file": PATH}');
    return [{ type, path: config.requiredString('jwt_token_file') }];
  });
}

/** Side channels have no effect yet (gRFC A102); their form is checked as that of the servers. */
function checkAllowedServices(allowed: JsonFields | undefined): void {
  for (const target of allowed?.keys() ?? []) {
    const entry = allowed?.fields(target);
    if (entry === undefined) continue;
    for (const [index, item] of (entry.array('channel_creds') ?? []).entries()) {
      const credentials = new JsonFields(item, `${entry.pathOf('channel_creds')}[${index}]`, entry.origin);
      credentials.requiredString('type');
      credentials.record('config');
    }
    readCallCredentials(entry);
  }
}

function readServer(value: unknown, path: string, origin: string): XdsServerConfig {
  const fields = new JsonFields(value, path, origin);
  const uri = fields.requiredString('server_uri');
  const credentials = readCredentials(fields);
  const callCredentials = readCallCredentials(fields);
  const features = (fields.array('server_features') ?? []).filter((feature) => typeof feature === 'string');
  const plain: XdsServerConfig = { uri, credentials, features, protocol: 'sotw', aggregated: true };
  const server = callCredentials.length === 0 ? plain : { ...plain, callCredentials };
  const problem = identityProblem(server);
  if (problem !== undefined) throw fields.problem('call_creds', problem, 'Use channel_creds of type "tls"');
  return server;
}

function readServers(fields: JsonFields): readonly XdsServerConfig[] {
  return (fields.array('xds_servers') ?? []).map((server, index) =>
    readServer(server, `${fields.pathOf('xds_servers')}[${index}]`, fields.origin),
  );
}

function readProviders(fields: JsonFields | undefined): Record<string, CertificateProviderConfig> {
  const providers: Record<string, CertificateProviderConfig> = Object.create(null);
  for (const instance of fields?.keys() ?? []) {
    const entry = fields?.fields(instance);
    if (entry === undefined) continue;
    // Entries of other plugins are left out; a resource that names one is then rejected (gRFC A29).
    if (entry.requiredString('plugin_name') !== 'file_watcher') continue;
    const config = entry.fields('config');
    if (config === undefined) throw entry.problem('config', 'is missing');
    const files = readFiles(config);
    if (files.certificateFile === undefined && files.caCertificateFile === undefined) {
      throw config.problem('', 'names no files', 'Give certificate_file with private_key_file, or ca_certificate_file, or all three');
    }
    if (files.certificateFile !== undefined && dirname(files.certificateFile) !== dirname(files.privateKeyFile ?? '')) {
      throw config.problem(
        'private_key_file',
        'must be in the same directory as certificate_file',
        'Both are replaced together by one rename of that directory',
      );
    }
    providers[instance] = { plugin: 'file_watcher', ...files };
  }
  return providers;
}

function readAuthorities(fields: JsonFields | undefined, servers: readonly XdsServerConfig[]): Record<string, AuthorityConfig> {
  const authorities: Record<string, AuthorityConfig> = Object.create(null);
  for (const authority of fields?.keys() ?? []) {
    const entry = fields?.fields(authority);
    const prefix = `xdstp://${authority}/`;
    const template = entry?.string('client_listener_resource_name_template') || `${prefix}envoy.config.listener.v3.Listener/%s`;
    if (entry !== undefined && !template.startsWith(prefix)) {
      throw entry.problem(
        'client_listener_resource_name_template',
        `must begin with ${JSON.stringify(prefix)}, found ${JSON.stringify(template)}`,
      );
    }
    const own = entry === undefined ? [] : readServers(entry);
    authorities[authority] = { servers: own.length === 0 ? servers : own, clientListenerTemplate: template };
  }
  return authorities;
}

/**
 * Parses a bootstrap. `origin` is the path or the environment variable it came from, for error messages.
 * Throws `MeshError` with code `ERR_MESH_BOOTSTRAP`.
 */
export function readBootstrap(text: string, origin: string): Bootstrap {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new MeshError('ERR_MESH_BOOTSTRAP', `xDS bootstrap ${origin}: not JSON: ${reason}`, { cause: error });
  }
  const root = new JsonFields(document, '', origin);
  const servers = readServers(root);
  if (servers.length === 0) {
    throw root.problem('xds_servers', root.has('xds_servers') ? 'is empty' : 'is missing', 'Name at least one control plane');
  }
  checkAllowedServices(root.fields('allowed_grpc_services'));
  const serverTemplate = root.string('server_listener_resource_name_template');
  const clientTemplate = root.string('client_default_listener_resource_name_template');
  return deepFreeze({
    format: 'grpc',
    servers,
    sources: {},
    clusters: {},
    staticResources: [],
    runtime: [],
    unsupported: [],
    node: readNode(root.fields('node')),
    certificateProviders: readProviders(root.fields('certificate_providers')),
    serverListenerTemplate: serverTemplate === '' ? undefined : serverTemplate,
    clientListenerTemplate: clientTemplate === undefined || clientTemplate === '' ? '%s' : clientTemplate,
    authorities: readAuthorities(root.fields('authorities'), servers),
    origin,
  });
}
