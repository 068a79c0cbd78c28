/**
 * The stream to a control plane on a grpc-js client: bytes in both directions with flow control (`AdsTransport`). Reconnecting,
 * back-off and the protocol are the xDS client's (`xds/server-link.ts`); each stream after a lost connection connects anew at once.
 */
import type { ChannelOptions, ClientDuplexStream, StatusObject } from '@grpc/grpc-js';
import { CallCredentials, ChannelCredentials, Client, Metadata, connectivityState } from '@grpc/grpc-js';
import type { experimental } from '@grpc/grpc-js';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { Socket } from 'node:net';
import { checkServerIdentity, createSecureContext } from 'node:tls';
import type { PeerCertificate, SecureContext } from 'node:tls';
import { GrpcStatus } from '../../core/status.ts';
import type { ClientSecurity } from '../../core/tls.ts';
import type { AdsStream, AdsStreamEvents, AdsTransport } from '../../core/transport.ts';
import { ClusterCredentials } from './channel-credentials.ts';
import { hostOf, parseTarget } from './target-name.ts';

type SecureConnector = experimental.SecureConnector;

/** A control plane, as `XdsServerConfig` describes it. */
export interface AdsServer {
  /** A gRPC target. */
  readonly uri: string;
  readonly credentials:
    | { readonly type: 'insecure' }
    | {
        readonly type: 'tls';
        readonly certificateFile: string | undefined;
        readonly privateKeyFile: string | undefined;
        /** Undefined: the system's roots. */
        readonly caCertificateFile: string | undefined;
      };
}

export interface AdsTransportOptions {
  /**
   * Milliseconds of silence after which a ping is sent; default 300 000, since a grpc-go server with default settings ends connections
   * that are pinged more often than every 5 minutes.
   */
  readonly keepaliveMs?: number;
  /** Milliseconds to wait for the answer to a ping before the connection counts as lost; default 20 000. */
  readonly keepaliveTimeoutMs?: number;
  /** True: from its first message on, an open stream does not keep the process alive. Default false. */
  readonly background?: boolean;
}

/** Bytes a server may send before we have read any: a response for 100 000 endpoints has 8 MB. */
const FLOW_CONTROL_WINDOW = 16 * 1024 * 1024;

/** Files are read for every new connection, so what was replaced on disk is used from the next one on. */
class FileSecurity implements ClientSecurity {
  readonly generation = 0;
  readonly verifiesChain = true;
  readonly alpn = ['h2'];
  readonly serverName: string | undefined;
  readonly #files: Extract<AdsServer['credentials'], { readonly type: 'tls' }>;
  problem = '';

  constructor(files: Extract<AdsServer['credentials'], { readonly type: 'tls' }>, host: string) {
    this.#files = files;
    this.serverName = isIP(host) === 0 && host !== '' ? host : undefined;
  }

  material() {
    try {
      const { certificateFile, privateKeyFile, caCertificateFile } = this.#files;
      return { certificateChain: read(certificateFile), privateKey: read(privateKeyFile), roots: read(caCertificateFile) };
    } catch (error) {
      this.problem = reasonOf(error);
      return undefined;
    }
  }

  secureContext(): SecureContext | undefined {
    const material = this.material();
    if (material === undefined) return undefined;
    try {
      const { certificateChain: cert, privateKey: key, roots: ca } = material;
      return createSecureContext({ ...(cert && { cert }), ...(key && { key }), ...(ca && { ca }), minVersion: 'TLSv1.2' });
    } catch (error) {
      this.problem = reasonOf(error);
      return undefined;
    }
  }

  verifyPeer(hostname: string, certificate: PeerCertificate): Error | undefined {
    return checkServerIdentity(hostname, certificate);
  }

  onRotate(): () => void {
    return () => undefined;
  }
}

/** Credentials that tell which socket a connection got. */
class SocketReporter extends ChannelCredentials {
  readonly #inner: ChannelCredentials;
  socket: Socket | undefined;

  constructor(inner: ChannelCredentials) {
    super();
    this.#inner = inner;
  }

  override _isSecure(): boolean {
    return this.#inner._isSecure();
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(...[target, options, calls]: Parameters<ChannelCredentials['_createSecureConnector']>): SecureConnector {
    const connector = this.#inner._createSecureConnector(target, options, calls ?? CallCredentials.createEmpty());
    return {
      connect: async (socket) => {
        const connected = await connector.connect(socket);
        this.socket = connected.socket;
        return connected;
      },
      waitForReady: () => connector.waitForReady(),
      getCallCredentials: () => connector.getCallCredentials(),
      destroy: () => connector.destroy(),
    };
  }
}

class GrpcAdsStream implements AdsStream {
  readonly #events: AdsStreamEvents;
  readonly #client: Client;
  readonly #call: ClientDuplexStream<Uint8Array, Buffer>;
  readonly #onEnd: (details: string, connected: boolean) => string;
  #connected = false;
  #ended = false;

