/**
 * Counts the attempts and drops of one cluster for load reports. Made only where a cluster has `lrs_server`; the counters belong to
 * whoever reports them (`core/load.ts`).
 */
import type { Attempt } from '../core/call.ts';
import { MetricChoice } from '../core/load.ts';
import type { LoadShare } from '../core/load.ts';
import type { Observer } from '../core/observer.ts';
import type { MeshEndpoint } from './endpoint.ts';

const NO_METRICS: readonly string[] = [];

/** Opens the counters of a cluster; undefined where nobody can be told. */
export type OpenLoad = (cluster: string, service: string) => LoadShare | undefined;

export class LoadCounter implements Observer {
  readonly #cluster: string;
  readonly #open: OpenLoad;
  #service: string | undefined;
  #share: LoadShare | undefined;
  #metrics: readonly string[] | undefined;

  constructor(cluster: string, open: OpenLoad) {
    this.#cluster = cluster;
    this.#open = open;
  }

  /** Counts for the assignment of this name from now on; undefined: nobody wants to know any more. `metrics` are those of endpoints. */
  count(service: string | undefined, metrics: readonly string[] = NO_METRICS): void {
    this.#follow(service);
    if (this.#share === undefined || this.#metrics === metrics) return;
    this.#metrics = metrics;
    this.#share.load.choice = new MetricChoice(metrics);
  }

  #follow(service: string | undefined): void {
    if (service === this.#service) return;
    this.#metrics = undefined;
    const before = this.#share;
    this.#service = service;
    // The new one first: the stream must not end in between.
    this.#share = service === undefined ? undefined : this.#open(this.#cluster, service);
    before?.release();
  }

  drop(category?: string): void {
    this.#share?.load.drop(category);
  }

  onAttemptStart(attempt: Attempt): void {
    const endpoint = attempt.endpoint as MeshEndpoint | undefined;
    if (endpoint === undefined || this.#share === undefined) return;
    // Kept with the attempt: it must end where it began, wherever its endpoint is by then.
    attempt.load = this.#share.load.at(endpoint.locality, endpoint.priority);
    attempt.load.start();
  }

  onAttemptEnd(attempt: Attempt): void {
    attempt.load?.end(succeeded(attempt));
  }
}

/** gRPC: status OK (gRFC A27). HTTP: a response below 500 that came to its end (Envoy O-32). */
function succeeded({ call, status, grpcStatus, failure }: Attempt): boolean {
  if (failure !== undefined) return false;
  return call.head.protocol === 'grpc' ? grpcStatus === 0 : status < 500;
}
