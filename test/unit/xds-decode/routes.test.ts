import { describe, expect, test } from 'vitest';
import type { ForwardActionConfig, RouteEntryConfig } from '../../../src/config/routes.ts';
import { NO_HEADER_MUTATION } from '../../../src/config/routes.ts';
import { accepted, decode, FAULT, routes } from './harness.ts';
import type { Json } from './harness.ts';

function entry(json: Json): RouteEntryConfig {
  const found = accepted('routes', routes(json)).virtualHosts[0]?.routes[0];
  if (found === undefined) throw new Error('the route was skipped');
  return found;
}

function forward(route: Json): ForwardActionConfig {
  const { action } = entry({ route: { cluster: 'c', ...route } });
  if (action.kind !== 'forward') throw new Error(action.kind);
  return action;
}

describe('a route configuration', () => {
  test('the smallest one, with every default', () => {
    expect(accepted('routes', routes({}))).toEqual({
      name: 'web',
      virtualHosts: [
        {
          name: 'v',
          domains: ['*'],
          routes: [
            {
              name: '',
              match: {
                path: { kind: 'prefix', value: '/', caseSensitive: true },
                headers: [],
                query: [],
                fraction: undefined,
                grpc: false,
              },
              action: {
                kind: 'forward',
                cluster: { kind: 'cluster', name: 'c' },
                clusterNotFoundStatus: 503,
                timeoutMs: undefined,
                maxStreamDuration: undefined,
                retry: undefined,
                pathRewrite: undefined,
                hostRewrite: undefined,
                appendXForwardedHost: false,
                priority: 'default',
                hashPolicies: [],
              },
              headers: NO_HEADER_MUTATION,
              filterOverrides: {},
            },
          ],
          headers: NO_HEADER_MUTATION,
          retry: undefined,
          filterOverrides: {},
          requireTls: 'none',
          includeAttemptCount: false,
        },
      ],
      headers: NO_HEADER_MUTATION,
      mostSpecificHeaderMutationsWins: false,
      ignorePortInHostMatching: false,
      maxDirectResponseBytes: 4096,
    });
  });

  test('is frozen, down to its routes', () => {
    const value = accepted('routes', routes({}));
    const host = value.virtualHosts[0];
    for (const part of [value, value.virtualHosts, host, host?.domains, host?.routes, host?.routes[0]])
      expect(Object.isFrozen(part)).toBe(true);
  });

  test('domains are lower case', () => {
    expect(accepted('routes', routes({}, { domains: ['API.Example.com'] })).virtualHosts[0]?.domains).toEqual(['api.example.com']);
  });

  test('overrides: the virtual host takes over those of the route configuration, its own win', () => {
    const any = (delay: string): Json => ({ '@type': FAULT.typeUrls[0], delay: { fixed_delay: delay, percentage: { numerator: 1 } } });
    const value = accepted(
      'routes',
      routes({}, { typed_per_filter_config: { a: any('1s') } }, { typed_per_filter_config: { a: any('2s'), b: any('3s') } }),
    );
    const overrides = value.virtualHosts[0]?.filterOverrides;
    expect(Object.keys(overrides ?? {}).toSorted()).toEqual(['a', 'b']);
    expect(overrides?.['a']?.config).toMatchObject({ delay: { faultDelaySecifier: { value: { seconds: 1n } } } });
  });

  test('a disabled filter needs no configuration', () => {
    const { filterOverrides } = entry({
      typed_per_filter_config: { f: { '@type': 'type.googleapis.com/envoy.config.route.v3.FilterConfig', disabled: true } },
    });
    expect(filterOverrides).toEqual({ f: { disabled: true, config: undefined } });
  });
});

