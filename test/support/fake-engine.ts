/**
 * A small outbound engine for adapter tests: routes by authority to fixed endpoints with round robin and a retry judge, on the real core
 * types and the real direct path, without xDS. `direct: false` takes the promise path for every call.
 */
import { DirectStack } from '../../src/cluster/direct.ts';
import { Attempt } from '../../src/core/call.ts';
import type { OutboundCall } from '../../src/core/call.ts';
import type { Cluster, Endpoint } from '../../src/core/endpoint.ts';
import type { OutboundEngine } from '../../src/core/engine.ts';
import { failure, FAILURES } from '../../src/core/failure.ts';
import type { Step } from '../../src/core/handler.ts';
import type { Observer } from '../../src/core/observer.ts';
import { ObserverSet } from '../../src/core/observer.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import type { Reply, ReplyHead } from '../../src/core/reply.ts';
import { failureReply } from '../../src/core/reply.ts';
import type { OutboundTarget } from '../../src/core/target.ts';
import type { ClientSecurity } from '../../src/core/tls.ts';
import type { Connection, Transport } from '../../src/core/transport.ts';

export interface FakeRoute {
  readonly ports: readonly number[];
  readonly tries?: number;
  readonly retryStatuses?: readonly number[];
  readonly direct?: boolean;
  readonly timeoutMs?: number;
  readonly perTryMs?: number;
  readonly steps?: readonly Step<OutboundCall>[];
  readonly security?: ClientSecurity;
  readonly http2?: boolean;
  readonly connectTimeoutMs?: number;
  readonly maxRequestsPerConnection?: number;
}

export class FakeEndpoint implements Endpoint {
  readonly address: string;
  readonly host = '127.0.0.1';
  readonly port: number;
  readonly hostname = '';
  readonly cluster: Cluster;
  readonly locality = '';
  readonly weight = 1;
  readonly health = 'healthy';
  readonly ejected = false;
  active = 0;
  readonly connections: Connection[] = [];
  #transport: Transport | undefined;

  constructor(cluster: Cluster, port: number) {
    this.cluster = cluster;
    this.port = port;
    this.address = `127.0.0.1:${port}`;
  }

  get security(): Cluster['security'] {
    return this.cluster.security;
  }

  connection(transport: Transport, secure: boolean): Connection {
    if (this.#transport !== transport || this.connections.length === 0) {
      this.#transport = transport;
      this.connections.push(transport.connect(this, secure && this.cluster.security === undefined));
    }
    return this.connections[this.connections.length - 1] as Connection;
  }
}

class FakeTarget implements OutboundTarget {
  readonly handler = { handle: (call: OutboundCall): Promise<Reply> => this.#handle(call) };
  readonly direct: DirectStack | undefined;
  readonly observers: ObserverSet;
  readonly cluster: Cluster;
  readonly labels = { listener: '', routeConfig: '', virtualHost: '', route: '', cluster: 'fake' };
  readonly clock = new RealClock();
  readonly endpoints: FakeEndpoint[];
  readonly #route: FakeRoute;
  #next = 0;
  readonly #path: DirectStack;

  constructor(route: FakeRoute, observer: Observer) {
    this.#route = route;
    this.observers = new ObserverSet([observer]);
    this.cluster = {
      name: 'fake',
      security: route.security,
      http2: route.http2 ?? false,
      connectTimeoutMs: route.connectTimeoutMs ?? 1000,
      maxRequestsPerConnection: route.maxRequestsPerConnection,
      requests: 0,
      pending: 0,
      retries: 0,
      pick: () => undefined,
    };
    this.endpoints = route.ports.map((port) => new FakeEndpoint(this.cluster, port));
    const late = failure(FAILURES.responseTimeout, `no response within ${route.timeoutMs} ms`);
    const limit: Step<OutboundCall> = {
      enter: (call) => {
        if (route.timeoutMs === undefined) return undefined;
        call.timeLimit = late;
        call.timer = this.clock.set(call, route.timeoutMs, true);
        return undefined;
      },
    };
    const pick: Step<Attempt> = {
      enter: (attempt) => {
        attempt.endpoint = this.endpoints[this.#next++ % Math.max(1, this.endpoints.length)];
        if (attempt.endpoint === undefined) return failureReply(failure(FAILURES.noHealthyUpstream, 'the fake cluster is empty'));
        if (route.perTryMs !== undefined) {
          attempt.timeLimit = failure(FAILURES.perTryTimeout, `no response within ${route.perTryMs} ms`);
          attempt.timer = this.clock.set(attempt, route.perTryMs, true);
        }
        return undefined;
      },
    };
    this.#path = new DirectStack([...(route.steps ?? []), limit], [pick], {
      accepts: (attempt, head) => !this.#wants(attempt, head),
      resume: (attempt, reply) => this.#resume(attempt, reply),
    });
    this.direct = route.direct === false ? undefined : this.#path;
  }

