/**
 * Targets of calls for which something has to be asked first: a cluster, the routes of a scope, a virtual host (Envoy ).
 * They are never called while it is awaited; the mesh asks for it and routes the call again.
 */
import type { HttpFilterConfig } from './config/listener.ts';
import { ON_DEMAND_TIMEOUT_MS, onDemandAt } from './config/on-demand.ts';
import type { FilterOverrides, RouteConfiguration } from './config/routes.ts';
import type { ScopedRoutesConfig } from './config/scoped-routes.ts';
import { virtualHostName } from './config/vhds.ts';
import type { OutboundCall } from './core/call.ts';
import type { FailureKind } from './core/failure.ts';
import { failure, FAILURES } from './core/failure.ts';
import type { Handler } from './core/handler.ts';
import { failureReply } from './core/reply.ts';
import type { Awaited, OutboundTarget, TargetLabels } from './core/target.ts';
import type { Demands } from './demand.ts';
import { asciiLower } from './matching/string.ts';
import type { RouteContext } from './routing/route-table.ts';
import { withoutPort } from './routing/virtual-hosts.ts';

export interface OnDemandPlace {
  /** With what ECDS brought. */
  readonly filters: readonly HttpFilterConfig[];
  /** Of the listener. */
  readonly root: string;
  /** Undefined: nothing is asked for on demand. */
  readonly demands: Demands | undefined;
  /** A target that answers by itself. */
  readonly local: (labels: TargetLabels, handler: Handler<OutboundCall>, name: string) => OutboundTarget;
}

function failing(kind: FailureKind, reason: string): Handler<OutboundCall> {
  const failed = failure(kind, reason);
  return { handle: () => Promise.resolve(failureReply(failed)) };
}

export class OnDemandTargets {
  readonly #place: OnDemandPlace;

  constructor(place: OnDemandPlace) {
    this.#place = place;
  }

  /** The route leads to a cluster that nobody has asked for. `levels`: overrides of filters, most specific first. */
  cluster(where: RouteContext, labels: TargetLabels, levels: readonly FilterOverrides[]): OutboundTarget {
    const { filters, root, demands, local } = this.#place;
    const { clusterName: name, route } = where;
    const config = onDemandAt(filters, levels)?.clusters;
    const action = route.action.kind === 'forward' ? route.action : undefined;
    const byHeader = action?.cluster.kind === 'cluster-header';
    const awaits: Awaited = {
      what: `cluster "${name}"`,
      timeoutMs: config?.timeoutMs ?? ON_DEMAND_TIMEOUT_MS,
      kind: FAILURES.clusterNotFound,
      ...(action && { status: action.clusterNotFoundStatus }),
      demand: () => demands?.cluster(root, { name, source: config?.source, byHeader }) ?? false,
    };
    return waiting(local(labels, failing(awaits.kind, `${awaits.what} is still awaited`), 'cluster-not-found'), awaits);
  }

  /** The scope's routes are on demand, and nobody has asked for them. */
  scope({ name, routeConfigName = '' }: ScopedRoutesConfig): OutboundTarget {
    const { root, demands } = this.#place;
    const awaits: Awaited = {
      what: `route configuration "${routeConfigName}" of scope "${name}"`,
      timeoutMs: ON_DEMAND_TIMEOUT_MS,
      kind: FAILURES.routeNotFound,
      demand: () => demands?.scope(root, name) ?? false,
    };
    return waiting(this.withoutRoutes(routeConfigName, `${awaits.what} is still awaited`), awaits);
  }

  /**
   * The target of an authority without a virtual host, where more are to be had and the on-demand filter says that calls may ask for them;
   * undefined where it is not so.
   */
  unknownHost(config: RouteConfiguration): ((authority: string) => OutboundTarget | undefined) | undefined {
    const { filters, root, demands } = this.#place;
    const { vhds, name: routeConfig, ignorePortInHostMatching } = config;
    if (vhds === undefined || demands === undefined || onDemandAt(filters, []) === undefined) return undefined;
    return (authority) => {
      const host = asciiLower(ignorePortInHostMatching ? withoutPort(authority) : authority);
      if (host === '') return undefined;
      const wanted = { name: virtualHostName(routeConfig, host), routeConfig, source: vhds.source };
      const what = `virtual host "${wanted.name}"`;
      const state = demands.hostState(root, wanted);
      // It is there and not for this host: the control plane took another for it.
      if (state?.status === 'present') return undefined;
      const demand = (): boolean => demands.host(root, wanted);
      if (state?.status === 'failed') {
        demand();
        return this.withoutRoutes(routeConfig, `${what}: ${state.reason}`);
      }
      const awaits: Awaited = { what, timeoutMs: ON_DEMAND_TIMEOUT_MS, kind: FAILURES.routeNotFound, demand };
      return waiting(this.withoutRoutes(routeConfig, `${what} is still awaited`), awaits);
    };
  }

  withoutRoutes(routeConfig: string, reason: string): OutboundTarget {
    const labels: TargetLabels = { listener: this.#place.root, routeConfig, virtualHost: '', route: '', cluster: '' };
    return this.#place.local(Object.freeze(labels), failing(FAILURES.routeNotFound, reason), 'route-not-found');
  }
}

function waiting(target: OutboundTarget, awaits: Awaited): OutboundTarget {
  return { ...target, waiting: true, awaits };
}
