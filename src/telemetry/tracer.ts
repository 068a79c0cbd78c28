/** Tracing as the mesh sees it: an observer that also gives the application a context. Implemented by `adapters/opentelemetry/`. */
import type { InboundCall } from '../core/call.ts';
import type { Observer } from '../core/observer.ts';

export interface Tracer {
  /**
   * Starts and ends spans on `call.span` and `attempt.span`, and writes propagation headers on `onCallStart` and `onAttemptStart`:
   * the one thing an observer may change (docs/decisions/0003).
   */
  readonly observer: Observer;
  /** Runs the application with the server span as its active span. */
  runInContext<R>(call: InboundCall, run: () => R): R;
}

/** Metrics as seen by an exporter: `observer` records one duration per call, `close` takes the instruments back. */
export interface MetricsBridge {
  readonly observer: Observer;
  close(): void;
}
