/**
 * Files as a way to get configuration (`path_config_source`, Envoy ): each content is one message to the session. Only what
 * is moved onto the path counts, or into the watched directory: a file that is written in place may be read when half of it is there.
 */
import { createHash, randomUUID } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import type { PathConfigSource } from '../config/config-source.ts';
import type { Alarm, Clock, Timer } from '../core/clock.ts';
import type { Logger } from '../core/log.ts';
import { inSlices } from '../core/slices.ts';
import { GrpcStatus } from '../core/status.ts';
import type { AdsStream, AdsStreamEvents, AdsTransport } from '../core/transport.ts';
import { decodeRequest, encodeResponse } from '../proto/discovery-json.ts';
import type { PolledRequest } from '../proto/discovery-json.ts';
import { DirectoryWatch } from '../security/directory-watch.ts';
import { readConfigFile } from './config-file.ts';

/** A move is several events (a Kubernetes volume: five): the file is read so long after the first. */
const SETTLE_MS = 10;
/** Where the system cannot watch. */
const POLL_MS = 5_000;

export interface ConfigFileOptions {
  readonly clock: Clock;
  readonly log: Logger;
}

class ConfigFileTransport implements AdsTransport {
  readonly source: PathConfigSource;
  readonly options: ConfigFileOptions;
  /**
   * Why the last stream ended without having had any content. The next one that meets the same waits for the file to change, instead of
   * ending again and leaving it to a back-off of minutes.
   */
  problem: string | undefined;
  readonly #streams = new Set<ConfigFileStream>();

  constructor(source: PathConfigSource, options: ConfigFileOptions) {
    this.source = source;
    this.options = options;
  }

  open(_method: string, events: AdsStreamEvents): AdsStream {
    const stream: ConfigFileStream = new ConfigFileStream(this, {
      onConnected: () => events.onConnected(),
      onMessage: (bytes) => events.onMessage(bytes),
      onEnd: (code, details) => {
        this.#streams.delete(stream);
        events.onEnd(code, details);
      },
    });
    this.#streams.add(stream);
    return stream;
  }

  close(): void {
    for (const stream of this.#streams) stream.end(GrpcStatus.CANCELLED, 'the transport is closed');
  }
}

interface Content {
  /** Of the file's bytes. */
  readonly hash: string;
  readonly encode: () => Uint8Array;
}

class ConfigFileStream implements AdsStream, Alarm {
  readonly #transport: ConfigFileTransport;
  readonly #events: AdsStreamEvents;
  #watch: DirectoryWatch | undefined;
  #timer: Timer | undefined;
  /** What stands at the path, whatever is in it: another one was moved there. */
  #identity = '';
  #request: PolledRequest | undefined;
  #content: Content | undefined;
  #reading = false;
  /** The timer is set because something was moved. */
  #noticed = false;
  /** `move`: read if something else stands at the path; `reload`: read in any case. */
  #due: 'move' | 'reload' | undefined;
  /** The content is still to be delivered. */
  #pending = false;
  #paused = false;
  #connected = false;
  #ended = false;

  constructor(transport: ConfigFileTransport, events: AdsStreamEvents) {
    this.#transport = transport;
    this.#events = events;
  }

