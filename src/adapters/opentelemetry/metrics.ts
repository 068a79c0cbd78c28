/**
 * The mesh's cells as OpenTelemetry metrics: counters and gauges are observable (read when somebody exports), since a counter with
 * attributes costs more than the whole mesh; one duration histogram per call is recorded under the stable names.
 */
import type { Attributes, Histogram, ObservableResult } from '@opentelemetry/api';
import { metrics } from '@opentelemetry/api';
import type { Call } from '../../core/call.ts';
import type { Observer } from '../../core/observer.ts';
import type { CallMetrics, CellEntry } from '../../telemetry/call-metrics.ts';
import type { MetricsBridge } from '../../telemetry/tracer.ts';
import { endAttributes, isGrpc, startAttributes } from './attributes.ts';

/** Seconds; the conventions' advice for HTTP durations. */
const DURATION_BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

class DurationObserver implements Observer {
  readonly #histograms: Readonly<Record<'httpClient' | 'httpServer' | 'rpcClient' | 'rpcServer', Histogram>>;

  constructor() {
    const meter = metrics.getMeter('inmesh');
    const make = (name: string): Histogram =>
      meter.createHistogram(name, { unit: 's', advice: { explicitBucketBoundaries: DURATION_BOUNDS } });
    this.#histograms = {
      httpClient: make('http.client.request.duration'),
      httpServer: make('http.server.request.duration'),
      rpcClient: make('rpc.client.call.duration'),
      rpcServer: make('rpc.server.call.duration'),
    };
  }

  onCallEnd(call: Call): void {
    const grpc = isGrpc(call);
    const server = call.direction === 'inbound';
    const histogram = this.#histograms[grpc ? (server ? 'rpcServer' : 'rpcClient') : server ? 'httpServer' : 'httpClient'];
    const seconds = ((call.target?.clock.now() ?? call.startedAt) - call.startedAt) / 1000;
    histogram.record(seconds, { ...startAttributes(call), ...endAttributes(grpc, server, call) });
  }
}

/** Registers observable instruments over the cells; `close` takes them back. */
export function bridgeMetrics(cells: CallMetrics): MetricsBridge {
  const meter = metrics.getMeter('inmesh');
  const started = meter.createObservableCounter('inmesh.calls.started', { description: 'Calls started, by route and cluster' });
  const ended = meter.createObservableCounter('inmesh.calls.ended', { description: 'Calls ended, by status class' });
  const failures = meter.createObservableCounter('inmesh.calls.failed', { description: 'Calls that the mesh failed, by response flag' });
  const attempts = meter.createObservableCounter('inmesh.attempts', { description: 'Attempts, retries included' });
  const retries = meter.createObservableCounter('inmesh.retries', { description: 'Attempts after the first' });
  const active = meter.createObservableGauge('inmesh.calls.active', { description: 'Calls in flight' });

  const each = (visit: (entry: CellEntry, attributes: Attributes) => void): void => {
    for (const entry of cells.entries()) {
      const { direction, labels } = entry;
      visit(entry, { direction, route: labels.route, cluster: labels.cluster, virtual_host: labels.virtualHost });
    }
  };
  const callbacks: readonly (readonly [typeof started | typeof active, (result: ObservableResult) => void])[] = [
    [started, (result) => each(({ cell }, attributes) => result.observe(cell.started, attributes))],
    [
      ended,
      (result) =>
        each(({ cell }, attributes) =>
          cell.byClass.forEach((count, index) => {
            if (count > 0) result.observe(count, { ...attributes, class: index === 0 ? 'none' : `${index}xx` });
          }),
        ),
    ],
    [
      failures,
      (result) => each(({ cell }, attributes) => cell.failures.forEach((count, flag) => result.observe(count, { ...attributes, flag }))),
    ],
    [attempts, (result) => each(({ cell }, attributes) => result.observe(cell.attempts, attributes))],
    [retries, (result) => each(({ cell }, attributes) => result.observe(cell.retries, attributes))],
    [active, (result) => each(({ cell }, attributes) => result.observe(cell.started - cell.ended, attributes))],
  ];
  for (const [instrument, callback] of callbacks) instrument.addCallback(callback);
  return {
    observer: new DurationObserver(),
    close(): void {
      for (const [instrument, callback] of callbacks) instrument.removeCallback(callback);
    },
  };
}
