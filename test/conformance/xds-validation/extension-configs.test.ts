/** Filters over ECDS (Envoy X-92): a configuration that cannot be used is refused as a resource, before any listener takes it. */
import { describe, expect, test } from 'vitest';
import { FILTERS } from '../../../src/filters/registry.ts';
import { apiListener, decode, ROUTER_FILTER, socketListener, chain } from '../../unit/xds-decode/harness.ts';
import type { Json } from '../../unit/xds-decode/harness.ts';
import { check } from './rows.ts';

const HTTP = 'type.googleapis.com/envoy.extensions.filters.http';
const RBAC = `${HTTP}.rbac.v3.RBAC`;
const CORS = `${HTTP}.cors.v3.Cors`;
const WASM = `${HTTP}.wasm.v3.Wasm`;
const ROUTER_TYPE = `${HTTP}.router.v3.Router`;
const HCM = 'api_listener.api_listener';
const ADS = { ads: {} };
const given = { filters: FILTERS };
const policy = { permissions: [{ any: true }], principals: [{ any: true }] };
const typed = (config: object): { readonly name: string; readonly typed_config: object } => ({ name: 'f', typed_config: config });

describe('filter configurations', () => {
  check(
    'extension-config',
    [
      ['X-92', 'RBAC', typed({ '@type': RBAC, rules: { policies: { p: policy } } }), 'accepted'],
      ['X-92', 'the router', typed({ '@type': `${HTTP}.router.v3.Router` }), 'accepted'],
      ['X-92', 'a filter without effect', typed({ '@type': `${HTTP}.cors.v3.Cors` }), 'accepted'],
      [
        'X-92',
        'as a struct',
        typed({ '@type': 'type.googleapis.com/xds.type.v3.TypedStruct', type_url: RBAC, value: { rules: { policies: { p: policy } } } }),
        'accepted',
      ],
      [
        'A41',
        'rules that mean nothing',
        typed({ '@type': RBAC, rules: { policies: { p: { ...policy, permissions: [] } } } }),
        'typed_config.rules.policies["p"].permissions: must not be empty',
      ],
      [
        'X-92',
        'a filter that is not supported',
        typed({ '@type': 'type.googleapis.com/udpa.type.v1.TypedStruct', type_url: `${HTTP}.wasm.v3.Wasm`, value: {} }),
        'typed_config: filter type envoy.extensions.filters.http.wasm.v3.Wasm is not supported',
      ],
      ['A41', 'the override of a route', typed({ '@type': `${RBAC}PerRoute` }), 'typed_config'],
      ['X-92', 'no configuration', { name: 'f' }, 'typed_config: is missing'],
      ['1', 'no name', { typed_config: { '@type': RBAC } }, 'name: must not be empty'],
    ],
    given,
  );

  test('the type, and what the filter made of it', () => {
    const { decoded } = decode('extension-config', typed({ '@type': RBAC, rules: { policies: { p: policy } } }), given);
    expect(decoded.ok && decoded.value).toMatchObject({
      name: 'f',
      typeUrl: RBAC,
      terminal: false,
      config: { rules: { action: 'allow' } },
    });
  });
});

const AT = `${HCM}.http_filters[0].config_discovery`;
const place = (change: Json, filter: Json = {}): Json => ({
  name: 'x',
  ...filter,
  config_discovery: { config_source: ADS, type_urls: [RBAC], ...change },
});
const client = (change: Json, filter: Json = {}): Json => apiListener({ http_filters: [place(change, filter), ROUTER_FILTER] });
const sidecar = (direction: string, change: Json): Json =>
  socketListener({ traffic_direction: direction, filter_chains: [chain({}, { http_filters: [place(change), ROUTER_FILTER] })] });
const alone = (type: string): Json => apiListener({ http_filters: [place({ type_urls: [type] })] });

describe('their places in listeners', () => {
  check(
    'listener',
    [
      ['X-92', 'a filter over ECDS', client({}), 'accepted'],
      ['X-92', 'with a default', client({ default_config: { '@type': RBAC } }), 'accepted'],
      ['X-92', 'without types', client({ type_urls: [] }), `${AT}.type_urls: must not be empty`],
      ['X-92', 'a type that is not supported', client({ type_urls: [RBAC, WASM] }), `${AT}.type_urls: filter "x"`],
      ['X-92', 'the same, optional', client({ type_urls: [WASM] }, { is_optional: true }), 'accepted'],
      ['X-92', 'without a source', client({ config_source: undefined }), `${AT}.config_source: is missing`],
      ['X-92', 'a default of another type', client({ default_config: { '@type': CORS } }), `${AT}.default_config: is of type`],
      [
        'X-92',
        'a default that is not valid',
        client({ default_config: { '@type': RBAC, rules: { policies: { p: { ...policy, permissions: [] } } } } }),
        `${AT}.default_config.rules.policies["p"].permissions: must not be empty`,
      ],
      [
        'X-92',
        'at once by the default, which is not there',
        client({ apply_default_config_without_warming: true }),
        `${AT}.apply_default_config_without_warming: needs`,
      ],
      ['X-92', 'the router and others in one place', client({ type_urls: [RBAC, ROUTER_TYPE] }), `${AT}.type_urls: terminal filters`],
      ['X-92', 'the router over ECDS', alone(ROUTER_TYPE), 'accepted'],
      ['X-92', 'no router', alone(RBAC), `${HCM}.http_filters: the last filter, "x", is not terminal`],
      [
        'X-92',
        'inbound, not supported',
        sidecar('INBOUND', { type_urls: [WASM] }),
        'filter_chains[0].filters[0].typed_config.http_filters[0]',
      ],
      ['X-92', 'outbound in the sidecar view, not supported', sidecar('OUTBOUND', { type_urls: [WASM, RBAC] }), 'accepted'],
    ],
    given,
  );
});
