/**
 * What `mesh.yaml` says, read and checked: the result of `parse.ts` and the input of `compile.ts`. Durations are milliseconds, percentages
 * are numbers from 0 to 100. `shapes.ts` is the table that the reader follows; these types are its other side.
 */
import type { GrpcRetryCondition, HttpRetryCondition } from '../../config/routes.ts';

export interface Position {
  /** From 1. */
  readonly line: number;
  /** From 1. */
  readonly column: number;
  readonly length: number;
}

export interface MeshFile {
  /** Name for messages: the path as it was given. */
  readonly origin: string;
  /** Undefined: the hosts of the services. */
  readonly include: readonly string[] | undefined;
  readonly startTimeout: number | undefined;
  readonly identity: IdentitySpec;
  readonly services: ReadonlyMap<string, ServiceSpec>;
  readonly inbound: readonly InboundSpec[];
  /** Envoy resources as JSON values with `@type`. */
  readonly resources: readonly Readonly<Record<string, unknown>>[];
  /** Where each value stands, by path. */
  readonly positions: ReadonlyMap<string, Position>;
}

export interface IdentitySpec {
  readonly trustDomain: string;
  readonly certificate?: string;
  readonly key?: string;
  readonly ca?: string;
}

export interface ServiceSpec {
  readonly hosts: readonly string[];
  readonly endpoints: readonly EndpointSpec[];
  readonly lb: 'round-robin' | 'least-request' | 'random';
  readonly protocol: 'http' | 'http2' | 'grpc';
  readonly routes: readonly RouteSpec[] | undefined;
  readonly timeout?: number;
  readonly retries?: RetriesSpec;
  readonly outlier?: OutlierSpec;
  readonly limits?: LimitsSpec;
  readonly breaker?: BreakerSpec;
  readonly mtls: 'strict' | 'off';
  /** SPIFFE ids that the endpoints may prove. */
  readonly identity: readonly string[];
  readonly connectTimeout?: number;
  readonly panic?: number;
}

export type Labels = ReadonlyMap<string, string>;

export interface EndpointSpec {
  readonly host: string;
  readonly port: number;
  readonly labels: Labels;
  readonly weight: number;
  readonly zone: string;
  readonly health: 'unknown' | 'healthy' | 'unhealthy' | 'draining' | 'degraded';
}

export interface DestinationSpec {
  readonly service?: string;
  readonly labels?: Labels;
}

export interface RouteSpec {
  readonly name?: string;
  readonly match?: MatchSpec;
  readonly to?: DestinationSpec;
  readonly split?: readonly (DestinationSpec & { readonly weight: number })[];
  readonly timeout?: number;
  readonly retries?: RetriesSpec;
  readonly redirect?: RedirectSpec;
  readonly respond?: { readonly status: number; readonly body?: string };
  readonly rewrite?: RewriteSpec;
  readonly headers?: { readonly request?: HeadersSpec; readonly response?: HeadersSpec };
}

export interface MatchSpec {
  readonly path?: string | PathSpec;
  readonly method?: string | readonly string[];
  readonly headers?: ReadonlyMap<string, string | TextMatchSpec>;
  readonly query?: ReadonlyMap<string, string | TextMatchSpec>;
}

export interface PathSpec {
  readonly exact?: string;
  readonly prefix?: string;
  readonly regex?: string;
  readonly ignoreCase?: boolean;
}

export interface TextMatchSpec {
  readonly exact?: string;
  readonly prefix?: string;
  readonly suffix?: string;
  readonly contains?: string;
  readonly regex?: string;
  readonly present?: boolean;
  readonly ignoreCase?: boolean;
  readonly not?: boolean;
}

export interface RetriesSpec {
  readonly attempts?: number;
  readonly on?: readonly (HttpRetryCondition | GrpcRetryCondition | number)[];
  readonly perTry?: number;
  readonly budget?: number;
  readonly backoff?: { readonly base?: number; readonly max?: number };
}

export interface RedirectSpec {
  readonly status?: '301' | '302' | '303' | '307' | '308';
  readonly scheme?: 'http' | 'https';
  readonly host?: string;
  readonly port?: number;
  readonly path?: string;
  readonly prefix?: string;
  readonly stripQuery?: boolean;
}

export interface RewriteSpec {
  readonly path?: string;
  readonly regex?: { readonly pattern: string; readonly substitution: string };
  readonly host?: string;
}

export interface HeadersSpec {
  readonly set?: ReadonlyMap<string, string>;
  readonly add?: ReadonlyMap<string, string>;
  readonly remove?: readonly string[];
}

export interface OutlierSpec {
  readonly consecutive5xx?: number;
  readonly ejection?: number;
  readonly maxEjected?: number;
  readonly interval?: number;
}

export interface LimitsSpec {
  readonly maxRequests?: number;
  readonly maxPending?: number;
  readonly maxRetries?: number;
}

export interface BreakerSpec {
  readonly errorRate?: number;
  readonly volume?: number;
  readonly reset?: number;
  readonly window?: number;
}

export interface InboundSpec {
  readonly port: number;
  readonly host?: string;
  readonly mtls: 'strict' | 'off';
  readonly allow?: readonly RuleSpec[];
  readonly deny?: readonly RuleSpec[];
}

export interface RuleSpec {
  readonly from?: readonly string[];
  readonly methods?: readonly string[];
  readonly paths?: readonly string[];
  readonly headers?: ReadonlyMap<string, string | TextMatchSpec>;
}
