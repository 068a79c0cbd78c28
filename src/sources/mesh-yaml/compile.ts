/**
 * `MeshFile` → resources in `config/` types, as a control plane would send them: per host one client listener, per service one route
 * configuration, per set of labels in use one EDS cluster and its endpoints, per inbound port one server listener. No protobuf.
 */
import type { ClusterConfig, LbConfig, OutlierConfig, ThresholdsConfig } from '../../config/cluster.ts';
import { DEFAULT_THRESHOLDS } from '../../config/cluster.ts';
import type { EndpointConfig, EndpointsConfig, LocalityConfig } from '../../config/endpoints.ts';
import type { HttpManagerConfig, ListenerConfig } from '../../config/listener.ts';
import type { ResourceKind, ResourceTypes } from '../../config/resource.ts';
import { compileInbound } from './compile-inbound.ts';
import { compileRoutes } from './compile-routes.ts';
import type { CertificateStrategy } from './compile-tls.ts';
import { upstreamTls } from './compile-tls.ts';
import { clusterName, ROUTER_FILTER } from './names.ts';
import type { FileProblem } from './problem.ts';
import { hasLabels } from './route-checks.ts';
import { isIp } from './scalars.ts';
import type { EndpointSpec, Labels, MeshFile, RetriesSpec, ServiceSpec } from './types.ts';

export type ResourceSet = { readonly [K in ResourceKind]: ReadonlyMap<string, ResourceTypes[K]> };

export type CompiledMeshFile =
  | { readonly ok: true; readonly resources: ResourceSet }
  | { readonly ok: false; readonly errors: readonly FileProblem[] };

/** Destinations that a service's routes lead to, with the retries that lead there. */
interface Destination {
  readonly service: string;
  readonly labels: Labels | undefined;
  budget: number | undefined;
  /** Where the budget was set. */
  origin: string;
}

class Compiler {
  readonly listener = new Map<string, ListenerConfig>();
  readonly routes = new Map<string, ResourceTypes['routes']>();
  readonly cluster = new Map<string, ClusterConfig>();
  readonly endpoints = new Map<string, EndpointsConfig>();
  readonly secret = new Map<string, ResourceTypes['secret']>();
  readonly problems: FileProblem[] = [];
  readonly #file: MeshFile;
  readonly #certificates: CertificateStrategy;
  readonly #destinations = new Map<string, Destination>();

  constructor(file: MeshFile, certificates: CertificateStrategy) {
    this.#file = file;
    this.#certificates = certificates;
  }

  run(): void {
    for (const [name, service] of this.#file.services) {
      this.#collect(name, service);
      this.routes.set(name, compileRoutes(name, service));
      for (const host of service.hosts) this.listener.set(host, clientListener(host, name));
    }
    for (const [name, destination] of this.#destinations) this.#destination(name, destination);
    this.#file.inbound.forEach((spec, index) => {
      if (spec.mtls === 'strict') this.#needCertificates(`inbound[${index}].mtls`);
      const listener = compileInbound(spec, this.#certificates);
      this.listener.set(listener.name, listener);
    });
  }

  /** Which clusters are in use: only these are made. */
  #collect(name: string, service: ServiceSpec): void {
    const path = `services.${name}`;
    if (service.routes === undefined) {
      this.#use(name, undefined, service.retries, path);
      return;
    }
    service.routes.forEach((route, index) => {
      const retries = route.retries ?? service.retries;
      const where = route.retries === undefined ? path : `${path}.routes[${index}]`;
      if (route.redirect !== undefined || route.respond !== undefined) return;
      for (const to of route.split ?? [route.to ?? {}]) this.#use(to.service ?? name, to.labels, retries, where);
    });
  }

  #use(service: string, labels: Labels | undefined, retries: RetriesSpec | undefined, path: string): void {
    const name = clusterName(service, labels);
    const budget = retries?.budget;
    const known = this.#destinations.get(name);
    if (known === undefined) {
      this.#destinations.set(name, { service, labels, budget, origin: path });
      return;
    }
    if (budget === undefined) return;
    if (known.budget !== undefined && known.budget !== budget) {
      this.#problem(
        `${path}.retries.budget`,
        `the retry budget of "${name}" is ${budget}% here and ${known.budget}% at ${known.origin}`,
        'A destination has one budget: write the same one twice.',
      );
      return;
    }
    known.budget = budget;
    known.origin = path;
  }

  #destination(name: string, destination: Destination): void {
    const service = this.#file.services.get(destination.service);
    if (service === undefined) return;
    if (service.mtls === 'strict') this.#needCertificates(`services.${destination.service}.mtls`);
    this.cluster.set(name, compileCluster(name, service, destination.budget, this.#certificates));
    const { labels } = destination;
    const endpoints = labels === undefined ? service.endpoints : service.endpoints.filter((endpoint) => hasLabels(endpoint.labels, labels));
    this.endpoints.set(name, compileEndpoints(name, endpoints));
  }

  #needCertificates(path: string): void {
    if (this.#certificates.kind !== 'none') return;
    this.#problem(
      path,
      'mutual TLS needs certificates',
      'Add identity: { certificate, key, ca }, or run `inmesh serve`, which issues them.',
    );
  }

  #problem(path: string, message: string, cure: string): void {
    const place = this.#file.positions.get(path) ?? { line: 1, column: 1, length: 1 };
    this.problems.push({ file: this.#file.origin, ...place, path, message, cure });
  }
}

/** Kinds that the file has no words for; they may stand under `resources`. */
const NONE = { 'scoped-routes': new Map(), 'virtual-host': new Map(), 'extension-config': new Map(), runtime: new Map() } as const;

