/** Counts calls, attempts, failures by flag and latencies, per route and cluster. */
import type { Attempt, Call } from '../core/call.ts';
import type { Failure } from '../core/failure.ts';
import type { TargetLabels } from '../core/target.ts';
import { CallCell, increment } from './cells.ts';

export interface CellEntry {
  readonly direction: Call['direction'];
  readonly labels: TargetLabels;
  readonly cell: CallCell;
}

/** Cells by label values, so that totals survive new plans. */
export class CallMetrics {
  readonly #entries = new Map<string, CellEntry>();

  cell(direction: Call['direction'], labels: TargetLabels): CallCell {
    const key = [direction, labels.listener, labels.routeConfig, labels.virtualHost, labels.route, labels.cluster].join('\n');
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = { direction, labels, cell: new CallCell() };
      this.#entries.set(key, entry);
    }
    return entry.cell;
  }

  entries(): Iterable<CellEntry> {
    return this.#entries.values();
  }

  describe(): readonly CallCounters[] {
    return Array.from(this.#entries.values(), ({ direction, labels, cell }) => ({
      direction,
      ...labels,
      started: cell.started,
      inFlight: cell.started - cell.ended,
      ended: cell.ended,
      byClass: Object.fromEntries(Array.from(cell.byClass, (n, i) => [i === 0 ? 'none' : `${i}xx`, n] as const).filter(([, n]) => n > 0)),
      byGrpcStatus: Object.fromEntries(cell.byGrpcStatus),
      failures: Object.fromEntries(cell.failures),
      attempts: cell.attempts,
      retries: cell.retries,
      attemptFailures: Object.fromEntries(cell.attemptFailures),
      latencyMs: {
        count: cell.latency.count,
        mean: cell.latency.count === 0 ? 0 : cell.latency.sumMs / cell.latency.count,
        p50: cell.latency.quantileMs(0.5),
        p99: cell.latency.quantileMs(0.99),
      },
    }));
  }
}

/** What `mesh.describe().metrics` shows per route and cluster; quantiles are bucket bounds. */
export interface CallCounters extends TargetLabels {
  readonly direction: Call['direction'];
  readonly started: number;
  readonly inFlight: number;
  readonly ended: number;
  readonly byClass: Readonly<Record<string, number>>;
  readonly byGrpcStatus: Readonly<Record<string, number>>;
  readonly failures: Readonly<Record<string, number>>;
  readonly attempts: number;
  readonly retries: number;
  readonly attemptFailures: Readonly<Record<string, number>>;
  readonly latencyMs: { readonly count: number; readonly mean: number; readonly p50: number; readonly p99: number };
}

const nameOf = (failed: Failure): string => (failed.kind.flag === '' ? failed.kind.details : failed.kind.flag);

export function countCallEnd(cell: CallCell, call: Call, latencyMs: number): void {
  const { status } = call;
  cell.ended++;
  const index = status >= 100 && status < 600 ? (status / 100) | 0 : 0;
  cell.byClass[index] = (cell.byClass[index] as number) + 1;
  if (call.grpcStatus !== undefined) increment(cell.byGrpcStatus, call.grpcStatus);
  if (call.failure !== undefined) increment(cell.failures, nameOf(call.failure));
  cell.latency.record(latencyMs);
}

export function countAttemptEnd(cell: CallCell, attempt: Attempt): void {
  cell.attempts++;
  if (attempt.number > 1) cell.retries++;
  if (attempt.failure !== undefined) increment(cell.attemptFailures, nameOf(attempt.failure));
}
