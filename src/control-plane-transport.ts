/** The way to one control plane from its configuration: the gRPC stream, or polling by REST, with credentials and the certificates that those watch. */
import type { XdsServerConfig } from './config/bootstrap.ts';
import type { ApiConfigSource } from './config/config-source.ts';
import { readEnvironment } from './core/environment.ts';
import { GrpcStatus } from './core/status.ts';
import type { Random } from './core/random.ts';
import type { AdsStream, AdsTransport } from './core/transport.ts';
import type { AdsTransportOptions, createAdsTransport } from './adapters/grpc/ads-stream.ts';
import { LateTls } from './late-tls.ts';
import type { LateTlsOptions } from './late-tls.ts';
import { load } from './lazy.ts';

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

/** Polls `server` as the source says. Opens nothing before the first stream. */
export function restTransport(
  server: XdsServerConfig,
  source: Pick<ApiConfigSource, 'refreshDelayMs' | 'requestTimeoutMs'>,
  options: Omit<ControlPlaneTransportOptions, 'create'> & { readonly random: Random; readonly background: boolean },
): AdsTransport {
  const { credentials, callCredentials = [], metadata = [] } = server;
  // Not reached from a bootstrap, where REST servers are clusters; less proof than was asked for is no way out.
  if (credentials.type !== 'insecure' && credentials.type !== 'tls_context')
    return refusing(`REST with ${credentials.type} credentials is not supported`);
  const { clock, random, log, background } = options;
  const tls = new LateTls(options);
  const security = credentials.type === 'tls_context' ? tls.client(credentials.tls) : undefined;
  const identity =
    callCredentials.length === 0 && metadata.length === 0
      ? undefined
      : new (load('./adapters/grpc/call-credentials').CallIdentity)(
          { secure: security !== undefined, google: false, callCredentials, metadata },
          { clock, random, environment: readEnvironment() },
        );
  if (security === undefined && metadata.length > 0 && !server.uri.startsWith('unix:'))
    log.warn(`metadata for the control plane goes over an insecure channel: ${metadata.map(({ key }) => key).join(', ')}`, {
      server: server.uri,
    });
  const { refreshDelayMs, requestTimeoutMs } = source;
  const transport = load('./adapters/rest/index').createRestTransport({
    uri: server.uri,
    security,
    identity,
    refreshDelayMs,
    requestTimeoutMs,
    clock,
    random,
    log,
    background,
  });
  return {
    open: (method, events) => transport.open(method, events),
    close(): void {
      transport.close();
      identity?.close();
      void tls.close();
    },
  };
}

function refusing(reason: string): AdsTransport {
  return {
    open(_method, events): AdsStream {
      events.onEnd(GrpcStatus.UNIMPLEMENTED, reason);
      return { send: () => undefined, pause: () => undefined, resume: () => undefined, cancel: () => undefined };
    },
    close: () => undefined,
  };
}
