/** What the demo and its processes say to each other over IPC: orders with answers one way, spans and crashes the other. */

/** Every process of the demo and what it is. */
export type RoleName = 'control-plane' | 'web' | 'cart' | 'stock' | 'prices';

export interface ControlPlaneOrders {
  /** Starts the ADS server; answers with its address. */
  listen(text: string): Promise<{ readonly address: string }>;
  /** The bootstrap of one process, with a certificate for `spiffe://demo/IDENTITY`. */
  bootstrap(request: { readonly nodeId: string; readonly identity: string }): Promise<object>;
  /** Serves another mesh.yaml; rejects when it is invalid. Answers once it is pushed. */
  update(text: string): Promise<{ readonly changed: number }>;
  close(nothing: null): Promise<null>;
}

export interface WorkloadOrders {
  /** Starts the mesh and the server; answers with the server's port. */
  open(opening: { readonly bootstrap: object; readonly name: string }): Promise<{ readonly port: number }>;
  /** Settles when both sides of the mesh have their first complete configuration. */
  ready(nothing: null): Promise<null>;
  report(nothing: null): Promise<Report>;
  /** Only `prices`: answer everything with 503, or work again. */
  fail(failing: boolean): Promise<null>;
  close(nothing: null): Promise<null>;
}

/** Counters since the process started, and what its mesh says of itself now. */
export interface Report {
  readonly requests: number;
  /** Requests that the process failed on purpose. */
  readonly failed: number;
  /** Inbound calls over connections without TLS. */
  readonly plaintext: number;
  /** Inbound calls by the SPIFFE id that the caller proved. */
  readonly verified: Readonly<Record<string, number>>;
  /** Outbound attempts beyond the first of their call. */
  readonly retries: number;
  readonly connected: boolean;
  readonly clusters: readonly ClusterReport[];
}

export interface ClusterReport {
  readonly name: string;
  /** TLS is configured and can be done. */
  readonly tls: boolean;
  readonly ejected: readonly string[];
}

export interface Span {
  readonly process: string;
  readonly traceId: string;
  readonly id: string;
  readonly parentId: string;
  readonly kind: 'server' | 'client';
  readonly protocol: 'http' | 'grpc';
  readonly title: string;
  /** Milliseconds since the epoch, with fractions; comparable between the processes of one machine. */
  readonly start: number;
  readonly end: number;
  readonly ok: boolean;
  /** Server: SPIFFE id of the caller. Client: the endpoint that answered. Empty when there is none. */
  readonly peer: string;
}

export interface Order {
  readonly id: number;
  readonly kind: string;
  readonly argument: unknown;
}

export type FromProcess =
  | { readonly kind: 'answer'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'refusal'; readonly id: number; readonly reason: string }
  | { readonly kind: 'span'; readonly span: Span }
  | { readonly kind: 'log'; readonly text: string };
