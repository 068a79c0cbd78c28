/**
 * Outlier detection as in Envoy (4.1, H-1 to H-8): an observer that counts how the attempts of one cluster end and ejects the endpoints
 * that fail in a row, or fail more than the others. What an ejection means for picks is the business of `balancing/`.
 */
import type { OutlierConfig } from '../config/cluster.ts';
import type { Attempt } from '../core/call.ts';
import type { Alarm, Timer } from '../core/clock.ts';
import type { Endpoint } from '../core/endpoint.ts';
import type { Deps } from '../core/extension.ts';
import type { Observer } from '../core/observer.ts';
import type { Closable } from '../core/scope.ts';
import { localOriginStatus, replyStatus } from './outlier-events.ts';
import { failureOutliers, successOutliers } from './outlier-statistics.ts';

/** An endpoint whose ejection can be set. All endpoints of the observed cluster must be such. */
export interface EjectableHost extends Endpoint {
  ejected: boolean;
}

/** The cluster whose endpoints are observed. */
export interface EjectionOwner {
  /** A new array whenever they changed. */
  readonly endpoints: readonly EjectableHost[];
  /** Called after ejections and their ends. */
  ejectionsChanged(): void;
}

export type EjectionReason =
  | 'consecutive_5xx'
  | 'consecutive_gateway_failure'
  | 'consecutive_local_origin_failure'
  | 'success_rate'
  | 'failure_percentage';

/** By address, so that it survives an endpoint that goes and comes back. */
class HostState {
  host: EjectableHost;
  consecutive5xx = 0;
  consecutiveGateway = 0;
  consecutiveLocal = 0;
  /** This interval's, and the last one's that the sweep judges. */
  total = 0;
  successes = 0;
  lastTotal = 0;
  lastSuccesses = 0;
  ejectedAt = 0;
  unejectedAt = 0;
  jitterMs = 0;
  /** Ejections in a row, which lengthen each other (H-6). */
  multiplier = 0;

  constructor(host: EjectableHost) {
    this.host = host;
  }
}

export class OutlierDetector implements Observer, Closable, Alarm {
  /** Detections by what became of them; for `describe()` and tests. */
  ejections = 0;
  unenforced = 0;
  overflows = 0;
  readonly #config: OutlierConfig;
  readonly #owner: EjectionOwner;
  readonly #deps: Deps;
  readonly #states = new Map<string, HostState>();
  /** The state used last, while it is one of `#states`. */
  #last: HostState | undefined = undefined;
  #counted: readonly EjectableHost[] | undefined = undefined;
  #ejected = 0;
  #timer: Timer | undefined = undefined;
  #traffic = false;
  #closed = false;

  constructor(config: OutlierConfig, owner: EjectionOwner, deps: Deps) {
    this.#config = config;
    this.#owner = owner;
    this.#deps = deps;
    for (const host of owner.endpoints) if (host.ejected) this.#adopt(host);
  }

