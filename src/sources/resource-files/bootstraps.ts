/** Bootstraps in the gRPC format that `inmesh xds check` meets: read as the client reads them. */
import { readBootstrap } from '../../xds/bootstrap.ts';

/** Names of its certificate providers. Throws `ERR_MESH_BOOTSTRAP`. */
export function checkBootstrap(text: string, file: string): readonly string[] {
  return Object.keys(readBootstrap(text, file).certificateProviders);
}
