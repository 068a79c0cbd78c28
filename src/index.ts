/** The main entry of the package: `createMesh` and what its results are made of. */
import { Mesh } from './facade.ts';
import type { MeshOptions } from './options.ts';
import { start } from './start.ts';

/**
 * Starts a mesh in this process. Configuration comes from, in this order: the argument, `GRPC_XDS_BOOTSTRAP`,
 * `GRPC_XDS_BOOTSTRAP_CONFIG`, `INMESH_CONFIG`, `./mesh.yaml`.
 *
 * Resolves when the configuration is read and valid; wait for `mesh.ready()` to have every route, cluster and endpoint.
 *
 * @throws MeshError `ERR_MESH_CONFIG`, `ERR_MESH_BOOTSTRAP` or `ERR_MESH_OPTION`: names the file or option, the field and what to do.
 *
 * ```ts
 * const mesh = await createMesh();
 * const reply = await mesh.fetch('http://reviews/reviews/7');
 * ```
 */
export async function createMesh(options: string | MeshOptions = {}): Promise<Mesh> {
  const { engine, attached } = start(options);
  await attached;
  const { onFailure = 'response' }: MeshOptions = typeof options === 'string' ? {} : options;
  return new Mesh(engine, { onFailure, startTimeoutMs: engine.parts.startTimeoutMs });
}

export { Mesh } from './facade.ts';
export type { MeshGrpc, MeshHttp } from './facade.ts';
export type { ClusterDescription, EndpointDescription, HostDescription, ListenerDescription, MeshDescription } from './describe.ts';
export type { ControlPlaneOptions, MetadataValue } from './control-plane-option.ts';
export type { MeshOptions } from './options.ts';
export type { CallCounters } from './telemetry/call-metrics.ts';
export type { Peer, PeerTls } from './core/call.ts';
export { MeshError } from './core/errors.ts';
export type { MeshErrorCode } from './core/errors.ts';
export type { Failure, FailureKind } from './core/failure.ts';
export { describeFailure, FAILURES } from './core/failure.ts';
export type { Logger } from './core/log.ts';
