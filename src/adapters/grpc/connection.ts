/**
 * The back: one real grpc-js channel per endpoint, without retries, name resolution or pooling of its own, since all of that is the
 * mesh's. It turns what grpc-js reports into failures of the catalogue; a status that the server sent is a reply.
 */
import type { ChannelOptions, StatusObject } from '@grpc/grpc-js';
import { Channel, ChannelCredentials, connectivityState } from '@grpc/grpc-js';
import { isIP } from 'node:net';
import type { Attempt, OutboundCall } from '../../core/call.ts';
import type { Alarm, Clock, Timer } from '../../core/clock.ts';
import type { Endpoint } from '../../core/endpoint.ts';
import type { Failure, FailureKind } from '../../core/failure.ts';
import { failure, FAILURES } from '../../core/failure.ts';
import type { Reply } from '../../core/reply.ts';
import { failureReply } from '../../core/reply.ts';
import { GrpcStatus } from '../../core/status.ts';
import type { ClientSecurity } from '../../core/tls.ts';
import type { Connection } from '../../core/transport.ts';
import { GrpcCall } from './call.ts';
import type { HandshakeWatcher } from './channel-credentials.ts';
import { ClusterCredentials } from './channel-credentials.ts';
import { Exchange } from './exchange.ts';
import type { Line } from './exchange.ts';
import type { Lane } from './express.ts';
import { ExpressCall, laneOf } from './express.ts';
import { MetadataView } from './metadata.ts';
import type { WireCall } from './wire.ts';

/** What the application set for its channel, as far as it concerns connections. */
export interface ConnectionSetting {
  readonly clock: Clock;
  /** The application's channel credentials, for clusters without a transport socket. */
  readonly credentials: ChannelCredentials;
  readonly options: ChannelOptions;
  /** Server name for TLS with the application's credentials. */
  readonly serverName: string;
}

const INSECURE = ChannelCredentials.createInsecure();

export class GrpcConnection implements Connection, Line, Alarm, HandshakeWatcher {
  readonly #endpoint: Endpoint;
  readonly #secure: boolean;
  readonly #setting: ConnectionSetting;
  readonly #security: ClientSecurity | undefined;
  #generation = 0;
  #channel: Channel | undefined = undefined;
  #lane: Lane | undefined = undefined;
  #toldActive = Number.NEGATIVE_INFINITY;
  #active = 0;
  /** Exchanges that have no connection yet; undefined while the channel is connected. */
  #waiting: Set<Exchange> | undefined = undefined;
  #connectTimer: Timer | undefined = undefined;
  #handshakeError: Error | undefined = undefined;
  #closing: Promise<void> | undefined = undefined;
  #onClosed: () => void = () => undefined;

  constructor(endpoint: Endpoint, secure: boolean, setting: ConnectionSetting) {
    this.#endpoint = endpoint;
    this.#secure = secure;
    this.#setting = setting;
    this.#security = endpoint.security;
  }

  send(attempt: Attempt): Promise<Reply> {
    return new Promise((resolve) => this.open(attempt, resolve));
  }

  /** Starts the attempt; its head goes to `resolve`, or to the call itself on the direct path. */
  open(attempt: Attempt, resolve?: (reply: Reply) => void): void {
    const { call } = attempt;
    const front = call.body;
    if (!(front instanceof GrpcCall)) throw new TypeError('a gRPC connection was given a call of another adapter');
    const refused = attempt.cancelled ?? this.#refusal();
    if (refused !== undefined) {
      attempt.end(refused.kind.httpStatus, refused.kind.grpcStatus, refused);
      const reply = failureReply(refused);
      if (resolve === undefined) front.onHead(reply, attempt);
      else resolve(reply);
      return;
    }
    const channel = this.#ready();
    const connected = channel.getConnectivityState(this.#keepsActive(attempt.startedAt)) === connectivityState.READY;
    const wire = this.#wire(call, front, channel, connected);
    const exchange = new Exchange(attempt, wire, this, front, resolve);
    attempt.pending = exchange;
    this.#active++;
    this.#start(exchange, front, channel, connected);
  }

  resend(exchange: Exchange): boolean {
    const { attempt } = exchange;
    const front = attempt.call.body;
    const channel = this.#channel;
    if (!(front instanceof GrpcCall) || !front.replayable || channel === undefined) return false;
    const connected = channel.getConnectivityState(true) === connectivityState.READY;
    exchange.wire = this.#wire(attempt.call, front, channel, connected);
    exchange.nextMessage = 0;
    exchange.writing = false;
    exchange.halfClosed = false;
    this.#start(exchange, front, channel, connected);
    return true;
  }

  #wire(call: OutboundCall, front: GrpcCall, channel: Channel, connected: boolean): WireCall {
    const { head } = call;
    const lane = connected ? this.#lane : undefined;
    const deadline = front.attemptDeadline(call);
    return lane === undefined
      ? channel.createCall(head.path, deadline, head.authority, null, 0)
      : new ExpressCall(lane, head.path, head.authority, deadline, front.getCallNumber());
  }

