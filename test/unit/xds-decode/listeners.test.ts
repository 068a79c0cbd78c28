import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import type { ResourceKind } from '../../../src/config/resource.ts';
import { FILTERS } from '../../../src/filters/registry.ts';
import { ROUTER } from '../../../src/filters/router.ts';
import { accepted, apiListener, chain, decode, FAULT, HCM_TYPE, manager, ROUTER_FILTER, routes, socketListener } from './harness.ts';
import type { Json } from './harness.ts';

describe('an API listener', () => {
  test('with RDS', () => {
    expect(accepted('listener', apiListener())).toEqual({
      name: 'web.local',
      api: {
        routeConfigName: 'web',
        routeConfig: undefined,
        maxStreamDurationMs: undefined,
        stripPort: 'none',
        statPrefix: 'x',
        filters: [{ name: 'router', typeUrl: ROUTER.typeUrls[0], disabled: false, terminal: true, config: undefined }],
      },
      address: undefined,
      direction: 'unspecified',
      filterChains: [],
      defaultFilterChain: undefined,
    });
  });

  test('with its routes inside', () => {
    const json = {
      name: 'x',
      api_listener: { api_listener: { '@type': HCM_TYPE, stat_prefix: 'x', route_config: routes({}), http_filters: [ROUTER_FILTER] } },
    };
    const value = accepted('listener', json);
    expect(value.api?.routeConfigName).toBeUndefined();
    expect(value.api?.routeConfig?.virtualHosts[0]?.domains).toEqual(['*']);
  });

  test.each([
    [{ strip_any_host_port: true }, 'any'],
    [{ strip_matching_host_port: true }, 'matching'],
    [{ strip_any_host_port: false }, 'none'],
  ] as const)('%o', (hcm, stripPort) => expect(accepted('listener', apiListener(hcm)).api?.stripPort).toBe(stripPort));

  test('filters keep their order and their state', () => {
    const filters = [
      { name: 'a', disabled: true, typed_config: { '@type': FAULT.typeUrls[0], delay: { fixed_delay: '1s' } } },
      ROUTER_FILTER,
    ];
    const found = accepted('listener', apiListener({ http_filters: filters })).api?.filters;
    expect(found?.map((filter) => [filter.name, filter.disabled, filter.terminal])).toEqual([
      ['a', true, false],
      ['router', false, true],
    ]);
    expect(found?.[0]?.config).toMatchObject({ delay: { faultDelaySecifier: { case: 'fixedDelay' } } });
  });

  test('a TypedStruct is the filter that it names', () => {
    const typed_config = {
      '@type': 'type.googleapis.com/udpa.type.v1.TypedStruct',
      type_url: FAULT.typeUrls[0],
      value: { max_active_faults: 3 },
    };
    const found = accepted('listener', apiListener({ http_filters: [{ name: 'a', typed_config }, ROUTER_FILTER] })).api?.filters[0];
    expect([found?.typeUrl, found?.config]).toMatchObject([FAULT.typeUrls[0], { maxActiveFaults: 3 }]);
  });
});

