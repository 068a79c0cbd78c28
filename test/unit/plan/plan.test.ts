/** Snapshot → plan: what is reused, what is compiled again, which filter override wins, and what each action becomes. */
import { describe, expect, test } from 'vitest';
import { DEFAULT_THRESHOLDS } from '../../../src/config/cluster.ts';
import type { HttpFilterConfig } from '../../../src/config/listener.ts';
import type { RouteActionConfig } from '../../../src/config/routes.ts';
import type { Call } from '../../../src/core/call.ts';
import type { FilterFactory } from '../../../src/core/extension.ts';
import { stepLayer } from '../../../src/core/handler.ts';
import { LocalReply } from '../../../src/core/reply.ts';
import type { RootPlan } from '../../../src/plan.ts';
import { apiListener, clusterConfig, endpointsOf, engineSetup, manager, routesTo } from '../../support/mesh-engine.ts';
import type { EngineSetup } from '../../support/mesh-engine.ts';
import { forward, headerValue, mutation, route, routeConfig, virtualHost } from '../routing/builders.ts';

const planOf = (setup: EngineSetup): RootPlan | undefined =>
  [...(setup.engine.roots?.values() ?? [])].find((root) => root.name === 'shop')?.plan;

function start(): EngineSetup {
  const setup = engineSetup({ include: ['shop'] });
  setup.source.put('listener', 'shop', apiListener('shop', 'r')).put('routes', 'r', routesTo('r', 'c')).cluster('c', 1).push();
  return setup;
}

describe('what an update compiles', () => {
  const thresholds = { default: { ...DEFAULT_THRESHOLDS, maxRequests: 5 }, high: DEFAULT_THRESHOLDS };
  test.each<[string, (setup: EngineSetup) => void, boolean]>([
    ['nothing changed', () => undefined, true],
    ['endpoints', ({ source }) => source.put('endpoints', 'c', endpointsOf('c', 1, 2, 3)), true],
    ['endpoints gone', ({ source }) => source.fail('endpoints', 'c'), true],
    ['a cluster that no route names', ({ source }) => source.cluster('other', 9), true],
    ['thresholds', ({ source }) => source.put('cluster', 'c', clusterConfig('c', { thresholds })), false],
    ['routes', ({ source }) => source.put('routes', 'r', routesTo('r', 'c', ['shop'])), false],
    ['the listener', ({ source }) => source.put('listener', 'shop', apiListener('shop', 'r')), false],
    ['a cluster that fails', ({ source }) => source.fail('cluster', 'c'), false],
  ])('%s', async (_name, change, reused) => {
    const setup = start();
    await setup.send('shop');
    const before = planOf(setup);
    const tables = setup.engine.roots?.lookup('shop');
    change(setup);
    setup.source.push();
    expect(planOf(setup) === before).toBe(reused);
    expect(setup.engine.roots?.lookup('shop') === tables).toBe(reused);
  });

  test('a cluster keeps its counters, endpoints and connections through all of them', async () => {
    const setup = start();
    await setup.send('shop');
    const cluster = setup.engine.clusters?.get('c');
    const endpoint = cluster?.endpoints[0];
    setup.source
      .put('cluster', 'c', clusterConfig('c', { thresholds }))
      .put('endpoints', 'c', endpointsOf('c', 2, 1))
      .put('routes', 'r', routesTo('r', 'c', ['shop']))
      .push();
    expect(setup.engine.clusters?.get('c')).toBe(cluster);
    expect(cluster?.endpoints[1]).toBe(endpoint);
    expect([endpoint?.connections, setup.transport.closed]).toEqual([1, 0]);
    setup.source.put('endpoints', 'c', endpointsOf('c', 2)).push();
    expect(setup.transport.closed).toBe(1);
  });
});

