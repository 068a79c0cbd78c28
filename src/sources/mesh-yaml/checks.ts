/**
 * What keys of `mesh.yaml` mean together: references, sums, duplicates, keys that need others. Turns what the reader gave into a
 * `MeshFile` with defaults filled in. Routes are checked in `route-checks.ts`.
 */
import type { Reader } from './reader.ts';
import { RouteChecks } from './route-checks.ts';
import { isAuthority, parseHostPort } from './scalars.ts';
import type { EndpointSpec, IdentitySpec, InboundSpec, Labels, MeshFile, RuleSpec, ServiceSpec } from './types.ts';

export const DEFAULT_TRUST_DOMAIN = 'dev';

type Raw = Readonly<Record<string, unknown>>;
const NO_LABELS: Labels = new Map();

export class Checks {
  readonly #reader: Reader;
  readonly #raw: Raw;
  readonly #origin: string;

  constructor(reader: Reader, raw: Raw, origin: string) {
    this.#reader = reader;
    this.#raw = raw;
    this.#origin = origin;
  }

  file(): MeshFile {
    const raw = this.#raw;
    const identity = this.#identity(raw['identity'] as Partial<IdentitySpec> | undefined);
    const services = new Map<string, ServiceSpec>();
    for (const [name, service] of (raw['services'] as ReadonlyMap<string, Raw> | undefined) ?? []) {
      services.set(name, this.#service(name, service, identity.trustDomain));
    }
    this.#uniqueHosts(services);
    const routes = new RouteChecks(this.#reader, services);
    for (const [name, service] of services) routes.check(name, service);
    const include = raw['include'] as readonly string[] | undefined;
    include?.forEach((pattern, index) => this.#include(pattern, `include[${index}]`));
    return {
      origin: this.#origin,
      include,
      startTimeout: raw['startTimeout'] as number | undefined,
      identity,
      services,
      inbound: this.#inbound((raw['inbound'] as readonly Partial<InboundSpec>[] | undefined) ?? []),
      resources: (raw['resources'] as MeshFile['resources'] | undefined) ?? [],
      positions: this.#reader.positions,
    };
  }

  #identity(raw: Partial<IdentitySpec> = {}): IdentitySpec {
    if (raw.certificate !== undefined && raw.key === undefined)
      this.#reader.at('identity.certificate', 'a certificate needs its key', 'Add identity.key.');
    if (raw.key !== undefined && raw.certificate === undefined)
      this.#reader.at('identity.key', 'a key needs its certificate', 'Add identity.certificate.');
    if (raw.certificate !== undefined && raw.ca === undefined)
      this.#reader.at('identity', 'nothing says whom to trust', 'Add identity.ca.');
    return { ...raw, trustDomain: raw.trustDomain ?? DEFAULT_TRUST_DOMAIN };
  }

  #include(pattern: string, path: string): void {
    const body = pattern.replace(/:\d+$/, '').replace(/^\*|\*$/, '');
    if (body.includes('*')) this.#reader.at(path, `"${pattern}" has a * in the middle`, 'A * stands at the beginning or at the end.');
    else if (body !== '' && !/^[A-Za-z0-9_.:[\]-]+$/.test(body))
      this.#reader.at(path, `"${pattern}" is not a host pattern`, 'Write it like *.svc.cluster.local, without a scheme or path.');
  }

  #service(name: string, raw: Raw, trustDomain: string): ServiceSpec {
    const path = `services.${name}`;
    const given = raw['hosts'] as readonly string[] | undefined;
    const hosts = (given ?? [name]).map((host) => host.toLowerCase());
    hosts.forEach((host, index) => this.#host(host, given === undefined ? path : `${path}.hosts[${index}]`, given === undefined));
    const mtls = raw['mtls'] === 'strict' ? 'strict' : 'off';
    const identity = raw['identity'] as string | readonly string[] | undefined;
    if (identity !== undefined && mtls === 'off') {
      this.#reader.at(`${path}.identity`, 'an identity can only be checked over mutual TLS', 'Add mtls: strict, or take identity away.');
    }
    return {
      ...(raw as Partial<ServiceSpec>),
      hosts,
      endpoints: this.#endpoints((raw['endpoints'] as readonly (string | Raw)[] | undefined) ?? [], path),
      lb: (raw['lb'] as ServiceSpec['lb'] | undefined) ?? 'round-robin',
      protocol: (raw['protocol'] as ServiceSpec['protocol'] | undefined) ?? 'http',
      routes: raw['routes'] as ServiceSpec['routes'],
      mtls,
      identity: identity === undefined ? [`spiffe://${trustDomain}/${name}`] : typeof identity === 'string' ? [identity] : identity,
    };
  }

  #host(host: string, path: string, isName: boolean): void {
    if (isAuthority(host)) return;
    if (host.includes('*')) this.#reader.at(path, `"${host}" is a pattern`, 'Hosts are exact names; patterns belong to the key include.');
    else if (/^[a-z][a-z0-9+.-]*:\/\//.test(host)) this.#reader.at(path, `"${host}" is a URL`, 'Write only host or host:port.');
    else
      this.#reader.at(
        path,
        `"${host}" is not a host name`,
        isName
          ? 'Add hosts: [name] with what the application calls.'
          : 'Write a name or an address, perhaps with a port: reviews or reviews:9080.',
      );
  }

