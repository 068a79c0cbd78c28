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

/** How the process proves to the control plane who it is (gRFC A65). */
export function channelCredentials({ certificates, rootsFile, tls }: BootstrapParts): Readonly<Record<string, unknown>> {
  if (tls === undefined) return { type: 'insecure' };
  const own = tls === 'mutual' && certificates !== undefined ? pairOf(certificates) : {};
  return { type: 'tls', config: { ...own, ca_certificate_file: rootsFile, refresh_interval: '1s' } };
}

/** A `file_watcher` with the process's certificate, where it has one, and the trust anchors (gRFC A29). */
export function fileWatcher({ certificates, rootsFile }: BootstrapParts): Readonly<Record<string, unknown>> {
  const own = certificates === undefined ? {} : pairOf(certificates);
  return { plugin_name: 'file_watcher', config: { ...own, ca_certificate_file: rootsFile, refresh_interval: '1s' } };
}

export function bootstrapOf(parts: BootstrapParts): Readonly<Record<string, unknown>> {
  const { nodeId, address, provider } = parts;
  return {
    xds_servers: [{ server_uri: address, channel_creds: [channelCredentials(parts)], server_features: ['xds_v3'] }],
    node: { id: nodeId, cluster: 'inmesh' },
    server_listener_resource_name_template: SERVER_LISTENER_TEMPLATE,
    ...(provider ? { certificate_providers: { [PROVIDER_INSTANCE]: fileWatcher(parts) } } : {}),
  };
}

function pairOf({ certificateFile, privateKeyFile }: CertificateFiles): Readonly<Record<string, string>> {
  return { certificate_file: certificateFile, private_key_file: privateKeyFile };
}
