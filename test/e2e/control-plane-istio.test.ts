/** istiod's dialect of the development control plane: names, shapes and quirks of both generators, seen by a plain grpc-js client. */
import { describe, expect, onTestFinished, test } from 'vitest';
import { TYPE_URLS } from '../../src/config/resource.ts';
import type { ControlPlaneOptions } from '../../src/control-plane/control-plane.ts';
import { ControlPlane } from '../../src/control-plane/control-plane.ts';
import { anyToJson } from '../../src/proto/any.ts';
import { RawDelta, RawSotw } from '../support/raw-xds.ts';

const HOST = 'reviews.default.svc.cluster.local';
const FILE = `version: 1
services:
  reviews:
    hosts: [reviews:9080, "${HOST}:9080", "${HOST}:7070"]
    endpoints:
      - { address: 127.0.0.11:19080, labels: { version: v1 }, zone: r/z/s }
      - { address: 127.0.0.12:19080, labels: { version: v2 } }
    lb: least-request
    mtls: strict
    timeout: 2s
    limits: { maxRequests: 10, maxPending: 4 }
    outlier: { consecutive5xx: 3, interval: 1s, ejection: 2s, maxEjected: 50% }
    routes:
      - { name: pinned, match: { headers: { x-user: ana } }, to: { labels: { version: v2 } } }
      - { split: [{ weight: 90, labels: { version: v1 } }, { weight: 10, service: ratings }] }
  ratings:
    hosts: [ratings.shop.svc.cluster.local:9080]
    endpoints: ["127.0.0.13:19080"]
  outside: { hosts: ["api.example.com"], endpoints: ["127.0.0.14:443"] }
inbound:
  - { port: 8080, mtls: strict, allow: [{ from: [spiffe://dev/web], methods: [GET] }], deny: [{ paths: [/admin] }] }
  - { port: 8081 }
`;
const ID = 'sidecar~127.0.0.1~web-1.default~default.svc.cluster.local';

async function start(options: Partial<ControlPlaneOptions> = {}): Promise<ControlPlane> {
  const plane = await ControlPlane.start({ text: FILE, dialect: 'istio', ...options });
  onTestFinished(() => plane.close());
  return plane;
}

type Json = Record<string, unknown>;

/** A client of one generator. */
async function client(generator: 'grpc' | 'sidecar', options: Partial<ControlPlaneOptions> = {}, metadata: Json = {}) {
  const plane = await start(options);
  const raw = new RawSotw(plane.address);
  let first = true;
  const nonces = new Map<string, string>();
  return {
    plane,
    async ask(kind: keyof typeof TYPE_URLS, ...names: readonly string[]): Promise<Map<string, Json>> {
      const meta = { ...(generator === 'grpc' ? { GENERATOR: 'grpc' } : {}), NAMESPACE: 'default', ...metadata } as Record<string, string>;
      raw.send({
        typeUrl: TYPE_URLS[kind],
        resourceNames: [...names],
        responseNonce: nonces.get(kind) ?? '',
        ...(first ? { node: { id: ID, metadata: meta } } : {}),
      });
      first = false;
      const response = await raw.next();
      expect(response.typeUrl).toBe(TYPE_URLS[kind]);
      nonces.set(kind, response.nonce);
      return new Map(
        response.resources.map((any) => {
          // What Istio's own types hold cannot be shown: they have no schema here.
          const json = jsonOf(any);
          return [String(json['name'] ?? json['cluster_name']), json];
        }),
      );
    },
    raw,
  };
}

function jsonOf(any: { readonly typeUrl: string; readonly value: Uint8Array }): Json {
  try {
    return anyToJson(any) as Json;
  } catch (error) {
    // The name is the first field of every resource.
    const length = any.value[1] ?? 0;
    return { name: Buffer.from(any.value.subarray(2, 2 + length)).toString(), error: String(error) };
  }
}

describe('nodes', () => {
  test.each([
    [undefined, 'missing node information'],
    ['web', 'missing parts in the service node "web"'],
    ['pod~127.0.0.1~a.b~c', 'invalid node type'],
  ])('%s is turned away', async (id, reason) => {
    const plane = await start();
    const raw = new RawSotw(plane.address);
    raw.send({ typeUrl: TYPE_URLS.cluster, ...(id === undefined ? {} : { node: { id } }) });
    const { code, details } = await raw.stream.ended;
    expect([code, details]).toEqual([3, expect.stringContaining(reason)]);
  });

  test('as the agent: the newest stream of a node ends the others with OK; other nodes stay', async () => {
    const plane = await start({ istio: { agent: true } });
    const open = async (id: string): Promise<RawDelta> => {
      const raw = new RawDelta(plane.address);
      raw.send({ typeUrl: TYPE_URLS.cluster, node: { id } });
      await raw.next();
      return raw;
    };
    const one = await open(ID);
    const other = await open(ID.replace('127.0.0.1', '127.0.0.2'));
    await open(ID);
    expect(await one.stream.ended).toMatchObject({ code: 0 });
    expect(plane.nodes).toHaveLength(2);
    expect(await other.stream.silentFor(20)).toBe(true);
  });
});

