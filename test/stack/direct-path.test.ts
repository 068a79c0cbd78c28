import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MeshCluster } from '../../src/cluster/cluster.ts';
import type { ClusterConfig } from '../../src/config/cluster.ts';
import { DEFAULT_THRESHOLDS } from '../../src/config/cluster.ts';
import type { HttpManagerConfig } from '../../src/config/listener.ts';
import type { ForwardActionConfig, RetryPolicyConfig, RouteConfiguration } from '../../src/config/routes.ts';
import { NO_HEADER_MUTATION } from '../../src/config/routes.ts';
import type { Call } from '../../src/core/call.ts';
import { Attempt, OutboundCall } from '../../src/core/call.ts';
import { FAILURES } from '../../src/core/failure.ts';
import type { Layer } from '../../src/core/handler.ts';
import { stepLayer } from '../../src/core/handler.ts';
import { HeaderList } from '../../src/core/headers.ts';
import { silentLogger } from '../../src/core/log.ts';
import { ObserverSet } from '../../src/core/observer.ts';
import type { Reply } from '../../src/core/reply.ts';
import { LocalReply } from '../../src/core/reply.ts';
import { LB_POLICIES } from '../../src/balancing/registry.ts';
import { outbound } from '../../src/outbound.ts';
import { FakeClock, SeededRandom, settle } from '../../src/testing/index.ts';
import type { Line } from '../support/scripted-transport.ts';
import { ScriptedTransport } from '../support/scripted-transport.ts';

interface Case {
  readonly lines: readonly Line[];
  readonly endpoints: number;
  readonly unhealthy: number;
  readonly retries: number;
  readonly perTryMs: number;
  readonly timeoutMs: number;
  readonly maxRequests: number;
  readonly replayable: boolean;
  readonly cancelAtMs: number | undefined;
  /** A step filter that answers by itself, or that only looks at heads. */
  readonly filter: 'none' | 'answers' | 'looks';
  /** With a breaker that opens at the second attempt if more than half fail. */
  readonly breaker?: boolean;
  readonly seed: number;
}

const line = fc.oneof(
  fc.record({
    kind: fc.constant('reply' as const),
    status: fc.constantFrom(200, 204, 404, 429, 500, 502, 503, 504),
    delayMs: fc.integer({ min: 0, max: 80 }),
  }),
  fc.record({
    kind: fc.constant('failure' as const),
    failure: fc.constantFrom(FAILURES.connectionFailure, FAILURES.resetBeforeResponse, FAILURES.refusedStream, FAILURES.protocolError),
    delayMs: fc.integer({ min: 0, max: 80 }),
  }),
);

const cases: fc.Arbitrary<Case> = fc.record({
  lines: fc.array(line, { maxLength: 6 }),
  endpoints: fc.integer({ min: 0, max: 4 }),
  unhealthy: fc.integer({ min: 0, max: 2 }),
  retries: fc.integer({ min: 0, max: 4 }),
  perTryMs: fc.constantFrom(0, 20, 50),
  timeoutMs: fc.constantFrom(0, 30, 150, 15_000),
  maxRequests: fc.constantFrom(0, 1, 1024),
  replayable: fc.boolean(),
  cancelAtMs: fc.option(fc.integer({ min: 0, max: 200 }), { nil: undefined }),
  breaker: fc.boolean(),
  filter: fc.constantFrom('none' as const, 'answers' as const, 'looks' as const),
  seed: fc.integer(),
});

const manager: HttpManagerConfig = {
  routeConfigName: undefined,
  routeConfig: undefined,
  filters: [],
  maxStreamDurationMs: undefined,
  stripPort: 'none',
  statPrefix: '',
};

function filterOf(kind: Case['filter'], log: string[]): Layer<Call>[] {
  if (kind === 'none') return [];
  return [
    stepLayer<Call>('test-filter', {
      enter: (): Reply | undefined => {
        log.push('filter enter');
        return kind === 'answers' ? new LocalReply(418, new HeaderList(), 'teapot') : undefined;
      },
      leave: (_call, head) => void log.push(`filter leave ${head.status}`),
    }),
  ];
}