describe('matches', () => {
  test.each<[string, Json, RouteEntryConfig['match']['path']]>([
    ['prefix', { prefix: '/a' }, { kind: 'prefix', value: '/a', caseSensitive: true }],
    ['path, any case', { path: '/a', case_sensitive: false }, { kind: 'exact', value: '/a', caseSensitive: false }],
    ['separated prefix', { path_separated_prefix: '/a/b' }, { kind: 'separated-prefix', value: '/a/b', caseSensitive: true }],
    ['regex', { safe_regex: { regex: '/a.*' } }, { kind: 'regex', value: '/a.*' }],
  ])('%s', (_name, match, path) => expect(entry({ match }).match.path).toEqual(path));

  const string = (kind: string, value: string, ignoreCase = false): Json => ({ kind: 'string', matcher: { kind, value, ignoreCase } });
  test.each<[string, Json, Json]>([
    ['exact_match', { exact_match: 'v' }, string('exact', 'v')],
    ['exact_match, empty (D9)', { exact_match: '' }, { kind: 'present', present: true }],
    ['prefix_match', { prefix_match: 'v' }, string('prefix', 'v')],
    ['suffix_match', { suffix_match: 'v' }, string('suffix', 'v')],
    ['contains_match', { contains_match: 'v' }, string('contains', 'v')],
    ['safe_regex_match', { safe_regex_match: { regex: 'v+' } }, string('regex', 'v+')],
    ['string_match', { string_match: { suffix: 'v', ignore_case: true } }, string('suffix', 'v', true)],
    ['present_match', { present_match: false }, { kind: 'present', present: false }],
    ['range_match', { range_match: { start: '-5', end: '7' } }, { kind: 'range', start: -5n, end: 7n }],
    ['none', {}, { kind: 'present', present: true }],
  ])('header: %s', (_name, matcher, match) => {
    const found = entry({
      match: { prefix: '/', headers: [{ name: 'X-A', invert_match: true, treat_missing_header_as_empty: true, ...matcher }] },
    }).match.headers;
    expect(found).toEqual([{ name: 'x-a', match, invert: true, treatMissingAsEmpty: true }]);
  });

  test('query parameters, fraction, grpc', () => {
    const { match } = entry({
      match: {
        prefix: '/',
        query_parameters: [{ name: 'Q' }, { name: 'r', string_match: { exact: '1' } }],
        runtime_fraction: { default_value: { numerator: 5, denominator: 'MILLION' }, runtime_key: 'k' },
        grpc: {},
      },
    });
    expect(match.query).toEqual([
      { name: 'Q', match: { kind: 'present', present: true } },
      { name: 'r', match: { kind: 'string', matcher: { kind: 'exact', value: '1', ignoreCase: false } } },
    ]);
    expect(match.fraction).toEqual({ numerator: 5, denominator: 1_000_000, runtimeKey: 'k' });
    expect(match.grpc).toBe(true);
  });

  test.each<[string, Json, string]>([
    ['CONNECT', { match: { connect_matcher: {} } }, 'virtual_hosts[].routes[].match.connect_matcher'],
    [
      'dynamic metadata',
      { match: { prefix: '/', dynamic_metadata: [{ filter: 'x', path: [{ key: 'a' }], value: { present_match: true } }] } },
      'virtual_hosts[].routes[].match.dynamic_metadata',
    ],
    [
      'an inline plugin',
      { route: { inline_cluster_specifier_plugin: { extension: { name: 'x' } } } },
      'virtual_hosts[].routes[].route.inline_cluster_specifier_plugin',
    ],
  ])('%s: the route is skipped and recorded, the others stay', (_name, route, field) => {
    const { decoded, unsupported } = decode('routes', {
      name: 'w',
      virtual_hosts: [
        {
          name: 'v',
          domains: ['*'],
          routes: [
            { match: { prefix: '/' }, route: { cluster: 'x' }, ...route },
            { match: { prefix: '/' }, route: { cluster: 'c' } },
          ],
        },
      ],
    });
    expect(decoded.ok && decoded.value.virtualHosts[0]?.routes.length).toBe(1);
    expect(unsupported).toEqual([field]);
  });
});