describe('proxyless gRPC', () => {
  test('listeners under the requested spelling; a bare host has one for each port; other namespaces need the whole name', async () => {
    const { ask } = await client('grpc');
    const asked = ['reviews:9080', 'reviews.default.svc:7070', `${HOST}:9080`, 'ratings:9080', 'reviews:1', 'api.example.com:80'];
    const listeners = await ask('listener', ...asked);
    expect([...listeners.keys()]).toEqual(['reviews:9080', 'reviews.default.svc:7070', `${HOST}:9080`, 'api.example.com:80']);
    expect(listeners.get('reviews:9080')).toMatchObject({
      address: { socket_address: { address: '240.240.0.3', port_value: 9080 } },
      api_listener: {
        api_listener: {
          rds: { config_source: { ads: {} }, route_config_name: `outbound|9080||${HOST}` },
          http_filters: [{ name: 'envoy.filters.http.fault' }, { name: 'envoy.filters.http.router' }],
        },
      },
    });
    expect([...(await ask('listener', 'reviews')).keys()]).toEqual(['reviews:7070', 'reviews:9080']);
  });

  test.each(['grpc', 'sidecar'] as const)(
    'incremental, %s: with GENERATOR=grpc the earlier names get no updates any more',
    async (generator) => {
      const plane = await start();
      const raw = new RawDelta(plane.address);
      const metadata = generator === 'grpc' ? { GENERATOR: 'grpc' } : {};
      const [v1, v2] = [`outbound|9080|v1|${HOST}`, `outbound|9080|v2|${HOST}`];
      const ask = async (name: string, node?: object): Promise<readonly string[]> => {
        raw.send({ typeUrl: TYPE_URLS.cluster, resourceNamesSubscribe: [name], ...node });
        const { nonce, resources } = await raw.next();
        raw.send({ typeUrl: TYPE_URLS.cluster, responseNonce: nonce });
        return resources.map((resource) => resource.name);
      };
      const whole = await ask(v1, { node: { id: ID, metadata } });
      await ask(v2);
      plane.update(FILE.replace('maxRequests: 10', 'maxRequests: 11'));
      const { resources, removedResources } = await raw.next();
      expect(removedResources).toEqual([]);
      const changed = resources.map(({ name }) => name).filter((name) => name === v1 || name === v2);
      expect(changed.toSorted()).toEqual(generator === 'grpc' ? [v2] : [v1, v2]);
      expect(whole.length > 1).toBe(generator === 'sidecar');
    },
  );

  test('an ACK of a bare host is not answered again', async () => {
    const { ask, raw } = await client('grpc');
    await ask('listener', 'reviews');
    raw.send({ typeUrl: TYPE_URLS.listener, resourceNames: ['reviews'], responseNonce: '1' });
    expect(await raw.stream.silentFor(30)).toBe(true);
  });

  test('no names are all services on all ports', async () => {
    const { ask } = await client('grpc');
    const names = ['api.example.com:80', 'ratings.shop.svc.cluster.local:9080', `${HOST}:7070`, `${HOST}:9080`];
    expect([...(await ask('listener')).keys()]).toEqual(names);
  });

  test('routes hold every virtual host of the port, with and without it; limits stand in both fields; retries have Istio defaults', async () => {
    const { ask } = await client('grpc');
    const name = `outbound|9080||${HOST}`;
    const routes = (await ask('routes', name)).get(name);
    expect(routes).not.toHaveProperty('ignore_port_in_host_matching');
    const hosts = routes?.['virtual_hosts'] as readonly Json[];
    expect(hosts.map((host) => host['name'])).toEqual(['ratings.shop.svc.cluster.local:9080', `${HOST}:9080`]);
    expect(hosts[1]?.['domains']).toEqual(
      [HOST, 'reviews', 'reviews.default', 'reviews.default.svc', '240.240.0.3'].flatMap((domain) => [domain, `${domain}:9080`]),
    );
    expect(hosts[1]?.['routes']).toMatchObject([
      {
        name: 'pinned',
        route: {
          cluster: `outbound|9080|v2|${HOST}`,
          timeout: '2s',
          max_stream_duration: { max_stream_duration: '2s' },
          retry_policy: { retry_on: 'connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes', num_retries: 2 },
        },
      },
      {
        name: 'default',
        route: {
          weighted_clusters: {
            clusters: [
              { name: `outbound|9080|v1|${HOST}`, weight: 90 },
              { name: 'outbound|9080||ratings.shop.svc.cluster.local', weight: 10 },
            ],
          },
        },
      },
    ]);
  });

  test('clusters: EDS, LEAST_REQUEST, max_requests, providers in both generations, deprecated names; nothing else', async () => {
    const { ask } = await client('grpc');
    const name = `outbound|9080|v1|${HOST}`;
    const own = { instance_name: 'default', certificate_name: 'default' };
    const roots = { instance_name: 'default', certificate_name: 'ROOTCA' };
    expect((await ask('cluster', name)).get(name)).toEqual({
      '@type': TYPE_URLS.cluster,
      name,
      type: 'EDS',
      eds_cluster_config: { service_name: name, eds_config: { ads: {} } },
      lb_policy: 'LEAST_REQUEST',
      circuit_breakers: { thresholds: [{ max_requests: 10 }] },
      transport_socket: {
        name: 'envoy.transport_sockets.tls',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext',
          common_tls_context: {
            tls_certificate_certificate_provider_instance: own,
            tls_certificate_provider_instance: own,
            combined_validation_context: {
              default_validation_context: {
                match_subject_alt_names: [{ exact: 'spiffe://dev/reviews' }],
                ca_certificate_provider_instance: roots,
              },
              validation_context_certificate_provider_instance: roots,
            },
          },
        },
      },
    });
    const endpoints = (await ask('endpoints', name)).get(name);
    expect(endpoints).toMatchObject({
      cluster_name: name,
      endpoints: [
        {
          locality: { region: 'r', zone: 'z', sub_zone: 's' },
          lb_endpoints: [{ metadata: { filter_metadata: { 'envoy.transport_socket_match': { tlsMode: 'istio' } } } }],
        },
      ],
    });
  });

  test('server listeners: strict or plaintext, routes inline, policies as two filters; a port that the node does not serve has none', async () => {
    const { ask } = await client('grpc');
    const names = [8080, 8081, 9999].map((port) => `xds.istio.io/grpc/lds/inbound/127.0.0.1:${port}`);
    const listeners = await ask('listener', ...names);
    expect([...listeners.keys()]).toEqual(names.slice(0, 2));
    expect(listeners.get(names[0] ?? '')).toMatchObject({
      address: { socket_address: { address: '127.0.0.1', port_value: 8080 } },
      filter_chains: [
        {
          name: 'inbound-mtls',
          transport_socket: { typed_config: { require_client_certificate: true } },
          filters: [
            {
              name: 'inbound-hcmmtls',
              typed_config: {
                route_config: { name: 'inbound', virtual_hosts: [{ domains: ['*'], routes: [{ non_forwarding_action: {} }] }] },
                http_filters: [
                  { name: 'envoy.filters.http.rbac.DENY' },
                  { name: 'envoy.filters.http.rbac' },
                  { name: 'envoy.filters.http.router' },
                ],
              },
            },
          ],
        },
      ],
    });
    const plain = listeners.get(names[1] ?? '') as { readonly filter_chains: readonly Json[] };
    expect(plain.filter_chains).toMatchObject([{ name: 'inbound-plaintext' }]);
    expect(plain.filter_chains[0]).not.toHaveProperty('transport_socket');
  });
});

