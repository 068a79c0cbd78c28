/**
 * From options, environment and files to a running engine: which configuration counts, in which order, and the source that serves it.
 * Reading and validating is synchronous (`inmesh/register` needs that); what speaks xDS is loaded afterwards.
 */
import { existsSync, readFileSync } from 'node:fs';
import { extname, resolve as resolvePath } from 'node:path';
import type { Bootstrap } from './config/bootstrap.ts';
import type { ConfigSource } from './config/resource.ts';
import type { Attempt } from './core/call.ts';
import type { Clock } from './core/clock.ts';
import { readEnvironment } from './core/environment.ts';
import type { Environment } from './core/environment.ts';
import { MeshError } from './core/errors.ts';
import type { FilterFactory, LbPolicyFactory } from './core/extension.ts';
import type { Layer } from './core/handler.ts';
import type { Logger } from './core/log.ts';
import { quietLogger } from './core/log.ts';
import type { Observer } from './core/observer.ts';
import { RealClock } from './core/real-clock.ts';
import type { Random } from './core/random.ts';
import { realRandom } from './core/random.ts';
import { LB_POLICIES } from './balancing/registry.ts';
import type { BreakerConfig } from './config/cluster.ts';
import { DEFAULT_BREAKER } from './config/cluster.ts';
import { FILTERS } from './filters/registry.ts';
import type { HostPatterns } from './matching/host-patterns.ts';
import { hostPatterns } from './matching/host-patterns.ts';
import { load } from './lazy.ts';
import { MeshEngine } from './mesh.ts';
import { LateTls } from './late-tls.ts';
import { Telemetry } from './telemetry/telemetry.ts';
import type { CallMetrics } from './telemetry/call-metrics.ts';
import type { MetricsBridge, Tracer } from './telemetry/tracer.ts';

/** Options of `createMesh`. All are optional; a string stands for `{ config: string }`. */
export interface MeshOptions {
  /** Path of a `mesh.yaml`, or of a bootstrap in the gRPC format (`.json`). Wins over the environment. */
  readonly config?: string;
  /** A bootstrap in the gRPC format, as an object. Wins over `config`. */
  readonly bootstrap?: object;
  /**
   * Hosts that belong to the mesh: `reviews`, `reviews:9080`, `*.svc.cluster.local`, `*`. Default: `INMESH_INCLUDE` (comma-separated), then
   * the key `include` of `mesh.yaml`, then the hosts of `mesh.yaml`. `xds:///` targets always belong.
   */
  readonly include?: readonly string[];
  /** Milliseconds that a call to an included host may wait for the first configuration; default 15 000. */
  readonly startTimeout?: number;
  /** What HTTP callers see of a failure: a real `Response` with the status a sidecar would give (default), or a thrown `MeshError`. */
  readonly onFailure?: 'response' | 'throw';
  /** Subscribe to all listeners and clusters, as an Envoy sidecar does, instead of names on demand; default false. */
  readonly wildcard?: boolean;
  /** Read `mesh.yaml` again when it changes; default true. */
  readonly watch?: boolean;
  /** opossum breakers by cluster name, beside those of `mesh.yaml`; what is left out has the defaults of `breaker` there. */
  readonly breakers?: Readonly<Record<string, Partial<BreakerConfig>>>;
  /** HTTP filters of your own, beside those of inmesh; see `inmesh/extend`. */
  readonly filters?: readonly FilterFactory<unknown>[];
  /** LB policies of your own, found by their type URL in a cluster's `load_balancing_policy`. */
  readonly lbPolicies?: readonly LbPolicyFactory<unknown>[];
  /** Layers around every attempt, after its endpoint is chosen; outermost first. */
  readonly attemptLayers?: readonly Layer<Attempt>[];
  /** Told of the start and the end of every call and attempt. */
  readonly observers?: readonly Observer[];
  /** Where messages go; default: warnings and errors to standard error. Nothing is logged per request. */
  readonly logger?: Logger;
  /** For tests: time. */
  readonly clock?: Clock;
  /** For tests: chance. */
  readonly random?: Random;
}

