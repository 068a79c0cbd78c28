/** The bootstrap that the control plane writes for a process, in the gRPC format (gRFC A27, A29, A65). */
import type { CertificateFiles } from './certificates.ts';
import { PROVIDER_INSTANCE } from './content.ts';

/** `server_listener_resource_name_template`. */
export const SERVER_LISTENER_TEMPLATE = 'inbound/%s';

export interface BootstrapParts {
  readonly nodeId: string;
  readonly address: string;
  /** Undefined: the process has no certificate. */
  readonly certificates: CertificateFiles | undefined;
  readonly rootsFile: string;
  /** How the control plane itself is reached. */
  readonly tls: 'server' | 'mutual' | undefined;
  /** Certificates come by files named here. */
  readonly provider: boolean;
}

export function bootstrapOf(parts: BootstrapParts): Readonly<Record<string, unknown>> {
  const { nodeId, address, certificates, rootsFile, tls, provider } = parts;
  const own = certificates === undefined ? {} : pairOf(certificates);
  const files = { ca_certificate_file: rootsFile, refresh_interval: '1s' };
  const credentials = tls === undefined ? { type: 'insecure' } : { type: 'tls', config: { ...(tls === 'mutual' ? own : {}), ...files } };
  return {
    xds_servers: [{ server_uri: address, channel_creds: [credentials], server_features: ['xds_v3'] }],
    node: { id: nodeId, cluster: 'inmesh' },
    server_listener_resource_name_template: SERVER_LISTENER_TEMPLATE,
    ...(provider ? { certificate_providers: { [PROVIDER_INSTANCE]: { plugin_name: 'file_watcher', config: { ...own, ...files } } } } : {}),
  };
}

function pairOf({ certificateFile, privateKeyFile }: CertificateFiles): Readonly<Record<string, string>> {
  return { certificate_file: certificateFile, private_key_file: privateKeyFile };
}
