/** What a `mesh.yaml` becomes: listeners, routes, clusters, endpoints, server listeners. */
import { describe, expect, test } from 'vitest';
import type { ForwardActionConfig, RouteEntryConfig } from '../../../src/config/routes.ts';
import { DEFAULT_THRESHOLDS } from '../../../src/config/cluster.ts';
import type { LoadedMeshYaml, LoadOptions } from '../../../src/sources/mesh-yaml/load.ts';
import { loadMeshYaml } from '../../../src/sources/mesh-yaml/load.ts';
import { describeProblem } from '../../../src/sources/mesh-yaml/problem.ts';

export function load(text: string, options?: LoadOptions): LoadedMeshYaml {
  const loaded = loadMeshYaml(text, '/etc/mesh/mesh.yaml', options);
  if (!loaded.ok) throw new Error(loaded.errors.map(describeProblem).join('\n'));
  return loaded;
}

const PROVIDER = { kind: 'provider', instance: 'inmesh' } as const;

const EXAMPLE = `version: 1
services:
  reviews:
    hosts: [Reviews, "reviews.default.svc.cluster.local:9080"]
    endpoints:
      - { address: 127.0.0.11:9080, labels: { version: v1 } }
      - { address: "[::1]:9080", labels: { version: v1 }, weight: 3, zone: eu-1/a, health: draining }
      - { address: "reviews.local:9080", labels: { version: v2 }, zone: b }
    lb: least-request
    routes:
      - match: { headers: { x-user: ana } }
        to: { labels: { version: v2 } }
      - match: { path: /reviews/** }
        split: [{ weight: 90, labels: { version: v1 } }, { weight: 10, labels: { version: v2 } }, { weight: 0 }]
        timeout: 2s
        retries: { attempts: 3, on: [connect-failure, 503], perTry: 500ms, budget: 20% }
    outlier: { consecutive5xx: 3, ejection: 400s, maxEjected: 50% }
    limits: { maxRequests: 10 }
    breaker: {}
`;

const routesOf = (loaded: LoadedMeshYaml, name: string): readonly RouteEntryConfig[] =>
  loaded.resources.routes.get(name)?.virtualHosts[0]?.routes ?? [];
const onlyRoute = (body: string, service = ''): RouteEntryConfig => {
  const loaded = load(`version: 1\nservices:\n  a:\n    endpoints: ["b:80"]\n${service}    routes:\n      - ${body}\n`);
  const [route] = routesOf(loaded, 'a');
  if (route === undefined) throw new Error('no route');
  return route;
};
const forward = (route: RouteEntryConfig): ForwardActionConfig => {
  if (route.action.kind !== 'forward') throw new Error(route.action.kind);
  return route.action;
};