describe('actions', () => {
  test('weighted clusters leave out weight 0', () => {
    const { cluster } = forward({
      cluster: undefined,
      weighted_clusters: { clusters: [{ name: 'a', weight: 90, host_rewrite_literal: 'h' }, { name: 'b' }, { name: 'c', weight: 10 }] },
    });
    expect(cluster).toMatchObject({
      kind: 'weighted',
      total: 100,
      clusters: [
        { name: 'a', weight: 90, hostRewriteLiteral: 'h' },
        { name: 'c', weight: 10, hostRewriteLiteral: undefined },
      ],
    });
  });

  test('with a prefix of runtime keys they stay in, since a key may give them one', () => {
    const { cluster } = forward({
      cluster: undefined,
      weighted_clusters: { runtime_key_prefix: 'split', clusters: [{ name: 'a', weight: 90 }, { name: 'b' }] },
    });
    expect(cluster).toMatchObject({ runtimeKeyPrefix: 'split', total: 90, clusters: [{ name: 'a' }, { name: 'b', weight: 0 }] });
  });

  test.each<[string, Json, Partial<ForwardActionConfig>]>([
    ['cluster_header', { cluster: undefined, cluster_header: 'X-C' }, { cluster: { kind: 'cluster-header', header: 'x-c' } }],
    ['not found', { cluster_not_found_response_code: 'INTERNAL_SERVER_ERROR' }, { clusterNotFoundStatus: 500 }],
    ['timeout', { timeout: '0.25s' }, { timeoutMs: 250 }],
    ['no timeout', { timeout: '0s' }, { timeoutMs: 0 }],
    [
      'stream duration',
      { max_stream_duration: { grpc_timeout_header_max: '0s' } },
      { maxStreamDuration: { maxStreamDurationMs: undefined, grpcTimeoutHeaderMaxMs: 0, grpcTimeoutHeaderOffsetMs: undefined } },
    ],
    ['prefix rewrite', { prefix_rewrite: '/x' }, { pathRewrite: { kind: 'prefix', value: '/x' } }],
    [
      'regex rewrite',
      { regex_rewrite: { pattern: { regex: '/(a)' }, substitution: '/\\1' } },
      { pathRewrite: { kind: 'regex', pattern: '/(a)', substitution: '/\\1' } },
    ],
    ['host literal', { host_rewrite_literal: 'h' }, { hostRewrite: { kind: 'literal', value: 'h' } }],
    ['host header', { host_rewrite_header: 'X-H' }, { hostRewrite: { kind: 'header', name: 'x-h' } }],
    ['host auto', { auto_host_rewrite: true }, { hostRewrite: { kind: 'auto' } }],
    ['host not auto', { auto_host_rewrite: false }, { hostRewrite: undefined }],
    [
      'host by path',
      { host_rewrite_path_regex: { pattern: { regex: 'a' }, substitution: 'b' } },
      { hostRewrite: { kind: 'path-regex', pattern: 'a', substitution: 'b' } },
    ],
    ['priority', { priority: 'HIGH', append_x_forwarded_host: true }, { priority: 'high', appendXForwardedHost: true }],
    [
      'hash policies',
      {
        hash_policy: [
          { header: { header_name: 'H' }, terminal: true },
          { cookie: { name: 'k' } },
          { query_parameter: { name: 'q' } },
          { connection_properties: { source_ip: true } },
          { filter_state: { key: 'io.grpc.channel_id' } },
          { filter_state: { key: 'other' } },
        ],
      },
      {
        hashPolicies: [
          { kind: 'header', name: 'h', rewrite: undefined, terminal: true },
          { kind: 'cookie', name: 'k', rewrite: undefined, terminal: false },
          { kind: 'query', name: 'q', rewrite: undefined, terminal: false },
          { kind: 'source-ip', name: '', rewrite: undefined, terminal: false },
          { kind: 'channel-id', name: '', rewrite: undefined, terminal: false },
        ],
      },
    ],
  ])('%s', (_name, route, expected) => expect(forward(route)).toMatchObject(expected));

  test('redirect', () => {
    expect(
      entry({
        route: undefined,
        redirect: {
          https_redirect: true,
          host_redirect: 'h',
          port_redirect: 8443,
          prefix_rewrite: '/n',
          response_code: 'PERMANENT_REDIRECT',
          strip_query: true,
        },
      }).action,
    ).toEqual({
      kind: 'redirect',
      status: 308,
      scheme: undefined,
      httpsRedirect: true,
      host: 'h',
      port: 8443,
      path: { kind: 'prefix', value: '/n' },
      stripQuery: true,
    });
    expect(entry({ route: undefined, redirect: { scheme_redirect: 'http', path_redirect: '/p?q' } }).action).toMatchObject({
      status: 301,
      scheme: 'http',
      httpsRedirect: false,
      path: { kind: 'full', value: '/p?q' },
    });
  });

  test('direct response, serving here, and what cannot be done', () => {
    expect(
      entry({ route: undefined, direct_response: { status: 418, body: { inline_bytes: Buffer.from('tea').toString('base64') } } }).action,
    ).toEqual({ kind: 'direct-response', status: 418, body: 'tea' });
    expect(entry({ route: undefined, non_forwarding_action: {} }).action).toEqual({ kind: 'serve' });
    expect(entry({ route: undefined, filter_action: {} }).action.kind).toBe('unsupported');
    expect(entry({ route: undefined }).action.kind).toBe('unsupported');
  });
});

