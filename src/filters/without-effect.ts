/**
 * Filters that control planes put into many listeners and that can be left out without letting anybody in: statistics (inmesh counts by
 * itself), protocol bridges (a library speaks its own protocol), CORS (a browser's check; without its headers browsers refuse more, never
 * less), compression of replies (they go out as they are), faults (none are injected), health checks (the application answers them),
 * metadata that only other filters read (`xds/decode/metadata-rules.ts` sees to that), session affinity.
 * Accepted so that such listeners work, and recorded as without effect.
 */
import type { FilterFactory } from '../core/extension.ts';

const PREFIX = 'type.googleapis.com/envoy.extensions.filters.http';

export const WITHOUT_EFFECT: FilterFactory<unknown> = {
  typeUrls: [
    `${PREFIX}.grpc_stats.v3.FilterConfig`,
    `${PREFIX}.grpc_web.v3.GrpcWeb`,
    `${PREFIX}.grpc_http1_bridge.v3.Config`,
    `${PREFIX}.cors.v3.Cors`,
    `${PREFIX}.cors.v3.CorsPolicy`,
    `${PREFIX}.compressor.v3.Compressor`,
    `${PREFIX}.compressor.v3.CompressorPerRoute`,
    `${PREFIX}.fault.v3.HTTPFault`,
    `${PREFIX}.health_check.v3.HealthCheck`,
    `${PREFIX}.header_to_metadata.v3.Config`,
    // Istio's own: what its telemetry tells of peers, and which ALPN a sidecar offers.
    'type.googleapis.com/io.istio.http.peer_metadata.Config',
    'type.googleapis.com/stats.PluginConfig',
    'type.googleapis.com/istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig',
    `${PREFIX}.stateful_session.v3.StatefulSession`,
    `${PREFIX}.stateful_session.v3.StatefulSessionPerRoute`,
  ],
  directions: ['outbound', 'inbound'],
  parse(_config, context) {
    context.unsupported('');
    return undefined;
  },
  parseOverride(_config, context) {
    context.unsupported('');
    return undefined;
  },
  layer: () => undefined,
};
