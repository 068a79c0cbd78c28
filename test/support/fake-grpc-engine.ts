/** An outbound engine for tests of the gRPC adapter alone: round robin over given ports, gRPC retries, with or without the direct path. */
import { Attempt } from '../../src/core/call.ts';
import type { OutboundCall } from '../../src/core/call.ts';
import type { Clock } from '../../src/core/clock.ts';
import type { Cluster, Endpoint } from '../../src/core/endpoint.ts';
import type { OutboundEngine } from '../../src/core/engine.ts';
import { failure, FAILURES } from '../../src/core/failure.ts';
import type { Observer } from '../../src/core/observer.ts';
import { ObserverSet } from '../../src/core/observer.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import type { Reply, ReplyHead } from '../../src/core/reply.ts';
import { failureReply } from '../../src/core/reply.ts';
import type { DirectPath, OutboundTarget } from '../../src/core/target.ts';
import type { ClientSecurity } from '../../src/core/tls.ts';
import type { Connection, Transport } from '../../src/core/transport.ts';

export interface FakeSetting {
  readonly ports: readonly number[];
  readonly host?: string;
  readonly security?: ClientSecurity;
  /** Attempts after the first, for these gRPC statuses. */
  readonly retries?: number;
  readonly retryOn?: readonly number[];
  readonly direct?: boolean;
  readonly included?: readonly string[];
  readonly clock?: Clock;
  /** Resolves when the first configuration is there; calls before go through `handle`. */
  readonly ready?: Promise<void>;
  readonly connectTimeoutMs?: number;
  /** Changes the call before its first attempt. */
  readonly enter?: (call: OutboundCall) => Reply | undefined;
  readonly leave?: (call: OutboundCall, head: ReplyHead) => void;
}

class FakeEndpoint implements Endpoint {
  readonly address: string;
  readonly host: string;
  readonly port: number;
  readonly hostname = '';
  readonly cluster: Cluster;
  readonly locality = '';
  readonly weight = 1;
  readonly health = 'healthy';
  readonly ejected = false;
  active = 0;
  readonly connections = new Map<string, { transport: Transport; connection: Connection }>();
  constructor(cluster: Cluster, host: string, port: number) {
    this.cluster = cluster;
    this.host = host;
    this.port = port;
    this.address = `${host}:${port}`;
  }
  get security(): Cluster['security'] {
    return this.cluster.security;
  }

  connection(transport: Transport, secure: boolean): Connection {
    for (const slot of this.connections.values()) if (slot.transport === transport) return slot.connection;
    const connection = transport.connect(this, secure && this.cluster.security === undefined);
    this.connections.set(String(this.connections.size), { transport, connection });
    return connection;
  }
}

export interface FakeRecord {
  readonly calls: { status: number; grpcStatus: number | undefined; failure: string | undefined; attempts: number; path: string }[];
  readonly attempts: { address: string; status: number; grpcStatus: number | undefined; failure: string | undefined; sent: boolean }[];
}

export class FakeGrpcEngine implements OutboundEngine {
  readonly clock: Clock;
  epoch = 1;
  included: ReadonlySet<string>;
  readonly record: FakeRecord = { calls: [], attempts: [] };
  readonly endpoints: FakeEndpoint[];
  readonly cluster: Cluster;
  #turn = 0;
  #ready: boolean;
  readonly #setting: FakeSetting;
  readonly #target: OutboundTarget;
  callsStarted = 0;

