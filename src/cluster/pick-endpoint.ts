/** The layer that chooses the endpoint: last before the wire, so that it sees the freshest health, and avoids hosts already tried. */
import type { RetryPolicyConfig } from '../config/routes.ts';
import type { Attempt } from '../core/call.ts';
import { failure, FAILURES } from '../core/failure.ts';
import type { Layer } from '../core/handler.ts';
import { stepLayer } from '../core/handler.ts';
import type { Reply } from '../core/reply.ts';
import { failureReply } from '../core/reply.ts';
import { pickAvoiding } from '../balancing/avoid-tried.ts';
import type { MeshCluster } from './cluster.ts';

class PickStep {
  readonly #cluster: MeshCluster;
  readonly #retry: RetryPolicyConfig | undefined;

  constructor(cluster: MeshCluster, retry: RetryPolicyConfig | undefined) {
    this.#cluster = cluster;
    this.#retry = retry;
  }

  enter(attempt: Attempt): Reply | undefined {
    const { call } = attempt;
    const endpoint = call.tried === undefined ? this.#cluster.pick(call) : pickAvoiding(this.#cluster, call, this.#retry);
    if (endpoint === undefined) return failureReply(failure(FAILURES.noHealthyUpstream, this.#reason()));
    attempt.endpoint = endpoint;
    return undefined;
  }

  #reason(): string {
    const { name, endpoints, note } = this.#cluster;
    if (endpoints.length === 0) return `cluster "${name}" has no endpoints${note === '' ? '' : ` (${note})`}`;
    const ejected = endpoints.filter((endpoint) => endpoint.ejected).length;
    return `cluster "${name}": none of its ${endpoints.length} endpoints may be used (${ejected} ejected)`;
  }
}

export function pickEndpoint(cluster: MeshCluster, retry: RetryPolicyConfig | undefined): Layer<Attempt> {
  return stepLayer('pick-endpoint', new PickStep(cluster, retry));
}
