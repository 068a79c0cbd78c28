/**
 * envoy.config.core.v3.TypedExtensionConfig as a plain frozen type, and the filters of a connection manager with what came for them: HTTP
 * filters may be configured by ECDS (Envoy X-92). A filter without a configuration is never passed over: it fails the calls.
 */
import type { HttpFilterConfig, HttpManagerConfig } from './listener.ts';
import type { ResourceCache, ResourceKey } from './resource.ts';
import type { Snapshot } from './snapshot.ts';

/** The configuration of one HTTP filter, parsed by its factory. */
export interface ExtensionConfig {
  readonly name: string;
  readonly typeUrl: string;
  readonly terminal: boolean;
  /** Whatever the filter's factory parsed. */
  readonly config: unknown;
}

export interface ExtensionWalk {
  readonly cache: ResourceCache;
  readonly used: ResourceKey[];
  readonly missing: ResourceKey[];
}

function same(a: HttpFilterConfig, b: HttpFilterConfig): boolean {
  return a.typeUrl === b.typeUrl && a.config === b.config && a.missing === b.missing && a.problem === b.problem;
}

type Content = Pick<HttpFilterConfig, 'typeUrl' | 'config' | 'missing' | 'problem'>;

/** Undefined: it is awaited. */
function contentOf(filter: HttpFilterConfig, walk: ExtensionWalk, before: HttpFilterConfig | undefined): Content | undefined {
  const { name, discovery } = filter;
  if (discovery === undefined) return filter;
  const { source, typeUrls, fallback } = discovery;
  const key: ResourceKey = { kind: 'extension-config', name, source };
  walk.used.push(key);
  const state = walk.cache.get('extension-config', name, source);
  if (state.status === 'waiting') {
    if (fallback !== undefined && discovery.withoutWarming) return fallback;
    walk.missing.push(key);
    return undefined;
  }
  if (state.status === 'present') {
    const { typeUrl, config } = state.value;
    if (typeUrls.includes(typeUrl)) return { typeUrl, config };
    // Envoy refuses such an update and goes on with what it has; whether it fits is known here only, where the filter stands.
    const problem = `filter "${name}": its configuration is of type ${typeUrl}, which type_urls does not list`;
    if (before !== undefined && before.missing === undefined) return { typeUrl: before.typeUrl, config: before.config, problem };
    return fallback === undefined ? { ...NOTHING, missing: problem } : { ...fallback, problem };
  }
  return fallback ?? { ...NOTHING, missing: `filter "${name}": its configuration: ${state.reason}` };
}

const NOTHING = Object.freeze({ typeUrl: '', config: undefined });

/**
 * The filters of a manager as they are now; undefined, and noted, when a configuration is awaited. `before`: what this manager had;
 * whatever did not change keeps its objects. A manager without such filters has its own list.
 */
export function resolveFilters(
  manager: HttpManagerConfig,
  walk: ExtensionWalk,
  before: readonly HttpFilterConfig[] | undefined,
): readonly HttpFilterConfig[] | undefined {
  let awaited = false;
  let changed = before === undefined;
  const filters = manager.filters.map((filter, index) => {
    if (filter.discovery === undefined) return filter;
    const known = before?.[index];
    const content = contentOf(filter, walk, known);
    if (content === undefined) awaited = true;
    const now: HttpFilterConfig = { ...filter, ...content };
    if (known !== undefined && same(known, now)) return known;
    changed = true;
    return now;
  });
  if (awaited) return undefined;
  return changed ? filters : before;
}

export function hasDiscoveredFilters(manager: HttpManagerConfig): boolean {
  return manager.filters.some(({ discovery }) => discovery !== undefined);
}

/** The filters of a manager in a snapshot, with what ECDS brought. */
export function filtersIn(snapshot: Snapshot, manager: HttpManagerConfig): readonly HttpFilterConfig[] {
  return snapshot.filters?.get(manager) ?? manager.filters;
}

/** What is wrong with discovered filters of a snapshot, each once. */
export function filterProblems(snapshot: Snapshot): readonly string[] {
  const problems = new Set<string>();
  for (const filters of snapshot.filters?.values() ?? [])
    for (const { missing, problem } of filters) for (const text of [missing, problem]) if (text !== undefined) problems.add(text);
  return [...problems];
}