describe('a sidecar', () => {
  test('all listeners and clusters, whatever it names; one listener for each port, and those for captured traffic', async () => {
    const { ask } = await client('sidecar');
    const clusters = await ask('cluster', 'only-this');
    expect([...clusters.keys()]).toEqual([
      'outbound|80||api.example.com',
      'outbound|9080||ratings.shop.svc.cluster.local',
      ...[7070, 9080].flatMap((port) => ['', 'v2', 'v1'].map((subset) => `outbound|${port}|${subset}|${HOST}`)),
      'BlackHoleCluster',
      'PassthroughCluster',
      'InboundPassthroughCluster',
      'inbound|8080||',
      'inbound|8081||',
    ]);
    const listeners = await ask('listener', 'only-this');
    expect([...listeners.keys()]).toEqual(['0.0.0.0_80', '0.0.0.0_7070', '0.0.0.0_9080', 'virtualOutbound', 'virtualInbound']);
  });

  test('with INTERCEPTION_MODE=NONE the inbound ports are bound', async () => {
    const { ask } = await client('sidecar', {}, { INTERCEPTION_MODE: 'NONE' });
    expect([...(await ask('listener')).keys()].slice(-2)).toEqual(['127.0.0.1_8080', '127.0.0.1_8081']);
  });

  test('auto mTLS by endpoint, secrets over the cluster of the agent, limits and ejection, Istio defaults', async () => {
    const { ask } = await client('sidecar');
    const clusters = await ask('cluster');
    expect(clusters.get(`outbound|9080||${HOST}`)).toMatchObject({
      connect_timeout: '10s',
      lb_policy: 'LEAST_REQUEST',
      circuit_breakers: {
        thresholds: [
          { max_connections: 4294967295, max_pending_requests: 4, max_requests: 10, max_retries: 4294967295, track_remaining: true },
        ],
      },
      outlier_detection: { consecutive_5xx: 3, interval: '1s', base_ejection_time: '2s', max_ejection_percent: 50 },
      metadata: { filter_metadata: { istio: { services: [{ host: HOST, name: 'reviews', namespace: 'default' }] } } },
      transport_socket_matches: [
        {
          name: 'tlsMode-istio',
          match: { tlsMode: 'istio' },
          transport_socket: {
            typed_config: {
              sni: `outbound_.9080_._.${HOST}`,
              common_tls_context: {
                alpn_protocols: ['istio-peer-exchange', 'istio'],
                tls_certificate_sds_secret_configs: [
                  { name: 'default', sds_config: { api_config_source: { grpc_services: [{ envoy_grpc: { cluster_name: 'sds-grpc' } }] } } },
                ],
                combined_validation_context: { validation_context_sds_secret_config: { name: 'ROOTCA' } },
              },
            },
          },
        },
        { name: 'tlsMode-disabled', transport_socket: { name: 'envoy.transport_sockets.raw_buffer' } },
      ],
    });
    expect(clusters.get('outbound|9080||ratings.shop.svc.cluster.local')).not.toHaveProperty('transport_socket_matches');
    expect(clusters.get('PassthroughCluster')).toMatchObject({ type: 'ORIGINAL_DST', lb_policy: 'CLUSTER_PROVIDED' });
  });

  test.each([
    ['ALLOW_ANY', 'allow_any', { route: { cluster: 'PassthroughCluster' } }],
    ['REGISTRY_ONLY', 'block_all', { direct_response: { status: 502 } }],
  ] as const)('routes by port, without listeners; what no service has: %s', async (outboundTrafficPolicy, name, action) => {
    const { ask } = await client('sidecar', { istio: { outboundTrafficPolicy } });
    const routes = await ask('routes', '9080', '12345');
    expect([...routes.keys()]).toEqual(['9080', '12345']);
    expect(routes.get('9080')).toMatchObject({ ignore_port_in_host_matching: true, validate_clusters: false });
    const hosts = routes.get('9080')?.['virtual_hosts'] as readonly Json[];
    expect(hosts.map((host) => host['name'])).toEqual(['ratings.shop.svc.cluster.local:9080', `${HOST}:9080`, name]);
    expect(hosts[0]?.['domains']).toEqual([
      'ratings.shop.svc.cluster.local',
      'ratings.shop.svc.cluster.local.',
      'ratings.shop',
      'ratings.shop.svc',
      '240.240.0.2',
    ]);
    expect(hosts[1]?.['routes']).toMatchObject([{ route: { timeout: '2s', max_grpc_timeout: '2s' } }, {}]);
    expect(hosts[2]).toMatchObject({ domains: ['*'], routes: [{ name, ...action }] });
    expect(routes.get('12345')?.['virtual_hosts']).toHaveLength(1);
  });

  test('secrets of the service account', async () => {
    const { ask } = await client('sidecar', {}, { SERVICE_ACCOUNT: 'web' });
    const secrets = await ask('secret', 'default', 'ROOTCA');
    expect([...secrets.keys()]).toEqual(['default', 'ROOTCA']);
  });

  test('a change is pushed with one version to all types', async () => {
    const { ask, plane, raw } = await client('sidecar');
    await ask('cluster');
    await ask('routes', '9080');
    plane.update(FILE.replace('timeout: 2s', 'timeout: 3s'));
    const [one, two] = [await raw.next(), await raw.next()];
    expect([one.typeUrl, two.typeUrl]).toEqual([TYPE_URLS.cluster, TYPE_URLS.routes]);
    expect(one.versionInfo).toBe(two.versionInfo);
  });
});

test('the bootstraps are those of the agent', async () => {
  const plane = await start();
  expect(plane.bootstrap('web-1', 'web')).toMatchObject({
    node: {
      id: ID,
      metadata: { GENERATOR: 'grpc', NAMESPACE: 'default', SERVICE_ACCOUNT: 'web-1', INSTANCE_IPS: '127.0.0.1' },
      UserAgentVersionType: null,
    },
    certificate_providers: { default: { plugin_name: 'file_watcher' } },
    server_listener_resource_name_template: 'xds.istio.io/grpc/lds/inbound/%s',
  });
  const sidecar = plane.bootstrap('web-1', 'web', 'sidecar');
  expect(sidecar).toMatchObject({
    node: { id: ID },
    dynamic_resources: { ads_config: { api_type: 'DELTA_GRPC' } },
    static_resources: { clusters: [{ name: 'xds-grpc' }, { name: 'sds-grpc' }] },
  });
  expect(sidecar).not.toHaveProperty('node.metadata.GENERATOR');
});
