/** The messages of the load reporting service as bytes (envoy.service.load_stats.v3). */
import type { ClusterFigures, LocalityFigures, MetricSum } from '../core/load.ts';
import { pack, typeUrlOf, unpack } from './any.ts';
import { nodeInit } from './discovery.ts';
import type { NodeMessage } from './discovery.ts';
import type { LoadStatsResponse } from './gen/envoy/service/load_stats/v3/lrs_pb.js';

const PACKAGE = 'envoy.service.load_stats.v3';

/** What the server wants to know. */
export interface LoadWish {
  /** `send_all_clusters`. */
  readonly all: boolean;
  readonly clusters: ReadonlySet<string>;
  /** Milliseconds; undefined: not said. */
  readonly intervalMs: number | undefined;
}

export interface ClusterReport extends ClusterFigures {
  /** Milliseconds that the figures cover. */
  readonly intervalMs: number;
}

/** `node` only in the first request of a stream. */
export function encodeLoadStatsRequest(node: NodeMessage | undefined, reports: readonly ClusterReport[]): Uint8Array {
  return pack(`${PACKAGE}.LoadStatsRequest`, {
    ...(node !== undefined && { node: nodeInit(node) }),
    clusterStats: reports.map(clusterStats),
  }).value;
}

/** Throws on bytes that are no such message. */
export function decodeLoadStatsResponse(bytes: Uint8Array): LoadWish {
  const response = unpack<LoadStatsResponse>({ typeUrl: typeUrlOf(`${PACKAGE}.LoadStatsResponse`), value: bytes });
  const { sendAllClusters, clusters, loadReportingInterval: interval } = response;
  return {
    all: sendAllClusters,
    clusters: new Set(clusters),
    intervalMs: interval === undefined ? undefined : Number(interval.seconds) * 1000 + interval.nanos / 1e6,
  };
}

function clusterStats(report: ClusterReport) {
  return {
    clusterName: report.cluster,
    clusterServiceName: report.service,
    upstreamLocalityStats: report.localities.map(localityStats),
    totalDroppedRequests: BigInt(report.dropped),
    droppedRequests: Array.from(report.droppedBy, ([category, count]) => ({ category, droppedCount: BigInt(count) })),
    loadReportInterval: durationOf(report.intervalMs),
  };
}

function localityStats(figures: LocalityFigures) {
  const [region = '', zone = '', ...subZone] = figures.locality.split('/');
  return {
    locality: { region, zone, subZone: subZone.join('/') },
    priority: figures.priority,
    totalIssuedRequests: BigInt(figures.issued),
    totalSuccessfulRequests: BigInt(figures.successful),
    totalErrorRequests: BigInt(figures.errors),
    totalRequestsInProgress: BigInt(figures.inProgress),
    loadMetricStats: Array.from(figures.metrics, ([metricName, sum]) => ({ metricName, ...metricStats(sum) })),
    ...Object.fromEntries(Array.from(figures.utilization, ([name, sum]) => [UTILIZATION[name], metricStats(sum)])),
  };
}

const UTILIZATION = {
  cpu_utilization: 'cpuUtilization',
  mem_utilization: 'memUtilization',
  application_utilization: 'applicationUtilization',
} as const;

function metricStats({ requests, total }: MetricSum) {
  return { numRequestsFinishedWithMetric: BigInt(requests), totalMetricValue: total };
}

function durationOf(ms: number) {
  const whole = Math.floor(ms / 1000);
  return { seconds: BigInt(whole), nanos: Math.min(999_999_999, Math.round((ms - whole * 1000) * 1e6)) };
}
