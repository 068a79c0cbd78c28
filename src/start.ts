/**
 * From options, environment and the configuration that counts to a running engine with the source that serves it.
 * Reading and validating is synchronous (`inmesh/register` needs that); what speaks xDS is loaded afterwards.
 */
import { existsSync } from 'node:fs';
import { resolve as resolvePath } from 'node:path';
import type { Bootstrap } from './config/bootstrap.ts';
import type { ConfigSource } from './config/resource.ts';
import type { Clock } from './core/clock.ts';
import { readEnvironment } from './core/environment.ts';
import type { Environment } from './core/environment.ts';
import type { Logger } from './core/log.ts';
import { quietLogger } from './core/log.ts';
import { RealClock } from './core/real-clock.ts';
import { realRandom } from './core/random.ts';
import type { AdsTransport } from './core/transport.ts';
import { LB_POLICIES } from './balancing/registry.ts';
import { DEFAULT_BREAKER } from './config/cluster.ts';
import { FILTERS } from './filters/registry.ts';
import type { HostPatterns } from './matching/host-patterns.ts';
import { hostPatterns } from './matching/host-patterns.ts';
import { findConfiguration } from './configuration.ts';
import { load } from './lazy.ts';
import type { IncludeRule } from './mesh.ts';
import { MeshEngine } from './mesh.ts';
import { LateTls } from './late-tls.ts';
import { lateGrpc, listenAddress } from './late-grpc.ts';
import { withControlPlane } from './control-plane-option.ts';
import { controlPlaneTransport, restTransport } from './control-plane-transport.ts';
import type { MeshOptions } from './options.ts';
import { checkOptions, includeFromEnvironment } from './options.ts';
import { protocolFromEnvironment, protocolProblem, withProtocol } from './protocol.ts';
import { runtimeLayersOf } from './runtime-layers.ts';
import type { Subscription } from './subscription.ts';
import { subscriptionOf } from './subscription.ts';
import { Telemetry } from './telemetry/telemetry.ts';
import type { CallMetrics } from './telemetry/call-metrics.ts';
import type { MetricsBridge, Tracer } from './telemetry/tracer.ts';

export type { MeshOptions } from './options.ts';

/** Started, but maybe not attached yet: `attached` settles when the source is there, and rejects when it cannot be. */
export interface Started {
  readonly engine: MeshEngine;
  readonly attached: Promise<void>;
}

/** Sent to control planes as `user_agent_version`; a test compares it with package.json. */
export const VERSION = '0.1.0';

/** The first of the rules that names hosts. */
function includeOf(
  given: readonly string[] | undefined,
  environment: readonly string[] | undefined,
  file: readonly string[] | undefined,
  otherwise: IncludeRule,
): { readonly patterns: HostPatterns | undefined; readonly rule: IncludeRule } {
  if (given !== undefined) return { patterns: hostPatterns(given), rule: 'option' };
  if (environment !== undefined) return { patterns: hostPatterns(environment), rule: 'INMESH_INCLUDE' };
  if (file !== undefined) return { patterns: hostPatterns(file), rule: 'mesh.yaml include' };
  return { patterns: undefined, rule: otherwise };
}

/** Reads and validates everything, then starts; throws `MeshError` on anything that is wrong. */
export function start(input: string | MeshOptions = {}, env: Environment = readEnvironment()): Started {
  // Before anything is opened: what throws must leave nothing behind.
  const options = checkOptions(input);
  const environment = options.include === undefined ? includeFromEnvironment(env['INMESH_INCLUDE']) : undefined;
  const subscription = subscriptionOf(options, env);
  const protocol = options.protocol ?? protocolFromEnvironment(env);
  const lastGood = options.lastGood ?? (env['INMESH_LAST_GOOD'] || undefined);
  const clock = options.clock ?? new RealClock();
  const log = options.logger ?? quietLogger;
  const configuration = findConfiguration(options, env);
  if (configuration.kind === 'mesh-yaml') {
    const source = load('./sources/mesh-yaml-source').MeshYamlSource.open(configuration.path, { clock, log, watch: options.watch ?? true });
    const engine = makeEngine(options, clock, log, { fileTimeoutMs: source.startTimeout });
    const { patterns, rule } = includeOf(options.include, environment, source.include, 'mesh.yaml hosts');
    engine.includeRule = rule;
    engine.attach(source, patterns, lateTls(source, source.certificateProviders, clock, log));
    return { engine, attached: Promise.resolve() };
  }
  const bootstrap = withProtocol(withControlPlane(configuration.bootstrap, options.controlPlane, env), protocol);
  const problem = protocolProblem(bootstrap);
  if (problem !== undefined) log.warn(problem, { cure: "leave the option protocol out, or set it to 'sotw'" });
  const engine = makeEngine(options, clock, log, { ...subscription, layers: bootstrap.runtime });
  const { patterns = hostPatterns([]), rule } = includeOf(options.include, environment, undefined, 'none');
  // Known at once: calls to these hosts wait for the source instead of passing by (`inmesh/register` does not wait for `attached`).
  engine.include = patterns;
  engine.includeRule = rule;
  const attached = openXds({ bootstrap, options, subscription, lastGood }, engine).then((source) =>
    engine.attach(source, patterns, lateTls(source, bootstrap.certificateProviders, clock, log)),
  );
  attached.catch((error: unknown) => engine.abandon(`xDS could not be started: ${String(error)}`, patterns));
  return { engine, attached };
}