  #wants(attempt: Attempt, head: ReplyHead): boolean {
    if (attempt.call.cancelled !== undefined || attempt.number >= (this.#route.tries ?? 1) || !attempt.call.body.replayable) return false;
    if (head.failure !== undefined) return head.failure.kind.retryOn.length > 0;
    return this.#route.retryStatuses?.includes(head.status) ?? false;
  }

  async #resume(attempt: Attempt, reply: Reply): Promise<Reply> {
    let [last, answer] = [attempt, reply];
    while (this.#wants(last, answer)) {
      answer.body.discard();
      // A pause as a back-off would make.
      await Promise.resolve();
      const next = new Attempt(last.call, last.number + 1);
      last.call.attempts = next.number;
      last.call.pending = next;
      next.endpoint = this.endpoints[this.#next++ % this.endpoints.length] as FakeEndpoint;
      next.begin(0);
      answer = await next.endpoint.connection(last.call.transport, last.call.head.scheme === 'https').send(next);
      last = next;
    }
    return answer;
  }

  async #handle(call: OutboundCall): Promise<Reply> {
    await Promise.resolve();
    const started = this.#path.start(call);
    if (!(started instanceof Attempt)) return started;
    const reply = await (started.endpoint as FakeEndpoint).connection(call.transport, call.head.scheme === 'https').send(started);
    return this.#path.accepts(started, reply) ? reply : this.#path.retry(started, reply);
  }
}

/** What happened, for invariants: every call and attempt that started ended. */
export class Ledger implements Observer {
  calls: OutboundCall[] = [];
  attempts: Attempt[] = [];
  callsStarted = 0;
  attemptsStarted = 0;
  onCallStart(): void {
    this.callsStarted++;
  }
  onCallEnd(call: unknown): void {
    this.calls.push(call as OutboundCall);
  }
  onAttemptStart(): void {
    this.attemptsStarted++;
  }
  onAttemptEnd(attempt: Attempt): void {
    this.attempts.push(attempt);
  }
  get open(): number {
    return this.callsStarted - this.calls.length + this.attemptsStarted - this.attempts.length;
  }
}

export class FakeEngine implements OutboundEngine {
  readonly clock = new RealClock();
  epoch = 0;
  readonly ledger = new Ledger();
  readonly targets = new Map<string, FakeTarget>();
  /** While false `open` says "not yet". */
  ready = true;
  readonly #waiting: (() => void)[] = [];

  constructor(routes: Readonly<Record<string, FakeRoute>>) {
    for (const [authority, route] of Object.entries(routes)) this.targets.set(authority, new FakeTarget(route, this.ledger));
  }

  includes(authority: string): boolean {
    return this.targets.has(authority);
  }

  open(call: OutboundCall): OutboundTarget | Reply | undefined {
    if (!this.ready) return undefined;
    const target = this.targets.get(call.head.authority);
    if (target === undefined) return failureReply(failure(FAILURES.routeNotFound, `no route for ${call.head.authority}`));
    call.target = target;
    call.startedAt = this.clock.now();
    this.ledger.onCallStart();
    return target;
  }

  async handle(call: OutboundCall): Promise<Reply> {
    if (!this.ready) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const target = call.target ?? this.open(call);
    if (target === undefined) throw new Error('not ready');
    return 'handler' in target ? target.handler.handle(call) : target;
  }

  start(): void {
    this.ready = true;
    for (const wake of this.#waiting.splice(0)) wake();
  }

  async close(): Promise<void> {
    for (const target of this.targets.values()) {
      await Promise.all(target.endpoints.flatMap((endpoint) => endpoint.connections.map((connection) => connection.close())));
    }
  }
}
