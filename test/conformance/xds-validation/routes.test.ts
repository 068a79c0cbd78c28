/** Validation of route configurations: gRPC rules 17 to 26 (grpc.md §4.4) and the R- rules of Envoy. */
import { describe } from 'vitest';
import { ROUTER_FILTER, routes } from '../../unit/xds-decode/harness.ts';
import type { Json } from '../../unit/xds-decode/harness.ts';
import { check, FAULT_FILTER, UNKNOWN_FILTER } from './rows.ts';

const R = 'virtual_hosts[0].routes[0]';
const matching = (more: Json): Json => routes({ match: more });
const action = (more: Json): Json => routes({ route: more });
const header = (more: Json): Json => matching({ prefix: '/', headers: [{ name: 'x', ...more }] });
const retry = (more: Json): Json => action({ cluster: 'c', retry_policy: { retry_on: '5xx', ...more } });
const override = (any: Json): Json => routes({ typed_per_filter_config: { f: any } });
const FAULT_ANY = FAULT_FILTER.typed_config;
const FILTER_CONFIG = 'type.googleapis.com/envoy.config.route.v3.FilterConfig';
const CP = { envoy_grpc: { cluster_name: 'cp' } };
const vhds = (config_source: Json): Json => ({ name: 'r', vhds: { config_source } });