test('the names of the layers, in order, are what describe shows; absent features have no layer', async () => {
  const retry = {
    on: ['5xx' as const],
    numRetries: 1,
    perTryTimeoutMs: 100,
    baseIntervalMs: 25,
    maxIntervalMs: 250,
    retriableStatusCodes: [],
    retriableHeaders: [],
    retriableRequestHeaders: [],
    avoidPreviousHosts: false,
    hostSelectionMaxAttempts: 1,
    rateLimitedBackOff: undefined,
  };
  const setup = engineSetup({ include: ['shop'], parts: { attemptLayers: [stepLayer('mine', { enter: () => undefined })], breakers: {} } });
  setup.source
    .put(
      'listener',
      'shop',
      apiListener(
        'shop',
        routeConfig({
          virtualHosts: [
            virtualHost({
              includeAttemptCount: true,
              headers: mutation({ requestAdd: [headerValue('x', 'y')] }),
              routes: [
                route({
                  name: 'full',
                  match: { path: { kind: 'prefix', value: '/full', caseSensitive: true } },
                  action: forward({ timeoutMs: 1000, retry, pathRewrite: { kind: 'prefix', value: '/' }, hostRewrite: { kind: 'auto' } }),
                }),
                route({ name: 'bare', headers: mutation({}), action: forward({ timeoutMs: 0, cluster: { kind: 'cluster', name: 'd' } }) }),
              ],
            }),
          ],
        }),
      ),
    )
    .put(
      'cluster',
      'c',
      clusterConfig('c', { breaker: { errorThresholdPercentage: 50, volumeThreshold: 20, resetTimeoutMs: 1000, windowMs: 1000 } }),
    )
    .put('endpoints', 'c', endpointsOf('c', 1))
    .cluster('d', 2)
    .push();
  // Stacks are assembled on first use.
  expect([...(planOf(setup)?.assembled.keys() ?? [])]).toEqual([]);
  await setup.send('shop', { path: '/full' });
  expect(planOf(setup)?.assembled.get('vh/full -> c')).toEqual([
    'mutate-headers',
    'rewrite',
    'time-limit',
    'retry',
    'per-try-time-limit',
    'attempt-count',
    'breaker',
    'admission',
    'pick-endpoint',
    'rewrite-host',
    'mine',
    'send',
  ]);
  await setup.send('shop');
  expect(planOf(setup)?.assembled.get('vh/bare -> d')).not.toContain('breaker');
  expect(planOf(setup)?.assembled.get('vh/bare -> d')).not.toContain('rewrite');
  expect(planOf(setup)?.assembled.get('vh/bare -> d')?.slice(-4)).toEqual(['admission', 'pick-endpoint', 'mine', 'send']);
});

describe('filters', () => {
  const TYPE = 'type.googleapis.com/test.Mark';
  /** Answers with its configured text. */
  const mark: FilterFactory<unknown> = {
    typeUrls: [TYPE],
    directions: ['outbound', 'inbound'],
    parse: () => undefined,
    layer: (config) =>
      config === 'silent'
        ? undefined
        : stepLayer<Call>(`mark ${String(config)}`, {
            enter: (call) => (config === 'pass' ? undefined : new LocalReply(200, call.head.headers, String(config))),
          }),
  };
  const filter = (change: Partial<HttpFilterConfig> = {}): HttpFilterConfig => ({
    name: 'mark',
    typeUrl: TYPE,
    disabled: false,
    terminal: false,
    config: 'listener',
    ...change,
  });
  const over = (config: unknown, disabled = false) => ({ mark: { disabled, config } });

  async function text(levels: { filters?: HttpFilterConfig[]; host?: object; entry?: object; weighted?: object }): Promise<string> {
    const setup = engineSetup({ include: ['shop'], parts: { filters: [mark] } });
    const action =
      levels.weighted === undefined
        ? forward()
        : forward({
            cluster: {
              kind: 'weighted',
              total: 1,
              clusters: [
                { name: 'c', weight: 1, headers: mutation({}), hostRewriteLiteral: undefined, filterOverrides: levels.weighted as never },
              ],
            },
          });
    const routes = routeConfig({
      virtualHosts: [
        virtualHost({
          filterOverrides: (levels.host ?? {}) as never,
          routes: [route({ action, filterOverrides: (levels.entry ?? {}) as never })],
        }),
      ],
    });
    const listener = { ...apiListener('shop', routes), api: manager({ routeConfig: routes, filters: levels.filters ?? [filter()] }) };
    setup.source.put('listener', 'shop', listener).cluster('c', 1).push();
    const { reply } = await setup.send('shop');
    return 'text' in reply.body ? String(reply.body.text) : 'upstream';
  }

  test.each<[string, Parameters<typeof text>[0], string]>([
    ['no override: the listener’s', {}, 'listener'],
    ['the virtual host overrides', { host: over('host') }, 'host'],
    ['the route overrides the host', { host: over('host'), entry: over('route') }, 'route'],
    ['the weighted cluster overrides the route', { host: over('host'), entry: over('route'), weighted: over('weight') }, 'weight'],
    ['disabled at the route', { host: over('host'), entry: over(undefined, true) }, 'upstream'],
    ['disabled at the host, configured again at the route', { host: over(undefined, true), entry: over('route') }, 'route'],
    ['disabled in the listener', { filters: [filter({ disabled: true })] }, 'upstream'],
    ['disabled in the listener, enabled by the route', { filters: [filter({ disabled: true })], entry: over('route') }, 'route'],
    ['overrides go by the configured name, not by type', { filters: [filter({ name: 'other' })], entry: over('route') }, 'listener'],
    ['a config with which it does nothing', { filters: [filter({ config: 'silent' })] }, 'upstream'],
    [
      'in order: the first that answers',
      { filters: [filter({ name: 'a', config: 'pass' }), filter({ name: 'b', config: 'second' }), filter({ name: 'c', config: 'third' })] },
      'second',
    ],
    ['a type that nobody knows has no layer (decoding rejected it if it matters)', { filters: [filter({ typeUrl: 'x' })] }, 'upstream'],
  ])('%s', async (_name, levels, expected) => {
    expect(await text(levels)).toBe(expected);
  });
});

