/**
 * The scopes of a connection manager as they are now: the list, inline or discovered, and the routes of each (Envoy X-91). Part of the
 * walk of `resolve.ts`, which keeps count of what was used and what is missing.
 */
import type { ConfigSourceConfig } from './config-source.ts';
import type { Demand } from './demand.ts';
import type { ResourceCache, ResourceKey } from './resource.ts';
import type { RouteConfiguration } from './routes.ts';
import type { ScopedRoutesConfig, ScopedRoutesRefConfig } from './scoped-routes.ts';
import type { ResolvedRoutes, ResolvedScope, ResolvedScopes } from './snapshot.ts';

/** Name of the subscription to all scoped routes of a source. */
export const ALL_SCOPES = '*';

export interface ScopeWalk {
  readonly cache: ResourceCache;
  readonly used: ResourceKey[];
  readonly missing: ResourceKey[];
  readonly demand: Demand;
  /** With the virtual hosts that calls have asked for. */
  whole(config: RouteConfiguration): ResolvedRoutes;
  /** Routes by name; undefined and noted when they are not there yet. */
  named(name: string, source: ConfigSourceConfig | undefined): ResolvedRoutes | undefined;
}

function listOf(
  ref: ScopedRoutesRefConfig,
  walk: ScopeWalk,
): { readonly list: readonly ScopedRoutesConfig[] } | { readonly reason: string } | undefined {
  if (ref.scopes.kind === 'inline') return ref.scopes;
  const { source, resourcesLocator } = ref.scopes;
  const key: ResourceKey = { kind: 'scoped-routes', name: resourcesLocator === '' ? ALL_SCOPES : resourcesLocator, source };
  walk.used.push(key);
  const state = walk.cache.scopes?.(key.name, source) ?? { status: 'failed', reason: 'this source has none' };
  if (state.status === 'present') return { list: state.value };
  if (state.status === 'failed') return { reason: `scoped routes "${ref.name}": ${state.reason}` };
  walk.missing.push(key);
  return undefined;
}

/** Undefined: something is awaited. `eager`: the routes of on-demand scopes are asked for as well (nobody waits on the inbound side). */
export function resolveScopes(ref: ScopedRoutesRefConfig, walk: ScopeWalk, eager: boolean): ResolvedScopes | undefined {
  const found = listOf(ref, walk);
  if (found === undefined) return undefined;
  if ('reason' in found) return { ok: false, reason: found.reason };
  const scopes: ResolvedScope[] = [];
  const problems: string[] = [];
  const taken = new Map<string, string>();
  let waiting = false;
  for (const scope of found.list) {
    const id = JSON.stringify(scope.key);
    const other = taken.get(id);
    if (other !== undefined) {
      problems.push(`scope "${scope.name}" is not used: scope "${other}" has the same key`);
      continue;
    }
    taken.set(id, scope.name);
    if (scope.routeConfig !== undefined) {
      scopes.push({ scope, routes: walk.whole(scope.routeConfig) });
      continue;
    }
    const asked = walk.demand.scopes.get(scope.name);
    if (scope.onDemand && !eager && asked === undefined) {
      scopes.push({ scope, routes: undefined });
      continue;
    }
    const { length } = walk.missing;
    const routes = walk.named(scope.routeConfigName ?? '', ref.routesSource);
    // As with clusters on demand: before it was there once, it holds up nobody but its own calls.
    if (routes === undefined && scope.onDemand && !eager && asked?.settled !== true) walk.missing.length = length;
    else if (routes === undefined) waiting = true;
    scopes.push({ scope, routes });
  }
  return waiting ? undefined : { ok: true, builder: ref.builder, routesSource: ref.routesSource, scopes, problems };
}

export function sameScopes(a: ResolvedScopes, b: ResolvedScopes): boolean {
  if (!a.ok || !b.ok) return !a.ok && !b.ok && a.reason === b.reason;
  if (a.builder !== b.builder || a.scopes.length !== b.scopes.length) return false;
  return a.scopes.every(({ scope, routes }, i) => {
    const other = b.scopes[i];
    return other !== undefined && other.scope === scope && sameRoutes(other.routes, routes);
  });
}

export function sameRoutes(a: ResolvedRoutes | undefined, b: ResolvedRoutes | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.ok ? b.ok && a.config === b.config : !b.ok && a.reason === b.reason;
}

/** Routes of all scopes, for whoever asks which clusters they name. */
export function routesOfScopes(scopes: ResolvedScopes): readonly ResolvedRoutes[] {
  return scopes.ok ? scopes.scopes.flatMap(({ routes }) => routes ?? []) : [];
}
