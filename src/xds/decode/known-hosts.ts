/**
 * Virtual hosts of one route configuration that differ from one decoded before in names, domains and clusters only, as those that a control
 * plane makes of services do: made from that one, which keeps matches and policies of thousands of routes once.
 */
import type { RouteEntryConfig, VirtualHostConfig } from '../../config/routes.ts';
import { outlineOf } from './outline.ts';
import type { Outline, OutlineSpec, Outlined } from './outline.ts';

const NAME = 0;
const DOMAIN = 1;
const ROUTE = 2;
const ROUTE_NAME = 3;
const CLUSTER = 4;

/** Metadata is not read, nor are decorators, which are only recorded as such. */
const ROUTE_SPEC: OutlineSpec = {
  mark: ROUTE,
  fields: new Map<number, Outlined>([
    [2, { fields: new Map([[1, CLUSTER]]) }],
    [4, 'any'],
    [5, 'any'],
    [14, ROUTE_NAME],
  ]),
};
const SPEC: OutlineSpec = {
  fields: new Map<number, Outlined>([
    [1, NAME],
    [2, DOMAIN],
    [3, ROUTE_SPEC],
  ]),
};

const MAX_KNOWN = 256;

interface RouteNames {
  name: string;
  /** Empty: not set, or not by name. */
  cluster: string;
}

interface Names {
  name: string;
  readonly domains: string[];
  readonly routes: RouteNames[];
}

function namesOf({ texts }: Outline): Names {
  const names: Names = { name: '', domains: [], routes: [] };
  for (const [number, text] of texts) {
    const route = names.routes.at(-1);
    if (number === NAME) names.name = text;
    else if (number === DOMAIN) names.domains.push(text.toLowerCase());
    else if (number === ROUTE) names.routes.push({ name: '', cluster: '' });
    else if (number === ROUTE_NAME && route !== undefined) route.name = text;
    else if (number === CLUSTER && route !== undefined) route.cluster = text;
  }
  return names;
}

function clusterOf({ action }: RouteEntryConfig): string {
  return action.kind === 'forward' && action.cluster.kind === 'cluster' ? action.cluster.name : '';
}

/** Whether the names are where they are thought to be. */
function isLike(config: VirtualHostConfig, names: Names): boolean {
  return (
    config.name === names.name &&
    config.domains.length === names.domains.length &&
    config.domains.every((domain, i) => domain === names.domains[i]) &&
    config.routes.length === names.routes.length &&
    config.routes.every((route, i) => route.name === names.routes[i]?.name && clusterOf(route) === names.routes[i]?.cluster)
  );
}

function withNames(config: VirtualHostConfig, names: Names): VirtualHostConfig {
  return {
    ...config,
    name: names.name,
    domains: names.domains,
    routes: config.routes.map((route, i) => {
      const { name = '', cluster = '' } = names.routes[i] ?? {};
      const { action } = route;
      return action.kind !== 'forward' || cluster === ''
        ? { ...route, name }
        : { ...route, name, action: { ...action, cluster: { kind: 'cluster', name: cluster } } };
    }),
  };
}

export class KnownHosts {
  readonly #known = new Map<string, VirtualHostConfig>();
  /** How many were decoded. */
  decoded = 0;

  take(bytes: Uint8Array, decode: () => VirtualHostConfig): VirtualHostConfig {
    const outline = outlineOf(bytes, SPEC);
    const known = outline && this.#known.get(outline.key);
    if (outline !== undefined && known !== undefined) return withNames(known, namesOf(outline));
    const config = decode();
    this.decoded++;
    if (outline !== undefined && isLike(config, namesOf(outline))) {
      if (this.#known.size >= MAX_KNOWN) this.#known.clear();
      this.#known.set(outline.key, config);
    }
    return config;
  }
}
