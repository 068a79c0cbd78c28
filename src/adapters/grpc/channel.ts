/**
 * The channel that generated stubs get through `mesh.grpc.channelOptions()`: it makes calls of the mesh for hosts that belong to it, and
 * is a plain grpc-js channel for all others. Connections are the endpoints', so closing it closes none.
 */
import type { CallCredentials, ChannelCredentials, ChannelInterface, ChannelOptions, ClientOptions } from '@grpc/grpc-js';
import { Channel, connectivityState, propagate } from '@grpc/grpc-js';
import type { Alarm, Clock, Timer } from '../../core/clock.ts';
import type { OutboundEngine } from '../../core/engine.ts';
import type { CallSetting } from './call.ts';
import { GrpcCall } from './call.ts';
import { REPLAY_LIMIT_BYTES } from './outbox.ts';
import { hostOf, parseTarget } from './target-name.ts';
import { TransportPool } from './transport.ts';
import type { WireCall, WireDeadline, WireParent } from './wire.ts';

/** What `channelFactoryOverride` wants; one per mesh, so that its channels share connections. */
export function channelFactory(engine: OutboundEngine): NonNullable<ClientOptions['channelFactoryOverride']> {
  const transports = new TransportPool(engine.clock);
  return (address, credentials, options) => new MeshChannel(engine, transports, address, credentials, options);
}

class StateWatcher implements Alarm {
  readonly callback: (error?: Error) => void;
  timer: Timer | undefined = undefined;
  readonly #watchers: Set<StateWatcher>;
  constructor(callback: (error?: Error) => void, watchers: Set<StateWatcher>) {
    this.callback = callback;
    this.#watchers = watchers;
    watchers.add(this);
  }
  onAlarm(): void {
    this.#watchers.delete(this);
    this.callback(new Error('Deadline passed without connectivity state change'));
  }
}

export class MeshChannel implements ChannelInterface {
  readonly #engine: OutboundEngine;
  readonly #address: string;
  readonly #credentials: ChannelCredentials;
  readonly #options: ChannelOptions;
  readonly #setting: CallSetting;
  readonly #xds: boolean;
  /** Serves the host while it does not belong to the mesh. */
  #plain: Channel | undefined = undefined;
  #epoch = -1;
  #included = false;
  #closed = false;
  readonly #watchers = new Set<StateWatcher>();

  constructor(
    engine: OutboundEngine,
    transports: TransportPool,
    address: string,
    credentials: ChannelCredentials,
    options: ChannelOptions,
  ) {
    const { authority, xds } = parseTarget(address);
    const name = options['grpc.default_authority']?.toLowerCase() ?? authority;
    this.#engine = engine;
    this.#address = address;
    this.#credentials = credentials;
    this.#options = options;
    this.#xds = xds;
    const secure = credentials._isSecure();
    this.#setting = {
      engine,
      transport: transports.get(credentials, options, secure ? hostOf(name) : ''),
      target: address,
      authority: name,
      secure,
      credentials: secure ? callCredentialsOf(credentials) : undefined,
      replayLimit: options['grpc.per_rpc_retry_buffer_size'] ?? REPLAY_LIMIT_BYTES,
    };
    if (!this.#meshed()) this.#passthrough();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#plain?.close();
    for (const watcher of this.#watchers) {
      if (watcher.timer !== undefined) this.#clock.clear(watcher.timer);
      watcher.callback();
    }
    this.#watchers.clear();
  }

  getTarget(): string {
    return this.#meshed() ? this.#address : this.#passthrough().getTarget();
  }

  /** READY from the start: a call waits for its configuration by itself, and the endpoints connect when they are needed. */
  getConnectivityState(tryToConnect: boolean): connectivityState {
    if (this.#closed) return connectivityState.SHUTDOWN;
    return this.#meshed() ? connectivityState.READY : this.#passthrough().getConnectivityState(tryToConnect);
  }

  watchConnectivityState(currentState: connectivityState, deadline: Date | number, callback: (error?: Error) => void): void {
    if (this.#closed) throw new Error('Channel has been shut down');
    if (!this.#meshed()) {
      this.#passthrough().watchConnectivityState(currentState, deadline, callback);
      return;
    }
    if (currentState !== connectivityState.READY) {
      process.nextTick(callback);
      return;
    }
    const watcher = new StateWatcher(callback, this.#watchers);
    const until = typeof deadline === 'number' ? deadline : deadline.getTime();
    if (until !== Number.POSITIVE_INFINITY) watcher.timer = this.#clock.set(watcher, Math.max(0, until - this.#clock.wallTime()));
  }

  getChannelzRef(): ReturnType<ChannelInterface['getChannelzRef']> {
    return this.#passthrough().getChannelzRef();
  }

  createCall(
    method: string,
    deadline: WireDeadline,
    host: string | null | undefined,
    parent: WireParent,
    flags: number | null | undefined,
  ): WireCall {
    if (typeof method !== 'string') throw new TypeError('Channel#createCall: method must be a string');
    if (typeof deadline !== 'number' && typeof deadline?.getTime !== 'function') {
      throw new TypeError('Channel#createCall: deadline must be a number or Date');
    }
    if (this.#closed) throw new Error('Channel has been shut down');
    if (!this.#meshed()) return this.#passthrough().createCall(method, deadline, host, parent, flags);
    if (parent === null || parent === undefined) return new GrpcCall(this.#setting, method, deadline, host);
    return this.#childCall(method, deadline, host, parent, flags ?? propagate.DEFAULTS);
  }

  #childCall(
    method: string,
    deadline: WireDeadline,
    host: string | null | undefined,
    parent: NonNullable<WireParent>,
    flags: number,
  ): GrpcCall {
    let own = typeof deadline === 'number' ? deadline : deadline.getTime();
    if ((flags & propagate.DEADLINE) !== 0) {
      const limit = parent.getDeadline();
      own = Math.min(own, typeof limit === 'number' ? limit : limit.getTime());
    }
    const call = new GrpcCall(this.#setting, method, own, host);
    if ((flags & propagate.CANCELLATION) !== 0) {
      const onCancelled = (): void => call.cancelWithStatus(CANCELLED, 'Cancelled by parent call');
      parent.on('cancelled', onCancelled);
      call.release = () => parent.removeListener('cancelled', onCancelled);
    }
    return call;
  }

  get #clock(): Clock {
    return this.#engine.clock;
  }

  #meshed(): boolean {
    if (this.#xds) return true;
    const { epoch } = this.#engine;
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      this.#included = this.#setting.authority !== '' && this.#engine.includes(this.#setting.authority);
    }
    return this.#included;
  }

  #passthrough(): Channel {
    // grpc-js knows no `xds:` scheme by itself; such a channel is only asked for its channelz reference.
    this.#plain ??= new Channel(this.#xds ? `dns:///${this.#setting.authority}` : this.#address, this.#credentials, this.#options);
    return this.#plain;
  }
}

const CANCELLED = 1;

/** The call credentials that were composed into channel credentials; they stay with the call whatever carries it (design §3.4). */
function callCredentialsOf(credentials: ChannelCredentials): CallCredentials {
  const connector = credentials._createSecureConnector({ scheme: 'dns', path: 'localhost:443' }, {});
  const found = connector.getCallCredentials();
  connector.destroy();
  return found;
}
