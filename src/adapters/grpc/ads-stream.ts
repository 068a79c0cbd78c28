/**
 * The stream to a control plane on a grpc-js client: bytes in both directions with flow control (`AdsTransport`). Reconnecting,
 * back-off and the protocol are the xDS client's (`xds/server-link.ts`); each stream after a lost connection connects anew at once.
 */
import type { Socket } from 'node:net';
import type { ChannelOptions } from '@grpc/grpc-js';
import { ChannelCredentials, Client, Metadata } from '@grpc/grpc-js';
import type { CallCredentialsConfig, KeepaliveConfig, MetadataEntryConfig } from '../../config/bootstrap.ts';
import type { Clock } from '../../core/clock.ts';
import { readEnvironment } from '../../core/environment.ts';
import type { Environment } from '../../core/environment.ts';
import type { Logger } from '../../core/log.ts';
import { silentLogger } from '../../core/log.ts';
import { realRandom } from '../../core/random.ts';
import type { Random } from '../../core/random.ts';
import { RealClock } from '../../core/real-clock.ts';
import { GrpcStatus } from '../../core/status.ts';
import type { ClientSecurity } from '../../core/tls.ts';
import type { AdsStream, AdsStreamEvents, AdsTransport } from '../../core/transport.ts';
import { GrpcAdsStream } from './ads-call.ts';
import { ClusterCredentials } from './channel-credentials.ts';
import { CallIdentity } from './call-credentials.ts';
import type { Collected } from './call-credentials.ts';
import { FileSecurity } from './file-security.ts';
import type { TlsFiles } from './file-security.ts';
import { SocketReporter } from './socket-reporter.ts';
import { hostOf, parseTarget, socketTarget } from './target-name.ts';
import { CredentialProblem } from './token-cache.ts';

/** A control plane, as `XdsServerConfig` describes it. */
export interface AdsServer {
  /** A gRPC target. */
  readonly uri: string;
  readonly credentials:
    | { readonly type: 'insecure' }
    | ({ readonly type: 'tls' } & TlsFiles)
    | { readonly type: 'google_default' }
    /** What it says is in `AdsTransportOptions.security`. */
    | { readonly type: 'tls_context' };
  readonly callCredentials?: readonly CallCredentialsConfig[];
  readonly metadata?: readonly MetadataEntryConfig[];
  readonly keepalive?: KeepaliveConfig;
}

export interface AdsTransportOptions {
  /**
   * Milliseconds of silence after which a ping is sent, where the server's own `keepalive` does not say; default 300 000, since a grpc-go
   * server with default settings ends connections that are pinged more often than every 5 minutes.
   */
  readonly keepaliveMs?: number;
  /** Milliseconds to wait for the answer to a ping before the connection counts as lost; default 20 000. */
  readonly keepaliveTimeoutMs?: number;
  /** True: from its first message on, an open stream does not keep the process alive. Default false. */
  readonly background?: boolean;
  /** For credentials of type `tls_context`; belongs to the caller. */
  readonly security?: ClientSecurity;
  /** Default: nothing is said. */
  readonly log?: Logger;
  /** For tokens that expire; default: real time. */
  readonly clock?: Clock;
  readonly random?: Random;
  /** Default: the process's. */
  readonly environment?: Environment;
}

/** Bytes a server may send before we have read any: a response for 100 000 endpoints has 8 MB. */
const FLOW_CONTROL_WINDOW = 16 * 1024 * 1024;

/** One connection for one stream: one that failed would otherwise wait out grpc-js's own back-off on top of ours. */
interface Connection {
  readonly client: Client;
  readonly reporter: SocketReporter;
  readonly handshake: { error: Error | undefined };
}

class GrpcAdsTransport implements AdsTransport {
  readonly #server: AdsServer;
  readonly #options: AdsTransportOptions;
  readonly #log: Logger;
  readonly #host: string;
  /** Undefined where the channel is not encrypted. */
  readonly #security: ClientSecurity | undefined;
  /** Undefined where a stream says nothing about who opens it. */
  readonly #identity: CallIdentity | undefined;
  readonly #clients = new Set<Client>();
  #warned = false;
  #closed = false;

  constructor(server: AdsServer, options: AdsTransportOptions) {
    this.#server = server;
    this.#options = options;
    this.#log = options.log ?? silentLogger;
    this.#host = hostOf(parseTarget(server.uri).authority);
    this.#security = this.#makeSecurity();
    const { callCredentials = [], metadata = [] } = server;
    const google = server.credentials.type === 'google_default';
    if (google || callCredentials.length > 0 || metadata.length > 0) {
      this.#identity = new CallIdentity(
        { secure: this.#security !== undefined, google, callCredentials, metadata },
        {
          clock: options.clock ?? new RealClock(),
          random: options.random ?? realRandom,
          environment: options.environment ?? readEnvironment(),
        },
      );
    }
  }

