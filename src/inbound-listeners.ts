/** The inbound side of bound addresses: listener → filter chain per connection → routes per request (gRFC A36). */
import type { FilterChainConfig, ListenerConfig } from './config/listener.ts';
import type { InboundCall } from './core/call.ts';
import type { Clock } from './core/clock.ts';
import type { ConnectionFacts, InboundChain, InboundListener } from './core/engine.ts';
import { failure, FAILURES } from './core/failure.ts';
import type { Random } from './core/random.ts';
import type { Reply } from './core/reply.ts';
import { failureReply } from './core/reply.ts';
import type { InboundTarget } from './core/target.ts';
import type { ServerSecurity } from './core/tls.ts';
import type { DownstreamTlsConfig } from './config/tls.ts';
import type { Routed, RootPlan } from './plan.ts';
import { FilterChainMatcher } from './routing/filter-chains.ts';
import type { Root } from './roots.ts';

export interface InboundDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly security: (config: DownstreamTlsConfig) => ServerSecurity;
  /** For calls that no route serves: they are counted and traced all the same. */
  unrouted(): InboundTarget;
  /** Undefined while the source is not attached. */
  root(host: string, port: number): Root | 'passthrough' | undefined;
  /** Its listener is asked for by name and may turn out to be for another address; else it was found by its address. */
  named(host: string, port: number): boolean;
}

class Chain implements InboundChain {
  readonly config: FilterChainConfig;
  readonly security: ServerSecurity | undefined;
  /** Routes at the time the connection came, for connections that outlive their listener's configuration. */
  readonly routed: Routed<InboundTarget> | undefined;

  constructor(config: FilterChainConfig, security: ServerSecurity | undefined, routed: Routed<InboundTarget> | undefined) {
    this.config = config;
    this.security = security;
    this.routed = routed;
  }

  get name(): string {
    return this.config.name;
  }
}

export class MeshInboundListener implements InboundListener {
  readonly host: string;
  readonly port: number;
  readonly #deps: InboundDeps;
  readonly #watchers = new Set<() => void>();
  #plan: RootPlan | undefined;
  #matcher: FilterChainMatcher | undefined;
  #chains = new Map<FilterChainConfig, Chain>();
  #mode: InboundListener['mode'] = 'plaintext';
  #mismatch = '';

  constructor(host: string, port: number, deps: InboundDeps) {
    this.host = host;
    this.port = port;
    this.#deps = deps;
    this.refresh();
  }

  get state(): InboundListener['state'] {
    const root = this.#deps.root(this.host, this.port);
    if (root === 'passthrough') return 'passthrough';
    if (root === undefined) return 'waiting';
    if (root.plan === undefined) return root.status === 'failed' ? 'not-serving' : 'waiting';
    return this.#mismatch === '' ? 'serving' : 'not-serving';
  }

  get problem(): string {
    const root = this.#deps.root(this.host, this.port);
    if (root === undefined || root === 'passthrough') return '';
    return root.plan === undefined ? root.reason : this.#mismatch;
  }

  get mode(): InboundListener['mode'] {
    return this.#mode;
  }

  onChange(listener: () => void): () => void {
    this.#watchers.add(listener);
    return () => void this.#watchers.delete(listener);
  }

  /** Called after each swap of plans. */
  refresh(): void {
    const root = this.#deps.root(this.host, this.port);
    const plan = root === undefined || root === 'passthrough' ? undefined : root.plan;
    if (plan !== this.#plan) {
      const listener = plan?.snapshot.listener;
      if (listener !== this.#plan?.snapshot.listener) this.#adopt(listener);
      this.#plan = plan;
      this.#chains = new Map();
    }
    for (const watcher of this.#watchers) watcher();
  }

  chain(facts: ConnectionFacts): Chain | undefined {
    const config = this.#matcher?.match(facts);
    if (config === undefined || this.#mismatch !== '') return undefined;
    let chain = this.#chains.get(config);
    if (chain === undefined) {
      const routed = config.http === undefined ? undefined : this.#plan?.inbound(config.http);
      chain = new Chain(config, config.tls === undefined ? undefined : this.#deps.security(config.tls), routed);
      this.#chains.set(config, chain);
    }
    return chain;
  }

  open(call: InboundCall, chain: InboundChain): InboundTarget | Reply {
    const routed = this.#routes(chain);
    if (routed === undefined || !routed.ok) {
      return this.#refuse(call, routed === undefined ? 'no HTTP routes are configured for this connection' : routed.reason);
    }
    const target = routed.table.match(call, this.#deps.random);
    if (target === undefined) return this.#refuse(call, `no route for ${call.head.method} ${call.head.authority}${call.head.path}`);
    this.#start(call, target);
    return target;
  }

  handle(call: InboundCall, chain: InboundChain): Promise<Reply> {
    const target = call.target ?? this.open(call, chain);
    if ('handler' in target) {
      return target.handler
        .handle(call)
        .catch((error: unknown) => failureReply(failure(FAILURES.filterFailed, 'a layer or the application failed', error)));
    }
    return Promise.resolve(target);
  }

  #start(call: InboundCall, target: InboundTarget): void {
    call.startedAt = this.#deps.clock.now();
    call.target = target;
    target.observers.callStart(call);
  }

  #refuse(call: InboundCall, message: string): Reply {
    this.#start(call, this.#deps.unrouted());
    return failureReply(failure(FAILURES.routeNotFound, message));
  }

  /** Route updates apply to connections that are open (gRFC A36); a replaced listener does not. */
  #routes(chain: InboundChain): Routed<InboundTarget> | undefined {
    if (!(chain instanceof Chain)) return undefined;
    const current = chain.config.http === undefined ? undefined : this.#plan?.inbound(chain.config.http);
    return current ?? chain.routed;
  }

  #adopt(listener: ListenerConfig | undefined): void {
    this.#matcher = listener === undefined ? undefined : new FilterChainMatcher(listener);
    const chains =
      listener === undefined
        ? []
        : [...listener.filterChains, ...(listener.defaultFilterChain === undefined ? [] : [listener.defaultFilterChain])];
    const secure = chains.filter((chain) => chain.tls !== undefined).length;
    this.#mode = secure === 0 ? 'plaintext' : secure === chains.length ? 'tls' : 'mixed';
    this.#mismatch =
      listener === undefined || !this.#deps.named(this.host, this.port) ? '' : addressProblem(listener, this.host, this.port);
  }
}

const WILDCARD_HOSTS = new Set(['0.0.0.0', '::', '']);

/** gRFC A36: the resource's address must be the bound one; port 0 and a wildcard host stand for any. */
function addressProblem(listener: ListenerConfig, host: string, port: number): string {
  const { address } = listener;
  if (address === undefined) return `listener "${listener.name}" has no address`;
  const hostFits = address.host === host || WILDCARD_HOSTS.has(address.host);
  const portFits = address.port === port || address.port === 0;
  return hostFits && portFits
    ? ''
    : `listener "${listener.name}" is for ${address.host}:${address.port}, the server is bound to ${host}:${port}`;
}
