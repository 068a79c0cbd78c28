/** A load reporting service in memory: an `AdsTransport` whose far side is the test, with reports as plain data. */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { AdsStream, AdsStreamEvents, AdsTransport } from '../../../src/core/transport.ts';
import { LoadStatsRequestSchema, LoadStatsResponseSchema } from '../../../src/proto/gen/envoy/service/load_stats/v3/lrs_pb.js';

export interface PlainLocality {
  readonly at: string;
  readonly priority?: number;
  readonly issued: number;
  readonly ok: number;
  readonly errors: number;
  readonly running: number;
  readonly metrics?: Readonly<Record<string, readonly [requests: number, total: number]>>;
  readonly utilization?: Readonly<Record<string, readonly [requests: number, total: number]>>;
}

export interface PlainCluster {
  /** `cluster`, or `cluster/service`. */
  readonly name: string;
  readonly ms: number;
  readonly localities: readonly PlainLocality[];
  readonly dropped?: number;
  readonly droppedBy?: Readonly<Record<string, number>>;
}

export interface PlainReport {
  readonly node?: string;
  readonly features?: readonly string[];
  readonly clusters: readonly PlainCluster[];
}

export class FakeLoadStream implements AdsStream {
  readonly events: AdsStreamEvents;
  readonly method: string;
  readonly sent: PlainReport[] = [];
  finished = false;
  ended = false;
  #taken = 0;

  constructor(method: string, events: AdsStreamEvents) {
    this.method = method;
    this.events = events;
  }

  send(bytes: Uint8Array): void {
    if (this.ended || this.finished) throw new Error('send after the end');
    this.sent.push(plain(bytes));
  }

  pause(): void {}
  resume(): void {}

  finish(): void {
    this.finished = true;
  }

  cancel(): void {
    this.end(1, 'cancelled');
  }

  end(code: number, details = ''): void {
    if (this.ended) return;
    this.ended = true;
    this.events.onEnd(code, details);
  }

  /** The server's answer; `clusters` absent: all. */
  ask(intervalMs: number | undefined, clusters?: readonly string[]): this {
    const message = create(LoadStatsResponseSchema, {
      sendAllClusters: clusters === undefined,
      clusters: [...(clusters ?? [])],
      ...(intervalMs !== undefined && {
        loadReportingInterval: { seconds: BigInt(Math.floor(intervalMs / 1000)), nanos: (intervalMs % 1000) * 1e6 },
      }),
    });
    this.events.onMessage(toBinary(LoadStatsResponseSchema, message));
    return this;
  }

  take(): readonly PlainReport[] {
    const reports = this.sent.slice(this.#taken);
    this.#taken = this.sent.length;
    return reports;
  }
}

export class FakeLoadTransport implements AdsTransport {
  readonly streams: FakeLoadStream[] = [];
  closed = false;

  open(method: string, events: AdsStreamEvents): AdsStream {
    const stream = new FakeLoadStream(method, events);
    this.streams.push(stream);
    return stream;
  }

  close(): void {
    this.closed = true;
  }

  get stream(): FakeLoadStream {
    const stream = this.streams.at(-1);
    if (stream === undefined) throw new Error('no stream was opened');
    return stream;
  }
}

function plain(bytes: Uint8Array): PlainReport {
  const { node, clusterStats } = fromBinary(LoadStatsRequestSchema, bytes);
  return {
    ...(node && { node: node.id, features: node.clientFeatures }),
    clusters: clusterStats.map((stats): PlainCluster => {
      const droppedBy = Object.fromEntries(stats.droppedRequests.map(({ category, droppedCount }) => [category, Number(droppedCount)]));
      const { seconds = 0n, nanos = 0 } = stats.loadReportInterval ?? {};
      return {
        name: stats.clusterServiceName === '' ? stats.clusterName : `${stats.clusterName}/${stats.clusterServiceName}`,
        ms: Number(seconds) * 1000 + nanos / 1e6,
        localities: stats.upstreamLocalityStats.map((place): PlainLocality => {
          const { region = '', zone = '', subZone = '' } = place.locality ?? {};
          const metrics = place.loadMetricStats.map(
            ({ metricName, numRequestsFinishedWithMetric: n, totalMetricValue }) => [metricName, [Number(n), totalMetricValue]] as const,
          );
          const utilization = (['cpuUtilization', 'memUtilization', 'applicationUtilization'] as const).flatMap((name) => {
            const sum = place[name];
            return sum === undefined ? [] : [[name, [Number(sum.numRequestsFinishedWithMetric), sum.totalMetricValue]] as const];
          });
          return {
            at: `${region}/${zone}/${subZone}`,
            ...(place.priority > 0 && { priority: place.priority }),
            issued: Number(place.totalIssuedRequests),
            ok: Number(place.totalSuccessfulRequests),
            errors: Number(place.totalErrorRequests),
            running: Number(place.totalRequestsInProgress),
            ...(metrics.length > 0 && { metrics: Object.fromEntries(metrics) }),
            ...(utilization.length > 0 && { utilization: Object.fromEntries(utilization) }),
          };
        }),
        ...(stats.totalDroppedRequests > 0n && { dropped: Number(stats.totalDroppedRequests) }),
        ...(stats.droppedRequests.length > 0 && { droppedBy }),
      };
    }),
  };
}