function lateTls(source: ConfigSource, providers: Bootstrap['certificateProviders'], clock: Clock, log: Logger): LateTls {
  return new LateTls({ providers, clock, log, secret: (name, from) => source.get('secret', name, from) });
}

interface Engine {
  readonly fileTimeoutMs?: number | undefined;
  readonly clustersOnDemand?: boolean;
  readonly layers?: Bootstrap['runtime'];
}

function makeEngine(options: MeshOptions, clock: Clock, log: Logger, from: Engine): MeshEngine {
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
    startTimeoutMs: options.startTimeout ?? from.fileTimeoutMs ?? 15_000,
    clustersOnDemand: from.clustersOnDemand ?? false,
    runtime: runtimeLayersOf(options.runtime, from.layers ?? []),
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

/**
 * Loads protobuf, and grpc-js where there is a stream: only processes that speak xDS pay for them. Meshes with the same bootstrap share one client, and so one
 * stream per control plane; extensions of a mesh decide what a resource decodes to, and time or chance of a test belong to it alone.
 */
interface XdsStart {
  readonly bootstrap: Bootstrap;
  readonly options: MeshOptions;
  readonly subscription: Subscription;
  readonly lastGood: string | undefined;
}

async function openXds({ bootstrap, options, subscription, lastGood }: XdsStart, engine: MeshEngine): Promise<ConfigSource> {
  const saved = lastGood !== undefined && existsSync(lastGood);
  const [{ XdsClient }, { RESOURCE_TYPES }, { shareClient, sharingKey }, { NamedRoutesSource }] = await Promise.all([
    import('./xds/client.ts'),
    import('./xds/resource-types.ts'),
    import('./xds/shared-client.ts'),
    import('./xds/named-routes.ts'),
    // Files and REST do without, and so does a start from the last-good file; a resource may still name a stream.
    ...(bootstrap.servers.length > 0 && !saved ? [import('./adapters/grpc/ads-stream.ts')] : []),
  ]);
  const { clock, random, log, filters, lbPolicies } = engine.parts;
  // Envoy's clients subscribe to all listeners and clusters (Envoy X-9).
  const wildcard = subscription.listeners === 'wildcard' || (bootstrap.format === 'envoy' && subscription.listeners !== 'routes');
  const open = (logger: Logger): ConfigSource =>
    new XdsClient({
      bootstrap,
      // A process that has nothing else to do ends; what waits for a configuration holds it by its own timer.
      transport: (server) => {
        const create = (): AdsTransport =>
          controlPlaneTransport(server, {
            create: load('./adapters/grpc/ads-stream').createAdsTransport,
            providers: bootstrap.certificateProviders,
            clock,
            random,
            log: logger,
            background: true,
          });
        const address = saved ? listenAddress(server.uri, readEnvironment()) : undefined;
        return address === undefined ? create() : lateGrpc({ address, clock, load: create });
      },
      restTransport: (server, source) =>
        restTransport(server, source, { providers: bootstrap.certificateProviders, clock, random, log: logger, background: true }),
      pathTransport: (source) => load('./sources/config-file-transport').createConfigFileTransport(source, { clock, log: logger }),
      types: RESOURCE_TYPES,
      decode: { filters, lbPolicies },
      clock,
      random,
      log: logger,
      wildcard,
      userAgentVersion: VERSION,
      ...(lastGood !== undefined && { lastGood: resolvePath(lastGood) }),
    });
  const own = [options.clock, options.random].some((given) => given !== undefined);
  const extended = [options.filters, options.lbPolicies].some((given) => given !== undefined && given.length > 0);
  const client = own || extended ? open(log) : shareClient(sharingKey(bootstrap, wildcard, VERSION, lastGood), log, open);
  return subscription.listeners === 'routes' ? new NamedRoutesSource(client, subscription.routeNames) : client;
}
