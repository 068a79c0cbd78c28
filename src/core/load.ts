/**
 * Counters for load reports (envoy.service.load_stats.v3; gRFC A27): what clusters count and the xDS client reports, as differences since
 * the last report. Who reports them, when and to whom is left to `xds/load-reporter.ts`.
 */

import { orcaReport } from './orca.ts';
import type { Utilization } from './orca.ts';

/** A metric that endpoints report with their responses (ORCA), summed. */
export interface MetricSum {
  requests: number;
  total: number;
}

export interface LocalityFigures {
  /** `region/zone/sub_zone`. */
  readonly locality: string;
  readonly priority: number;
  /** Attempts that began, and those that ended well or badly, since the last report. */
  readonly issued: number;
  readonly successful: number;
  readonly errors: number;
  /** Now. */
  readonly inProgress: number;
  readonly metrics: ReadonlyMap<string, Readonly<MetricSum>>;
  /** Those that have fields of their own in a report. */
  readonly utilization: ReadonlyMap<Utilization, Readonly<MetricSum>>;
}

export interface ClusterFigures {
  readonly cluster: string;
  /** Name of its assignment; empty for a cluster that has none. */
  readonly service: string;
  readonly localities: readonly LocalityFigures[];
  /** All drops, also those without a category. */
  readonly dropped: number;
  readonly droppedBy: ReadonlyMap<string, number>;
}

const NO_METRICS: ReadonlyMap<string, MetricSum> = new Map();
const NO_UTILIZATION: ReadonlyMap<Utilization, MetricSum> = new Map();
/** Names that endpoints think up: those beyond are left out until the next report. */
const MOST_METRICS = 100;

/**
 * Which metrics are reported: those that `lrs_report_endpoint_metrics` lists (gRFC A85, Envoy O-32), under the names there. Where it lists
 * nothing, all named ones, under their bare names (gRFC A64).
 */
export class MetricChoice {
  static readonly all = new MetricChoice([]);
  readonly #listed: ReadonlySet<string>;

  constructor(listed: readonly string[]) {
    this.#listed = new Set(listed);
  }

  /** What a named metric is reported as; undefined: not at all. */
  named(name: string): string | undefined {
    if (this.#listed.size === 0) return name;
    const full = `named_metrics.${name}`;
    return this.#listed.has('named_metrics.*') || this.#listed.has(full) ? full : undefined;
  }

  has(name: Utilization): boolean {
    return this.#listed.has(name);
  }
}

function count<K>(sums: Map<K, MetricSum>, name: K, value: number): void {
  const sum = sums.get(name);
  if (sum !== undefined) {
    sum.requests++;
    sum.total += value;
  } else if (sums.size < MOST_METRICS) sums.set(name, { requests: 1, total: value });
}

const NO_DROPS: ReadonlyMap<string, number> = new Map();

export class LocalityLoad {
  readonly locality: string;
  readonly priority: number;
  inProgress = 0;
  #issued = 0;
  #successful = 0;
  #errors = 0;
  #metrics: Map<string, MetricSum> | undefined;
  #utilization: Map<Utilization, MetricSum> | undefined;

  readonly #owner: { readonly choice: MetricChoice };

  constructor(locality: string, priority: number, owner: { readonly choice: MetricChoice }) {
    this.#owner = owner;
    this.locality = locality;
    this.priority = priority;
  }

  start(): void {
    this.#issued++;
    this.inProgress++;
  }

  end(successful: boolean): void {
    this.inProgress--;
    if (successful) this.#successful++;
    else this.#errors++;
  }

  /** Looks for metrics of the endpoint in the headers of its response. */
  report(get: (name: string) => string | undefined): void {
    const report = orcaReport(get);
    if (report === undefined) return;
    const { choice } = this.#owner;
    for (const [name, value] of report.named) {
      const reported = choice.named(name);
      if (reported !== undefined) count((this.#metrics ??= new Map<string, MetricSum>()), reported, value);
    }
    for (const [name, value] of report.utilization)
      if (choice.has(name)) count((this.#utilization ??= new Map<Utilization, MetricSum>()), name, value);
  }

  get idle(): boolean {
    const none = this.#metrics === undefined && this.#utilization === undefined;
    return none && this.inProgress === 0 && this.#issued === 0 && this.#successful === 0 && this.#errors === 0;
  }

  take(): LocalityFigures {
    const { locality, priority, inProgress } = this;
    const figures: LocalityFigures = {
      locality,
      priority,
      issued: this.#issued,
      successful: this.#successful,
      errors: this.#errors,
      inProgress,
      metrics: this.#metrics ?? NO_METRICS,
      utilization: this.#utilization ?? NO_UTILIZATION,
    };
    this.#issued = 0;
    this.#successful = 0;
    this.#errors = 0;
    this.#metrics = undefined;
    this.#utilization = undefined;
    return figures;
  }
}

/** The load of one {cluster, assignment}. Meshes that share a client count in the same one. */
export class ClusterLoad {
  readonly cluster: string;
  readonly service: string;
  /** Metrics of endpoints that are reported; whoever counts says so. */
  choice: MetricChoice = MetricChoice.all;
  /** By priority, then by locality. */
  readonly #localities: (Map<string, LocalityLoad> | undefined)[] = [];
  #dropped = 0;
  #droppedBy: Map<string, number> | undefined;

  constructor(cluster: string, service: string) {
    this.cluster = cluster;
    this.service = service;
  }

  at(locality: string, priority: number): LocalityLoad {
    const known = (this.#localities[priority] ??= new Map<string, LocalityLoad>());
    let load = known.get(locality);
    if (load === undefined) known.set(locality, (load = new LocalityLoad(locality, priority, this)));
    return load;
  }

  /** A call was refused before an endpoint was chosen. Circuit breakers name no category (gRFC A32). */
  drop(category?: string): void {
    this.#dropped++;
    if (category === undefined) return;
    const by = (this.#droppedBy ??= new Map<string, number>());
    by.set(category, (by.get(category) ?? 0) + 1);
  }

  /** True when there is nothing to report, and nothing runs. */
  get idle(): boolean {
    return this.#dropped === 0 && this.#localities.every((known) => [...(known?.values() ?? [])].every(({ idle }) => idle));
  }

  /** What there is since the last time; undefined when there is nothing. */
  take(): ClusterFigures | undefined {
    if (this.idle) return undefined;
    const localities: LocalityFigures[] = [];
    for (const known of this.#localities) {
      for (const [locality, load] of known ?? []) {
        // Localities come and go: one with nothing to say is forgotten.
        if (load.idle) known?.delete(locality);
        else localities.push(load.take());
      }
    }
    const droppedBy = this.#droppedBy ?? NO_DROPS;
    const figures = { cluster: this.cluster, service: this.service, localities, dropped: this.#dropped, droppedBy };
    this.#dropped = 0;
    this.#droppedBy = undefined;
    return figures;
  }
}

/** A share in the counters of a cluster; they are reported as long as somebody has one, and once more afterwards. */
export interface LoadShare {
  readonly load: ClusterLoad;
  /** Once, when everything that was begun with it has ended. */
  release(): void;
}