/** `certificates`: where TLS material comes from; by default the files of the key `identity`. */
export function compileMeshFile(file: MeshFile, certificates: CertificateStrategy): CompiledMeshFile {
  const compiler = new Compiler(file, certificates);
  compiler.run();
  if (compiler.problems.length > 0) return { ok: false, errors: compiler.problems };
  const { listener, routes, cluster, endpoints, secret } = compiler;
  return { ok: true, resources: { ...NONE, listener, routes, cluster, endpoints, secret } };
}

function clientListener(host: string, routeConfigName: string): ListenerConfig {
  const api: HttpManagerConfig = {
    routeConfigName,
    routeConfig: undefined,
    filters: [ROUTER_FILTER],
    maxStreamDurationMs: undefined,
    stripPort: 'none',
    statPrefix: '',
  };
  return { name: host, api, address: undefined, direction: 'unspecified', filterChains: [], defaultFilterChain: undefined };
}

const LB: Readonly<Record<ServiceSpec['lb'], LbConfig>> = Object.freeze({
  'round-robin': { policy: 'round_robin', config: undefined },
  'least-request': { policy: 'least_request', config: undefined },
  random: { policy: 'random', config: undefined },
});

export function compileCluster(
  name: string,
  service: ServiceSpec,
  budget: number | undefined,
  certificates: CertificateStrategy,
): ClusterConfig {
  const http2 = service.protocol !== 'http';
  const { breaker } = service;
  return {
    name,
    discovery: { kind: 'eds', serviceName: name },
    lb: LB[service.lb],
    thresholds: { default: thresholds(service, budget), high: DEFAULT_THRESHOLDS },
    outlier: service.outlier === undefined ? undefined : outlier(service.outlier),
    tls: service.mtls === 'strict' ? upstreamTls(certificates, service.identity, http2) : undefined,
    http2,
    connectTimeoutMs: service.connectTimeout ?? 5000,
    maxRequestsPerConnection: undefined,
    breaker:
      breaker === undefined
        ? undefined
        : {
            errorThresholdPercentage: breaker.errorRate ?? 50,
            volumeThreshold: breaker.volume ?? 20,
            resetTimeoutMs: breaker.reset ?? 10_000,
            windowMs: breaker.window ?? 10_000,
          },
    reportLoad: false,
    panicThreshold: service.panic ?? 50,
    localityWeighted: false,
  };
}

function thresholds(service: ServiceSpec, budget: number | undefined): ThresholdsConfig {
  const { maxRequests, maxPending, maxRetries } = service.limits ?? {};
  if (service.limits === undefined && budget === undefined) return DEFAULT_THRESHOLDS;
  return {
    ...DEFAULT_THRESHOLDS,
    maxPendingRequests: maxPending ?? DEFAULT_THRESHOLDS.maxPendingRequests,
    maxRequests: maxRequests ?? DEFAULT_THRESHOLDS.maxRequests,
    maxRetries: maxRetries ?? DEFAULT_THRESHOLDS.maxRetries,
    // Envoy H-31: at least 3 retries may run whatever the share.
    retryBudget: budget === undefined ? undefined : { percent: budget, minConcurrency: 3 },
  };
}

/** Envoy's defaults (table 4.1), but one endpoint may always be ejected: with 10 % a cluster of less than 10 would never eject (D5). */
function outlier(spec: NonNullable<ServiceSpec['outlier']>): OutlierConfig {
  const baseEjectionTimeMs = spec.ejection ?? 30_000;
  return {
    consecutive5xx: spec.consecutive5xx ?? 5,
    enforcingConsecutive5xx: 100,
    consecutiveGatewayFailure: 5,
    enforcingConsecutiveGatewayFailure: 0,
    consecutiveLocalOriginFailure: 5,
    enforcingConsecutiveLocalOriginFailure: 100,
    splitExternalLocalOriginErrors: false,
    intervalMs: spec.interval ?? 10_000,
    baseEjectionTimeMs,
    maxEjectionTimeMs: Math.max(300_000, baseEjectionTimeMs),
    maxEjectionTimeJitterMs: 0,
    maxEjectionPercent: spec.maxEjected ?? 10,
    alwaysEjectOneHost: true,
    successRate: undefined,
    failurePercentage: undefined,
  };
}

export function compileEndpoints(clusterName: string, specs: readonly EndpointSpec[]): EndpointsConfig {
  const zones = new Map<string, EndpointConfig[]>();
  for (const spec of specs) {
    const locality = localityOf(spec.zone);
    const endpoints = zones.get(locality) ?? [];
    if (endpoints.length === 0) zones.set(locality, endpoints);
    endpoints.push({
      host: spec.host,
      port: spec.port,
      hostname: isIp(spec.host) ? '' : spec.host,
      weight: spec.weight,
      health: spec.health,
      metadata: undefined,
    });
  }
  const localities = [...zones].map(([locality, endpoints]): LocalityConfig => {
    // gRPC leaves out localities without a weight (A27); this weight makes zones share traffic by what they hold.
    const weight = endpoints.reduce((sum, endpoint) => sum + endpoint.weight, 0);
    return { locality, priority: 0, weight, endpoints };
  });
  return { clusterName, localities, dropOverloads: [], overprovisioningFactor: 140 };
}

/** `a` → `/a/`, `r/a` → `r/a/`, `r/a/s` stays. */
function localityOf(zone: string): string {
  if (zone === '') return '//';
  const parts = zone.split('/');
  if (parts.length === 1) return `/${zone}/`;
  return parts.length === 2 ? `${zone}/` : zone;
}
