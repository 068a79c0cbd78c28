/** Names that compiled resources refer to each other by. */
import type { HttpFilterConfig } from '../../config/listener.ts';
import type { Labels } from './types.ts';

export const ROUTER_FILTER: HttpFilterConfig = Object.freeze({
  name: 'envoy.filters.http.router',
  typeUrl: 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router',
  disabled: false,
  terminal: true,
  config: undefined,
});

export const RBAC_TYPE = 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC';

/** A destination as a cluster name: `reviews`, or `reviews|version=v2` for a set of labels. */
export function clusterName(service: string, labels: Labels | undefined): string {
  if (labels === undefined || labels.size === 0) return service;
  const parts = [...labels].map(([name, value]) => `${name}=${value}`).sort();
  return `${service}|${parts.join(',')}`;
}

/** Name of the server listener for an address; `0.0.0.0` fits every address (gRFC A36). */
export function inboundName(host: string | undefined, port: number): string {
  const shown = host ?? '0.0.0.0';
  return `inbound/${shown.includes(':') ? `[${shown}]` : shown}:${port}`;
}
