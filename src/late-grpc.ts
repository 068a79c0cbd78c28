/**
 * A gRPC transport that is loaded when its control plane can be reached: a process that starts during an outage and serves from its last-good
 * file should not wait for grpc-js first. Whether anybody listens is found out with a bare connection; everything else is the adapter's.
 */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import type { Alarm, Clock, Timer } from './core/clock.ts';
import type { Environment } from './core/environment.ts';
import { GrpcStatus } from './core/status.ts';
import type { AdsStream, AdsStreamEvents, AdsTransport } from './core/transport.ts';

/** What takes longer is left to grpc-js, which knows more than one address and has time limits of its own. */
const PROBE_MS = 1000;

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * Where a bare connection to `uri` goes; undefined where it would say nothing about grpc-js's: other schemes than `dns`, unix sockets, several
 * addresses, and proxies.
 */
export function listenAddress(uri: string, environment: Environment): ListenAddress | undefined {
  if (['grpc_proxy', 'https_proxy', 'http_proxy'].some((name) => (environment[name] ?? '') !== '')) return undefined;
  const match = /^(?:dns:(?:\/\/\/)?)?(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+)):(\d+)$/.exec(uri);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || port > 65_535 ? undefined : { host, port };
}

export interface LateGrpcOptions {
  readonly address: ListenAddress;
  readonly clock: Clock;
  /** Called once, at the first connection that stands. */
  readonly load: () => AdsTransport;
}

/** Opens nothing before the first stream. */
export function lateGrpc(options: LateGrpcOptions): AdsTransport {
  const probes = new Set<ProbedStream>();
  let loaded: AdsTransport | undefined;
  const reached = (): AdsTransport => (loaded ??= options.load());
  return {
    open(method, events) {
      if (loaded !== undefined) return loaded.open(method, events);
      const stream = new ProbedStream(
        options,
        (inner) => reached().open(method, inner),
        events,
        () => probes.delete(stream),
      );
      probes.add(stream);
      return stream;
    },
    close() {
      for (const probe of probes) probe.cancel();
      loaded?.close();
    },
  };
}

/** Keeps what is asked of a stream until there is one. */
class ProbedStream implements AdsStream, Alarm {
  readonly #clock: Clock;
  readonly #open: (events: AdsStreamEvents) => AdsStream;
  readonly #events: AdsStreamEvents;
  readonly #over: () => void;
  readonly #sent: Uint8Array[] = [];
  readonly #socket: Socket;
  #timer: Timer | undefined;
  #inner: AdsStream | undefined;
  #state: 'probing' | 'open' | 'ended' = 'probing';
  #paused = false;
  #finished = false;
  #released = false;

  constructor(
    { address, clock }: LateGrpcOptions,
    open: (events: AdsStreamEvents) => AdsStream,
    events: AdsStreamEvents,
    over: () => void,
  ) {
    this.#clock = clock;
    this.#open = open;
    this.#events = events;
    this.#over = over;
    this.#timer = clock.set(this, PROBE_MS, true);
    // Whoever waits for a configuration has a timer of its own that keeps the process alive.
    this.#socket = connect(address).unref();
    this.#socket.on('connect', () => this.#reached());
    this.#socket.on('error', (error) =>
      this.#end(GrpcStatus.UNAVAILABLE, `No connection established. Last error: ${error.message === '' ? error.name : error.message}`),
    );
  }

  onAlarm(): void {
    this.#timer = undefined;
    this.#reached();
  }

  send(bytes: Uint8Array): void {
    if (this.#inner === undefined) this.#sent.push(bytes);
    else this.#inner.send(bytes);
  }

  pause(): void {
    this.#paused = true;
    this.#inner?.pause();
  }

  resume(): void {
    this.#paused = false;
    this.#inner?.resume();
  }

  cancel(): void {
    // Not from within the call, as with the adapter's streams.
    if (this.#inner === undefined) queueMicrotask(() => this.#end(GrpcStatus.CANCELLED, 'cancelled'));
    else this.#inner.cancel();
  }

  finish(): void {
    this.#finished = true;
    if (this.#inner?.finish === undefined) this.#inner?.cancel();
    else this.#inner.finish();
  }

  unref(): void {
    this.#released = true;
    this.#inner?.unref?.();
  }

  #reached(): void {
    if (this.#state !== 'probing') return;
    this.#state = 'open';
    this.#stop();
    const inner = this.#open(this.#events);
    this.#inner = inner;
    if (this.#paused) inner.pause();
    if (this.#released) inner.unref?.();
    for (const bytes of this.#sent.splice(0)) inner.send(bytes);
    if (this.#finished) this.finish();
  }

  #end(code: number, details: string): void {
    if (this.#state !== 'probing') return;
    this.#state = 'ended';
    this.#stop();
    this.#events.onEnd(code, details);
  }

  #stop(): void {
    if (this.#timer !== undefined) this.#clock.clear(this.#timer);
    this.#timer = undefined;
    this.#socket.destroy();
    this.#over();
  }
}
