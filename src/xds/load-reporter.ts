/**
 * Reports the load of clusters to one control plane: their counters, and a stream that lives while some cluster reports. Counters go on
 * while there is no stream, and are in the first report of the next one. What a stream says is left to `load-stream.ts`.
 */
import type { ServerDescription } from '../config/resource.ts';
import type { Clock } from '../core/clock.ts';
import { ClusterLoad } from '../core/load.ts';
import type { LoadShare } from '../core/load.ts';
import type { Logger } from '../core/log.ts';
import type { Random } from '../core/random.ts';
import { grpcStatusName } from '../core/status.ts';
import type { AdsTransport } from '../core/transport.ts';
import type { NodeMessage } from '../proto/discovery.ts';
import type { ClusterReport, LoadWish } from '../proto/load-stats.ts';
import { keepOpen } from './keep-open.ts';
import { LoadStream } from './load-stream.ts';

const FEATURE = 'envoy.lrs.supports_send_all_clusters';

const DONE = Promise.resolve();
/** Clusters that are gone and whose load could not be reported yet. A server without this service never asks for it, and clusters come and go. */
const MAX_GONE = 1000;

export interface LoadReporterOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** For logs. */
  readonly uri: string;
  readonly node: NodeMessage;
  readonly transport: () => AdsTransport;
}

interface Entry {
  readonly load: ClusterLoad;
  users: number;
  /** Monotonic ms of the last report, or of the first use. */
  since: number;
}

/** The time from the first cluster that reports to the last. */
interface Session {
  readonly stop: AbortController;
  stream: LoadStream | undefined;
  /** Settles with the end of the newest stream: what keeps it open does not wait for a last word. */
  ended: Promise<void>;
  running: Promise<void>;
}

export class LoadReporter {
  readonly #options: LoadReporterOptions;
  readonly #node: NodeMessage;
  readonly #entries = new Map<string, Entry>();
  /** Keys of entries without a user, the oldest first. */
  readonly #gone = new Set<string>();
  readonly #ending = new Set<Promise<void>>();
  #transport: AdsTransport | undefined;
  #session: Session | undefined;
  #users = 0;
  #problem: string | undefined;
  #closed = false;

  constructor(options: LoadReporterOptions) {
    this.#options = options;
    this.#node = { ...options.node, clientFeatures: [...options.node.clientFeatures, FEATURE] };
  }

  open(cluster: string, service: string): LoadShare {
    const key = `${cluster}\n${service}`;
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = { load: new ClusterLoad(cluster, service), users: 0, since: this.#options.clock.now() };
      this.#entries.set(key, entry);
    }
    const opened = entry;
    opened.users++;
    this.#gone.delete(key);
    this.#users++;
    if (!this.#closed) this.#session ??= this.#begin();
    let released = false;
    return {
      load: opened.load,
      release: () => {
        if (released) return;
        released = true;
        opened.users--;
        this.#users--;
        if (this.#users === 0) this.#finish();
        // One that the server does not ask about would stay for ever.
        else if (opened.users === 0 && (opened.load.idle || this.#refuses(cluster))) this.#entries.delete(key);
        else if (opened.users === 0) this.#keep(key);
      },
    };
  }

  describe(): ServerDescription {
    const connected = this.#session?.stream?.answered ?? false;
    return { uri: this.#options.uri, connected, problem: connected ? undefined : this.#problem };
  }

  /** Reports what is left; takes at most a second. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#finish();
    await Promise.all(this.#ending);
    this.#transport?.close();
  }

  #begin(): Session {
    const session: Session = { stop: new AbortController(), stream: undefined, ended: DONE, running: DONE };
    session.running = keepOpen(() => (session.ended = this.#stream(session)), session.stop.signal, this.#options);
    return session;
  }

  #finish(): void {
    const session = this.#session;
    if (session === undefined) return;
    this.#session = undefined;
    session.stop.abort();
    // Between two streams: one more, for what is left.
    if (session.stream === undefined && this.#pending()) session.ended = this.#stream(session);
    session.stream?.finish();
    // Nobody would ask for what could not be reported by now; a cluster that comes back is counted anew.
    const left: Promise<void> = Promise.allSettled([session.running, session.ended]).then(() => {
      this.#ending.delete(left);
      if (this.#users > 0) return;
      this.#entries.clear();
      this.#gone.clear();
    });
    this.#ending.add(left);
  }

  #pending(): boolean {
    return [...this.#entries.values()].some(({ load }) => !load.idle);
  }

  #refuses(cluster: string): boolean {
    const stream = this.#session?.stream;
    return stream !== undefined && stream.answered && !stream.wants(cluster);
  }

  #stream(session: Session): Promise<void> {
    const { clock, log, uri } = this.#options;
    return new Promise((resolve, reject) => {
      const stream = new LoadStream({
        clock,
        log,
        uri,
        node: this.#node,
        take: (wish) => this.#take(wish),
        pending: () => this.#pending(),
        ended: (ended, code, details) => {
          session.stream = undefined;
          if (ended.answered) {
            this.#problem = undefined;
            resolve();
            return;
          }
          const problem = `${grpcStatusName(code)}${details === '' ? '' : `: ${details}`}`;
          if (!session.stop.signal.aborted && problem !== this.#problem) {
            this.#problem = problem;
            log.warn('load cannot be reported', { server: uri, problem });
          }
          reject(new Error(problem));
        },
      });
      session.stream = stream;
      stream.open((this.#transport ??= this.#options.transport()));
    });
  }

  #take(wish: LoadWish): readonly ClusterReport[] {
    const now = this.#options.clock.now();
    const reports: ClusterReport[] = [];
    for (const [key, entry] of this.#entries) {
      const { load } = entry;
      if (!wish.all && !wish.clusters.has(load.cluster)) continue;
      const figures = load.take();
      if (figures !== undefined) reports.push({ ...figures, intervalMs: now - entry.since });
      // Silence is a report, too.
      entry.since = now;
      if (entry.users > 0 || !load.idle) continue;
      this.#entries.delete(key);
      this.#gone.delete(key);
    }
    return reports;
  }

  #keep(key: string): void {
    this.#gone.add(key);
    if (this.#gone.size <= MAX_GONE) return;
    for (const oldest of this.#gone) {
      this.#gone.delete(oldest);
      this.#entries.delete(oldest);
      return;
    }
  }
}
