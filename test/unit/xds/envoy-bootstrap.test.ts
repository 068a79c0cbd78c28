/** Envoy's bootstrap: those that Consul, Envoy Gateway, Istio and Kuma write, and every field that has a meaning. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Bootstrap, XdsServerConfig } from '../../../src/config/bootstrap.ts';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import { parseBootstrap } from '../../../src/configuration.ts';
import { anyToJson } from '../../../src/proto/any.ts';
import { ENVOY_GRPC, V3, ads, cluster, document, endpoint, folder, problemOf, read, serverOf, withSocket } from './envoy-documents.ts';
import type { Json } from './envoy-documents.ts';

const FIXTURES = join(import.meta.dirname, 'bootstraps');

function fixture(name: string, env: Record<string, string> = {}, change = (text: string): string => text): Bootstrap {
  return parseBootstrap(change(readFileSync(join(FIXTURES, name), 'utf8')), name, env);
}

describe('bootstraps of control planes', () => {
  test('Consul: delta, a token as metadata, one service where a list is meant, both spellings of names', () => {
    const found = fixture('consul.json');
    expect(found.format).toBe('envoy');
    expect(found.servers).toEqual([
      {
        uri: '127.0.0.1:8502',
        credentials: { type: 'insecure' },
        features: [],
        protocol: 'delta',
        aggregated: true,
        metadata: [{ key: 'x-consul-token', parts: [''] }],
      },
    ]);
    expect(found.sources).toEqual({});
    expect(found.node).toMatchObject({ id: 'web-sidecar-proxy', cluster: 'web', metadata: { namespace: 'default', partition: 'default' } });
    expect(found.unsupported).toEqual(
      expect.arrayContaining(['admin', 'stats_config', 'dynamic_resources.lds_config.initial_fetch_timeout']),
    );
    // The way to the control plane is no target of calls.
    expect(found.staticResources.filter(({ typeUrl }) => typeUrl === TYPE_URLS.cluster)).toEqual([]);
    expect(Object.keys(found.clusters)).toEqual(['local_agent']);
  });

  test('Envoy Gateway: YAML, mutual TLS by secrets in files, keep-alive', () => {
    const secret = (name: string, rest: Json): string => JSON.stringify({ resources: [{ '@type': `${V3}.Secret`, name, ...rest }] });
    const certs = folder({
      'xds-certificate.json': secret('xds_certificate', {
        tls_certificate: { certificate_chain: { filename: '/certs/tls.crt' }, private_key: { filename: '/certs/tls.key' } },
      }),
      'xds-trusted-ca.json': secret('xds_trusted_ca', {
        validation_context: {
          trusted_ca: { filename: '/certs/ca.crt' },
          match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: 'envoy-gateway' } }],
        },
      }),
    });
    const found = fixture('envoy-gateway.yaml', {}, (text) => text.replaceAll('CERTS/', `${certs}/`));
    expect(found.servers).toEqual([
      {
        uri: '0.0.0.0:18000',
        credentials: {
          type: 'tls_context',
          tls: {
            identity: {
              kind: 'pair',
              certificateChain: { kind: 'file', path: '/certs/tls.crt', watchedDirectory: undefined },
              privateKey: { kind: 'file', path: '/certs/tls.key', watchedDirectory: undefined },
            },
            roots: { kind: 'file', path: '/certs/ca.crt', watchedDirectory: undefined },
            sanMatchers: [{ type: 'dns', matcher: { kind: 'exact', value: 'envoy-gateway', ignoreCase: false } }],
            alpn: [],
            minVersion: undefined,
            maxVersion: 'TLSv1.3',
            sni: '',
            autoHostSni: false,
            autoSniSanValidation: false,
          },
        },
        features: [],
        protocol: 'delta',
        aggregated: true,
        keepalive: { intervalMs: 30_000, timeoutMs: 5000 },
      },
    ]);
    expect(found.node.locality.zone).toBe('$(ENVOY_SERVICE_ZONE)');
    expect(found.unsupported).toEqual(expect.arrayContaining(['overload_manager', 'deferred_stat_options']));
  });

  test('Istio: sockets by relative paths, and a listener with a filter that nobody else knows', () => {
    const found = fixture('istio-sidecar.json');
    expect(found.servers).toEqual([
      { uri: 'unix:./etc/istio/proxy/XDS', credentials: { type: 'insecure' }, features: [], protocol: 'delta', aggregated: true },
    ]);
    expect(found.clusters['sds-grpc']?.uri).toBe('unix:./var/run/secrets/workload-spiffe-uds/socket');
    expect(found.staticResources.map(({ typeUrl }) => typeUrl).filter((url) => url !== TYPE_URLS.runtime)).toEqual([
      TYPE_URLS.listener,
      TYPE_URLS.cluster,
      TYPE_URLS.cluster,
      TYPE_URLS.cluster,
    ]);
    expect(JSON.stringify(anyToJson(found.staticResources[0] ?? { typeUrl: '', value: new Uint8Array() }))).toContain('stats.PluginConfig');
    expect(found.unsupported).toEqual(
      expect.arrayContaining([
        'admin',
        'bootstrap_extensions',
        'layered_runtime.layers[1].admin_layer',
        'static_resources.clusters[2].circuit_breakers',
        'static_resources.clusters[2].upstream_connection_options',
      ]),
    );
  });

  test('Kuma: YAML in lowerCamelCase, the token from the environment, trust anchors from a static secret', () => {
    const found = fixture('kuma.yaml', { KUMA_TOKEN: 'ey.token' });
    expect(found.servers[0]).toMatchObject({
      uri: 'kuma-control-plane:5678',
      protocol: 'sotw',
      metadata: [{ key: 'authorization', parts: ['ey.token'] }],
      keepalive: { intervalMs: 30_000, timeoutMs: 5000 },
      credentials: {
        type: 'tls_context',
        tls: {
          identity: undefined,
          roots: { kind: 'inline', pem: '-----BEGIN CERTIFICATE-----\n' },
          sanMatchers: [{ type: 'dns', matcher: { value: 'kuma-control-plane' } }],
          sni: 'kuma-control-plane',
        },
      },
    });
    expect(found.unsupported).toEqual(expect.arrayContaining(['dynamic_resources.ads_config.timeout']));
    expect(found.unsupported.join()).toContain('interval_jitter');
  });
});

describe('which format', () => {
  test("told by what is in it; gRPC's wins where both are", () => {
    expect(read(document()).format).toBe('envoy');
    const grpc = { xds_servers: [{ server_uri: 'x', channel_creds: [{ type: 'insecure' }] }] };
    expect(read({ ...document(), ...grpc }).format).toBe('grpc');
    expect(parseBootstrap(JSON.stringify(grpc), 'x', {}).format).toBe('grpc');
  });

  test('YAML that is broken, with its place and without its text', () => {
    const text = 'static_resources:\n  clusters: [\n  secret: {}\n';
    const problem = problemOf(() => parseBootstrap(text, '/e.yaml', {}));
    expect(problem.message).toMatch(/^xDS bootstrap \/e\.yaml:\d+:\d+: not YAML: /);
    expect(problem.message).not.toContain('secret: {}');
  });

  test('is frozen all through', () => {
    const found = read(document(ads(), [cluster(), { ...cluster(), name: 'other' }]));
    expect(Object.isFrozen(found.servers[0]?.credentials)).toBe(true);
    expect(found.staticResources).toHaveLength(1);
  });
});

describe('servers', () => {
  test.each<[string, readonly Json[], string]>([
    ['a name', [endpoint('cp.example', 18000)], 'cp.example:18000'],
    ['IPv6', [endpoint('::1', 18000)], '[::1]:18000'],
    ['several addresses', [endpoint('10.0.0.1', 1), endpoint('10.0.0.2', 2)], 'ipv4:10.0.0.1:1,10.0.0.2:2'],
    ['several of IPv6', [endpoint('::1', 1), endpoint('::2', 2)], 'ipv6:[::1]:1,[::2]:2'],
    ['several names: the first', [endpoint('a', 1), endpoint('b', 2)], 'a:1'],
    ['a port as a text', [endpoint('a', '18000')], 'a:18000'],
    ['a socket', [{ endpoint: { address: { pipe: { path: '/run/xds' } } } }], 'unix:/run/xds'],
  ])('%s', (_name, endpoints, uri) => {
    expect(serverOf(document(ads(), [cluster({}, endpoints)]))?.uri).toBe(uri);
  });

  test('several services in order, each with its metadata; delta', () => {
    const grpc_services = [
      { ...ENVOY_GRPC, initial_metadata: [{ key: 'X-A', value: '100%%' }] },
      { google_grpc: { target_uri: 'dns:///second:1', stat_prefix: 'x' } },
    ];
    expect(read(document(ads({ api_type: 'DELTA_GRPC', grpc_services }))).servers).toEqual([
      {
        uri: '127.0.0.1:18000',
        credentials: { type: 'insecure' },
        features: [],
        protocol: 'delta',
        aggregated: true,
        metadata: [{ key: 'x-a', parts: ['100%'] }],
      },
      { uri: 'dns:///second:1', credentials: { type: 'insecure' }, features: [], protocol: 'delta', aggregated: true },
    ]);
  });

  test('metadata from files and the environment', () => {
    const initial_metadata = [
      { key: 'a', value: 'Bearer %FILE_CONTENT(/var/run/token)%' },
      { key: 'b', value: '%ENVIRONMENT(TOKEN)%-%%' },
      { key: 'c' },
    ];
    expect(serverOf(document(ads({ grpc_services: [{ ...ENVOY_GRPC, initial_metadata }] })), { TOKEN: 't' })?.metadata).toEqual([
      { key: 'a', parts: ['Bearer ', { file: '/var/run/token' }] },
      { key: 'b', parts: ['t-%'] },
      { key: 'c', parts: [''] },
    ]);
  });

  const google = (google_grpc: Json, env: Record<string, string> = {}): XdsServerConfig | undefined =>
    serverOf(document(ads({ grpc_services: [{ google_grpc: { target_uri: 'td.example:443', ...google_grpc } }] })), env);

  test('google_grpc: credentials of every kind', () => {
    const files = { root_certs: { filename: '/ca' }, cert_chain: { filename: '/c' }, private_key: { filename: '/k' } };
    expect(google({ channel_credentials: { ssl_credentials: {} } })?.credentials).toEqual({
      type: 'tls',
      certificateFile: undefined,
      privateKeyFile: undefined,
      caCertificateFile: undefined,
      refreshIntervalMs: 600_000,
    });
    expect(google({ channel_credentials: { ssl_credentials: files } })?.credentials).toMatchObject({
      type: 'tls',
      certificateFile: '/c',
      privateKeyFile: '/k',
      caCertificateFile: '/ca',
    });
    expect(google({ channel_credentials: { google_default: {} } })?.credentials).toEqual({ type: 'google_default' });
    const inline = { channel_credentials: { ssl_credentials: { root_certs: { environment_variable: 'CA' } } } };
    expect(google(inline, { CA: 'pem' })?.credentials).toMatchObject({
      type: 'tls_context',
      tls: { roots: { kind: 'inline', pem: 'pem' }, sni: 'td.example', autoSniSanValidation: true, sanMatchers: [] },
    });
    expect(google({ ...inline, target_uri: 'ipv4:10.0.0.1:443' }, { CA: 'pem' })?.credentials).toMatchObject({
      tls: { sni: '', autoSniSanValidation: false, sanMatchers: [{ type: 'ip', matcher: { value: '10.0.0.1' } }] },
    });
    expect(google({ target_uri: 'unix:/run/x', channel_credentials: { local_credentials: {} } })?.credentials).toEqual({
      type: 'insecure',
    });
  });

  test('google_grpc: call credentials and keep-alive', () => {
    const args = { 'grpc.keepalive_time_ms': { int_value: '30000' }, 'grpc.other': { int_value: 1 } };
    const found = google({
      channel_credentials: { ssl_credentials: {} },
      call_credentials: [{ access_token: 'abc' }, { google_compute_engine: {} }],
      channel_args: { args },
    });
    expect(found).toMatchObject({
      callCredentials: [{ type: 'access_token', token: 'abc' }, { type: 'google_compute_engine' }],
      keepalive: { intervalMs: 30_000 },
    });
  });

  test('secrets: trust anchors of a file beside the SAN matchers of the cluster; YAML files too', () => {
    const certs = folder({
      'ca.yaml': `resources:\n- "@type": ${V3}.Secret\n  name: ca\n  validation_context: { trusted_ca: { filename: /ca } }\n`,
    });
    const combined_validation_context = {
      default_validation_context: { match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: 'spiffe://a/b' } }] },
      validation_context_sds_secret_config: { name: 'ca', sds_config: { path: join(certs, 'ca.yaml') } },
    };
    expect(serverOf(document(ads(), [withSocket({ combined_validation_context })]))?.credentials).toMatchObject({
      tls: { roots: { kind: 'file', path: '/ca' }, sanMatchers: [{ type: 'uri', matcher: { value: 'spiffe://a/b' } }] },
    });
  });

  test('a raw buffer is plaintext', () => {
    expect(serverOf(document(ads(), [cluster({ transport_socket: { name: 'envoy.transport_sockets.raw_buffer' } })]))?.credentials).toEqual(
      {
        type: 'insecure',
      },
    );
  });
});

describe('sources', () => {
  const dynamic = (lds_config: Json | undefined, cds_config?: Json, ads_config?: Json): Bootstrap =>
    read({ ...document(), dynamic_resources: { ads_config, lds_config, cds_config } });

  test('files', () => {
    const found = dynamic(
      {
        path_config_source: { path: '/lds.yaml', watched_directory: { path: '/dir' } },
        initial_fetch_timeout: '5s',
        resource_api_version: 'V3',
      },
      { path: '/cds.yaml' },
    );
    expect(found.servers).toEqual([]);
    expect(found.sources).toMatchObject({
      listener: { kind: 'path', path: '/lds.yaml', watchedDirectory: '/dir', initialFetchTimeoutMs: 5000 },
      cluster: { kind: 'path', path: '/cds.yaml', watchedDirectory: undefined },
    });
  });

  test('a stream of its own, with metadata of its own; the other kind is static only', () => {
    const grpc_services = [{ ...ENVOY_GRPC, initial_metadata: [{ key: 'a', value: 'secret' }] }];
    const found = dynamic({ api_config_source: { api_type: 'DELTA_GRPC', transport_api_version: 'V3', grpc_services } });
    expect(found.sources.cluster).toBe('none');
    const source = found.sources.listener;
    if (typeof source !== 'object' || source.kind !== 'api') throw new Error('no api source');
    expect(source).toMatchObject({ protocol: 'delta', aggregated: false });
    expect(source.id).not.toContain('secret');
    const [service] = source.services;
    if (service?.kind !== 'cluster') throw new Error('no cluster');
    expect(found.clusters[service.name]).toMatchObject({
      uri: '127.0.0.1:18000',
      protocol: 'delta',
      aggregated: false,
      metadata: [{ key: 'a', parts: ['secret'] }],
    });
  });

  test('REST', () => {
    const api_config_source = {
      api_type: 'REST',
      transport_api_version: 'V3',
      cluster_names: ['cp'],
      refresh_delay: '2s',
      request_timeout: '0.5s',
    };
    expect(dynamic({ api_config_source }).sources.listener).toMatchObject({
      kind: 'api',
      protocol: 'rest',
      refreshDelayMs: 2000,
      requestTimeoutMs: 500,
      services: [{ kind: 'cluster', name: 'cp' }],
    });
  });

  test('what Envoy takes: listeners without names, durations as objects, fields from a newer Envoy', () => {
    const listener = { api_listener: {}, from_tomorrow: 1 };
    const rest = { api_type: 'REST', transport_api_version: 'V3', cluster_names: ['cp'], refresh_delay: { nanos: 500_000_000 } };
    const found = read({
      dynamic_resources: { cds_config: { resource_api_version: 'V3', api_config_source: rest } },
      static_resources: { clusters: [cluster()], listeners: [listener, { name: '' }] },
    });
    const names = found.staticResources.filter(({ typeUrl }) => typeUrl === TYPE_URLS.listener).map((packed) => anyToJson(packed)['name']);
    expect(names).toEqual(['static_resources.listeners[0]', 'static_resources.listeners[1]']);
    expect(found.unsupported).toContain('static_resources.listeners[0].from_tomorrow');
    expect(found.sources.cluster).toMatchObject({ refreshDelayMs: 500 });
  });

  test('only static resources', () => {
    const found = read({ static_resources: { clusters: [cluster()] } });
    expect(found).toMatchObject({ servers: [], sources: { listener: 'none', cluster: 'none' } });
    expect(found.staticResources).toHaveLength(1);
  });
});

test('layers of the runtime: static ones are resources, RTDS ones are names with a source; in their order', () => {
  const found = read({
    ...document(),
    layered_runtime: {
      layers: [
        { name: 'base', static_layer: { a: 1 } },
        { name: 'live', rtds_layer: { name: 'of-the-plane', rtds_config: { ads: {}, resource_api_version: 'V3' } } },
        { name: 'file', rtds_layer: { name: 'of-a-file', rtds_config: { path_config_source: { path: '/runtime.yaml' } } } },
      ],
    },
  });
  expect(found.runtime).toEqual([
    { name: 'base' },
    { name: 'of-the-plane' },
    { name: 'of-a-file', source: expect.objectContaining({ kind: 'path', path: '/runtime.yaml' }) },
  ]);
  expect(found.staticResources.map(({ typeUrl }) => typeUrl)).toContain('type.googleapis.com/envoy.service.runtime.v3.Runtime');
});