type Configuration = { readonly kind: 'mesh-yaml'; readonly path: string } | { readonly kind: 'bootstrap'; readonly bootstrap: Bootstrap };

/** Started, but maybe not attached yet: `attached` settles when the source is there, and rejects when it cannot be. */
export interface Started {
  readonly engine: MeshEngine;
  readonly attached: Promise<void>;
}

/** Sent to control planes as `user_agent_version`; a test compares it with package.json. */
export const VERSION = '0.1.0';

const ORDER = 'the argument of createMesh, GRPC_XDS_BOOTSTRAP, GRPC_XDS_BOOTSTRAP_CONFIG, INMESH_CONFIG, ./mesh.yaml';

const parseBootstrap = (text: string, origin: string): Bootstrap => load('./xds/bootstrap').readBootstrap(text, origin);

function readText(path: string, what: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new MeshError('ERR_MESH_CONFIG', `cannot read ${what} ${path}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

function fromFile(path: string, what: string): Configuration {
  const absolute = resolvePath(path);
  if (extname(absolute) === '.json') return { kind: 'bootstrap', bootstrap: parseBootstrap(readText(absolute, what), absolute) };
  readText(absolute, what);
  return { kind: 'mesh-yaml', path: absolute };
}

function findConfiguration(options: MeshOptions, env: Environment): Configuration {
  if (options.bootstrap !== undefined) {
    return { kind: 'bootstrap', bootstrap: parseBootstrap(JSON.stringify(options.bootstrap), 'the option "bootstrap"') };
  }
  if (options.config !== undefined) return fromFile(options.config, 'the configuration');
  const path = env['GRPC_XDS_BOOTSTRAP'];
  if (path !== undefined && path !== '') {
    return { kind: 'bootstrap', bootstrap: parseBootstrap(readText(path, 'the file that GRPC_XDS_BOOTSTRAP names,'), path) };
  }
  const text = env['GRPC_XDS_BOOTSTRAP_CONFIG'];
  if (text !== undefined && text !== '') return { kind: 'bootstrap', bootstrap: parseBootstrap(text, 'GRPC_XDS_BOOTSTRAP_CONFIG') };
  const named = env['INMESH_CONFIG'];
  if (named !== undefined && named !== '') return fromFile(named, 'the file that INMESH_CONFIG names,');
  if (existsSync('mesh.yaml')) return { kind: 'mesh-yaml', path: resolvePath('mesh.yaml') };
  throw new MeshError('ERR_MESH_CONFIG', 'no configuration was found', { cure: `Looked in this order: ${ORDER}` });
}

function includeOf(options: MeshOptions, env: Environment, file: readonly string[] | undefined): HostPatterns | undefined {
  const fromEnvironment = env['INMESH_INCLUDE'];
  const patterns =
    options.include ?? (fromEnvironment === undefined || fromEnvironment === '' ? undefined : fromEnvironment.split(',')) ?? file;
  return patterns === undefined ? undefined : hostPatterns(patterns);
}

/** Reads and validates everything, then starts; throws `MeshError` on anything that is wrong. */
export function start(input: string | MeshOptions = {}, env: Environment = readEnvironment()): Started {
  const options: MeshOptions = typeof input === 'string' ? { config: input } : input;
  const { startTimeout } = options;
  // Before anything is opened: what throws must leave nothing behind.
  if (startTimeout !== undefined && !(startTimeout >= 0))
    throw new MeshError('ERR_MESH_OPTION', `startTimeout must be a number of milliseconds, not ${String(startTimeout)}`);
  const clock = options.clock ?? new RealClock();
  const log = options.logger ?? quietLogger;
  const configuration = findConfiguration(options, env);
  if (configuration.kind === 'mesh-yaml') {
    const source = load('./sources/mesh-yaml-source').MeshYamlSource.open(configuration.path, { clock, log, watch: options.watch ?? true });
    const engine = makeEngine(options, clock, log, source.startTimeout);
    engine.attach(source, includeOf(options, env, source.include), new LateTls({ providers: source.certificateProviders, clock, log }));
    return { engine, attached: Promise.resolve() };
  }
  const { bootstrap } = configuration;
  const engine = makeEngine(options, clock, log, undefined);
  const include = includeOf(options, env, undefined) ?? hostPatterns([]);
  // Known at once: calls to these hosts wait for the source instead of passing by (`inmesh/register` does not wait for `attached`).
  engine.include = include;
  const attached = openXds(bootstrap, options, engine).then((source) =>
    engine.attach(source, include, new LateTls({ providers: bootstrap.certificateProviders, clock, log })),
  );
  attached.catch((error: unknown) => engine.abandon(`xDS could not be started: ${String(error)}`, include));
  return { engine, attached };
}

function makeEngine(options: MeshOptions, clock: Clock, log: Logger, fileTimeoutMs: number | undefined): MeshEngine {
  const breakers = Object.entries(options.breakers ?? {}).map(([name, breaker]) => [name, { ...DEFAULT_BREAKER, ...breaker }] as const);
  return new MeshEngine({
    clock,
    random: options.random ?? realRandom,
    log,
    telemetry: new Telemetry({ clock, observers: options.observers ?? [], tracer: lateTracer(), bridge: bridgeIfExported }),
    filters: [...(options.filters ?? []), ...FILTERS],
    lbPolicies: [...(options.lbPolicies ?? []), ...LB_POLICIES],
    breakers: Object.fromEntries(breakers),
    attemptLayers: options.attemptLayers ?? [],
    startTimeoutMs: options.startTimeout ?? fileTimeoutMs ?? 15_000,
  });
}

/** Where `@opentelemetry/api` keeps its globals; `trace` and `metrics` are there once somebody registered a provider. */
const OTEL_GLOBALS: unique symbol = Symbol.for('opentelemetry.js.api.1');

const globals: { readonly [OTEL_GLOBALS]?: { readonly trace?: unknown; readonly metrics?: unknown } } = globalThis as object;

/** Asked on every call, so it is one property of the global object (10 ns; `Reflect.get` takes 40). */
function registered(signal: 'trace' | 'metrics'): boolean {
  return globals[OTEL_GLOBALS]?.[signal] !== undefined;
}

/** The tracer, once an SDK is registered; until then a look-up and nothing else. */
function lateTracer(): () => Tracer | undefined {
  let tracer: Tracer | undefined;
  return () => (tracer ??= registered('trace') ? load('./adapters/opentelemetry/index').createTracer() : undefined);
}

function bridgeIfExported(cells: CallMetrics): MetricsBridge | undefined {
  return registered('metrics') ? load('./adapters/opentelemetry/index').bridgeMetrics(cells) : undefined;
}

/** Loads grpc-js and protobuf: only processes that speak xDS pay for them. */
async function openXds(bootstrap: Bootstrap, options: MeshOptions, engine: MeshEngine): Promise<ConfigSource> {
  const [{ XdsClient }, { RESOURCE_TYPES }, { createAdsTransport }] = await Promise.all([
    import('./xds/client.ts'),
    import('./xds/resource-types.ts'),
    import('./adapters/grpc/ads-stream.ts'),
  ]);
  const { clock, random, log, filters, lbPolicies } = engine.parts;
  return new XdsClient({
    bootstrap,
    // A process that has nothing else to do ends; what waits for a configuration holds it by its own timer.
    transport: (server) => createAdsTransport(server, { background: true }),
    types: RESOURCE_TYPES,
    decode: { filters, lbPolicies },
    clock,
    random,
    log,
    wildcard: options.wildcard ?? false,
    userAgentVersion: VERSION,
  });
}
