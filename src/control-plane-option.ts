/**
 * The option `controlPlane` of createMesh: what a bootstrap in the gRPC format cannot say about the way to the control plane. It applies to
 * the servers of `xds_servers` (of an Envoy bootstrap: to all), not to authorities that have servers of their own.
 */
import type { Bootstrap, MetadataEntryConfig, XdsServerConfig } from './config/bootstrap.ts';
import { identityProblem, metadataKeyProblem, metadataValueProblem } from './config/control-plane-identity.ts';
import type { Environment } from './core/environment.ts';
import { MeshError } from './core/errors.ts';
import { suggest } from './core/nearest.ts';

export interface ControlPlaneOptions {
  /**
   * Sent as gRPC metadata with every stream, also where the channel is not encrypted (with one warning): `{ 'x-consul-token': {...} }`.
   * Keys are case-insensitive. Default: none.
   */
  readonly metadata?: Readonly<Record<string, MetadataValue>>;
  /**
   * Path of a file with a JWT, sent as `authorization: Bearer`; read again before it expires (gRFC A97). Never sent over an insecure
   * channel. Default: none.
   */
  readonly tokenFile?: string;
  /** HTTP/2 pings that notice a connection which nobody answers any more. */
  readonly keepalive?: {
    /** Milliseconds of silence before a ping, at least 1000; default 300 000. gRPC servers may end connections that ping more often. */
    readonly interval?: number;
    /** Milliseconds to wait for the answer; default 20 000. */
    readonly timeout?: number;
  };
}

/** A text; the contents of a file, read for every stream; or an environment variable, read at the start. `prefix` stands before it. */
export type MetadataValue =
  | string
  | { readonly file: string; readonly prefix?: string }
  | { readonly env: string; readonly prefix?: string };

const KEYS = ['metadata', 'tokenFile', 'keepalive'] as const;