describe('the example of the docs', () => {
  const loaded = load(EXAMPLE);
  const { listener, routes, cluster, endpoints } = loaded.resources;

  test('a listener per host, in lower case, all with the same routes', () => {
    expect([...listener.keys()]).toEqual(['reviews', 'reviews.default.svc.cluster.local:9080']);
    for (const [name, value] of listener) {
      expect(value).toMatchObject({ name, direction: 'unspecified', address: undefined, filterChains: [] });
      expect(value.api).toMatchObject({ routeConfigName: 'reviews', routeConfig: undefined, stripPort: 'none' });
      expect(value.api?.filters.map((filter) => [filter.typeUrl.split('.').at(-1), filter.terminal])).toEqual([['Router', true]]);
    }
  });

  test('only the clusters that are used; a share of 0 still has its cluster', () => {
    expect([...routes.keys()]).toEqual(['reviews']);
    expect([...cluster.keys()]).toEqual(['reviews|version=v2', 'reviews|version=v1', 'reviews']);
    expect([...endpoints.keys()]).toEqual([...cluster.keys()]);
  });

  test('endpoints by label, in localities with the weight of what they hold', () => {
    const v1 = endpoints.get('reviews|version=v1');
    expect(v1?.clusterName).toBe('reviews|version=v1');
    expect(v1?.localities.map(({ locality, weight, priority }) => [locality, weight, priority])).toEqual([
      ['//', 1, 0],
      ['eu-1/a/', 3, 0],
    ]);
    expect(v1?.localities[1]?.endpoints).toEqual([
      { host: '::1', port: 9080, hostname: '', weight: 3, health: 'draining', metadata: undefined },
    ]);
    expect(endpoints.get('reviews|version=v2')?.localities).toMatchObject([
      { locality: '/b/', endpoints: [{ host: 'reviews.local', hostname: 'reviews.local' }] },
    ]);
    expect(endpoints.get('reviews')?.localities.flatMap((locality) => locality.endpoints)).toHaveLength(3);
  });

  test('routes in order', () => {
    const [first, second] = routesOf(loaded, 'reviews');
    expect(first?.match).toMatchObject({
      path: { kind: 'prefix', value: '/' },
      headers: [{ name: 'x-user', match: { kind: 'string', matcher: { kind: 'exact', value: 'ana' } }, invert: false }],
    });
    expect(first?.action).toMatchObject({
      kind: 'forward',
      cluster: { kind: 'cluster', name: 'reviews|version=v2' },
      timeoutMs: 0,
      retry: undefined,
    });
    expect(second?.match.path).toEqual({ kind: 'separated-prefix', value: '/reviews', caseSensitive: true });
    expect(second?.action).toMatchObject({
      cluster: {
        kind: 'weighted',
        total: 100,
        clusters: [
          { name: 'reviews|version=v1', weight: 90 },
          { name: 'reviews|version=v2', weight: 10 },
        ],
      },
      timeoutMs: 2000,
      maxStreamDuration: undefined,
      retry: {
        on: ['connect-failure', 'retriable-status-codes'],
        retriableStatusCodes: [503],
        numRetries: 2,
        perTryTimeoutMs: 500,
        baseIntervalMs: 25,
        maxIntervalMs: 250,
      },
    });
  });

  test('cluster settings, with Envoy’s defaults', () => {
    expect(cluster.get('reviews|version=v1')).toMatchObject({
      discovery: { kind: 'eds', serviceName: 'reviews|version=v1' },
      lb: { policy: 'least_request' },
      http2: false,
      tls: undefined,
      connectTimeoutMs: 5000,
      panicThreshold: 50,
      thresholds: {
        default: { ...DEFAULT_THRESHOLDS, maxRequests: 10, retryBudget: { percent: 20, minConcurrency: 3 } },
        high: DEFAULT_THRESHOLDS,
      },
      breaker: { errorThresholdPercentage: 50, volumeThreshold: 20, resetTimeoutMs: 10_000, windowMs: 10_000 },
      outlier: {
        consecutive5xx: 3,
        enforcingConsecutive5xx: 100,
        baseEjectionTimeMs: 400_000,
        maxEjectionTimeMs: 400_000,
        maxEjectionPercent: 50,
        alwaysEjectOneHost: true,
        intervalMs: 10_000,
      },
    });
    // The budget stands at a route that does not lead here with all endpoints.
    expect(load('version: 1\nservices: { a: {} }').resources.cluster.get('a')?.thresholds.default).toBe(DEFAULT_THRESHOLDS);
  });
});

