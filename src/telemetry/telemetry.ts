/** Puts the telemetry of a mesh together: metrics always, header forwarding, and a tracer once an OpenTelemetry SDK is registered. */
import type { Attempt, Call, InboundCall } from '../core/call.ts';
import type { Clock } from '../core/clock.ts';
import type { Observer } from '../core/observer.ts';
import { ObserverSet } from '../core/observer.ts';
import type { TargetLabels } from '../core/target.ts';
import type { CallCounters } from './call-metrics.ts';
import { CallMetrics, countAttemptEnd, countCallEnd } from './call-metrics.ts';
import type { CallCell } from './cells.ts';
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
class LateMetrics {
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

/** What the observers of all targets share. */
interface Shared {
  readonly clock: Clock;
  readonly tracer: () => Tracer | undefined;
  readonly exported: LateMetrics;
}

/**
 * All telemetry of one target in one observer, since every further one costs each call. Counters come first: they cannot fail. The tracer is
 * the one of the moment: an SDK may be registered after the mesh has started.
 */
class TargetTelemetry implements Observer {
  readonly #shared: Shared;
  readonly #cell: CallCell;
  /** Whose trace headers are passed on; undefined for inbound targets. */
  readonly #context: InboundContext | undefined;

  constructor(shared: Shared, cell: CallCell, context: InboundContext | undefined) {
    this.#shared = shared;
    this.#cell = cell;
    this.#context = context;
  }

  onCallStart(call: Call): void {
    this.#cell.started++;
    const tracer = this.#shared.tracer();
    if (tracer !== undefined) startSpan(tracer, call);
    // After the tracer: what it writes wins over what is merely passed on.
    const from = this.#context?.current();
    if (from !== undefined) forwardHeaders(from, call);
  }

  onCallEnd(call: Call): void {
    const { clock, tracer, exported } = this.#shared;
    countCallEnd(this.#cell, call, clock.now() - call.startedAt);
    if (call.span !== undefined) endSpan(tracer(), call);
    exported.onCallEnd(call);
  }

  onAttemptStart(attempt: Attempt): void {
    if (attempt.call.span !== undefined) this.#shared.tracer()?.observer.onAttemptStart?.(attempt);
  }

  onAttemptEnd(attempt: Attempt): void {
    countAttemptEnd(this.#cell, attempt);
    if (attempt.call.span !== undefined) this.#shared.tracer()?.observer.onAttemptEnd?.(attempt);
  }
}

const withSpan =
  <R>(tracer: Tracer, call: InboundCall, run: () => R): (() => R) =>
  () =>
    tracer.runInContext(call, run);

// What comes after a tracer must happen even if it throws.

function startSpan(tracer: Tracer, call: Call): void {
  try {
    tracer.observer.onCallStart?.(call);
  } catch (error) {
    ObserverSet.report(error);
  }
}

function endSpan(tracer: Tracer | undefined, call: Call): void {
  try {
    tracer?.observer.onCallEnd?.(call);
  } catch (error) {
    ObserverSet.report(error);
  }
}

export class Telemetry {
  readonly metrics = new CallMetrics();
  readonly #context = new InboundContext();
  readonly #shared: Shared;
  readonly #own: readonly Observer[];

  constructor(options: TelemetryOptions) {
    const { clock, tracer } = options;
    this.#shared = { clock, tracer, exported: new LateMetrics(() => options.bridge(this.metrics)) };
    this.#own = options.observers;
  }

  observers(direction: Call['direction'], labels: TargetLabels): readonly Observer[] {
    const cell = this.metrics.cell(direction, labels);
    return [new TargetTelemetry(this.#shared, cell, direction === 'inbound' ? undefined : this.#context), ...this.#own];
  }

  runInContext<R>(call: InboundCall, run: () => R): R {
    const tracer = call.span === undefined ? undefined : this.#shared.tracer();
    return this.#context.run(call, tracer === undefined ? run : withSpan(tracer, call, run));
  }

  describe(): readonly CallCounters[] {
    return this.metrics.describe();
  }

  close(): void {
    this.#shared.exported.bridge?.close();
  }
}
