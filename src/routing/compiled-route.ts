/** One route's match as something quick to ask (Envoy 2.3, gRFC A28), and the call it is asked about. */
import type { FractionConfig, RouteEntryConfig, RuntimeFractionConfig } from '../config/routes.ts';
import type { RequestHead } from '../core/call.ts';
import type { Random } from '../core/random.ts';
import { compileHeader } from '../matching/header.ts';
import { compileQuery } from '../matching/query.ts';
import type { Regex } from '../matching/regex.ts';
import { compileRegex } from '../matching/regex.ts';
import { asciiLower } from '../matching/string.ts';
import type { Runtime } from './runtime.ts';
import { passes, randomValue } from './weighted-clusters.ts';

/** The path without query and fragment: what every path matcher looks at (Envoy D2). */
export function pathOnly(path: string): string {
  const question = path.indexOf('?');
  const hash = path.indexOf('#');
  if (question < 0 && hash < 0) return path;
  return path.slice(0, question < 0 ? hash : hash < 0 ? question : Math.min(question, hash));
}

const NOTHING: RequestHead = {
  protocol: 'http',
  method: '',
  scheme: '',
  authority: '',
  path: '',
  headers: { get: () => undefined, has: () => false, set() {}, append() {}, remove() {}, entries: () => [] },
};
const NO_CHANCE: Random = { next: () => 0 };
const NOT_DRAWN = -1;

/** What is known of the call while it is matched. One per virtual host, used again and again: matching never waits. */
export class Probe {
  head: RequestHead = NOTHING;
  path = '';
  #random: Random = NO_CHANCE;
  #value = NOT_DRAWN;
  #lower: string | undefined = undefined;

  begin(head: RequestHead, random: Random): void {
    this.head = head;
    this.path = pathOnly(head.path);
    this.#random = random;
    this.#value = NOT_DRAWN;
    this.#lower = undefined;
  }

  /** Lets go of the call. */
  end(): void {
    this.head = NOTHING;
  }

  get lowerPath(): string {
    this.#lower ??= asciiLower(this.path);
    return this.#lower;
  }

  /** Drawn once per call, and only where chance is asked for. */
  get value(): number {
    if (this.#value === NOT_DRAWN) this.#value = randomValue(this.head, this.#random);
    return this.#value;
  }
}

type HeaderTest = (head: RequestHead) => boolean;
type QueryTest = (path: string) => boolean;

/** envoy: `application/grpc`, or a subtype behind `+`; `application/grpc-web` is not gRPC. */
function isGrpc(head: RequestHead): boolean {
  if (head.protocol === 'grpc') return true;
  const type = head.headers.get('content-type');
  return type !== undefined && (type === 'application/grpc' || type.startsWith('application/grpc+'));
}

export class CompiledRoute {
  readonly index: number;
  readonly config: RouteEntryConfig;
  /** Text that leads to this route in the index; for a case-insensitive match in lower case. */
  readonly key: string;
  readonly kind: 'exact' | 'prefix' | 'separated-prefix' | 'regex';
  readonly caseSensitive: boolean;
  /** Matches whatever leads to it. */
  readonly unconditional: boolean;
  readonly #regex: Regex | undefined;
  readonly #headers: readonly HeaderTest[];
  readonly #query: readonly QueryTest[];
  readonly #plain: boolean;
  readonly #runtime: Runtime | undefined;
  /** gRPC has no query parameters and no `cluster_header`: such a route does not exist for it (gRFC A28). */
  readonly #notForGrpc: boolean;

  /** Throws `ConfigProblem` for bad patterns; decoding has found those before. */
  constructor(index: number, config: RouteEntryConfig, runtime?: Runtime) {
    this.#runtime = runtime;
    const { path, headers, query, fraction, grpc } = config.match;
    this.index = index;
    this.config = config;
    this.kind = path.kind;
    this.#regex = path.kind === 'regex' ? compileRegex(path.value) : undefined;
    this.caseSensitive = path.kind === 'regex' || path.caseSensitive;
    this.key = this.#regex?.literalPrefix ?? (this.caseSensitive ? path.value : asciiLower(path.value));
    this.#headers = headers.map((header) => compileHeader(header));
    this.#query = query.map((parameter) => compileQuery(parameter));
    this.#notForGrpc = query.length > 0 || (config.action.kind === 'forward' && config.action.cluster.kind === 'cluster-header');
    this.#plain = headers.length === 0 && query.length === 0 && fraction === undefined && !grpc && !this.#notForGrpc;
    this.unconditional = this.#plain && (this.kind === 'prefix' || this.kind === 'exact');
  }

  /** Length of the path that the match took; -1 for the whole of it (Envoy R-41). */
  get matchedLength(): number {
    return this.kind === 'prefix' || this.kind === 'separated-prefix' ? this.key.length : -1;
  }

  /** Everything but what the index has found already: that the path is, or begins with, `key`. */
  accepts(probe: Probe): boolean {
    if (!this.#plain && !this.#conditions(probe)) return false;
    if (this.#regex !== undefined) return this.#regex.test(probe.path);
    if (this.kind !== 'separated-prefix') return true;
    return probe.path.length === this.key.length || probe.path[this.key.length] === '/';
  }

  #inForce(fraction: RuntimeFractionConfig, head: RequestHead): FractionConfig {
    if (fraction.runtimeKey === undefined || head.protocol === 'grpc') return fraction;
    return this.#runtime?.fraction(fraction.runtimeKey) ?? fraction;
  }

  #conditions(probe: Probe): boolean {
    const { head } = probe;
    const { fraction, grpc } = this.config.match;
    if (this.#notForGrpc && head.protocol === 'grpc') return false;
    if (fraction !== undefined && !passes(this.#inForce(fraction, head), probe.value, head.protocol, this.index)) return false;
    if (grpc && !isGrpc(head)) return false;
    for (let i = 0; i < this.#headers.length; i++) if (this.#headers[i]?.(head) === false) return false;
    for (let i = 0; i < this.#query.length; i++) if (this.#query[i]?.(head.path) === false) return false;
    return true;
  }
}
