/** The way to one control plane from its configuration: the gRPC stream with its credentials, and the certificates that those watch. */
import type { XdsServerConfig } from './config/bootstrap.ts';
import type { AdsTransport } from './core/transport.ts';
import type { AdsTransportOptions, createAdsTransport } from './adapters/grpc/ads-stream.ts';
import { LateTls } from './late-tls.ts';
import type { LateTlsOptions } from './late-tls.ts';

export interface ControlPlaneTransportOptions extends LateTlsOptions, Pick<AdsTransportOptions, 'random' | 'background'> {
  /** The adapter, which is loaded only by processes that speak xDS. */
  readonly create: typeof createAdsTransport;
}

/** Opens nothing before the first stream. */
export function controlPlaneTransport(server: XdsServerConfig, options: ControlPlaneTransportOptions): AdsTransport {
  const { create, ...rest } = options;
  if (server.credentials.type !== 'tls_context') return create(server, rest);
  const tls = new LateTls(options);
  const transport = create(server, { ...rest, security: tls.client(server.credentials.tls) });
  return {
    open: (method, events) => transport.open(method, events),
    close(): void {
      transport.close();
      void tls.close();
    },
  };
}
