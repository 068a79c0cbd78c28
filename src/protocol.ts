/** The option `protocol`: how to speak to the control planes of a bootstrap in the gRPC format, which cannot say it itself. */
import type { Bootstrap, XdsServerConfig } from './config/bootstrap.ts';
import type { Environment } from './core/environment.ts';
import { MeshError } from './core/errors.ts';

/** State of the world or incremental; one stream for all types (ADS), or one for each type. */
export type ProtocolOption = 'sotw' | 'delta' | 'sotw-per-type' | 'delta-per-type';

export const PROTOCOLS: readonly ProtocolOption[] = ['sotw', 'delta', 'sotw-per-type', 'delta-per-type'];

/** `INMESH_PROTOCOL`; undefined when it is not set. Throws `ERR_MESH_OPTION`. */
export function protocolFromEnvironment(env: Environment): ProtocolOption | undefined {
  const text = env['INMESH_PROTOCOL'];
  if (text === undefined || text === '') return undefined;
  const found = PROTOCOLS.find((protocol) => protocol === text);
  if (found === undefined)
    throw new MeshError('ERR_MESH_OPTION', `INMESH_PROTOCOL: "${text}" is no protocol`, { cure: `Use one of ${PROTOCOLS.join(', ')}` });
  return found;
}

/**
 * What goes wrong with istiod's generator for gRPC clients and the incremental dialect: with every name that is added it forgets the earlier
 * ones, which then get no updates. Undefined: the bootstrap does not ask for both.
 */
export function protocolProblem({ node, servers, origin }: Bootstrap): string | undefined {
  if (node.metadata['GENERATOR'] !== 'grpc' || !servers.some(({ protocol }) => protocol === 'delta')) return undefined;
  return `${origin}: istiod serves GENERATOR=grpc over state of the world only; with delta, listeners and clusters would miss updates`;
}

/** The bootstrap with every gRPC server spoken to so. An Envoy bootstrap says it itself (`api_type`), so there the option is refused. */
export function withProtocol(bootstrap: Bootstrap, protocol: ProtocolOption | undefined): Bootstrap {
  if (protocol === undefined) return bootstrap;
  if (bootstrap.format === 'envoy') {
    throw new MeshError('ERR_MESH_OPTION', `the option protocol does not go with an Envoy bootstrap (${bootstrap.origin})`, {
      cure: 'Set api_type and ads_config in the bootstrap, and leave the option and INMESH_PROTOCOL out',
    });
  }
  const change = (server: XdsServerConfig): XdsServerConfig => ({
    ...server,
    protocol: protocol.startsWith('delta') ? 'delta' : 'sotw',
    aggregated: !protocol.endsWith('per-type'),
  });
  const authorities = Object.entries(bootstrap.authorities).map(
    ([name, authority]) => [name, { ...authority, servers: authority.servers.map(change) }] as const,
  );
  return { ...bootstrap, servers: bootstrap.servers.map(change), authorities: Object.fromEntries(authorities) };
}
