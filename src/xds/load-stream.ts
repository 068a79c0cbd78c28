/**
 * One stream of the load reporting service: says who we are, learns what is wanted, then reports at every interval (grpc.md §3.10, Envoy
 * O-32). What there is to report comes from `load-reporter.ts`, which also keeps the stream open.
 */
import type { Alarm, Clock, Timer } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import { GrpcStatus } from '../core/status.ts';
import type { AdsStream, AdsStreamEvents, AdsTransport } from '../core/transport.ts';
import type { NodeMessage } from '../proto/discovery.ts';
import { decodeLoadStatsResponse, encodeLoadStatsRequest } from '../proto/load-stats.ts';
import type { ClusterReport, LoadWish } from '../proto/load-stats.ts';

const METHOD = '/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats';

/** Where the server names no interval, or one of nothing; gRPC's least. */
const DEFAULT_INTERVAL_MS = 1_000;
/** No server has us report without a pause. */
const MIN_INTERVAL_MS = 100;
/** How long a final report may take, from opening a stream to the end of it. */
const GRACE_MS = 1_000;

export interface LoadStreamOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** For logs. */
  readonly uri: string;
  readonly node: NodeMessage;
  /** What the clusters that the server wants have to say since they were last asked. */
  readonly take: (wish: LoadWish) => readonly ClusterReport[];
  /** There is something to say. */
  readonly pending: () => boolean;
  /** Exactly once. */
  readonly ended: (stream: LoadStream, code: number, details: string) => void;
}

export class LoadStream implements AdsStreamEvents, Alarm {
  readonly #options: LoadStreamOptions;
  #stream: AdsStream | undefined;
  #wish: LoadWish | undefined;
  #timer: Timer | undefined;
  #reportedAt = 0;
  #finishing = false;
  /** The last report said something: the server is told once when there is nothing more. */
  #said = false;
  #ended = false;

  constructor(options: LoadStreamOptions) {
    this.#options = options;
  }

  /** True once the server has said what it wants. */
  get answered(): boolean {
    return this.#wish !== undefined;
  }

  /** Whether the server wants to know about this cluster; false while it has not said so. */
  wants(cluster: string): boolean {
    return this.#wish !== undefined && (this.#wish.all || this.#wish.clusters.has(cluster));
  }

  open(transport: AdsTransport): void {
    const stream = transport.open(METHOD, this);
    if (this.#ended) return;
    this.#stream = stream;
    stream.send(encodeLoadStatsRequest(this.#options.node, []));
  }

  onConnected(): void {
    // Nobody waits for what the server says here.
    this.#stream?.unref?.();
  }

  onMessage(bytes: Uint8Array): void {
    if (this.#ended) return;
    const { clock, log, uri } = this.#options;
    const first = this.#wish === undefined;
    try {
      this.#wish = decodeLoadStatsResponse(bytes);
    } catch (error) {
      log.warn('the control plane sent something that is no answer to load reports', { server: uri, error: String(error) });
      this.cancel();
      return;
    }
    if (first) this.#reportedAt = clock.now();
    if (this.#finishing) this.#finish();
    else this.#schedule();
  }

  onEnd(code: number, details: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stop();
    this.#options.ended(this, code, details);
  }

  onAlarm(): void {
    this.#timer = undefined;
    if (this.#finishing) {
      this.cancel();
      return;
    }
    this.#report();
    this.#schedule();
  }

  /** Reports what is left, then ends the stream: at once, or after a second at the latest. */
  finish(): void {
    if (this.#ended || this.#finishing) return;
    this.#finishing = true;
    this.#stop();
    if (this.#wish === undefined && !this.#options.pending()) {
      this.cancel();
      return;
    }
    // Not in the background: the process must live for it.
    this.#timer = this.#options.clock.set(this, GRACE_MS);
    if (this.#wish !== undefined) this.#finish();
  }

  cancel(): void {
    this.#stream?.cancel();
    this.onEnd(GrpcStatus.CANCELLED, 'cancelled');
  }

  #finish(): void {
    this.#report();
    if (this.#stream?.finish === undefined) this.cancel();
    else this.#stream.finish();
  }

  /** A changed interval counts from the last report. */
  #schedule(): void {
    this.#stop();
    const { clock } = this.#options;
    const asked = this.#wish?.intervalMs ?? 0;
    const interval = asked > 0 ? Math.max(asked, MIN_INTERVAL_MS) : DEFAULT_INTERVAL_MS;
    this.#timer = clock.set(this, Math.max(0, this.#reportedAt + interval - clock.now()), true);
  }

  #report(): void {
    if (this.#wish === undefined || this.#stream === undefined) return;
    this.#reportedAt = this.#options.clock.now();
    const reports = this.#options.take(this.#wish);
    if (reports.length > 0 || this.#said) this.#stream.send(encodeLoadStatsRequest(undefined, reports));
    this.#said = reports.length > 0;
  }

  #stop(): void {
    if (this.#timer !== undefined) this.#options.clock.clear(this.#timer);
    this.#timer = undefined;
  }
}
