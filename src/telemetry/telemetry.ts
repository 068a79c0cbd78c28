/** Puts the telemetry of a mesh together: metrics always, header forwarding, and a tracer once an OpenTelemetry SDK is registered. */
import type { Attempt, Call, InboundCall } from '../core/call.ts';
import type { Clock } from '../core/clock.ts';
import type { Observer } from '../core/observer.ts';
import type { TargetLabels } from '../core/target.ts';
import type { CallCounters } from './call-metrics.ts';
import { CallMetrics } from './call-metrics.ts';
import { forwardHeaders, InboundContext } from './inbound-context.ts';
import type { MetricsBridge, Tracer } from './tracer.ts';

export interface TelemetryOptions {
  readonly clock: Clock;
  /** Given in code (`createMesh({ observers })`). */
  readonly observers: readonly Observer[];
  /** The tracer, or undefined while no SDK is registered; asked on every call, so it must be cheap. */
  readonly tracer: () => Tracer | undefined;
  /** Likewise for metrics: made once, over the cells. */
  readonly bridge: (cells: CallMetrics) => MetricsBridge | undefined;
}

/** Records durations once a meter provider is there. */
class LateMetrics implements Observer {
  bridge: MetricsBridge | undefined;
  readonly #make: () => MetricsBridge | undefined;
  constructor(make: () => MetricsBridge | undefined) {
    this.#make = make;
  }
  onCallEnd(call: Call): void {
    this.bridge ??= this.#make();
    this.bridge?.observer.onCallEnd?.(call);
  }
}

/** Passes events on to the tracer of the moment: an SDK may be registered after the mesh has started. */
class LateTracing implements Observer {
  readonly #tracer: () => Tracer | undefined;
  constructor(tracer: () => Tracer | undefined) {
    this.#tracer = tracer;
  }
  onCallStart(call: Call): void {
    this.#tracer()?.observer.onCallStart?.(call);
  }
  onCallEnd(call: Call): void {
    if (call.span !== undefined) this.#tracer()?.observer.onCallEnd?.(call);
  }
  onAttemptStart(attempt: Attempt): void {
    if (attempt.call.span !== undefined) this.#tracer()?.observer.onAttemptStart?.(attempt);
  }
  onAttemptEnd(attempt: Attempt): void {
    if (attempt.call.span !== undefined) this.#tracer()?.observer.onAttemptEnd?.(attempt);
  }
}

export class Telemetry {
  readonly metrics: CallMetrics;
  readonly #context = new InboundContext();
  readonly #tracer: () => Tracer | undefined;
  readonly #tracing: Observer;
  readonly #forwarding: Observer;
  readonly #exported: LateMetrics;
  readonly #own: readonly Observer[];

  constructor(options: TelemetryOptions) {
    this.metrics = new CallMetrics(options.clock);
    this.#tracer = options.tracer;
    this.#tracing = new LateTracing(options.tracer);
    this.#forwarding = forwardHeaders(this.#context);
    this.#exported = new LateMetrics(() => options.bridge(this.metrics));
    this.#own = options.observers;
  }

  observers(direction: Call['direction'], labels: TargetLabels): readonly Observer[] {
    const metrics = this.metrics.observer(direction, labels);
    // Tracing first: its propagation headers win over those that are merely forwarded.
    return direction === 'inbound' ? [this.#tracing, metrics, this.#exported, ...this.#own] : [this.#tracing, this.#forwarding, metrics, this.#exported, ...this.#own];
  }

  runInContext<R>(call: InboundCall, run: () => R): R {
    return this.#context.run(call, () => {
      const tracer = call.span === undefined ? undefined : this.#tracer();
      return tracer === undefined ? run() : tracer.runInContext(call, run);
    });
  }

  describe(): readonly CallCounters[] {
    return this.metrics.describe();
  }

  close(): void {
    this.#exported.bridge?.close();
  }
}
