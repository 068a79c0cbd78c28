/**
 * The services of a `mesh.yaml` as istiod knows services: by fully qualified host, with ports, a virtual address, and subsets by labels.
 * What is made of them is the generators' business.
 */
import { clusterName } from '../../sources/mesh-yaml/names.ts';
import { parseHostPort } from '../../sources/mesh-yaml/scalars.ts';
import type { Labels, MeshFile, ServiceSpec } from '../../sources/mesh-yaml/types.ts';

export interface Subset {
  /** Empty: all endpoints. */
  readonly name: string;
  readonly labels: Labels | undefined;
}

export interface ServicePort {
  readonly number: number;
  /** Name in the mesh.yaml. */
  readonly name: string;
  readonly spec: ServiceSpec;
  /** All endpoints first. */
  readonly subsets: readonly Subset[];
}

export interface Service {
  /** Fully qualified. */
  readonly host: string;
  /** Of a Kubernetes service: its name and namespace; undefined: a host of its own (ServiceEntry). */
  readonly kubernetes: { readonly name: string; readonly namespace: string } | undefined;
  readonly address: string;
  readonly ports: readonly ServicePort[];
}

export const DOMAIN = 'cluster.local';
const SUFFIX = `.svc.${DOMAIN}`;
/** Where a host without a port is served. */
const HTTP_PORT = 80;

export interface Destination {
  readonly service: string;
  readonly subset: Subset;
}

export class Registry {
  /** In order of their hosts. */
  readonly services: readonly Service[];
  readonly #byHost: ReadonlyMap<string, Service>;
  readonly #destinations: ReadonlyMap<string, Destination>;

  constructor(file: MeshFile) {
    const subsets = subsetsOf(file);
    this.#destinations = new Map(
      [...subsets].flatMap(([service, list]) => list.map((subset) => [clusterName(service, subset.labels), { service, subset }] as const)),
    );
    const ports = new Map<string, Map<number, ServicePort>>();
    for (const [name, spec] of file.services) {
      for (const [host, numbers] of hostsOf(spec)) {
        const known = ports.get(host) ?? new Map<number, ServicePort>();
        ports.set(host, known);
        for (const number of numbers) known.set(number, { number, name, spec, subsets: subsets.get(name) ?? [ALL] });
      }
    }
    this.services = [...ports]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([host, known], index) => ({
        host,
        kubernetes: kubernetesOf(host),
        // The range from which istiod takes addresses for hosts that have none.
        address: `240.240.${(index + 1) >> 8}.${(index + 1) & 255}`,
        ports: [...known.values()].sort((a, b) => a.number - b.number),
      }));
    this.#byHost = new Map(this.services.map((service) => [service.host, service]));
  }

  get(host: string): Service | undefined {
    return this.#byHost.get(host);
  }

  /** All that listen on a port. */
  onPort(number: number): readonly { readonly service: Service; readonly port: ServicePort }[] {
    return this.services.flatMap((service) => {
      const port = service.ports.find((one) => one.number === number);
      return port === undefined ? [] : [{ service, port }];
    });
  }

  get portNumbers(): readonly number[] {
    return [...new Set(this.services.flatMap(({ ports }) => ports.map(({ number }) => number)))].sort((a, b) => a - b);
  }

  /** istiod's name for what a compiled route calls `cluster`, seen from a port. Undefined: there is no such service. */
  clusterOf(cluster: string, fromPort: number): string | undefined {
    const destination = this.#destinations.get(cluster);
    if (destination === undefined) return undefined;
    const homes = this.services.flatMap((service) =>
      service.ports.filter(({ name }) => name === destination.service).map(({ number }) => ({ number, host: service.host })),
    );
    const home = homes.find(({ number }) => number === fromPort) ?? homes[0];
    return home === undefined ? undefined : clusterKey(home.number, destination.subset.name, home.host);
  }
}

const ALL: Subset = { name: '', labels: undefined };

export function clusterKey(port: number, subset: string, host: string): string {
  return `outbound|${port}|${subset}|${host}`;
}

/** Parts of such a name; undefined for another. */
export function parseClusterKey(name: string): { readonly port: number; readonly subset: string; readonly host: string } | undefined {
  const match = /^outbound\|(\d+)\|([^|]*)\|(.+)$/.exec(name);
  return match === null ? undefined : { port: Number(match[1]), subset: match[2] ?? '', host: match[3] ?? '' };
}

/** Sets of labels that routes lead to, with the names that a DestinationRule would give them. */
function subsetsOf(file: MeshFile): ReadonlyMap<string, readonly Subset[]> {
  const found = new Map<string, Subset[]>([...file.services.keys()].map((name) => [name, [ALL]]));
  for (const [name, { routes = [] }] of file.services) {
    for (const { to, split } of routes) {
      for (const { service = name, labels } of split ?? (to === undefined ? [] : [to])) {
        const subsets = found.get(service);
        if (subsets === undefined || labels === undefined || labels.size === 0) continue;
        const cluster = clusterName(service, labels);
        if (!subsets.some((subset) => clusterName(service, subset.labels) === cluster))
          subsets.push({ name: subsetName(labels, subsets), labels });
      }
    }
  }
  return found;
}

/** `v2` for `version: v2`, as people call subsets; what is not clear then by labels and values. */
function subsetName(labels: Labels, taken: readonly Subset[]): string {
  const parts = [...labels].sort(([a], [b]) => (a < b ? -1 : 1));
  const short = parts.map(([, value]) => value).join('-');
  if (!taken.some(({ name }) => name === short)) return short;
  return parts.map(([label, value]) => `${label}-${value}`).join('-');
}

function hostsOf(spec: ServiceSpec): ReadonlyMap<string, ReadonlySet<number>> {
  const found = new Map<string, Set<number>>();
  for (const given of spec.hosts) {
    const parsed = parseHostPort(given);
    const host = qualified(parsed?.host ?? given);
    const ports = found.get(host) ?? new Set<number>();
    found.set(host, ports);
    if (parsed !== undefined) ports.add(parsed.port);
  }
  for (const ports of found.values()) if (ports.size === 0) ports.add(HTTP_PORT);
  return found;
}

/** A name without dots is a Kubernetes service in the namespace `default`; other hosts are what they are. */
function qualified(host: string): string {
  return host.includes('.') ? host : `${host}.default${SUFFIX}`;
}

function kubernetesOf(host: string): Service['kubernetes'] {
  const [name = '', namespace = '', ...rest] = host.endsWith(SUFFIX) ? host.slice(0, -SUFFIX.length).split('.') : [];
  return name === '' || namespace === '' || rest.length > 0 ? undefined : { name, namespace };
}
