/**
 * The tie to one control plane by one stream: keeps it open (`keep-open.ts`), and what outlives it (versions of the last accepted responses).
 * What is subscribed and whether there are several streams is the feed's business (`feed.ts`).
 */
import type { Alarm, Timer } from '../core/clock.ts';
import { GrpcStatus, grpcStatusName } from '../core/status.ts';
import type { AdsTransport } from '../core/transport.ts';
import type { ResourceKind } from '../config/resource.ts';
import { keepOpen } from './keep-open.ts';
import type { SessionOptions } from './session.ts';
import { StreamRun } from './stream-run.ts';
import type { StreamOptions } from './stream-run.ts';

/** How long a stream must live without a response until the server counts as one that lets us in: after a refusal, and where it may have nothing to say. */
const REFUSED_MS = 5_000;

/** The stream ended before any response. */
class StreamFailed extends Error {
  override readonly name = 'StreamFailed';
}

export interface LinkOptions extends Omit<StreamOptions, 'session' | 'connected' | 'ended'> {
  readonly session: Omit<SessionOptions, 'versions' | 'known' | 'initialVersions'>;
  readonly transport: () => AdsTransport;
  /** A stream ended without a response, or none could be opened. */
  readonly failed: (problem: string) => void;
}

export class ServerLink implements Alarm {
  readonly #options: LinkOptions;
  readonly #stop = new AbortController();
  readonly #versions = new Map<string, string>();
  #running: Promise<void> | undefined;
  #run: StreamRun | undefined;
  #problem: string | undefined;
  /** How the last stream was lost; no failure of the server (gRFC A57), but until the next one stands it is what there is to say. */
  #lost: string | undefined;
  /** The last stream was connected and ended without a response: being connected again says nothing yet (wrong credentials, say). */
  #refused = false;
  #doubt: Timer | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  get connected(): boolean {
    return this.#run?.connected ?? false;
  }

  /** Why there is no connection, in words; undefined while there is one, or none was needed. */
  get problem(): string | undefined {
    return this.#problem ?? (this.connected ? undefined : this.#lost);
  }

  /** Tells the server of changed names. The first call opens the stream. */
  subscribe(kinds: Iterable<ResourceKind>): void {
    if (this.#stop.signal.aborted) return;
    if (this.#running === undefined) {
      // A stream that is refused at once may lead back here (what the last-good file has leads to more names): one loop all the same.
      this.#running = Promise.resolve();
      this.#running = keepOpen(() => this.#stream(), this.#stop.signal, this.#options);
    }
    for (const kind of kinds) this.#run?.subscribe(kind);
  }

  /** Starts the timers of what is awaited from this server as of now. */
  retime(): void {
    if (!this.connected) return;
    const { cache, server, session } = this.#options;
    for (const { kind } of session.types) cache.requested(kind, server);
  }

  /** The next stream asks for everything as if nothing had come before: another server's values may be in the cache by now. */
  forgetVersions(): void {
    this.#versions.clear();
    // One that is being opened has said already what is here; a server of the other dialect answers all the same.
    if (this.#options.dialect.silent) this.#run?.leave();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#run?.cancel();
    await this.#running;
  }

  #stream(): Promise<void> {
    const { cache, server, log, session } = this.#options;
    return new Promise((resolve, reject) => {
      let connectedAt: number | undefined;
      const run = new StreamRun({
        ...this.#options,
        session: {
          ...session,
          versions: this.#versions,
          known: (kind, name) => cache.known(kind, name),
          initialVersions: (kind) => cache.versions(kind, server),
        },
        connected: () => {
          connectedAt = this.#options.clock.now();
          this.#lost = undefined;
          if (this.#refused) this.#doubt = this.#options.clock.set(this, REFUSED_MS, true);
          else this.onAlarm();
        },
        responded: () => {
          this.onAlarm();
          this.#options.responded();
        },
        ended: (ended, code, details) => {
          this.#run = undefined;
          this.#settle();
          if (ended.left) {
            resolve();
            return;
          }
          const served = ended.responses > 0 || (connectedAt !== undefined && this.#quiet(connectedAt));
          this.#refused = connectedAt !== undefined && !served;
          const problem = `${server.uri}: ${grpcStatusName(code)}${details === '' ? '' : `: ${details}`}`;
          if (served) {
            if (code !== GrpcStatus.OK) this.#lost = problem;
            if (!this.#stop.signal.aborted)
              log.info('the control plane ended the stream', { server: server.uri, status: grpcStatusName(code), details });
            resolve();
          } else {
            this.#failed(problem);
            reject(new StreamFailed(problem));
          }
        },
      });
      this.#run = run;
      run.open(this.#options.transport());
    });
  }

  /**
   * A server of the incremental dialect that was told the versions of everything owes no response (Envoy X-32): a stream that stood without one is
   * no failure (gRFC A57 knows state of the world only, where each type is answered). Else streams of a limited age would raise the back-off to its cap.
   */
  #quiet(connectedAt: number): boolean {
    const { cache, server, clock, dialect, session } = this.#options;
    if (!dialect.silent || clock.now() - connectedAt < REFUSED_MS) return false;
    const kinds = new Set(session.types.map(({ kind }) => kind));
    for (const entry of cache.entries()) if (entry.awaited && entry.owner.server === server && kinds.has(entry.kind)) return false;
    return true;
  }

  /** The server lets us in. */
  onAlarm(): void {
    this.#settle();
    this.#refused = false;
    if (this.#problem !== undefined) this.#options.log.info('the control plane is reachable again', { server: this.#options.server.uri });
    this.#problem = undefined;
  }

  #settle(): void {
    if (this.#doubt !== undefined) this.#options.clock.clear(this.#doubt);
    this.#doubt = undefined;
  }

  #failed(problem: string): void {
    if (this.#stop.signal.aborted) return;
    if (this.#problem !== problem) {
      this.#problem = problem;
      this.#options.log.warn('the control plane is not reachable; what is configured stays in use', { problem });
    }
    this.#options.failed(problem);
  }
}
