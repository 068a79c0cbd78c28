/**
 * Picks the host that the call itself names: clusters of type ORIGINAL_DST, such as Istio's `PassthroughCluster`. A sidecar dials the address
 * that the application dialled; inside the process that is the authority, which the library resolves as it would without a mesh.
 */
import type { EndpointConfig, EndpointsConfig } from '../config/endpoints.ts';
import type { OutboundCall } from '../core/call.ts';
import type { Picker } from '../core/endpoint.ts';
import { splitAuthority } from '../matching/host-patterns.ts';
import { addressOf } from './endpoint.ts';
import type { MeshEndpoint } from './endpoint.ts';

/** Hosts that are kept at most; those that no attempt uses go first, the oldest of them. */
const MAX_HOSTS = 1000;

export class OriginalDst implements Picker {
  readonly #assign: (assignment: EndpointsConfig) => readonly MeshEndpoint[];
  readonly #plain = new Map<string, MeshEndpoint>();
  readonly #secure = new Map<string, MeshEndpoint>();
  #endpoints: readonly MeshEndpoint[] = [];

  /** `assign` makes these the cluster's endpoints, keeping those that were there. */
  constructor(assign: (assignment: EndpointsConfig) => readonly MeshEndpoint[]) {
    this.#assign = assign;
  }

  pick(call: OutboundCall): MeshEndpoint | undefined {
    const { authority, scheme } = call.head;
    const known = (scheme === 'https' ? this.#secure : this.#plain).get(authority);
    return known !== undefined && !known.gone ? known : this.#add(authority, scheme);
  }

  #add(authority: string, scheme: string): MeshEndpoint | undefined {
    const parts = splitAuthority(authority);
    const host = parts.host.startsWith('[') ? parts.host.slice(1, -1) : parts.host;
    if (host === '') return undefined;
    const port = parts.port === '' ? (scheme === 'https' ? 443 : 80) : Number(parts.port);
    const address = addressOf(host, port);
    let found = this.#endpoints.find((endpoint) => endpoint.address === address);
    if (found === undefined) {
      const config: EndpointConfig = { host, port, hostname: '', weight: 1, health: 'unknown', metadata: undefined };
      const configs = [...this.#kept().map((endpoint) => endpoint.config), config];
      this.#endpoints = this.#assign({
        clusterName: '',
        localities: [{ locality: '', priority: 0, weight: undefined, endpoints: configs }],
        dropOverloads: [],
        overprovisioningFactor: 140,
      });
      found = this.#endpoints.at(-1);
    }
    const map = scheme === 'https' ? this.#secure : this.#plain;
    if (map.size >= MAX_HOSTS) map.clear();
    if (found !== undefined) map.set(authority, found);
    return found;
  }

  #kept(): readonly MeshEndpoint[] {
    if (this.#endpoints.length < MAX_HOSTS) return this.#endpoints;
    const victim = this.#endpoints.find(({ active }) => active === 0) ?? this.#endpoints[0];
    return this.#endpoints.filter((endpoint) => endpoint !== victim);
  }
}
