/**
 * The load reporting service (envoy.service.load_stats.v3; Envoy O-32): asks every client for its load and keeps what it reports as plain
 * data. Nothing here reacts to load.
 */
import type { Clock } from '../core/clock.ts';
import { pack, typeUrlOf, unpack } from '../proto/any.ts';
import type { LoadStatsRequest } from '../proto/gen/envoy/service/load_stats/v3/lrs_pb.js';
import type { UpstreamEndpointStats, UpstreamLocalityStats } from '../proto/gen/envoy/config/endpoint/v3/load_report_pb.js';
import { durationOf } from './messages.ts';
import type { ByteStream } from './refusal.ts';

const PACKAGE = 'envoy.service.load_stats.v3';
const MOST_REPORTS = 1000;

export interface LoadReportingOptions {
  /** Clusters to ask about; default: all (`send_all_clusters`). */
  readonly clusters?: readonly string[];
  /** Milliseconds between reports; default 10 000. */
  readonly intervalMs?: number;
  /** Ask for single endpoints as well; default false. */
  readonly endpoints?: boolean;
}

export interface LoadMetric {
  readonly name: string;
  readonly requests: number;
  /** Sum over these requests. */
  readonly total: number;
}

interface Requests {
  readonly issued: number;
  readonly successful: number;
  readonly errors: number;
  /** At the time of the report. */
  readonly inProgress: number;
  readonly metrics: readonly LoadMetric[];
}

export interface LocalityLoad extends Requests {
  readonly region: string;
  readonly zone: string;
  readonly subZone: string;
  readonly priority: number;
  /** `host:port`; only where they were asked for. */
  readonly endpoints: readonly (Requests & { readonly address: string })[];
}

export interface ClusterLoad {
  readonly cluster: string;
  /** Name under which its endpoints are known; empty: that of the cluster. */
  readonly service: string;
  readonly localities: readonly LocalityLoad[];
  /** All that were dropped, and those of each category. */
  readonly dropped: number;
  readonly droppedBy: Readonly<Record<string, number>>;
  /** Milliseconds that the report covers, as the client measured them. */
  readonly intervalMs: number;
}

export interface LoadReport {
  readonly nodeId: string;
  /** Wall time in ms of its arrival. */
  readonly at: number;
  readonly clusters: readonly ClusterLoad[];
}

export class LoadReports {
  /** The newest last; at most 1000. */
  readonly all: LoadReport[] = [];
  readonly #clock: Clock;
  readonly #onReport: (report: LoadReport) => void;
  readonly #streams = new Set<ByteStream>();
  #options: LoadReportingOptions;

  constructor(options: LoadReportingOptions, clock: Clock, onReport: (report: LoadReport) => void) {
    this.#options = options;
    this.#clock = clock;
    this.#onReport = onReport;
  }

  /** From now on asks for this, also on open streams. */
  ask(options: LoadReportingOptions): void {
    this.#options = options;
    for (const stream of this.#streams) stream.write(this.#wish());
  }

  /** A stream of the service; `onBad` ends it. */
  accept(call: ByteStream, onBad: (details: string) => void): void {
    let nodeId = '';
    const forget = (): void => void this.#streams.delete(call);
    call.on('data', (bytes: Buffer) => {
      let request: LoadStatsRequest;
      try {
        request = unpack<LoadStatsRequest>({ typeUrl: typeUrlOf(`${PACKAGE}.LoadStatsRequest`), value: bytes });
      } catch (error) {
        onBad(error instanceof Error ? error.message : String(error));
        return;
      }
      // Only the first request of a stream names the node.
      if (request.node !== undefined && request.node.id !== '') nodeId = request.node.id;
      const first = !this.#streams.has(call);
      if (first) {
        this.#streams.add(call);
        call.write(this.#wish());
      }
      // The first one says who is there, and seldom more.
      if (!first || request.clusterStats.length > 0) this.#keep(nodeId, request);
    });
    call.on('end', () => {
      forget();
      call.end();
    });
    for (const event of ['cancelled', 'error', 'close'] as const) call.on(event, forget);
  }

  #keep(nodeId: string, { clusterStats }: LoadStatsRequest): void {
    const clusters = clusterStats.map((stats): ClusterLoad => ({
      cluster: stats.clusterName,
      service: stats.clusterServiceName,
      localities: stats.upstreamLocalityStats.map(localityLoad),
      dropped: Number(stats.totalDroppedRequests),
      droppedBy: Object.fromEntries(stats.droppedRequests.map(({ category, droppedCount }) => [category, Number(droppedCount)])),
      intervalMs: Number(stats.loadReportInterval?.seconds ?? 0) * 1000 + (stats.loadReportInterval?.nanos ?? 0) / 1e6,
    }));
    const report: LoadReport = { nodeId, at: this.#clock.wallTime(), clusters };
    if (this.all.length >= MOST_REPORTS) this.all.shift();
    this.all.push(report);
    this.#onReport(report);
  }

  #wish(): Buffer {
    const { clusters, intervalMs = 10_000, endpoints = false } = this.#options;
    return Buffer.from(
      pack(`${PACKAGE}.LoadStatsResponse`, {
        clusters: [...(clusters ?? [])],
        sendAllClusters: clusters === undefined,
        loadReportingInterval: durationOf(intervalMs),
        reportEndpointGranularity: endpoints,
      }).value,
    );
  }
}

function localityLoad(stats: UpstreamLocalityStats): LocalityLoad {
  const named = (['cpuUtilization', 'memUtilization', 'applicationUtilization'] as const).flatMap((name) => {
    const metric = stats[name];
    const snake = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    return metric === undefined
      ? []
      : [{ name: snake, requests: Number(metric.numRequestsFinishedWithMetric), total: metric.totalMetricValue }];
  });
  return {
    region: stats.locality?.region ?? '',
    zone: stats.locality?.zone ?? '',
    subZone: stats.locality?.subZone ?? '',
    priority: stats.priority,
    ...requests(stats, named),
    endpoints: stats.upstreamEndpointStats.map((endpoint) => ({ address: addressOf(endpoint), ...requests(endpoint, []) })),
  };
}

function requests(stats: UpstreamLocalityStats | UpstreamEndpointStats, named: readonly LoadMetric[]): Requests {
  const metrics = stats.loadMetricStats.map(({ metricName, numRequestsFinishedWithMetric, totalMetricValue }) => ({
    name: metricName,
    requests: Number(numRequestsFinishedWithMetric),
    total: totalMetricValue,
  }));
  return {
    issued: Number(stats.totalIssuedRequests),
    successful: Number(stats.totalSuccessfulRequests),
    errors: Number(stats.totalErrorRequests),
    inProgress: Number(stats.totalRequestsInProgress),
    metrics: [...named, ...metrics],
  };
}

function addressOf({ address }: UpstreamEndpointStats): string {
  const socket = address?.address;
  if (socket?.case !== 'socketAddress') return '';
  const { address: host, portSpecifier } = socket.value;
  const { value } = portSpecifier;
  return `${host.includes(':') ? `[${host}]` : host}:${value ?? ''}`;
}
