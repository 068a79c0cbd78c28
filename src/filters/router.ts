/**
 * The router (envoy.extensions.filters.http.router.v3.Router): the end of every filter list. It is no layer, since what it stands for,
 * retries, picking and sending, is the rest of the stack. None of its settings have an effect; a route cannot override it (gRPC rule 41).
 */
import type { FilterFactory } from '../core/extension.ts';

interface RouterMessage {
  readonly dynamicStats?: boolean;
  readonly startChildSpan: boolean;
  readonly upstreamLog: readonly unknown[];
  readonly strictCheckHeaders: readonly string[];
  readonly respectExpectedRqTimeout: boolean;
  readonly upstreamHttpFilters: readonly unknown[];
}

export const ROUTER: FilterFactory<unknown> = {
  typeUrls: ['type.googleapis.com/envoy.extensions.filters.http.router.v3.Router'],
  directions: ['outbound', 'inbound'],
  terminal: true,
  parse(config, context) {
    const message = context.unpack<RouterMessage>(config);
    if (message.upstreamLog.length > 0) context.unsupported('upstream_log');
    if (message.strictCheckHeaders.length > 0) context.unsupported('strict_check_headers');
    if (message.respectExpectedRqTimeout) context.unsupported('respect_expected_rq_timeout');
    if (message.upstreamHttpFilters.length > 0) context.unsupported('upstream_http_filters');
    return undefined;
  },
  layer: () => undefined,
};
