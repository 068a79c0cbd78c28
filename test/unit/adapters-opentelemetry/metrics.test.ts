/** The bridge over our cells: what exporters read, and that `close` takes the callbacks back. Delta temporality, so that silence shows. */
import { metrics } from '@opentelemetry/api';
import { AggregationTemporality, InMemoryMetricExporter, MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { expect, onTestFinished, test } from 'vitest';
import { bridgeMetrics } from '../../../src/adapters/opentelemetry/metrics.ts';
import { Attempt, OutboundCall } from '../../../src/core/call.ts';
import { failure, FAILURES } from '../../../src/core/failure.ts';
import { CallMetrics, countAttemptEnd, countCallEnd } from '../../../src/telemetry/call-metrics.ts';
import { FakeClock } from '../../../src/testing/index.ts';
import { ScriptedTransport } from '../../support/scripted-transport.ts';
import { requestHead } from '../routing/builders.ts';

test('observable counters follow the cells until the bridge is closed', async () => {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.DELTA);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 1_000_000, exportTimeoutMillis: 1000 });
  const provider = new MeterProvider({ readers: [reader] });
  onTestFinished(() => provider.shutdown());
  metrics.setGlobalMeterProvider(provider);
  const clock = new FakeClock();
  const cells = new CallMetrics();
  const cell = cells.cell('outbound', { listener: 'l', routeConfig: 'rc', virtualHost: 'vh', route: 'r', cluster: 'c' });
  const bridge = bridgeMetrics(cells);
  const one = (status: number, failed = false): void => {
    const call = new OutboundCall(requestHead(), { replayable: true }, new ScriptedTransport([], clock));
    cell.started++;
    countAttemptEnd(cell, new Attempt(call, 1));
    if (failed) countAttemptEnd(cell, new Attempt(call, 2));
    call.end(status, undefined, failed ? failure(FAILURES.noHealthyUpstream, 'x') : undefined);
    countCallEnd(cell, call, 1);
  };
  const read = async (): Promise<Record<string, number>> => {
    exporter.reset();
    await reader.forceFlush();
    const points: Record<string, number> = {};
    for (const { scopeMetrics } of exporter.getMetrics()) {
      for (const { metrics: all } of scopeMetrics) {
        for (const { descriptor, dataPoints } of all) {
          for (const { attributes, value } of dataPoints) {
            expect(attributes).toMatchObject({ direction: 'outbound', route: 'r', cluster: 'c', virtual_host: 'vh' });
            points[[descriptor.name, attributes['class'] ?? attributes['flag']].filter(Boolean).join(' ')] = Number(value);
          }
        }
      }
    }
    return points;
  };
  one(200);
  one(503, true);
  expect(await read()).toEqual({
    'inmesh.calls.started': 2,
    'inmesh.calls.ended 2xx': 1,
    'inmesh.calls.ended 5xx': 1,
    'inmesh.calls.failed UH': 1,
    'inmesh.attempts': 3,
    'inmesh.retries': 1,
    'inmesh.calls.active': 0,
  });
  one(200);
  expect(await read()).toMatchObject({ 'inmesh.calls.started': 1, 'inmesh.calls.ended 2xx': 1, 'inmesh.calls.ended 5xx': 0 });
  bridge.close();
  one(200);
  expect(await read()).toEqual({});
});