describe('a socket listener', () => {
  test('address, direction and chains', () => {
    const filter_chain_match = {
      destination_port: 80,
      prefix_ranges: [{ address_prefix: '10.0.0.0', prefix_len: 8 }],
      server_names: ['A.b'],
      transport_protocol: 'tls',
      application_protocols: ['h2'],
      source_type: 'EXTERNAL',
      source_prefix_ranges: [{ address_prefix: '::1', prefix_len: 128 }],
      source_ports: [9],
    };
    const value = accepted(
      'listener',
      socketListener({ filter_chains: [chain({ name: 'n', filter_chain_match })], default_filter_chain: chain() }),
    );
    expect(value).toMatchObject({ api: undefined, address: { host: '127.0.0.1', port: 8080 }, direction: 'inbound' });
    expect(value.filterChains[0]).toMatchObject({
      name: 'n',
      match: {
        destinationPort: 80,
        prefixRanges: [{ address: '10.0.0.0', prefixLength: 8 }],
        serverNames: ['a.b'],
        transportProtocol: 'tls',
        applicationProtocols: ['h2'],
        directSourcePrefixRanges: [],
        sourceType: 'external',
        sourcePrefixRanges: [{ address: '::1', prefixLength: 128 }],
        sourcePorts: [9],
      },
      tls: undefined,
    });
    expect(value.defaultFilterChain?.http?.routeConfigName).toBe('web');
  });

  const tcp = {
    name: 't',
    typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy', stat_prefix: 'x', cluster: 'c' },
  };
  test('a chain that is not HTTP is left alone and recorded', () => {
    const { decoded, unsupported } = decode('listener', socketListener({ filter_chains: [{ filters: [tcp] }] }));
    expect(decoded.ok && decoded.value.filterChains[0]?.http).toBeUndefined();
    expect(unsupported).toEqual(['filter_chains[].filters[]=envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy']);
  });

  test('outbound: a network filter, trusted hops and any listener filter are passed over and recorded', () => {
    const filters = [
      { ...tcp, name: 'first' },
      { name: 'h', typed_config: manager({ xff_num_trusted_hops: 1 }) },
    ];
    const { decoded, unsupported } = decode(
      'listener',
      socketListener({
        traffic_direction: 'OUTBOUND',
        listener_filters: [{ name: 'other' }],
        filter_chains: [{ filters }],
        use_original_dst: true,
      }),
    );
    expect(decoded.ok && decoded.value.filterChains[0]?.http?.routeConfigName).toBe('web');
    expect(unsupported.toSorted()).toEqual([
      'filter_chains[].filters[].typed_config.xff_num_trusted_hops',
      'filter_chains[].filters[]=envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy',
      'listener_filters[]=other',
      'use_original_dst',
    ]);
  });

  test('initial_fetch_timeout of the aggregated stream counts for its routes, and is not recorded', () => {
    const config_source = { ads: {}, initial_fetch_timeout: '3s', resource_api_version: 'V3' };
    const typed_config = manager({ rds: { route_config_name: 'web', config_source } });
    const { decoded, unsupported } = decode('listener', socketListener({ filter_chains: [{ filters: [{ name: 'h', typed_config }] }] }));
    expect(decoded.ok && decoded.value.filterChains[0]?.http).toMatchObject({ routeConfigName: 'web', routesWaitMs: 3000 });
    expect(unsupported).toEqual([]);
  });

  test('a listener without direction may have filters of either side', () => {
    const filters = [{ name: 'f', typed_config: { '@type': FAULT.typeUrls[0] } }, ROUTER_FILTER];
    const listener = (traffic_direction: string | undefined): Json =>
      socketListener({ traffic_direction, filter_chains: [chain({}, { http_filters: filters })] });
    expect(decode('listener', listener(undefined)).decoded.ok).toBe(true);
    expect(decode('listener', listener('OUTBOUND')).decoded.ok).toBe(true);
    expect(decode('listener', listener('INBOUND')).decoded.ok).toBe(false);
  });
});

test('server TLS', () => {
  const common_tls_context = {
    tls_certificate_provider_instance: { instance_name: 'default' },
    validation_context: { ca_certificate_provider_instance: { instance_name: 'default' } },
  };
  const typed_config = {
    '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
    require_client_certificate: true,
    common_tls_context,
  };
  const value = accepted('listener', socketListener({ filter_chains: [chain({ transport_socket: { name: 'tls', typed_config } })] }));
  expect(value.filterChains[0]?.tls).toMatchObject({
    requireClientCertificate: true,
    identity: { kind: 'provider', instance: 'default' },
    roots: { kind: 'provider' },
  });
});

describe('resources that go-control-plane serves to Envoy and grpc-go', () => {
  const file = parse(readFileSync(new URL('fixtures/peers.yaml', import.meta.url), 'utf8'), { merge: true }) as {
    readonly resources: readonly Json[];
  };
  const kinds = Object.entries(TYPE_URLS) as [ResourceKind, string][];
  test.each(file.resources.map((resource) => [String(resource['name'] ?? resource['cluster_name']), resource] as const))(
    '%s',
    (name, { '@type': typeUrl, ...json }) => {
      const kind = kinds.find(([, url]) => url === typeUrl)?.[0];
      if (kind === undefined) throw new Error(`type ${String(typeUrl)}`);
      const { decoded, unsupported } = decode(kind, json, { filters: [...FILTERS.filter((filter) => filter !== ROUTER), ROUTER] });
      // The one thing in them that has no effect, and is said to have none.
      const limited = kind === 'cluster' && 'circuit_breakers' in json;
      expect([decoded.ok ? [] : decoded.errors, unsupported]).toEqual([
        [],
        limited ? ['circuit_breakers.thresholds[].max_connections'] : [],
      ]);
      expect(decoded.name).toBe(name);
    },
  );
});