  send(bytes: Uint8Array): void {
    if (this.#ended) return;
    const request = decodeRequest(bytes);
    const before = this.#request;
    this.#request = request;
    if (before === undefined) {
      this.#begin();
      return;
    }
    // There is nobody who would take an answer; other names, however, want what the file says about them.
    if (sameNames(before.resourceNames, request.resourceNames)) return;
    this.#pending = this.#content !== undefined;
    this.#deliver();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#deliver();
  }

  cancel(): void {
    this.#stop();
    queueMicrotask(() => this.end(GrpcStatus.CANCELLED, 'cancelled'));
  }

  end(code: number, details: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#stop();
    this.#events.onEnd(code, details);
  }

  /** Things have settled, or it is time to look without having been told. */
  onAlarm(): void {
    this.#timer = undefined;
    this.#noticed = false;
    this.#watch?.refresh();
    this.#due ??= 'move';
    void this.#read();
  }

  #begin(): void {
    const { path, watchedDirectory } = this.#transport.source;
    // Watched before it is read: what comes in between is noticed.
    this.#watch =
      watchedDirectory === undefined
        ? new DirectoryWatch([path], [], () => this.#notice('move'))
        : new DirectoryWatch([], [watchedDirectory], (event) => event === 'rename' && this.#notice('reload'));
    this.#due = 'reload';
    void this.#read();
  }

  #notice(what: 'move' | 'reload'): void {
    if (this.#ended) return;
    if (this.#due !== 'reload') this.#due = what;
    // Not put off by further events: in a busy folder they never end.
    if (this.#noticed) return;
    this.#noticed = true;
    this.#set(SETTLE_MS);
  }

  #set(delayMs: number): void {
    const { clock } = this.#transport.options;
    if (this.#timer !== undefined) clock.clear(this.#timer);
    this.#timer = clock.set(this, delayMs, true);
  }

  #stop(): void {
    this.#watch?.close();
    this.#watch = undefined;
    if (this.#timer !== undefined) this.#transport.options.clock.clear(this.#timer);
    this.#timer = undefined;
    this.#pending = false;
  }

  async #read(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    while (this.#due !== undefined && this.#watch !== undefined) {
      const due = this.#due;
      this.#due = undefined;
      await this.#readOnce(due);
    }
    this.#reading = false;
    if (this.#watch !== undefined && this.#timer === undefined) this.#set(POLL_MS);
  }

  async #readOnce(due: 'move' | 'reload'): Promise<void> {
    const { path } = this.#transport.source;
    const typeUrl = this.#request?.typeUrl ?? '';
    try {
      const identity = await identityOf(path);
      if (due === 'move' && identity === this.#identity) return;
      this.#identity = identity;
      const bytes = await readFile(path);
      if (this.#stopped) return;
      const hash = createHash('sha256').update(bytes).digest('hex');
      if (hash === this.#content?.hash) return;
      const response = await inSlices(readConfigFile(bytes, path, typeUrl), this.#transport.options.clock);
      if (this.#stopped) return;
      const version = response.versionInfo === '' ? hash.slice(0, 16) : response.versionInfo;
      if (response.problems.length > 0)
        this.#transport.options.log.warn('resources of a file are not as inmesh knows them', { path, problems: response.problems });
      this.#content = { hash, encode: () => encodeResponse(response, version, randomUUID()) };
      this.#transport.problem = undefined;
      this.#pending = true;
      this.#deliver();
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    if (this.#watch === undefined) return;
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    // Taken away: what it said stays (Envoy X-101), and only a move onto the path counts.
    if (missing && this.#content !== undefined) return;
    const reason = error instanceof Error ? error.message : String(error);
    const problem = missing ? 'the file does not exist' : reason;
    if (this.#content === undefined) {
      if (this.#transport.problem === problem) return;
      this.#transport.problem = problem;
    }
    this.end(missing ? GrpcStatus.NOT_FOUND : GrpcStatus.INVALID_ARGUMENT, problem);
  }

  get #stopped(): boolean {
    return this.#watch === undefined;
  }

  #deliver(): void {
    if (!this.#pending || this.#paused || this.#ended || this.#content === undefined) return;
    this.#pending = false;
    if (!this.#connected) {
      this.#connected = true;
      this.#events.onConnected();
    }
    this.#events.onMessage(this.#content.encode());
  }
}

async function identityOf(path: string): Promise<string> {
  // A number may be given again at once, to a file that was made later.
  const { dev, ino, birthtimeNs } = await stat(path, { bigint: true });
  return `${dev}:${ino}:${birthtimeNs}`;
}

function sameNames(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length) return false;
  const names = new Set(a);
  return b.every((name) => names.has(name));
}

/** Opens nothing by itself. */
export function createConfigFileTransport(source: PathConfigSource, options: ConfigFileOptions): AdsTransport {
  return new ConfigFileTransport(source, options);
}