  constructor(setting: FakeSetting) {
    this.#setting = setting;
    this.clock = setting.clock ?? new RealClock();
    this.included = new Set(setting.included ?? ['echo:1']);
    this.#ready = setting.ready === undefined;
    void setting.ready?.then(() => (this.#ready = true));
    const endpoints: FakeEndpoint[] = [];
    const cluster: Cluster = {
      name: 'fake',
      security: setting.security,
      http2: true,
      connectTimeoutMs: setting.connectTimeoutMs ?? 5_000,
      maxRequestsPerConnection: undefined,
      requests: 0,
      pending: 0,
      retries: 0,
      pick: (call) => {
        const tried = call.tried ?? [];
        const fresh = endpoints.filter((e) => !tried.includes(e));
        const from = fresh.length > 0 ? fresh : endpoints;
        return from[this.#turn++ % from.length];
      },
    };
    for (const port of setting.ports) endpoints.push(new FakeEndpoint(cluster, setting.host ?? '127.0.0.1', port));
    this.endpoints = endpoints;
    this.cluster = cluster;
    const observer: Observer = {
      onCallStart: () => void this.callsStarted++,
      onCallEnd: (call) =>
        void this.record.calls.push({
          status: call.status,
          grpcStatus: call.grpcStatus,
          failure: call.failure?.kind.details,
          attempts: (call as OutboundCall).attempts,
          path: call.head.path,
        }),
      onAttemptEnd: (attempt) =>
        void this.record.attempts.push({
          address: attempt.endpoint?.address ?? '',
          status: attempt.status,
          grpcStatus: attempt.grpcStatus,
          failure: attempt.failure?.kind.details,
          sent: attempt.sent,
        }),
    };
    const handler = { handle: (call: OutboundCall) => this.#run(call) };
    const direct: DirectPath = {
      start: (call) => {
        const answered = setting.enter?.(call);
        if (answered !== undefined) return answered;
        const attempt = this.#attempt(call);
        if ('body' in attempt) return attempt;
        call.pending = attempt;
        attempt.begin(this.clock.now());
        return attempt;
      },
      accepts: (attempt, head) => {
        if (this.#retries(attempt.call, head)) return false;
        setting.leave?.(attempt.call, head);
        return true;
      },
      retry: (attempt, reply) => this.#goOn(attempt.call, reply),
    };
    this.#target = {
      handler,
      direct: setting.direct === false ? undefined : direct,
      observers: new ObserverSet([observer]),
      cluster,
      clock: this.clock,
      labels: { listener: 'l', routeConfig: 'r', virtualHost: 'v', route: 'x', cluster: 'fake' },
    };
  }

  includes(authority: string): boolean {
    return this.included.has(authority);
  }

  open(call: OutboundCall): OutboundTarget | Reply | undefined {
    if (!this.#ready) return undefined;
    call.startedAt = this.clock.now();
    call.target = this.#target;
    this.#target.observers.callStart(call);
    return this.#target;
  }

  async handle(call: OutboundCall): Promise<Reply> {
    if (!this.#ready) {
      const stopped = new Promise<void>((resolve) => (call.pending = { cancel: () => resolve() }));
      await Promise.race([this.#setting.ready, stopped]);
    }
    if (call.cancelled !== undefined) return failureReply(call.cancelled);
    if (call.target === undefined) this.open(call);
    return this.#run(call);
  }

  async close(): Promise<void> {
    await Promise.all(this.endpoints.flatMap((e) => [...e.connections.values()].map((s) => s.connection.close())));
  }

  #attempt(call: OutboundCall): Attempt | Reply {
    const attempt = new Attempt(call, ++call.attempts);
    attempt.endpoint = this.cluster.pick(call);
    if (attempt.endpoint === undefined)
      return failureReply(failure(FAILURES.noHealthyUpstream, 'cluster "fake" has no endpoint that may be used'));
    return attempt;
  }

  async #run(call: OutboundCall): Promise<Reply> {
    const answered = this.#setting.enter?.(call);
    if (answered !== undefined) return answered;
    const reply = await this.#try(call);
    return this.#retries(call, reply) ? this.#goOn(call, reply) : this.#left(call, reply);
  }

  async #goOn(call: OutboundCall, first: Reply): Promise<Reply> {
    let reply = first;
    while (this.#retries(call, reply)) {
      reply.body.discard();
      await new Promise((resolve) => setTimeout(resolve, 5));
      reply = await this.#try(call);
    }
    return this.#left(call, reply);
  }

  #left(call: OutboundCall, reply: Reply): Reply {
    this.#setting.leave?.(call, reply);
    return reply;
  }

  async #try(call: OutboundCall): Promise<Reply> {
    if (call.cancelled !== undefined) return failureReply(call.cancelled);
    const attempt = this.#attempt(call);
    if ('body' in attempt) return attempt;
    call.pending = attempt;
    attempt.begin(this.clock.now());
    (call.tried ??= []).push(attempt.endpoint as Endpoint);
    const connection = attempt.endpoint?.connection(call.transport, call.head.scheme === 'https');
    return connection === undefined ? failureReply(failure(FAILURES.noHealthyUpstream, 'none')) : connection.send(attempt);
  }

  #retries(call: OutboundCall, head: ReplyHead): boolean {
    const { retries = 0, retryOn = [14] } = this.#setting;
    if (call.cancelled !== undefined || call.attempts > retries || !call.body.replayable) return false;
    return head.grpcStatus !== undefined && retryOn.includes(head.grpcStatus);
  }
}
