/** Static clusters of an Envoy bootstrap as control planes: address, TLS, keep-alive. What they are as targets of calls is the decoder's. */
import { isIP, isIPv4 } from 'node:net';
import type { ChannelCredentialsConfig, KeepaliveConfig, XdsServerConfig } from '../config/bootstrap.ts';
import { ProtoFields } from './envoy-fields.ts';
import { controlPlaneTls } from './envoy-tls.ts';
import type { BootstrapSecrets } from './envoy-tls.ts';

const TLS_NAME = 'envoy.transport_sockets.tls';
const HTTP_OPTIONS = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
/** `type` where the endpoints are in the cluster itself; numbers are legal in proto JSON. */
const WITH_ENDPOINTS: ReadonlySet<unknown> = new Set([undefined, 'STATIC', 'STRICT_DNS', 'LOGICAL_DNS', 0, 1, 2]);

export class EnvoyClusters {
  /** Names of those that are control planes. */
  readonly used = new Set<string>();
  readonly #clusters = new Map<string, ProtoFields>();
  readonly #secrets: BootstrapSecrets;
  readonly #servers = new Map<string, XdsServerConfig>();

  constructor(clusters: readonly ProtoFields[], secrets: BootstrapSecrets) {
    this.#secrets = secrets;
    for (const cluster of clusters) {
      const name = cluster.requiredString('name');
      if (this.#clusters.has(name)) throw cluster.problem('name', `${JSON.stringify(name)} is there twice`);
      this.#clusters.set(name, cluster);
    }
  }

  names(): readonly string[] {
    return [...this.#clusters.keys()];
  }

  /** The control plane behind the cluster that `key` of `from` names. */
  server(name: string, from: ProtoFields, key: string): XdsServerConfig {
    const cluster = this.#clusters.get(name);
    if (cluster === undefined) throw from.problem(key, `${JSON.stringify(name)} is not in static_resources.clusters`, this.#cure());
    this.used.add(name);
    let server = this.#servers.get(name);
    if (server === undefined) {
      this.#servers.set(name, (server = this.#read(cluster)));
      cluster.reads('name', 'type', 'typed_extension_protocol_options', 'http2_protocol_options');
      cluster.recordRest();
    }
    return server;
  }

  /** All that can be control planes, for resources that name them later; the others are targets of calls only. */
  servers(): Readonly<Record<string, XdsServerConfig>> {
    const servers: Record<string, XdsServerConfig> = Object.create(null);
    for (const [name, cluster] of this.#clusters) {
      try {
        servers[name] = this.#servers.get(name) ?? this.#read(cluster);
      } catch {
        // Told when somebody names it.
      }
    }
    return servers;
  }

  #cure(): string {
    const names = this.names();
    return names.length === 0 ? 'There are none' : `There are: ${names.join(', ')}`;
  }

  #read(cluster: ProtoFields): XdsServerConfig {
    if (!WITH_ENDPOINTS.has(cluster.value('type')))
      throw cluster.problem('type', 'must be STATIC, STRICT_DNS or LOGICAL_DNS for a control plane');
    const keepalive = keepaliveOf(cluster);
    return {
      uri: targetOf(cluster),
      credentials: this.#credentials(cluster),
      features: [],
      protocol: 'sotw',
      aggregated: false,
      ...(keepalive !== undefined && { keepalive }),
    };
  }

  #credentials(cluster: ProtoFields): ChannelCredentialsConfig {
    const socket = cluster.fields('transport_socket');
    if (socket === undefined) return { type: 'insecure' };
    if (socket.string('name') === TLS_NAME && !socket.has('typed_config'))
      throw socket.problem('typed_config', 'is missing', 'Give an UpstreamTlsContext');
    const tls = controlPlaneTls(socket, this.#secrets);
    return tls === undefined ? { type: 'insecure' } : { type: 'tls_context', tls };
  }
}

/** A gRPC target: all endpoints where they are IP addresses, else the first, since a name is resolved by itself. */
function targetOf(cluster: ProtoFields): string {
  const assignment = cluster.fields('load_assignment');
  const localities = assignment?.messages('endpoints') ?? [];
  const addresses = localities.flatMap((locality) =>
    locality.messages('lb_endpoints').map((entry) => ({ place: entry, target: addressOf(entry) })),
  );
  const [first, ...others] = addresses;
  if (first === undefined) throw cluster.problem('load_assignment', 'names no endpoint', 'Give the address of the control plane');
  if (others.length === 0) return first.target;
  const all = addresses.map(({ target }) => target);
  if (all.every((target) => isIPv4(target.replace(/:\d+$/, '')))) return `ipv4:${all.join(',')}`;
  if (all.every((target) => target.startsWith('['))) return `ipv6:${all.join(',')}`;
  for (const { place } of others) place.unsupported.add(place.path);
  return first.target;
}

function addressOf(entry: ProtoFields): string {
  const endpoint = entry.fields('endpoint');
  const address = endpoint?.fields('address');
  if (address === undefined) throw entry.problem('endpoint', 'has no address');
  const pipe = address.fields('pipe');
  if (pipe !== undefined) {
    const path = pipe.requiredString('path');
    if (path.startsWith('@')) throw pipe.problem('path', 'is an abstract socket, which is not supported');
    return `unix:${path}`;
  }
  const socket = address.fields('socket_address');
  if (socket === undefined) throw address.problem('', 'is neither a socket_address nor a pipe');
  if (socket.value('protocol') === 'UDP') throw socket.problem('protocol', 'must be TCP');
  const host = socket.requiredString('address');
  const port = socket.uint('port_value');
  if (port === undefined || port > 65_535 || port === 0) throw socket.problem('port_value', 'must be a port from 1 to 65535');
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

/** `connection_keepalive` of the HTTP/2 options, at their new place or at the old one. */
function keepaliveOf(cluster: ProtoFields): KeepaliveConfig | undefined {
  const options = cluster.record('typed_extension_protocol_options')[HTTP_OPTIONS];
  const http =
    options === undefined
      ? undefined
      : new ProtoFields(
          options,
          `${cluster.pathOf('typed_extension_protocol_options')}["${HTTP_OPTIONS}"]`,
          cluster.origin,
          cluster.unsupported,
        );
  const http2 = http?.fields('explicit_http_config')?.fields('http2_protocol_options') ?? cluster.fields('http2_protocol_options');
  const keepalive = http2?.fields('connection_keepalive');
  if (keepalive === undefined) return undefined;
  const intervalMs = keepalive.durationMs('interval');
  const timeoutMs = keepalive.durationMs('timeout');
  for (const [key, value] of [
    ['interval', intervalMs],
    ['timeout', timeoutMs],
  ] as const) {
    if (value !== undefined && value < 1) throw keepalive.problem(key, 'must be at least 0.001s');
  }
  if (timeoutMs === undefined) throw keepalive.problem('timeout', 'is missing');
  keepalive.recordRest();
  return { ...(intervalMs !== undefined && { intervalMs }), timeoutMs };
}
