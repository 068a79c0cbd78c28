/** The outbound stack, as a list: what a call of the application goes through, in order. Mechanisms live in the folders named. */
import type { HttpManagerConfig } from './config/listener.ts';
import type { ForwardActionConfig, RetryPolicyConfig } from './config/routes.ts';
import type { Attempt, Call, OutboundCall } from './core/call.ts';
import type { Deps } from './core/extension.ts';
import type { Handler, Layer } from './core/handler.ts';
import { stack, stepsOf } from './core/handler.ts';
import type { DirectPath } from './core/target.ts';
import type { MeshCluster } from './cluster/cluster.ts';
import { DirectStack } from './cluster/direct.ts';
import { pickEndpoint } from './cluster/pick-endpoint.ts';
import { sendAttempt } from './cluster/send-attempt.ts';
import { admit } from './resilience/admission.ts';
import { countAttempts, Retrier, SingleAttempt } from './resilience/retry.ts';
import { attemptTimeLimit, callTimeLimit } from './resilience/time-limit.ts';
import { mutateHeaders } from './routing/mutate-headers.ts';
import { rewrite, rewriteHostPerAttempt } from './routing/rewrite.ts';
import type { RouteContext } from './routing/route-table.ts';

export interface OutboundRoute {
  readonly where: RouteContext;
  readonly action: ForwardActionConfig;
  readonly manager: HttpManagerConfig;
  readonly cluster: MeshCluster;
  /** xDS HTTP filters in their order, with overrides applied. */
  readonly filters: readonly Layer<Call>[];
  /** Layers given in code (`createMesh({ attemptLayers })`). */
  readonly attemptLayers: readonly Layer<Attempt>[];
}

export interface OutboundStack {
  readonly handler: Handler<OutboundCall>;
  readonly direct: DirectPath | undefined;
  /** Names of the layers, outermost first, for `mesh.describe()`. */
  readonly names: readonly string[];
}

const present = <T>(...layers: readonly (T | undefined)[]): T[] => layers.filter((layer) => layer !== undefined);

export function outbound(route: OutboundRoute, deps: Deps): OutboundStack {
  const { where, action, manager, cluster, filters, attemptLayers } = route;
  const retry = retryPolicyOf(route);
  const thresholds = action.priority === 'high' ? cluster.config.thresholds.high : cluster.config.thresholds.default;

  const callLayers: Layer<OutboundCall>[] = present<Layer<OutboundCall>>(
    ...filters, //                                    in xDS order; they see what the application sent
    mutateHeaders(where), //                          after the filters
    rewrite(where), //                                host, then path (Envoy R-46)
    callTimeLimit(action, manager), //                spans all attempts and their pauses
  );
  // Below this line: once per attempt.
  const attemptList: Layer<Attempt>[] = present<Layer<Attempt>>(
    attemptTimeLimit(action, retry), //               outermost: connecting counts too
    where.virtualHost.includeAttemptCount ? countAttempts() : undefined, // x-envoy-attempt-count (Envoy R-69)
    cluster.breaker?.layer(), //                      opossum, only where configured
    admit(cluster, thresholds), //                    below retry, so that each try takes a slot
    pickEndpoint(cluster, retry), //                  late: the freshest view of health
    rewriteHostPerAttempt(where), //                  auto_host_rewrite needs the endpoint
    ...attemptLayers, //                              they see the endpoint
  );

  const attempts = stack(attemptList, sendAttempt(deps.clock));
  const judge = retry === undefined ? undefined : new Retrier(retry, attempts, { cluster, thresholds }, deps);
  const callSteps = stepsOf(callLayers);
  const attemptSteps = stepsOf(attemptList);
  return {
    handler: stack(callLayers, judge ?? new SingleAttempt(attempts)),
    direct: callSteps === undefined || attemptSteps === undefined ? undefined : new DirectStack(callSteps, attemptSteps, judge),
    names: [...callLayers.map((l) => l.name), judge === undefined ? 'attempt' : 'retry', ...attemptList.map((l) => l.name), 'send'],
  };
}

/** The route's policy overrides its virtual host's entirely (Envoy R-60, gRFC A44). */
function retryPolicyOf(route: OutboundRoute): RetryPolicyConfig | undefined {
  return route.action.retry ?? route.where.virtualHost.retry;
}