function wrong(message: string, cure: string): MeshError {
  return new MeshError('ERR_MESH_OPTION', message, { cure });
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';

function checkKeys(value: Readonly<Record<string, unknown>>, known: readonly string[], name: string): void {
  for (const key of Object.keys(value)) {
    if (!known.includes(key)) throw wrong(`${name}: the key "${key}" does not exist`, suggest(key, known, 'Known'));
  }
}

function checkMetadataValue(value: unknown, name: string): void {
  const cure = "Give a text, { file: '/path' } or { env: 'NAME' }";
  if (typeof value === 'string') {
    const problem = metadataValueProblem(value);
    // What it is stays untold: it is a secret.
    if (problem !== undefined) throw wrong(`${name} ${problem}`, 'Give one line of ASCII');
    return;
  }
  if (!isObject(value)) throw wrong(`${name} must be a text or an object`, cure);
  checkKeys(value, ['file', 'env', 'prefix'], name);
  const { file, env, prefix = '' } = value;
  if ((file === undefined) === (env === undefined)) throw wrong(`${name} must have either "file" or "env"`, cure);
  if (!isText(file ?? env)) throw wrong(`${name}.${file === undefined ? 'env' : 'file'} must be a text that is not empty`, cure);
  if (typeof prefix !== 'string' || metadataValueProblem(prefix) !== undefined)
    throw wrong(`${name}.prefix must be a text of ASCII`, "Leave it out, or give e.g. 'Bearer '");
}

function checkMetadata(value: unknown, name: string): void {
  if (!isObject(value))
    throw wrong(`${name} must be an object of keys and values`, "Write it like { 'x-consul-token': { file: '/run/token' } }");
  const seen = new Set<string>();
  for (const [given, entry] of Object.entries(value)) {
    const key = given.toLowerCase();
    const where = `${name}[${JSON.stringify(given)}]`;
    const problem = metadataKeyProblem(key);
    if (problem !== undefined) throw wrong(`${where} ${problem}`, 'Take another key');
    if (seen.has(key)) throw wrong(`${where} is there twice`, 'Keep one of the two: case does not count');
    seen.add(key);
    checkMetadataValue(entry, where);
  }
}

function checkKeepalive(value: unknown, name: string): void {
  if (!isObject(value)) throw wrong(`${name} must be an object`, 'Write it like { interval: 30000, timeout: 10000 }');
  checkKeys(value, ['interval', 'timeout'], name);
  for (const [key, least] of [
    ['interval', 1000],
    ['timeout', 1],
  ] as const) {
    const given = value[key];
    if (given !== undefined && !(typeof given === 'number' && given >= least && given <= 2 ** 31 - 1))
      throw wrong(`${name}.${key} must be a number of milliseconds, at least ${least}`, 'Leave it out for its default');
  }
}

/** Throws `ERR_MESH_OPTION`; `name` begins the message. */
export function checkControlPlane(value: unknown, name: string): void {
  if (!isObject(value)) throw wrong(`${name} must be an object`, 'See docs/reference/options.md');
  checkKeys(value, KEYS, name);
  const { metadata, tokenFile, keepalive } = value;
  if (metadata !== undefined) checkMetadata(metadata, `${name}.metadata`);
  if (tokenFile !== undefined && !isText(tokenFile)) throw wrong(`${name}.tokenFile must be a path`, 'Give the path of a file with a JWT');
  if (keepalive !== undefined) checkKeepalive(keepalive, `${name}.keepalive`);
}

function entryOf(given: string, value: MetadataValue, env: Environment): MetadataEntryConfig {
  const key = given.toLowerCase();
  if (typeof value === 'string') return { key, parts: [value] };
  const { prefix = '' } = value;
  const before = prefix === '' ? [] : [prefix];
  if ('file' in value) return { key, parts: [...before, { file: value.file }] };
  const name = `the option controlPlane.metadata[${JSON.stringify(given)}]`;
  const found = env[value.env];
  if (found === undefined || found === '')
    throw wrong(`${name}: the environment variable ${value.env} is not set`, 'Set it, or use a file');
  const problem = metadataValueProblem(found);
  if (problem !== undefined) throw wrong(`${name}: the environment variable ${value.env} ${problem}`, 'Set it to one line of ASCII');
  return { key, parts: [...before, found] };
}

/** The bootstrap with the option in it. Throws `ERR_MESH_OPTION` for what cannot go together. */
export function withControlPlane(bootstrap: Bootstrap, option: ControlPlaneOptions | undefined, env: Environment): Bootstrap {
  if (option === undefined) return bootstrap;
  const { tokenFile, keepalive } = option;
  const metadata = Object.entries(option.metadata ?? {}).map(([key, value]) => entryOf(key, value, env));
  const extended = new Map<XdsServerConfig, XdsServerConfig>();
  const extend = (server: XdsServerConfig): XdsServerConfig => {
    const known = extended.get(server);
    if (known !== undefined) return known;
    const callCredentials = [
      ...(server.callCredentials ?? []),
      ...(tokenFile === undefined ? [] : [{ type: 'jwt_token_file' as const, path: tokenFile }]),
    ];
    const all = [...(server.metadata ?? []), ...metadata];
    const made: XdsServerConfig = Object.freeze({
      ...server,
      ...(callCredentials.length > 0 && { callCredentials }),
      ...(all.length > 0 && { metadata: all }),
      ...(keepalive !== undefined && { keepalive: keepaliveOf(server, keepalive) }),
    });
    const problem = identityProblem(made);
    if (problem !== undefined) throw wrong(`the option controlPlane: the server ${server.uri} ${problem}`, CURE);
    extended.set(server, made);
    return made;
  };
  const named = sourceClusters(bootstrap);
  return {
    ...bootstrap,
    servers: bootstrap.servers.map(extend),
    clusters: Object.fromEntries(
      Object.entries(bootstrap.clusters).map(([name, server]) => [name, named.has(name) ? extend(server) : server]),
    ),
    // Those that have no servers of their own have the bootstrap's, the very same objects.
    authorities: Object.fromEntries(
      Object.entries(bootstrap.authorities).map(([name, authority]) => [
        name,
        authority.servers === bootstrap.servers ? { ...authority, servers: bootstrap.servers.map(extend) } : authority,
      ]),
    ),
  };
}

/** Clusters that the bootstrap itself names as control planes; what a resource names later gets no token of ours. */
function sourceClusters({ sources }: Bootstrap): ReadonlySet<string> {
  const api = [sources.listener, sources.cluster].filter((source) => typeof source === 'object' && source.kind === 'api');
  return new Set(api.flatMap(({ services }) => services.flatMap((service) => (service.kind === 'cluster' ? [service.name] : []))));
}

const CURE =
  'Use channel_creds of type "tls"; to send a token in the clear on purpose, use metadata: { authorization: { file, prefix: "Bearer " } }';

function keepaliveOf(
  server: XdsServerConfig,
  given: NonNullable<ControlPlaneOptions['keepalive']>,
): NonNullable<XdsServerConfig['keepalive']> {
  return {
    ...server.keepalive,
    ...(given.interval !== undefined && { intervalMs: given.interval }),
    ...(given.timeout !== undefined && { timeoutMs: given.timeout }),
  };
}
