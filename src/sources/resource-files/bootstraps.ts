/** Bootstraps that `inmesh xds check` meets, gRPC's and Envoy's: read as the client reads them. */
import { readBootstrap } from '../../xds/bootstrap.ts';
import { readEnvoyBootstrap } from '../../xds/envoy-bootstrap.ts';
import { parseEnvoyYaml } from '../envoy-yaml.ts';
import type { FoundBootstrap } from './documents.ts';

export interface CheckedBootstrap {
  /** Names of its certificate providers; undefined for Envoy's, which has none. */
  readonly providers: readonly string[] | undefined;
  /** Paths of fields that were set and have no effect. */
  readonly unsupported: readonly string[];
}

/** Throws `ERR_MESH_BOOTSTRAP`. */
export function checkBootstrap({ format, json }: FoundBootstrap, file: string): CheckedBootstrap {
  if (format === 'envoy')
    return {
      providers: undefined,
      unsupported: readEnvoyBootstrap(json, file, { env: {}, parse: parseEnvoyYaml, elsewhere: true }).unsupported,
    };
  const { certificateProviders, unsupported } = readBootstrap(JSON.stringify(json), file);
  return { providers: Object.keys(certificateProviders), unsupported };
}