  onAttemptEnd(attempt: Attempt): void {
    if (attempt.endpoint === undefined || this.#closed) return;
    const local = localOriginStatus(attempt);
    const status = local ?? replyStatus(attempt);
    if (status === undefined) return;
    this.#traffic = true;
    if (this.#timer === undefined) this.#arm();
    const state = this.#stateOf(attempt.endpoint as EjectableHost);
    if (!this.#config.splitExternalLocalOriginErrors) {
      this.#countReply(state, status);
      return;
    }
    // Split (H-2): a request that got its connection is a success of the local origin, whatever came of it afterwards.
    if (attempt.sent || local === undefined) state.consecutiveLocal = 0;
    if (local === undefined) this.#countReply(state, status);
    else this.#countLocal(state);
  }

  /** The sweep of one interval, in Envoy's order (H-5). */
  onAlarm(): void {
    this.#timer = undefined;
    const now = this.#deps.clock.now();
    let changed = false;
    this.#prune();
    for (const state of this.#states.values()) {
      if (state.host.ejected && now - state.ejectedAt >= this.#ejectionTime(state)) {
        this.#uneject(state, now);
        changed = true;
      }
      state.lastTotal = state.total;
      state.lastSuccesses = state.successes;
      state.total = 0;
      state.successes = 0;
    }
    if (this.#ejectByStatistics(now)) changed = true;
    let waiting = false;
    for (const state of this.#states.values()) {
      if (!state.host.ejected && state.multiplier > 0 && now - state.unejectedAt >= this.#config.intervalMs) state.multiplier--;
      if (state.host.ejected || state.multiplier > 0) waiting = true;
    }
    if (waiting || this.#traffic) this.#arm();
    this.#traffic = false;
    if (changed) this.#owner.ejectionsChanged();
  }

  /** Ends the sweeps. Ejections stay as they are: whoever closes the detector knows what becomes of the endpoints. */
  close(): void {
    this.#closed = true;
    if (this.#timer !== undefined) this.#deps.clock.clear(this.#timer);
    this.#timer = undefined;
    this.#states.clear();
    this.#last = undefined;
  }

  #countReply(state: HostState, status: number): void {
    state.total++;
    if (status < 500 || status > 599) {
      state.successes++;
      state.consecutive5xx = 0;
      state.consecutiveGateway = 0;
      return;
    }
    const config = this.#config;
    // A counter trips on equality: a detection that was not enforced does not repeat with every further failure (H-1).
    if (status < 502 || status > 504) state.consecutiveGateway = 0;
    else if (++state.consecutiveGateway === config.consecutiveGatewayFailure) {
      if (!state.host.ejected) state.consecutiveGateway = 0;
      this.#detectInARow(state, 'consecutive_gateway_failure', config.enforcingConsecutiveGatewayFailure);
    }
    if (++state.consecutive5xx === config.consecutive5xx) {
      if (!state.host.ejected) state.consecutive5xx = 0;
      this.#detectInARow(state, 'consecutive_5xx', config.enforcingConsecutive5xx);
    }
  }

  #countLocal(state: HostState): void {
    if (++state.consecutiveLocal !== this.#config.consecutiveLocalOriginFailure) return;
    if (!state.host.ejected) state.consecutiveLocal = 0;
    this.#detectInARow(state, 'consecutive_local_origin_failure', this.#config.enforcingConsecutiveLocalOriginFailure);
  }

  #detectInARow(state: HostState, reason: EjectionReason, enforcing: number): void {
    if (this.#eject(state, reason, enforcing, this.#deps.clock.now())) this.#owner.ejectionsChanged();
  }

  #ejectByStatistics(now: number): boolean {
    const { successRate, failurePercentage } = this.#config;
    let changed = false;
    const candidates = [...this.#states.values()].filter((state) => !state.host.ejected && state.lastTotal > 0);
    if (successRate !== undefined) {
      for (const state of successOutliers(candidates, successRate)) {
        if (this.#eject(state, 'success_rate', successRate.enforcing, now)) changed = true;
      }
    }
    if (failurePercentage !== undefined) {
      for (const state of failureOutliers(candidates, failurePercentage)) {
        if (this.#eject(state, 'failure_percentage', failurePercentage.enforcing, now)) changed = true;
      }
    }
    return changed;
  }

  /** Limit first, then the draw (H-7). Never twice: both statistics may name one host in one sweep. */
  #eject(state: HostState, reason: EjectionReason, enforcing: number, now: number): boolean {
    const { host } = state;
    if (host.ejected) return false;
    const { maxEjectionPercent, alwaysEjectOneHost, baseEjectionTimeMs, maxEjectionTimeMs, maxEjectionTimeJitterMs } = this.#config;
    const { log, random } = this.#deps;
    const hosts = this.#count();
    const allowed = (100 * (this.#ejected + 1)) / hosts.length <= maxEjectionPercent || (alwaysEjectOneHost && this.#ejected === 0);
    if (!allowed) {
      this.overflows++;
      return false;
    }
    if (random.next() * 100 >= enforcing) {
      this.unenforced++;
      log.debug('outlier detected, not enforced', { endpoint: host.address, cluster: host.cluster.name, reason });
      return false;
    }
    this.ejections++;
    this.#ejected++;
    host.ejected = true;
    state.ejectedAt = now;
    state.jitterMs = Math.floor(random.next() * (maxEjectionTimeJitterMs + 1));
    if (state.multiplier * baseEjectionTimeMs < maxEjectionTimeMs + baseEjectionTimeMs) state.multiplier++;
    log.info('endpoint ejected', { endpoint: host.address, cluster: host.cluster.name, reason, forMs: this.#ejectionTime(state) });
    return true;
  }

  #uneject(state: HostState, now: number): void {
    state.host.ejected = false;
    if (this.#ejected > 0) this.#ejected--;
    state.unejectedAt = now;
    state.consecutive5xx = 0;
    state.consecutiveGateway = 0;
    state.consecutiveLocal = 0;
    this.#deps.log.info('endpoint back after ejection', { endpoint: state.host.address, cluster: state.host.cluster.name });
  }

  #ejectionTime(state: HostState): number {
    const { baseEjectionTimeMs, maxEjectionTimeMs } = this.#config;
    return Math.min(baseEjectionTimeMs * state.multiplier, Math.max(maxEjectionTimeMs, baseEjectionTimeMs)) + state.jitterMs;
  }

  /** An endpoint that comes back at its address while its ejection lasts is ejected as before. */
  #stateOf(host: EjectableHost): HostState {
    if (this.#last?.host === host) return this.#last;
    let state = this.#states.get(host.address);
    if (state === undefined) {
      state = new HostState(host);
      this.#states.set(host.address, state);
    } else if (state.host !== host) {
      const { ejected } = state.host;
      state.host = host;
      if (ejected && !host.ejected) {
        host.ejected = true;
        this.#counted = undefined;
        this.#owner.ejectionsChanged();
      }
    }
    this.#last = state;
    return state;
  }

  /** An endpoint that a detector before this one ejected: its time begins anew. */
  #adopt(host: EjectableHost): void {
    const state = this.#stateOf(host);
    state.ejectedAt = this.#deps.clock.now();
    state.multiplier = 1;
    if (this.#timer === undefined) this.#arm();
  }

  /** The hosts now, with the number of ejected ones among them counted again only when the hosts changed. */
  #count(): readonly EjectableHost[] {
    const hosts = this.#owner.endpoints;
    if (hosts !== this.#counted) {
      this.#counted = hosts;
      this.#ejected = hosts.reduce((count, host) => (host.ejected ? count + 1 : count), 0);
    }
    return hosts;
  }

  /** Forgets endpoints that are gone, unless their ejection lasts, once they are more than those that are there. */
  #prune(): void {
    const hosts = this.#count();
    if (this.#states.size <= 2 * hosts.length) return;
    this.#last = undefined;
    const present = new Set(hosts);
    for (const [address, state] of this.#states) if (!present.has(state.host) && !state.host.ejected) this.#states.delete(address);
  }

  #arm(): void {
    this.#timer = this.#deps.clock.set(this, this.#config.intervalMs, true);
  }
}
