/** What the mesh offers to the fronts of adapters: the engine as they see it. Implemented by `mesh.ts`. */
import type { InboundCall, OutboundCall } from './call.ts';
import type { Clock } from './clock.ts';
import type { Reply } from './reply.ts';
import type { InboundTarget, OutboundTarget } from './target.ts';
import type { ServerSecurity } from './tls.ts';

export interface OutboundEngine {
  readonly clock: Clock;
  /**
   * Grows whenever `includes` could answer differently; adapters may cache answers per origin until then.
   */
  readonly epoch: number;
  /** Whether calls to this authority (`host[:port]`, lower case) belong to the mesh; others pass through untouched. */
  includes(authority: string): boolean;
  /**
   * Routes the call and starts it (target set, observers told). A reply: the mesh fails it at once (the adapter shows it and ends the call).
   * Undefined: the first configuration is still awaited, so use `handle`.
   */
  open(call: OutboundCall): OutboundTarget | Reply | undefined;
  /**
   * The promise path: waits for the configuration if need be (up to `startTimeout`), opens the call if it is not open, runs its stack.
   * Never rejects. The adapter ends the call when the exchange ends.
   */
  handle(call: OutboundCall): Promise<Reply>;
}

/** Facts about an accepted connection, for filter-chain matching (Envoy T-9, gRFC A36). */
export interface ConnectionFacts {
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly transportProtocol: 'tls' | 'raw_buffer';
  readonly serverName: string | undefined;
  readonly applicationProtocols: readonly string[];
}

/** One filter chain as a server adapter uses it; kept per connection. */
export interface InboundChain {
  readonly name: string;
  /** Undefined: the chain is plaintext. */
  readonly security: ServerSecurity | undefined;
}

/** The inbound side of one bound address. */
export interface InboundListener {
  /** `passthrough`: no xDS server listener is configured for it, the mesh leaves the server alone. */
  readonly state: 'waiting' | 'serving' | 'not-serving' | 'passthrough';
  /** Why it is not serving. */
  readonly problem: string;
  /** Chosen once per connection; undefined: close the connection without a byte. */
  chain(facts: ConnectionFacts): InboundChain | undefined;
  /** Whether any chain of the listener asks for TLS, any takes plaintext: decides how the port accepts. */
  readonly mode: 'plaintext' | 'tls' | 'mixed';
  /** Routes the call and starts it; a reply: the mesh answers itself. */
  open(call: InboundCall, chain: InboundChain): InboundTarget | Reply;
  /** Promise path: opens if need be, runs the inbound stack, whose innermost starts the application. Never rejects. */
  handle(call: InboundCall, chain: InboundChain): Promise<Reply>;
  onChange(listener: () => void): () => void;
}

export interface InboundEngine {
  readonly clock: Clock;
  /** The inbound side of an address; the same object for the same address while the mesh lives. */
  listen(host: string, port: number): InboundListener;
  /** True while the mesh drains: new work is refused, connections are told to go. */
  readonly draining: boolean;
  /** Runs the application with the inbound call as its context, so that outbound calls find it (trace headers, deadline). */
  runInContext<R>(call: InboundCall, run: () => R): R;
}