  constructor(
    client: Client,
    method: string,
    events: AdsStreamEvents,
    onFirst: () => void,
    onEnd: (details: string, connected: boolean) => string,
  ) {
    this.#events = events;
    this.#client = client;
    this.#onEnd = onEnd;
    const call = client.makeBidiStreamRequest(method, toBuffer, identity, new Metadata());
    this.#call = call;
    call.once('data', onFirst);
    call.on('data', (bytes: Buffer) => {
      this.#markConnected();
      if (!this.#ended) events.onMessage(bytes);
    });
    // A failed call emits 'error' beside 'status'; the status says it all.
    call.on('error', () => undefined);
    call.on('status', ({ code, details }: StatusObject) => this.#end(code, details));
    queueMicrotask(() => this.#watch());
  }

  send(bytes: Uint8Array): void {
    if (!this.#ended) this.#call.write(bytes);
  }

  pause(): void {
    this.#call.pause();
  }

  resume(): void {
    this.#call.resume();
  }

  cancel(): void {
    this.#call.cancel();
    // A paused stream would keep its status to itself.
    this.#call.resume();
    queueMicrotask(() => this.#end(GrpcStatus.CANCELLED, 'cancelled'));
  }

  #watch(): void {
    if (this.#connected || this.#ended) return;
    const channel = this.#client.getChannel();
    const state = channel.getConnectivityState(false);
    if (state === connectivityState.READY) this.#markConnected();
    else if (state !== connectivityState.SHUTDOWN) channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, () => this.#watch());
  }

  #markConnected(): void {
    if (this.#connected || this.#ended) return;
    this.#connected = true;
    this.#events.onConnected();
  }

  #end(code: number, details: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#events.onEnd(code, this.#onEnd(details, this.#connected));
  }
}

class GrpcAdsTransport implements AdsTransport {
  readonly #server: AdsServer;
  readonly #options: AdsTransportOptions;
  readonly #clients = new Set<Client>();
  #closed = false;

  constructor(server: AdsServer, options: AdsTransportOptions) {
    this.#server = server;
    this.#options = options;
  }

  open(method: string, events: AdsStreamEvents): AdsStream {
    if (this.#closed) throw new Error('the transport is closed');
    const { client, reporter, handshake } = this.#connect();
    const onFirst = (): void => {
      // Whoever waits for a configuration keeps the process alive; afterwards a stream that waits for updates should not.
      if (this.#options.background === true) reporter.socket?.unref();
    };
    return new GrpcAdsStream(client, method, events, onFirst, (details, connected) => {
      // A fresh client per stream: a connection that failed would otherwise wait out grpc-js's own back-off on top of ours.
      client.close();
      this.#clients.delete(client);
      return connected || handshake.error === undefined ? details : `TLS handshake: ${handshake.error.message}`;
    });
  }

  close(): void {
    this.#closed = true;
    for (const client of this.#clients) client.close();
    this.#clients.clear();
  }

  #connect() {
    const { uri, credentials } = this.#server;
    const host = hostOf(parseTarget(uri).authority);
    const handshake: { error: Error | undefined } = { error: undefined };
    const watcher = { onHandshakeFailure: (error: Error): void => void (handshake.error = error) };
    const inner =
      credentials.type === 'insecure'
        ? ChannelCredentials.createInsecure()
        : new ClusterCredentials(new FileSecurity(credentials, host), host, watcher);
    const reporter = new SocketReporter(inner);
    const options: ChannelOptions = {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      'grpc.service_config_disable_resolution': 1,
      // The 4 MB default ends the stream at about 50 000 endpoints.
      'grpc.max_receive_message_length': -1,
      'grpc-node.flow_control_window': FLOW_CONTROL_WINDOW,
      'grpc.keepalive_time_ms': this.#options.keepaliveMs ?? 300_000,
      'grpc.keepalive_timeout_ms': this.#options.keepaliveTimeoutMs ?? 20_000,
      'grpc.client_idle_timeout_ms': 0x7fff_ffff,
    };
    const client = new Client(uri, reporter, options);
    this.#clients.add(client);
    return { client, reporter, handshake };
  }
}

/** A way to open streams to one control plane. Opens nothing by itself. */
export function createAdsTransport(server: AdsServer, options: AdsTransportOptions = {}): AdsTransport {
  return new GrpcAdsTransport(server, options);
}

function read(path: string | undefined): Buffer | undefined {
  return path === undefined ? undefined : readFileSync(path);
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function identity(bytes: Buffer): Buffer {
  return bytes;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
