/**
 * The on-demand filter (envoy.extensions.filters.http.on_demand.v3): lets calls ask for clusters, virtual hosts and the routes of scopes
 * that are not there yet. No layer: what waits is the choice of a route, which comes before every layer (Envoy ).
 */
import type { ConfigSourceConfig } from '../config/config-source.ts';
import type { OnDemandConfig } from '../config/on-demand.ts';
import { ON_DEMAND_TIMEOUT_MS, ON_DEMAND_TYPE } from '../config/on-demand.ts';
import { ConfigProblem } from '../config/resource.ts';
import type { AnyMessage, FilterFactory, ParseContext } from '../core/extension.ts';

/** OnDemand, and PerRouteConfig, which has the same field. */
interface OnDemandMessage {
  readonly odcds?: {
    readonly source?: unknown;
    readonly resourcesLocator: string;
    readonly timeout?: { readonly seconds: bigint; readonly nanos: number };
  };
}

function parse(config: AnyMessage, context: ParseContext): OnDemandConfig {
  const { odcds } = context.unpack<OnDemandMessage>(config);
  if (odcds === undefined) return { clusters: undefined };
  if (odcds.resourcesLocator !== '') throw new ConfigProblem('odcds.resources_locator', 'collections of clusters are not supported');
  const source = context.configSource(odcds.source, 'odcds.source') as ConfigSourceConfig | undefined;
  const { timeout } = odcds;
  const timeoutMs = timeout === undefined ? ON_DEMAND_TIMEOUT_MS : Number(timeout.seconds) * 1000 + timeout.nanos / 1e6;
  if (timeoutMs < 0) throw new ConfigProblem('odcds.timeout', 'must not be negative');
  return { clusters: { source, timeoutMs } };
}

export const ON_DEMAND: FilterFactory<unknown> = {
  typeUrls: [ON_DEMAND_TYPE, 'type.googleapis.com/envoy.extensions.filters.http.on_demand.v3.PerRouteConfig'],
  directions: ['outbound', 'inbound'],
  parse,
  parseOverride: parse,
  layer: () => undefined,
};
