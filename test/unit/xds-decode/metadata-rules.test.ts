/** Rules by metadata beside filters that would have written it: they could not be obeyed, so the listener is refused. */
import { expect, test } from 'vitest';
import { LB_POLICIES } from '../../../src/balancing/registry.ts';
import type { Principal, RbacConfig } from '../../../src/config/rbac.ts';
import { silentLogger } from '../../../src/core/log.ts';
import { FilterChain } from '../../../src/filters/chain.ts';
import { FILTERS } from '../../../src/filters/registry.ts';
import { FakeClock } from '../../../src/testing/fake-clock.ts';
import { SeededRandom } from '../../../src/testing/seeded-random.ts';
import type { Json } from './harness.ts';
import { HCM_TYPE, ROUTER_FILTER, accepted, chain, decode, socketListener } from './harness.ts';

const PREFIX = 'type.googleapis.com/';
const metadata = { metadata: { filter: 'istio_authn', path: [{ key: 'source.principal' }], value: { string_match: { exact: 'evil' } } } };
const rbac = (principal: Json): Json => ({
  name: 'rbac',
  typed_config: {
    '@type': `${PREFIX}envoy.extensions.filters.http.rbac.v3.RBAC`,
    rules: { action: 'DENY', policies: { p: { permissions: [{ any: true }], principals: [principal] } } },
  },
});
const byMetadata = rbac({ and_ids: { ids: [{ any: true }, { not_id: metadata }] } });
const unknown = (type: string): Json => ({
  name: 'writer',
  typed_config: { '@type': `${PREFIX}xds.type.v3.TypedStruct`, type_url: `${PREFIX}${type}`, value: {} },
});
const toMetadata: Json = {
  name: 'writer',
  typed_config: {
    '@type': `${PREFIX}envoy.extensions.filters.http.header_to_metadata.v3.Config`,
    request_rules: [{ header: 'x', on_header_present: { key: 'k' } }],
  },
};
const authn = unknown('io.istio.network.authn.Config');

function said(http: readonly Json[], network: readonly Json[] = []): string {
  const manager = { '@type': HCM_TYPE, stat_prefix: 's', route_config: { name: 'r' }, http_filters: [...http, ROUTER_FILTER] };
  const filters = [...network, { name: 'http', typed_config: manager }];
  const resource = socketListener({ traffic_direction: 'INBOUND', filter_chains: [chain({ filters })] });
  const { decoded } = decode('listener', resource, { filters: FILTERS, lbPolicies: LB_POLICIES });
  return decoded.ok ? 'accepted' : (decoded.errors[0]?.reason ?? '');
}

test.each<[string, readonly Json[], readonly Json[]]>([
  ['header_to_metadata', [toMetadata, byMetadata], []],
  ['an optional filter that is not known', [{ ...unknown('some.Filter'), is_optional: true }, byMetadata], []],
  ["Istio's network filter", [byMetadata], [authn]],
])('%s before a rule by metadata', (_name, http, network) => {
  expect(said(http, network)).toContain('"rbac" decides by metadata');
});

test('either of them alone is accepted: without a writer metadata is empty (gRFC A41)', () => {
  expect([said([byMetadata]), said([toMetadata, rbac({ any: true })]), said([rbac({ any: true })], [authn])]).toEqual([
    'accepted',
    'accepted',
    'accepted',
  ]);
});

/** Names of the layers that a route's override, or what ECDS brings, makes of a listener with a writer. */
function layersOf(http: readonly Json[], typeUrl: string, config: RbacConfig, network: readonly Json[] = []): readonly string[] {
  const manager = { '@type': HCM_TYPE, stat_prefix: 's', route_config: { name: 'r' }, http_filters: [...http, ROUTER_FILTER] };
  const filters = [...network, { name: 'http', typed_config: manager }];
  const resource = socketListener({ traffic_direction: 'INBOUND', filter_chains: [chain({ filters })] });
  const { filterChains } = accepted('listener', resource, { filters: FILTERS, lbPolicies: LB_POLICIES });
  const found = (filterChains[0]?.http?.filters ?? []).map((filter) =>
    filter.discovery === undefined ? filter : { ...filter, typeUrl, config },
  );
  const made = new FilterChain(FILTERS, { clock: new FakeClock(), random: new SeededRandom(1), log: silentLogger });
  return made.layers(found, [{ rbac: { disabled: false, typeUrl, config } }], 'inbound').map(({ name }) => name);
}

const RBAC = `${PREFIX}envoy.extensions.filters.http.rbac.v3.RBAC`;
const denying = (principal: Principal): RbacConfig => ({
  rules: { action: 'deny', policies: [{ name: 'p', permissions: [{ kind: 'any' }], principals: [principal] }] },
});
const byKey = denying({ kind: 'not', id: { kind: 'or', ids: [{ kind: 'metadata', invert: false }] } });
const discovered: Json = {
  name: 'rbac',
  config_discovery: { config_source: { ads: {}, resource_api_version: 'V3' }, type_urls: [RBAC] },
};

test('a route whose own rules decide by metadata, and rules that come over ECDS, let nothing pass beside a writer', () => {
  expect(layersOf([toMetadata, rbac({ any: true })], `${RBAC}PerRoute`, byKey)).toEqual(['rbac (missing)']);
  expect(layersOf([rbac({ any: true })], `${RBAC}PerRoute`, byKey, [authn])).toEqual(['rbac (missing)']);
  expect(layersOf([toMetadata, discovered], RBAC, byKey)).toEqual(['rbac (missing)']);
  // Negative controls: no writer, and rules by something else.
  expect(layersOf([rbac({ any: true })], `${RBAC}PerRoute`, byKey)).toEqual(['rbac']);
  expect(layersOf([toMetadata, rbac({ any: true })], `${RBAC}PerRoute`, denying({ kind: 'any' }))).toEqual(['rbac']);
});
