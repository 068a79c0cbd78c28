/**
 * The mesh of bench `scale`: the real client, cache, roots, clusters and plans over a control plane in memory that speaks the incremental
 * dialect, with services shaped and named as istiod shapes and names them.
 */
import { LB_POLICIES } from '../../src/balancing/registry.ts';
import { Attempt, OutboundCall } from '../../src/core/call.ts';
import type { RequestHead } from '../../src/core/call.ts';
import { HeaderList } from '../../src/core/headers.ts';
import { silentLogger } from '../../src/core/log.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import { realRandom } from '../../src/core/random.ts';
import type { AdsStreamEvents, AdsTransport, Transport } from '../../src/core/transport.ts';
import { FILTERS } from '../../src/filters/registry.ts';
import { hostPatterns } from '../../src/matching/host-patterns.ts';
import { MeshEngine } from '../../src/mesh.ts';
import { jsonToAny, pack } from '../../src/proto/any.ts';
import { TlsContexts } from '../../src/security/tls-context.ts';
import { Telemetry } from '../../src/telemetry/telemetry.ts';
import { readBootstrap } from '../../src/xds/bootstrap.ts';
import { XdsClient } from '../../src/xds/client.ts';
import { RESOURCE_TYPES } from '../../src/xds/resource-types.ts';

const ENVOY = 'type.googleapis.com/envoy.';
export const TYPES = {
  listener: `${ENVOY}config.listener.v3.Listener`,
  routes: `${ENVOY}config.route.v3.RouteConfiguration`,
  cluster: `${ENVOY}config.cluster.v3.Cluster`,
  endpoints: `${ENVOY}config.endpoint.v3.ClusterLoadAssignment`,
} as const;

export type Kind = keyof typeof TYPES;

export const hostOf = (index: number): string => `svc-${index}.ns-${index % 50}.svc.cluster.local`;
export const clusterOf = (index: number): string => `outbound|8080||${hostOf(index)}`;

export function listener(): object {
  return {
    '@type': TYPES.listener,
    name: 'web',
    apiListener: {
      apiListener: {
        '@type': `${ENVOY}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`,
        statPrefix: 'web',
        rds: { routeConfigName: 'web-routes', configSource: { ads: {} } },
        httpFilters: [{ name: 'router', typedConfig: { '@type': `${ENVOY}extensions.filters.http.router.v3.Router` } }],
      },
    },
  };
}

/** One virtual host for each service, all to the clusters of the first `clusters` services. */
export function routes(services: number, clusters = services): object {
  const virtualHosts = Array.from({ length: services }, (_, i) => ({
    name: `${hostOf(i)}:8080`,
    domains: [hostOf(i), `${hostOf(i)}:8080`],
    routes: [{ name: 'default', match: { prefix: '/' }, route: { cluster: clusterOf(i % clusters), timeout: '0s' } }],
  }));
  return { '@type': TYPES.routes, name: 'web-routes', virtualHosts };
}

export function cluster(index: number, salt = 0): object {
  const [service, namespace] = hostOf(index).split('.');
  return {
    '@type': TYPES.cluster,
    name: clusterOf(index),
    type: 'EDS',
    edsClusterConfig: { edsConfig: { ads: {} }, serviceName: clusterOf(index) },
    connectTimeout: `${10 + salt}s`,
    lbPolicy: 'LEAST_REQUEST',
    circuitBreakers: {
      thresholds: [
        { maxConnections: 4_294_967_295, maxPendingRequests: 4_294_967_295, maxRequests: 4_294_967_295, maxRetries: 4_294_967_295 },
      ],
    },
    outlierDetection: { consecutive5xx: 5, interval: '10s', baseEjectionTime: '30s' },
    commonLbConfig: { localityWeightedLbConfig: {} },
    metadata: { filterMetadata: { istio: { services: [{ host: hostOf(index), name: service, namespace }] } } },
  };
}

export function assignment(index: number, size: number, salt = 0): object {
  const lbEndpoints = Array.from({ length: size }, (_, i) => ({
    endpoint: {
      address: {
        socketAddress: {
          address: `10.${(index >> 6) & 255}.${((index << 2) | (i >> 8)) & 255}.${i & 255}`,
          portValue: i === 0 ? 9000 + salt : 8080,
        },
      },
    },
    loadBalancingWeight: 1,
    healthStatus: 'HEALTHY',
  }));
  return {
    '@type': TYPES.endpoints,
    clusterName: clusterOf(index),
    endpoints: [{ locality: { region: 'region-1', zone: `zone-${index % 3}` }, loadBalancingWeight: size === 0 ? 1 : size, lbEndpoints }],
  };
}