async function play(c: Case, way: 'promise' | 'direct'): Promise<{ log: readonly string[]; sent: readonly string[] }> {
  const clock = new FakeClock();
  const random = new SeededRandom(c.seed);
  const log: string[] = [];
  const deps = { clock, random, log: silentLogger };
  const retry: RetryPolicyConfig = {
    on: ['5xx', 'connect-failure', 'reset', 'refused-stream'],
    numRetries: c.retries,
    perTryTimeoutMs: c.perTryMs,
    baseIntervalMs: 25,
    maxIntervalMs: 250,
    retriableStatusCodes: [],
    retriableHeaders: [],
    retriableRequestHeaders: [],
    avoidPreviousHosts: true,
    hostSelectionMaxAttempts: 3,
    rateLimitedBackOff: undefined,
  };
  const config: ClusterConfig = {
    name: 'c',
    discovery: { kind: 'eds', serviceName: 'c' },
    lb: { policy: 'round_robin', config: undefined },
    thresholds: { default: { ...DEFAULT_THRESHOLDS, maxRequests: c.maxRequests }, high: DEFAULT_THRESHOLDS },
    outlier: undefined,
    tls: undefined,
    http2: false,
    connectTimeoutMs: 5000,
    maxRequestsPerConnection: undefined,
    breaker:
      c.breaker === true ? { errorThresholdPercentage: 50, volumeThreshold: 2, resetTimeoutMs: 60_000, windowMs: 10_000 } : undefined,
    reportLoad: false,
    panicThreshold: 0,
    localityWeighted: false,
  };
  const cluster = new MeshCluster(config, {
    ...deps,
    security: () => {
      throw new Error('no TLS here');
    },
    metadata: () => ({}),
    lbPolicies: LB_POLICIES,
    breakers: {},
  });
  const endpoints = Array.from({ length: c.endpoints }, (_, i) => ({
    host: '127.0.0.1',
    port: 1000 + i,
    hostname: '',
    weight: 1,
    health: i < c.unhealthy ? ('unhealthy' as const) : ('healthy' as const),
    metadata: undefined,
  }));
  cluster.assign(
    {
      clusterName: 'c',
      localities: [{ locality: '//', priority: 0, weight: 1, endpoints }],
      dropOverloads: [],
      overprovisioningFactor: 140,
    },
    '',
  );
  const action: ForwardActionConfig = {
    kind: 'forward',
    cluster: { kind: 'cluster', name: 'c' },
    clusterNotFoundStatus: 503,
    timeoutMs: c.timeoutMs,
    maxStreamDuration: undefined,
    retry: c.retries === 0 ? undefined : retry,
    pathRewrite: undefined,
    hostRewrite: undefined,
    appendXForwardedHost: false,
    priority: 'default',
    hashPolicies: [],
  };
  const route = {
    name: 'r',
    match: { path: { kind: 'prefix' as const, value: '/', caseSensitive: true }, headers: [], query: [], fraction: undefined, grpc: false },
    action,
    headers: NO_HEADER_MUTATION,
    filterOverrides: {},
  };
  const virtualHost = {
    name: 'v',
    domains: ['*'],
    routes: [route],
    headers: NO_HEADER_MUTATION,
    retry: undefined,
    filterOverrides: {},
    requireTls: 'none' as const,
    includeAttemptCount: false,
  };
  const routeConfig: RouteConfiguration = {
    name: 'rc',
    virtualHosts: [virtualHost],
    headers: NO_HEADER_MUTATION,
    mostSpecificHeaderMutationsWins: false,
    ignorePortInHostMatching: false,
    maxDirectResponseBytes: 4096,
  };
  const made = outbound(
    {
      where: { routeConfig, virtualHost, route, weighted: undefined, clusterName: 'c' },
      action,
      manager,
      cluster,
      filters: filterOf(c.filter, log),
      attemptLayers: [],
    },
    deps,
  );
  const observers = new ObserverSet([
    {
      onCallEnd: (call) => void log.push(`call end ${call.status} ${call.failure?.kind.details ?? '-'} flags ${call.flags}`),
      onAttemptStart: (attempt) => void log.push(`attempt ${attempt.number} start ${attempt.endpoint?.address ?? '-'}`),
      onAttemptEnd: (attempt) => void log.push(`attempt ${attempt.number} end ${attempt.status} ${attempt.failure?.kind.details ?? '-'}`),
    },
  ]);
  const labels = { listener: 'l', routeConfig: 'rc', virtualHost: 'v', route: 'r', cluster: 'c' };
  const transport = new ScriptedTransport(c.lines, clock);
  const head = { protocol: 'http' as const, method: 'GET', scheme: 'http', authority: 'a', path: '/', headers: new HeaderList() };
  const call = new OutboundCall(head, { replayable: c.replayable }, transport);
  call.startedAt = clock.now();
  call.target = { handler: made.handler, direct: made.direct, observers, cluster, labels, clock };

  const show = (reply: Reply): void => {
    log.push(`reply ${reply.status} ${reply.failure?.kind.details ?? '-'}`);
    if (reply instanceof LocalReply) call.end(reply.status, reply.grpcStatus, reply.failure);
    else reply.body.deliver(undefined);
  };
  if (way === 'promise') {
    void made.handler.handle(call).then(show);
  } else {
    // What an adapter does, in the fewest words (core/target.ts).
    const { direct } = made;
    if (direct === undefined) throw new Error('a stack of steps must have a direct path');
    const first = direct.start(call);
    if (!(first instanceof Attempt)) show(first);
    else transport.next(first).start((reply) => (direct.accepts(first, reply) ? show(reply) : void direct.retry(first, reply).then(show)));
  }
  if (c.cancelAtMs !== undefined) {
    clock.set({ onAlarm: () => call.cancel({ kind: FAILURES.remoteDisconnect, message: 'gone', cause: undefined }) }, c.cancelAtMs);
  }
  await clock.advance(40_000);
  await settle();
  await cluster.close();
  expect({
    pending: clock.pending,
    requests: cluster.requests,
    waiting: cluster.pending,
    retries: cluster.retries,
    ended: call.ended,
  }).toEqual({
    pending: 0,
    requests: 0,
    waiting: 0,
    retries: 0,
    ended: true,
  });
  for (const endpoint of cluster.endpoints) expect(endpoint.active).toBe(0);
  return { log, sent: transport.sent };
}

test('the direct path and the promise stack are the same call: attempts, endpoints, outcome, order of events', async () => {
  await fc.assert(
    fc.asyncProperty(cases, async (c) => {
      expect(await play(c, 'direct')).toEqual(await play(c, 'promise'));
    }),
    { numRuns: 400 },
  );
}, 60_000);

test('a script with failures is retried on another endpoint in both ways (the property above can see retries)', async () => {
  const c: Case = {
    lines: [
      { kind: 'failure', failure: FAILURES.connectionFailure, delayMs: 1 },
      { kind: 'reply', status: 200, delayMs: 1 },
    ],
    endpoints: 3,
    unhealthy: 0,
    retries: 2,
    perTryMs: 0,
    timeoutMs: 0,
    maxRequests: 1024,
    replayable: true,
    cancelAtMs: undefined,
    filter: 'looks',
    seed: 7,
  };
  for (const way of ['promise', 'direct'] as const) {
    const { log, sent } = await play(c, way);
    expect(new Set(sent).size).toBe(2);
    expect(log.at(-1)).toBe('call end 200 - flags 0');
    expect(log).toContain('filter leave 200');
  }
});