  open(method: string, events: AdsStreamEvents): AdsStream {
    if (this.#closed) throw new Error('the transport is closed');
    const stream = new GrpcAdsStream(events);
    if (this.#identity === undefined) {
      this.#begin(stream, method, undefined);
      return stream;
    }
    // Nothing is connected before it is known what to say.
    this.#identity.collect().then(
      (collected) => this.#begin(stream, method, collected),
      (error: unknown) => {
        const { code, message } = error instanceof CredentialProblem ? error : { code: GrpcStatus.UNAVAILABLE, message: 'fault in inmesh' };
        stream.end(code, `no credentials: ${message}`);
      },
    );
    return stream;
  }

  close(): void {
    this.#closed = true;
    this.#identity?.close();
    for (const client of this.#clients) client.close();
    this.#clients.clear();
  }

  #begin(stream: GrpcAdsStream, method: string, collected: Collected | undefined): void {
    if (stream.ended) return;
    if (this.#closed) return stream.end(GrpcStatus.CANCELLED, 'the transport is closed');
    const metadata = new Metadata();
    for (const [key, value] of collected?.entries ?? []) metadata.add(key, value);
    this.#warnOnce(collected);
    const { client, reporter, handshake } = this.#connect();
    const onFirst = (): void => {
      // Whoever waits for a configuration keeps the process alive; afterwards a stream that waits for updates should not.
      if (this.#options.background === true && reporter.socket !== undefined) letGo(reporter.socket);
    };
    stream.begin(client, method, metadata, onFirst, (code, details, connected) => {
      client.close();
      this.#clients.delete(client);
      if (!connected && handshake.error !== undefined) return `TLS handshake: ${handshake.error.message}`;
      const shown = collected === undefined ? details : collected.redact(details);
      return code === GrpcStatus.UNAUTHENTICATED || code === GrpcStatus.PERMISSION_DENIED ? `${shown} (${this.#sent()})` : shown;
    });
  }

  /** For whoever is refused: what to look at. Names and sources, no values. */
  #sent(): string {
    const certificate = this.#security?.material()?.certificateChain === undefined ? [] : ['a client certificate'];
    const sent = [...certificate, ...(this.#identity === undefined ? [] : [this.#identity.sent])];
    return sent.length === 0 ? 'no credentials were sent' : `sent: ${sent.join(', ')}`;
  }

  /** Metadata in the clear was asked for in so many words, and is told all the same; a socket of the machine's own is not "in the clear". */
  #warnOnce(collected: Collected | undefined): void {
    if (this.#warned || this.#security !== undefined || /^unix(-abstract)?:/.test(this.#server.uri)) return;
    const keys = (collected?.entries ?? []).filter(([, value]) => value !== '').map(([key]) => key);
    if (keys.length === 0) return;
    this.#warned = true;
    this.#log.warn(`metadata for the control plane goes over an insecure channel: ${keys.join(', ')}`, { server: this.#server.uri });
  }

  #makeSecurity(): ClientSecurity | undefined {
    const { credentials } = this.#server;
    switch (credentials.type) {
      case 'insecure':
        return undefined;
      case 'tls':
        return new FileSecurity(credentials, this.#host, this.#log);
      case 'google_default':
        return new FileSecurity(SYSTEM_ROOTS, this.#host, this.#log);
      case 'tls_context':
        if (this.#options.security === undefined) throw new TypeError('credentials of type tls_context need the option security');
        return this.#options.security;
    }
  }

  #connect(): Connection {
    const handshake: { error: Error | undefined } = { error: undefined };
    const watcher = { onHandshakeFailure: (error: Error): void => void (handshake.error = error) };
    const inner =
      this.#security === undefined ? ChannelCredentials.createInsecure() : new ClusterCredentials(this.#security, this.#host, watcher);
    const reporter = new SocketReporter(inner);
    const { keepalive } = this.#server;
    const options: ChannelOptions = {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
      // The 4 MB default ends the stream at about 50 000 endpoints.
      'grpc.max_receive_message_length': -1,
      'grpc-node.flow_control_window': FLOW_CONTROL_WINDOW,
      'grpc.keepalive_time_ms': keepalive?.intervalMs ?? this.#options.keepaliveMs ?? 300_000,
      'grpc.keepalive_timeout_ms': keepalive?.timeoutMs ?? this.#options.keepaliveTimeoutMs ?? 20_000,
      'grpc.client_idle_timeout_ms': 0x7fff_ffff,
    };
    const client = new Client(socketTarget(this.#server.uri), reporter, options);
    this.#clients.add(client);
    return { client, reporter, handshake };
  }
}

/** For good: grpc-js takes hold of the process again when the call begins, which may be later. */
function letGo(socket: Socket): void {
  socket.unref();
  socket.ref = () => socket;
}

const SYSTEM_ROOTS: TlsFiles = { certificateFile: undefined, privateKeyFile: undefined, caCertificateFile: undefined };

/** A way to open streams to one control plane. Opens nothing by itself. */
export function createAdsTransport(server: AdsServer, options: AdsTransportOptions = {}): AdsTransport {
  return new GrpcAdsTransport(server, options);
}