  #endpoints(raw: readonly (string | Raw)[], path: string): readonly EndpointSpec[] {
    const seen = new Map<string, number>();
    const endpoints: EndpointSpec[] = [];
    raw.forEach((entry, index) => {
      const fields: Raw = typeof entry === 'string' ? { address: entry } : entry;
      const address = fields['address'] as string;
      const where = `${path}.endpoints[${index}]`;
      const parsed = parseHostPort(address);
      if (parsed === undefined) {
        this.#reader.at(typeof entry === 'string' ? where : `${where}.address`, `"${address}" is not host:port`, addressCure(address));
        return;
      }
      const first = seen.get(address);
      if (first !== undefined)
        this.#reader.at(where, `"${address}" stands here twice`, `It is already endpoints[${first}]; keep one and give it a weight.`);
      seen.set(address, index);
      endpoints.push({
        ...parsed,
        labels: (fields['labels'] as Labels | undefined) ?? NO_LABELS,
        weight: (fields['weight'] as number | undefined) ?? 1,
        zone: (fields['zone'] as string | undefined) ?? '',
        health: (fields['health'] as EndpointSpec['health'] | undefined) ?? 'unknown',
      });
    });
    return endpoints;
  }

  #uniqueHosts(services: ReadonlyMap<string, ServiceSpec>): void {
    const owners = new Map<string, string>();
    for (const [name, service] of services) {
      service.hosts.forEach((host, index) => {
        const owner = owners.get(host);
        owners.set(host, owner ?? name);
        if (owner === undefined) return;
        const other = owner === name ? 'stands here twice' : `belongs to service "${owner}" already`;
        this.#reader.at(
          `services.${name}.hosts[${index}]`,
          `host "${host}" ${other}`,
          'A host leads to one service; take one of the two away.',
        );
      });
    }
  }

  #inbound(raw: readonly Partial<InboundSpec>[]): readonly InboundSpec[] {
    const ports = new Map<string, number>();
    return raw.map((entry, index) => {
      const path = `inbound[${index}]`;
      const spec: InboundSpec = { ...entry, port: entry.port ?? 0, mtls: entry.mtls ?? 'off' };
      const first = ports.get(`${spec.host ?? ''}:${spec.port}`);
      if (first !== undefined)
        this.#reader.at(`${path}.port`, `port ${spec.port} stands here twice`, `It is already inbound[${first}]; put the rules there.`);
      ports.set(`${spec.host ?? ''}:${spec.port}`, index);
      if (spec.host !== undefined && parseHostPort(`${spec.host.includes(':') ? `[${spec.host}]` : spec.host}:1`) === undefined) {
        this.#reader.at(
          `${path}.host`,
          `"${spec.host}" is not an address`,
          'Write the address that the application listens on, such as 127.0.0.1.',
        );
      }
      for (const kind of ['allow', 'deny'] as const)
        spec[kind]?.forEach((rule, number) => this.#rule(rule, spec, `${path}.${kind}[${number}]`));
      return spec;
    });
  }

  #rule(rule: RuleSpec, spec: InboundSpec, path: string): void {
    if (Object.keys(rule).length === 0)
      this.#reader.at(path, 'the rule says nothing', 'Add from, methods, paths or headers; to match everything write paths: [/**].');
    if (rule.from !== undefined && spec.mtls === 'off') {
      this.#reader.at(
        `${path}.from`,
        'callers prove who they are only over mutual TLS',
        `Add mtls: strict to port ${spec.port}, or take from away.`,
      );
    }
    rule.paths?.forEach((pattern, index) => RouteChecks.path(this.#reader, pattern, `${path}.paths[${index}]`));
    RouteChecks.headers(this.#reader, rule.headers, `${path}.headers`);
  }
}

function addressCure(address: string): string {
  if (/^[a-z]+:\/\//.test(address)) return 'Write it without the scheme: 127.0.0.1:9080.';
  if (/^[^:]+$/.test(address)) return `Add the port: ${address}:8080.`;
  return /^[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f]*$/.test(address)
    ? 'Put IPv6 addresses in brackets: "[::1]:9080".'
    : 'Write it like 127.0.0.1:9080, with a port from 1 to 65535.';
}