  #start(exchange: Exchange, front: GrpcCall, channel: Channel, connected: boolean): void {
    const { attempt, wire } = exchange;
    const view = attempt.call.head.headers;
    if (!(view instanceof MetadataView)) throw new TypeError('a gRPC call without metadata');
    if (connected) attempt.markSent();
    else this.#wait(exchange, channel);
    const { callCredentials } = front;
    if (callCredentials !== undefined) wire.setCredentials(callCredentials);
    // An attempt never waits for one endpoint to come up: failing at once lets a retry pick another.
    const options = view.metadata.getOptions();
    if (options.waitForReady === true) view.writable().setOptions({ ...options, waitForReady: false });
    wire.start(wire instanceof ExpressCall ? view.writable() : view.metadata, exchange);
    front.run(exchange);
  }

  close(): Promise<void> {
    this.#closing ??= new Promise<void>((resolve) => {
      this.#onClosed = resolve;
    });
    this.#closeWhenIdle();
    return this.#closing;
  }

  judge(exchange: Exchange, status: StatusObject, headSeen: boolean): Failure | undefined {
    if (status.code === GrpcStatus.OK) return undefined;
    // What a server sends has headers: at the least the content type in a trailers-only response.
    const fromServer = headSeen ? !DROPPED.test(status.details) : status.metadata.get('content-type').length > 0;
    const { call } = exchange.attempt;
    if (
      status.code === GrpcStatus.DEADLINE_EXCEEDED &&
      (headSeen ? this.#setting.clock.now() >= call.deadline - TIMER_SLACK_MS : !fromServer)
    ) {
      return call.timeLimit ?? failure(FAILURES.deadlineExceeded, status.details);
    }
    if (fromServer) return undefined;
    if (headSeen) return failure(FAILURES.resetAfterResponse, status.details);
    const where = `${this.#endpoint.address}: ${status.details}`;
    if (exchange.wire.getAuthContext() === null) return this.#unconnectedFailure(status, where);
    if (status.details === 'Stream refused by server') return failure(FAILURES.refusedStream, where);
    if (DROPPED.test(status.details)) return failure(resetKind(status.code), where);
    return undefined;
  }

  onEnd(exchange: Exchange): void {
    this.#active--;
    this.#waiting?.delete(exchange);
    if (this.#closing !== undefined) this.#closeWhenIdle();
  }

  onHandshakeFailure(error: Error): void {
    this.#handshakeError = error;
  }

  /** The connect timeout of the cluster: whoever still waits for the connection fails. */
  onAlarm(): void {
    this.#connectTimer = undefined;
    const failed = failure(
      FAILURES.connectionFailure,
      `${this.#endpoint.address}: no connection within ${this.#endpoint.cluster.connectTimeoutMs} ms`,
    );
    // A retry may come back to this endpoint: it waits in a set of its own.
    const waiting = this.#waiting;
    this.#connected();
    for (const exchange of waiting ?? []) exchange.cancel(failed);
  }

  /** Calls on the lane do not count for grpc-js's idle timer: once a minute it is told that the channel is in use. */
  #keepsActive(now: number): boolean {
    if (now - this.#toldActive < ACTIVE_NOTICE_MS) return false;
    this.#toldActive = now;
    return true;
  }

  #refusal(): Failure | undefined {
    if (this.#closing !== undefined) return failure(FAILURES.meshClosed, `the connection to ${this.#endpoint.address} is closed`);
    const security = this.#security;
    if (security === undefined || security.secureContext() !== undefined) return undefined;
    return failure(FAILURES.tlsNotReady, `cluster "${this.#endpoint.cluster.name}" has no usable certificates: ${security.problem}`);
  }

  #ready(): Channel {
    const generation = this.#security?.generation ?? 0;
    // After a rotation a channel in back-off tries the new certificates at once; one that is connected stays.
    if (this.#channel !== undefined && generation !== this.#generation) {
      this.#generation = generation;
      if (this.#channel.getConnectivityState(false) === connectivityState.TRANSIENT_FAILURE) {
        this.#channel.close();
        this.#channel = undefined;
      }
    }
    if (this.#channel === undefined) {
      this.#generation = generation;
      const options = this.#options();
      this.#channel = new Channel(targetOf(this.#endpoint), this.#credentials(), options);
      this.#lane = laneOf(this.#channel, options, this.#setting.clock);
    }
    return this.#channel;
  }

  #credentials(): ChannelCredentials {
    const { hostname, host } = this.#endpoint;
    if (this.#security !== undefined) return new ClusterCredentials(this.#security, this.#security.serverName ?? (hostname || host), this);
    return this.#secure ? this.#setting.credentials : INSECURE;
  }

  #options(): ChannelOptions {
    const { options, serverName } = this.#setting;
    const { hostname, address } = this.#endpoint;
    return {
      // A mesh notices a returning endpoint in seconds, not in grpc-js's two minutes; and channelz of thousands of channels costs.
      'grpc.initial_reconnect_backoff_ms': 250,
      'grpc.max_reconnect_backoff_ms': 10_000,
      'grpc.enable_channelz': 0,
      ...options,
      'grpc.default_authority': hostname || address,
      'grpc.ssl_target_name_override': options['grpc.ssl_target_name_override'] ?? serverName,
      'grpc.enable_retries': 0,
      'grpc.per_rpc_retry_buffer_size': 0,
      'grpc.use_local_subchannel_pool': 1,
      'grpc.service_config_disable_resolution': 1,
      'grpc.enable_http_proxy': 0,
    };
  }

  #wait(exchange: Exchange, channel: Channel): void {
    if (this.#waiting !== undefined) {
      this.#waiting.add(exchange);
    } else if (channel.getConnectivityState(false) !== connectivityState.TRANSIENT_FAILURE) {
      this.#waiting = new Set([exchange]);
      this.#connectTimer = this.#setting.clock.set(this, this.#endpoint.cluster.connectTimeoutMs, true);
      this.#watch(channel);
    }
  }

  #watch(channel: Channel): void {
    const state = channel.getConnectivityState(false);
    if (state === connectivityState.READY) {
      const waiting = this.#waiting;
      this.#connected();
      for (const exchange of waiting ?? []) exchange.attempt.markSent();
    } else if (state === connectivityState.SHUTDOWN || state === connectivityState.TRANSIENT_FAILURE) {
      this.#connected();
    } else {
      channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, () => this.#watch(channel));
    }
  }

  /** Connecting is over, one way or the other. */
  #connected(): void {
    this.#waiting = undefined;
    if (this.#connectTimer !== undefined) this.#setting.clock.clear(this.#connectTimer);
    this.#connectTimer = undefined;
  }

  #unconnectedFailure(status: StatusObject, where: string): Failure | undefined {
    if (status.code === GrpcStatus.UNAVAILABLE) {
      const tls = this.#handshakeError;
      if (tls === undefined || !status.details.includes(tls.message)) return failure(FAILURES.connectionFailure, where);
      return failure(FAILURES.tlsFailure, where, tls);
    }
    // The session closed between pick and stream; nothing was sent.
    if (status.details.startsWith('Failed to start HTTP/2 stream')) return failure(FAILURES.resetBeforeRequest, where);
    return undefined;
  }

  #closeWhenIdle(): void {
    if (this.#active > 0) return;
    this.#connected();
    this.#channel?.close();
    this.#channel = undefined;
    this.#onClosed();
  }
}

const ACTIVE_NOTICE_MS = 60_000;

/** grpc-js's timers and ours may differ by this much. */
const TIMER_SLACK_MS = 5;

/** Details that grpc-js gives a call whose connection or stream broke; a contract test pins them. */
const DROPPED =
  /^(Connection dropped|Received RST_STREAM with code|Write error|Write failed|Call cancelled$|read ECONNRESET|read ETIMEDOUT|write EPIPE)/;

const resetKinds = new Map<number, FailureKind>();

/** A reset keeps the status that gRPC's HTTP/2 mapping gives it: retry conditions and the application go by that. */
function resetKind(code: number): FailureKind {
  if (code === GrpcStatus.UNAVAILABLE) return FAILURES.resetBeforeResponse;
  let kind = resetKinds.get(code);
  if (kind === undefined) {
    kind = Object.freeze({ ...FAILURES.resetBeforeResponse, grpcStatus: code });
    resetKinds.set(code, kind);
  }
  return kind;
}

function targetOf(endpoint: Endpoint): string {
  const family = isIP(endpoint.host);
  if (family === 0) return `dns:///${endpoint.host}:${endpoint.port}`;
  return `ipv${family}:${endpoint.address}`;
}