describe('retry policies', () => {
  const DEFAULTS = {
    on: ['5xx'],
    numRetries: 1,
    perTryTimeoutMs: 0,
    baseIntervalMs: 25,
    maxIntervalMs: 250,
    retriableStatusCodes: [],
    retriableHeaders: [],
    retriableRequestHeaders: [],
    avoidPreviousHosts: false,
    hostSelectionMaxAttempts: 1,
    rateLimitedBackOff: undefined,
  };
  test.each<[string, Json, Json]>([
    ['defaults', { retry_on: '5xx' }, {}],
    ['conditions of both kinds', { retry_on: ' gateway-error, unavailable ,unavailable' }, { on: ['gateway-error', 'unavailable'] }],
    ['none', { retry_on: '', num_retries: 0 }, { on: [], numRetries: 0 }],
    ['back-off', { retry_on: '5xx', retry_back_off: { base_interval: '2s' } }, { baseIntervalMs: 2000, maxIntervalMs: 20_000 }],
    [
      'less than a millisecond',
      { retry_on: '5xx', retry_back_off: { base_interval: '0.0001s' } },
      { baseIntervalMs: 1, maxIntervalMs: 10 },
    ],
    [
      'maximum below base',
      { retry_on: '5xx', retry_back_off: { base_interval: '2s', max_interval: '1s' } },
      { baseIntervalMs: 2000, maxIntervalMs: 2000 },
    ],
    [
      'per try',
      { retry_on: '5xx', per_try_timeout: '1.5s', retriable_status_codes: [503], host_selection_retry_max_attempts: '5' },
      { perTryTimeoutMs: 1500, retriableStatusCodes: [503], hostSelectionMaxAttempts: 5 },
    ],
    [
      'previous hosts',
      {
        retry_on: '5xx',
        retry_host_predicate: [
          {
            name: 'envoy.retry_host_predicates.previous_hosts',
            typed_config: { '@type': 'type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate' },
          },
        ],
      },
      { avoidPreviousHosts: true },
    ],
    [
      'rate limited',
      {
        retry_on: '5xx',
        rate_limited_retry_back_off: {
          reset_headers: [
            { name: 'Retry-After', format: 'SECONDS' },
            { name: 'x-r', format: 'UNIX_TIMESTAMP' },
          ],
        },
      },
      {
        rateLimitedBackOff: {
          headers: [
            { name: 'retry-after', format: 'seconds' },
            { name: 'x-r', format: 'unix-timestamp' },
          ],
          maxIntervalMs: 300_000,
        },
      },
    ],
  ])('%s', (_name, retry_policy, expected) => expect(forward({ retry_policy }).retry).toEqual({ ...DEFAULTS, ...expected }));

  test('unknown conditions are recorded', () => {
    const { unsupported } = decode(
      'routes',
      routes({ route: { cluster: 'c', retry_policy: { retry_on: '5xx,http3-post-connect-failure' } } }),
    );
    expect(unsupported).toEqual(['virtual_hosts[].routes[].route.retry_policy.retry_on=http3-post-connect-failure']);
  });
});

describe('header mutations', () => {
  test('actions', () => {
    const add = (append: Json): Json => ({ header: { key: 'X-A', value: '%PROTOCOL%' }, ...append });
    const { headers } = entry({
      request_headers_to_add: [
        add({}),
        add({ append_action: 'ADD_IF_ABSENT' }),
        add({ append_action: 'OVERWRITE_IF_EXISTS_OR_ADD', keep_empty_value: true }),
        add({ append_action: 'OVERWRITE_IF_EXISTS' }),
        add({ append: false }),
      ],
      request_headers_to_remove: ['X-B'],
      response_headers_to_remove: ['x-c'],
    });
    expect(headers.requestAdd.map((header) => header.action)).toEqual([
      'append',
      'add-if-absent',
      'overwrite',
      'overwrite-if-exists',
      'overwrite',
    ]);
    expect(headers.requestAdd[2]).toEqual({ name: 'x-a', value: '%PROTOCOL%', action: 'overwrite', keepEmpty: true });
    expect([headers.requestRemove, headers.responseAdd, headers.responseRemove]).toEqual([['x-b'], [], ['x-c']]);
  });
});