describe('routes', () => {
  test('without routes, everything goes to all endpoints without a time limit', () => {
    const [route, ...rest] = routesOf(load('version: 1\nservices: { a: { hosts: [x] } }'), 'a');
    expect(rest).toEqual([]);
    expect(route).toMatchObject({
      match: { path: { kind: 'prefix', value: '/' }, headers: [], query: [] },
      action: { cluster: { name: 'a' }, timeoutMs: 0, maxStreamDuration: undefined },
    });
  });

  test('timeout and retries of the service are defaults of its routes', () => {
    const service = '    timeout: 5s\n    retries: {}\n';
    expect(forward(onlyRoute('match: {}', service))).toMatchObject({
      timeoutMs: 5000,
      retry: { numRetries: 1, on: ['connect-failure', 'refused-stream', 'unavailable'] },
    });
    expect(forward(onlyRoute('{ timeout: 0s, retries: { attempts: 1 } }', service))).toMatchObject({
      timeoutMs: 0,
      retry: { numRetries: 0 },
    });
  });

  test.each([
    ['/a', { kind: 'exact', value: '/a', caseSensitive: true }],
    ['/a/**', { kind: 'separated-prefix', value: '/a', caseSensitive: true }],
    ['/**', { kind: 'prefix', value: '/', caseSensitive: true }],
    ['{ prefix: /a, ignoreCase: true }', { kind: 'prefix', value: '/a', caseSensitive: false }],
    ['{ exact: /a }', { kind: 'exact', value: '/a', caseSensitive: true }],
    ['{ regex: "/a[0-9]+" }', { kind: 'regex', value: '/a[0-9]+' }],
  ])('path %s', (path, expected) => {
    expect(onlyRoute(`match: { path: ${path} }`).match.path).toEqual(expected);
  });

  test('gRPC paths are plain prefixes', () => {
    expect(onlyRoute('match: { path: /shop.Cart/** }', '    protocol: grpc\n').match.path).toEqual({
      kind: 'prefix',
      value: '/shop.Cart/',
      caseSensitive: true,
    });
    const loaded = load('version: 1\nservices: { a: { protocol: grpc } }');
    expect(loaded.resources.cluster.get('a')?.http2).toBe(true);
  });

  test('methods, headers, query', () => {
    const { match } = onlyRoute(
      'match: { method: [GET, HEAD], headers: { X-A: { present: false }, x-b: { regex: "v.", not: true }, x-c: 1.10 }, query: { q: { prefix: a, ignoreCase: true }, p: { present: true } } }',
    );
    expect(match.headers).toEqual([
      {
        name: ':method',
        match: { kind: 'string', matcher: { kind: 'regex', value: 'GET|HEAD', ignoreCase: false } },
        invert: false,
        treatMissingAsEmpty: false,
      },
      { name: 'x-a', match: { kind: 'present', present: false }, invert: false, treatMissingAsEmpty: false },
      {
        name: 'x-b',
        match: { kind: 'string', matcher: { kind: 'regex', value: 'v.', ignoreCase: false } },
        invert: true,
        treatMissingAsEmpty: false,
      },
      {
        name: 'x-c',
        match: { kind: 'string', matcher: { kind: 'exact', value: '1.10', ignoreCase: false } },
        invert: false,
        treatMissingAsEmpty: false,
      },
    ]);
    expect(match.query).toEqual([
      { name: 'q', match: { kind: 'string', matcher: { kind: 'prefix', value: 'a', ignoreCase: true } } },
      { name: 'p', match: { kind: 'present', present: true } },
    ]);
  });

  test.each([
    ['/a/**', '/b', { kind: 'prefix', value: '/b' }],
    // Envoy R-41: a prefix rewrite of /a to / makes //x of /a/x.
    ['/a.b/**', '/', { kind: 'regex', pattern: '^/a\\.b/?', substitution: '/' }],
    ['/a', '/', { kind: 'prefix', value: '/' }],
    ['/**', '/b/', { kind: 'prefix', value: '/b/' }],
  ])('rewrite of %s to %s', (path, to, expected) => {
    expect(forward(onlyRoute(`{ match: { path: ${path} }, rewrite: { path: ${to}, host: x.local } }`))).toMatchObject({
      pathRewrite: expected,
      hostRewrite: { kind: 'literal', value: 'x.local' },
    });
  });

  test('answers: redirect and respond; they use no cluster', () => {
    expect(onlyRoute('redirect: { scheme: https, status: 308, prefix: /b, stripQuery: true }').action).toEqual({
      kind: 'redirect',
      status: 308,
      scheme: 'https',
      httpsRedirect: false,
      host: undefined,
      port: undefined,
      path: { kind: 'prefix', value: '/b' },
      stripQuery: true,
    });
    expect(onlyRoute('respond: { status: 418 }').action).toEqual({ kind: 'direct-response', status: 418, body: '' });
    expect([...load('version: 1\nservices: { a: { routes: [{ respond: { status: 204 } }] } }').resources.cluster.keys()]).toEqual([]);
  });

  test('header changes: set, then add; names in lower case', () => {
    const { headers } = onlyRoute(
      'headers: { request: { add: { Via: me }, set: { X-A: "1" }, remove: [X-B] }, response: { remove: [Server] } }',
    );
    expect(headers).toEqual({
      requestAdd: [
        { name: 'x-a', value: '1', action: 'overwrite', keepEmpty: false },
        { name: 'via', value: 'me', action: 'append', keepEmpty: false },
      ],
      requestRemove: ['x-b'],
      responseAdd: [],
      responseRemove: ['server'],
    });
  });

  test('to another service', () => {
    const loaded = load('version: 1\nservices:\n  a: { routes: [{ to: { service: b } }] }\n  b: { endpoints: ["c:1"], lb: random }\n');
    expect(forward(routesOf(loaded, 'a')[0] as RouteEntryConfig).cluster).toEqual({ kind: 'cluster', name: 'b' });
    expect(loaded.resources.cluster.get('b')?.lb.policy).toBe('random');
    expect(loaded.resources.cluster.has('a')).toBe(false);
  });
});