/** A response as bytes of its own. */
export function delta(kind: Kind, version: number, resources: readonly object[]): Uint8Array {
  const { value } = pack('envoy.service.discovery.v3.DeltaDiscoveryResponse', {
    systemVersionInfo: String(version),
    typeUrl: TYPES[kind],
    nonce: String(version),
    resources: resources.map((resource) => ({ name: nameOf(resource), version: String(version), resource: jsonToAny(resource) })),
  });
  return value;
}

function nameOf(resource: object): string {
  const name: unknown = Reflect.get(resource, 'name') ?? Reflect.get(resource, 'clusterName');
  return String(name);
}

const NO_TRANSPORT: Transport = {
  name: 'none',
  connect: () => {
    throw new Error('nothing is sent');
  },
};

/** What one message cost. */
export interface Applied {
  /** From the bytes to the last reply. */
  readonly ms: number;
  readonly longestTask: number;
}

export class Rig {
  readonly engine: MeshEngine;
  readonly client: XdsClient;
  #events: AdsStreamEvents | undefined;
  #sent = 0;
  #paused = false;

  constructor() {
    const clock = new RealClock();
    const telemetry = new Telemetry({ clock, observers: [], tracer: () => undefined, bridge: () => undefined });
    this.engine = new MeshEngine({
      clock,
      random: realRandom,
      log: silentLogger,
      telemetry,
      filters: FILTERS,
      lbPolicies: LB_POLICIES,
      breakers: {},
      attemptLayers: [],
      startTimeoutMs: 15_000,
    });
    const transport: AdsTransport = {
      open: (_method, events) => {
        this.#events = events;
        events.onConnected();
        return {
          send: () => void this.#sent++,
          pause: () => void (this.#paused = true),
          resume: () => void (this.#paused = false),
          cancel: () => undefined,
        };
      },
      close: () => undefined,
    };
    const bootstrap = readBootstrap(
      JSON.stringify({ xds_servers: [{ server_uri: 'x', channel_creds: [{ type: 'insecure' }] }], node: { id: 'bench' } }),
      'bench',
    );
    this.client = new XdsClient({
      bootstrap: { ...bootstrap, servers: bootstrap.servers.map((server) => ({ ...server, protocol: 'delta' as const })) },
      transport: () => transport,
      types: RESOURCE_TYPES,
      decode: { filters: FILTERS, lbPolicies: LB_POLICIES },
      clock,
      random: realRandom,
      log: silentLogger,
      wildcard: false,
      userAgentVersion: '0',
    });
    this.engine.attach(this.client, hostPatterns(['web']), new TlsContexts({ providers: {}, clock, log: silentLogger }));
  }

  /** Gives the client a message; resolves when it has answered it and wants the next. */
  async push(bytes: Uint8Array): Promise<Applied> {
    const before = this.#sent;
    const start = performance.now();
    this.#events?.onMessage(bytes);
    let longestTask = performance.now() - start;
    while (this.#sent === before || this.#paused) {
      const turn = performance.now();
      await new Promise((resolve) => setImmediate(resolve));
      longestTask = Math.max(longestTask, performance.now() - turn);
    }
    return { ms: performance.now() - start, longestTask };
  }

  /** What a call does to the cluster of a service: what lives only of clusters that are called comes to life. */
  call(service: number): void {
    const living = this.engine.clusters?.get(clusterOf(service));
    const head: RequestHead = { protocol: 'http', method: 'GET', scheme: 'http', authority: 'web', path: '/', headers: new HeaderList() };
    const call = new OutboundCall(head, { replayable: true }, NO_TRANSPORT);
    const attempt = new Attempt(call, 1);
    attempt.endpoint = living?.pick(call);
    if (living === undefined || attempt.endpoint === undefined) throw new Error(`no endpoint for service ${service}`);
    attempt.status = 200;
    living.onAttemptEnd(attempt);
  }

  get ready(): boolean {
    return [...(this.engine.roots?.values() ?? [])].every(({ status }) => status === 'ready');
  }
}