describe('route configurations (§4.4)', () => {
  check('routes', [
    [
      'R-5',
      'a domain twice',
      {
        name: 'w',
        virtual_hosts: [
          { name: 'a', domains: ['x.com'] },
          { name: 'b', domains: ['X.com'] },
        ],
      },
      'virtual_hosts[1].domains[0]',
    ],
    [
      'R-5',
      'two catch-alls',
      {
        name: 'w',
        virtual_hosts: [
          { name: 'a', domains: ['*'] },
          { name: 'b', domains: ['*'] },
        ],
      },
      'virtual_hosts[1].domains[0]',
    ],
    ['X-90', 'virtual hosts on demand', vhds({ ads: {} }), 'accepted'],
    ['X-90', 'by delta', vhds({ api_config_source: { api_type: 'DELTA_GRPC', grpc_services: [CP] } }), 'accepted'],
    [
      'X-90',
      'by anything else',
      vhds({ api_config_source: { api_type: 'GRPC', grpc_services: [CP] } }),
      'vhds.config_source: virtual hosts',
    ],
    ['X-90', 'from a file', vhds({ path_config_source: { path: '/x' } }), 'vhds.config_source: virtual hosts'],
    ['X-90', 'from nowhere', { name: 'r', vhds: {} }, 'vhds.config_source'],
    [
      'X-95',
      'on_demand for a route',
      override({
        '@type': 'type.googleapis.com/envoy.extensions.filters.http.on_demand.v3.PerRouteConfig',
        odcds: { source: { self: {} } },
      }),
      'accepted',
    ],
    ['17', 'no retries', retry({ num_retries: 0 }), 'accepted'],
    ['17', 'base interval 0', retry({ retry_back_off: { base_interval: '0s' } }), `${R}.route.retry_policy.retry_back_off.base_interval`],
    [
      '17',
      'max interval 0',
      retry({ retry_back_off: { base_interval: '1s', max_interval: '0s' } }),
      `${R}.route.retry_policy.retry_back_off.max_interval`,
    ],
    [
      '17',
      'on the virtual host',
      routes({}, { retry_policy: { retry_back_off: { base_interval: '-1s' } } }),
      'virtual_hosts[0].retry_policy.retry_back_off.base_interval',
    ],
    [
      '18',
      'no match',
      { name: 'w', virtual_hosts: [{ name: 'a', domains: ['*'], routes: [{ route: { cluster: 'c' } }] }] },
      `${R}.match: a route needs`,
    ],
    ['19', 'no path specifier', matching({}), `${R}.match: no path`],
    ['19', 'a bad regex', matching({ safe_regex: { regex: '([a-z' } }), `${R}.match.safe_regex.regex`],
    ['19', 'an empty regex', matching({ safe_regex: {} }), `${R}.match.safe_regex.regex`],
    ['19', 'look-around', matching({ safe_regex: { regex: '(?=a)' } }), `${R}.match.safe_regex.regex`],
    ['19', 'a path extension', matching({ path_match_policy: { name: 'x' } }), `${R}.match.path_match_policy`],
    ['19', 'a separated prefix', matching({ path_separated_prefix: '/a' }), 'accepted'],
    ['19', 'a separated prefix with a slash', matching({ path_separated_prefix: '/a/' }), `${R}.match.path_separated_prefix`],
    ['20', 'a header regex', header({ safe_regex_match: { regex: '*' } }), `${R}.match.headers[0].safe_regex_match.regex`],
    ['20', 'an empty prefix', header({ string_match: { prefix: '' } }), `${R}.match.headers[0].string_match.prefix`],
    ['20', 'an empty suffix', header({ suffix_match: '' }), `${R}.match.headers[0].suffix_match`],
    ['20', 'no pattern', header({ string_match: {} }), `${R}.match.headers[0].string_match`],
    ['20', 'no name', matching({ prefix: '/', headers: [{ present_match: true }] }), `${R}.match.headers[0].name`],
    ['R-21', 'no specifier is presence', header({}), 'accepted'],
    [
      'R-22',
      'a query regex',
      matching({ prefix: '/', query_parameters: [{ name: 'q', string_match: { safe_regex: { regex: '(' } } }] }),
      `${R}.match.query_parameters[0].string_match.safe_regex.regex`,
    ],
    [
      '21',
      'an unknown denominator',
      matching({ prefix: '/', runtime_fraction: { default_value: { numerator: 1, denominator: 9 } } }),
      `${R}.match.runtime_fraction.default_value.denominator`,
    ],
    ['22', 'no cluster', action({}), `${R}.route: the route names`],
    ['22', 'an empty name', action({ cluster: '' }), `${R}.route.cluster`],
    [
      '22',
      'weights of 0',
      action({ weighted_clusters: { clusters: [{ name: 'a', weight: 0 }] } }),
      `${R}.route.weighted_clusters.clusters: the weights`,
    ],
    [
      '22',
      'weights too large',
      action({
        weighted_clusters: {
          clusters: [
            { name: 'a', weight: 4294967295 },
            { name: 'b', weight: 1 },
          ],
        },
      }),
      `${R}.route.weighted_clusters.clusters: the weights`,
    ],
    [
      '22',
      'weights just right',
      action({
        weighted_clusters: {
          clusters: [
            { name: 'a', weight: 4294967294 },
            { name: 'b', weight: 1 },
          ],
        },
      }),
      'accepted',
    ],
    ['22', 'an undeclared plugin', action({ cluster_specifier_plugin: 'p' }), `${R}.route.cluster_specifier_plugin`],
    [
      '22',
      'a declared plugin',
      routes({}, {}, { cluster_specifier_plugins: [{ extension: { name: 'p' } }] }),
      'cluster_specifier_plugins[0]',
    ],
    [
      '22',
      'an optional plugin',
      routes(
        { route: { cluster_specifier_plugin: 'p' } },
        {},
        { cluster_specifier_plugins: [{ extension: { name: 'p' }, is_optional: true }] },
      ),
      'accepted',
    ],
    [
      '23',
      'a bad rewrite in a hash policy',
      action({ cluster: 'c', hash_policy: [{ header: { header_name: 'h', regex_rewrite: { pattern: { regex: '(' } } } }] }),
      `${R}.route.hash_policy[0].header.regex_rewrite.pattern.regex`,
    ],
    [
      'R-40',
      'two rewrites',
      action({ cluster: 'c', prefix_rewrite: '/', regex_rewrite: { pattern: { regex: 'a' } } }),
      `${R}.route: only one`,
    ],
    [
      'R-42',
      'a bad substitution',
      action({ cluster: 'c', regex_rewrite: { pattern: { regex: 'a' }, substitution: '\\1' } }),
      `${R}.route.regex_rewrite.substitution`,
    ],
    ['R-53', 'a status of 199', routes({ route: undefined, direct_response: { status: 199 } }), `${R}.direct_response.status`],
    [
      'R-53',
      'too long a body',
      routes({ route: undefined, direct_response: { status: 200, body: { inline_string: 'x'.repeat(4097) } } }),
      `${R}.direct_response.body: 4097`,
    ],
    [
      'R-102',
      'a pseudo header',
      routes({ request_headers_to_add: [{ header: { key: ':path', value: 'x' } }] }),
      `${R}.request_headers_to_add[0].header.key`,
    ],
    ['R-102', 'removing Host', routes({ request_headers_to_remove: ['Host'] }), `${R}.request_headers_to_remove[0]`],
    ['24', 'redirect', routes({ route: undefined, redirect: { https_redirect: true } }), 'accepted'],
    ['24', 'no action', routes({ route: undefined }), 'accepted'],
    ['25', 'an override', override(FAULT_ANY), 'accepted'],
    ['25', 'a wrapped override', override({ '@type': FILTER_CONFIG, config: FAULT_ANY }), 'accepted'],
    ['25', 'an unknown override (gRPC rejects; the filter itself decides)', override(UNKNOWN_FILTER.typed_config), 'accepted'],
    [
      '25',
      'an unknown optional override',
      override({ '@type': FILTER_CONFIG, is_optional: true, config: UNKNOWN_FILTER.typed_config }),
      'accepted',
    ],
    ['25', 'only disabled', override({ '@type': FILTER_CONFIG, disabled: true }), 'accepted'],
    ['25', 'an empty wrapper', override({ '@type': FILTER_CONFIG }), `${R}.typed_per_filter_config["f"].config`],
    ['41', 'an override of the router', override(ROUTER_FILTER.typed_config), `${R}.typed_per_filter_config["f"]`],
    ['A31', 'a duration that is none', action({ cluster: 'c', timeout: '-1s' }), `${R}.route.timeout`],
  ]);
});

describe('virtual hosts by themselves (X-90)', () => {
  const host = (more: Json): Json => ({ name: 'v', domains: ['a'], routes: [], ...more });
  check('virtual-host', [
    ['X-90', 'a virtual host', host({ routes: [{ match: { prefix: '/' }, route: { cluster: 'c' } }] }), 'accepted'],
    ['X-90', 'without a domain', host({ domains: [] }), 'domains: a virtual host needs'],
    ['R-5', 'a domain twice', host({ domains: ['a', 'A'] }), 'domains[1]: domain'],
    ['18', 'its routes are validated', host({ routes: [{ match: {} }] }), 'routes[0].match'],
    [
      '22',
      'a plugin of its route configuration: skipped',
      host({ routes: [{ match: { prefix: '/' }, route: { cluster_specifier_plugin: 'p' } }] }),
      'accepted',
    ],
    [
      '17',
      'its retry policy is validated',
      host({ retry_policy: { retry_back_off: { base_interval: '-1s' } } }),
      'retry_policy.retry_back_off.base_interval',
    ],
  ]);
});