describe('actions', () => {
  test.each<[string, RouteActionConfig, 'http' | 'grpc', { status: number; details?: string; grpc?: number }]>([
    ['a direct response', { kind: 'direct-response', status: 418, body: 'tea' }, 'http', { status: 418 }],
    [
      'a redirect',
      {
        kind: 'redirect',
        status: 308,
        scheme: undefined,
        httpsRedirect: true,
        host: undefined,
        port: undefined,
        path: undefined,
        stripQuery: false,
      },
      'http',
      { status: 308 },
    ],
    [
      'a direct response to gRPC',
      { kind: 'direct-response', status: 200, body: '' },
      'grpc',
      { status: 503, details: 'configuration_error', grpc: 14 },
    ],
    [
      'defect 6: non_forwarding_action on the way out fails the call, and throws nothing',
      { kind: 'serve' },
      'grpc',
      { status: 503, details: 'configuration_error', grpc: 14 },
    ],
    [
      'an action that cannot be done',
      { kind: 'unsupported', reason: 'filter_action' },
      'http',
      { status: 503, details: 'configuration_error' },
    ],
    [
      'a cluster that is not configured',
      forward({ cluster: { kind: 'cluster', name: 'missing' } }),
      'http',
      { status: 503, details: 'cluster_not_found', grpc: 14 },
    ],
    [
      'the same with a status of its own',
      forward({ cluster: { kind: 'cluster', name: 'missing' }, clusterNotFoundStatus: 404 }),
      'http',
      { status: 404, details: 'cluster_not_found' },
    ],
    [
      'a cluster named by a header that is absent',
      forward({ cluster: { kind: 'cluster-header', header: 'x-cluster' } }),
      'http',
      { status: 503, details: 'cluster_not_found' },
    ],
  ])('%s', async (_name, action, protocol, expected) => {
    const { source, send } = engineSetup({ include: ['shop'] });
    source
      .put('listener', 'shop', apiListener('shop', routeConfig({ virtualHosts: [virtualHost({ routes: [route({ action })] })] })))
      .fail('cluster', 'missing')
      .push();
    const { reply } = await send('shop', { protocol });
    expect({
      status: reply.status,
      details: reply.failure?.kind.details,
      grpc: expected.grpc === undefined ? undefined : reply.failure?.kind.grpcStatus,
    }).toEqual({ details: undefined, grpc: undefined, ...expected });
  });
});