describe('mutual TLS', () => {
  const strict =
    'version: 1\nidentity: { certificate: web.pem, key: web.key, ca: /ca.pem, trustDomain: prod }\nservices: { a: { mtls: strict, protocol: grpc } }\n';

  test('certificate files, relative to the file; the expected identity is that of the service', () => {
    expect(load(strict).resources.cluster.get('a')?.tls).toEqual({
      identity: {
        kind: 'pair',
        certificateChain: { kind: 'file', path: '/etc/mesh/web.pem', watchedDirectory: undefined },
        privateKey: { kind: 'file', path: '/etc/mesh/web.key', watchedDirectory: undefined },
      },
      roots: { kind: 'file', path: '/ca.pem', watchedDirectory: undefined },
      sanMatchers: [{ type: 'uri', matcher: { kind: 'exact', value: 'spiffe://prod/a', ignoreCase: false } }],
      alpn: ['h2'],
      minVersion: undefined,
      maxVersion: undefined,
      sni: '',
      autoHostSni: false,
      autoSniSanValidation: false,
    });
  });

  test('certificates of the control plane', () => {
    const loaded = load(strict.replace('mtls: strict', 'mtls: strict, identity: [spiffe://x/1, spiffe://x/2]'), { certificates: PROVIDER });
    const tls = loaded.resources.cluster.get('a')?.tls;
    expect(tls).toMatchObject({ identity: { kind: 'provider', instance: 'inmesh' }, roots: { kind: 'provider', instance: 'inmesh' } });
    expect(tls?.sanMatchers.map((san) => san.matcher.value)).toEqual(['spiffe://x/1', 'spiffe://x/2']);
  });

  test('inbound: client certificates are required; deny comes before allow; the router is last', () => {
    const loaded = load(
      'version: 1\ninbound: [{ port: 8080, mtls: strict, allow: [{ from: [spiffe://dev/web, spiffe://dev/ops/*, "*"], methods: [GET], paths: [/a, /b/**] }], deny: [{ paths: [/**], headers: { x-a: "1" } }] }]',
      { certificates: PROVIDER },
    );
    const listener = loaded.resources.listener.get('inbound/0.0.0.0:8080');
    expect(listener).toMatchObject({ api: undefined, direction: 'inbound', address: { host: '0.0.0.0', port: 8080 } });
    const [chain] = listener?.filterChains ?? [];
    expect(chain?.tls).toMatchObject({ requireClientCertificate: true, roots: { kind: 'provider' }, sanMatchers: [] });
    expect(chain?.http?.filters.map(({ name }) => name)).toEqual(['inmesh.deny', 'inmesh.allow', 'envoy.filters.http.router']);
    expect(chain?.http?.routeConfig?.virtualHosts[0]?.routes).toMatchObject([{ action: { kind: 'serve' } }]);
    const path = (kind: string, value: string): object => ({ kind: 'path', matcher: { kind, value, ignoreCase: false } });
    expect(chain?.http?.filters[1]?.config).toEqual({
      rules: {
        action: 'allow',
        policies: [
          {
            name: 'allow[0]',
            permissions: [
              {
                kind: 'and',
                rules: [
                  {
                    kind: 'header',
                    matcher: {
                      name: ':method',
                      match: { kind: 'string', matcher: { kind: 'exact', value: 'GET', ignoreCase: false } },
                      invert: false,
                      treatMissingAsEmpty: false,
                    },
                  },
                  { kind: 'or', rules: [path('exact', '/a'), path('exact', '/b'), path('prefix', '/b/')] },
                ],
              },
            ],
            principals: [
              { kind: 'authenticated', matcher: { kind: 'exact', value: 'spiffe://dev/web', ignoreCase: false } },
              { kind: 'authenticated', matcher: { kind: 'prefix', value: 'spiffe://dev/ops/', ignoreCase: false } },
              { kind: 'authenticated', matcher: { kind: 'prefix', value: 'spiffe://', ignoreCase: false } },
            ],
          },
        ],
      },
    });
  });

  test('an empty allow list lets nobody in; no list, everybody', () => {
    const filters = (body: string): unknown =>
      load(`version: 1\ninbound: [{ port: 80${body} }]`)
        .resources.listener.get('inbound/0.0.0.0:80')
        ?.filterChains[0]?.http?.filters.map((filter) => filter.config);
    expect(filters(', allow: []')).toEqual([{ rules: { action: 'allow', policies: [] } }, undefined]);
    expect(filters('')).toEqual([undefined]);
    expect(filters(', deny: []')).toEqual([undefined]);
  });
});

test('raw resources live beside the others', () => {
  const loaded = load(`version: 1
services: { a: {} }
resources:
  - "@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
    cluster_name: legacy
    endpoints:
      - locality: { zone: z }
        load_balancing_weight: 1
        lb_endpoints: [{ endpoint: { address: { socket_address: { address: 10.0.0.1, port_value: 80 } } } }]
`);
  expect([...loaded.resources.endpoints.keys()]).toEqual(['a', 'legacy']);
  expect(loaded.resources.endpoints.get('legacy')?.localities[0]?.endpoints[0]).toMatchObject({ host: '10.0.0.1', port: 80 });
});
