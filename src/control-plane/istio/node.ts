/** Who a node is to istiod: what its id and its metadata say (`sidecar~IP~NAME.NAMESPACE~DOMAIN`), and which generator serves it. */
import type { RequestNode } from '../messages.ts';

export interface IstioNode {
  /** `grpc`: proxyless (`GENERATOR=grpc` in the metadata); `sidecar`: as an Envoy sidecar is served. */
  readonly generator: 'grpc' | 'sidecar';
  readonly namespace: string;
  /** e.g. `shop.svc.cluster.local`. */
  readonly dnsDomain: string;
  readonly addresses: readonly string[];
  /** The pod says that its callers use mutual TLS (label `security.istio.io/tlsMode: istio`). */
  readonly tlsMode: boolean;
  /** `INTERCEPTION_MODE=NONE`: listeners bind the real ports. */
  readonly bindsPorts: boolean;
  readonly serviceAccount: string | undefined;
}

const TYPES = new Set(['sidecar', 'router', 'waypoint', 'ztunnel', 'agentgateway']);

/** Throws `TypeError` in istiod's words for a node that it would turn away. */
export function istioNode(node: RequestNode | undefined): IstioNode {
  if (node === undefined || node.id === '') throw new TypeError('missing node information');
  const parts = node.id.split('~');
  const [type = '', address = '', name = '', dnsDomain = ''] = parts;
  if (parts.length !== 4) throw new TypeError(`missing parts in the service node ${JSON.stringify(node.id)}`);
  if (!TYPES.has(type)) throw new TypeError(`invalid node type (valid types: ${[...TYPES].join(', ')}) in the service node "${node.id}"`);
  const metadata = node.metadata ?? {};
  const text = (key: string): string | undefined => (typeof metadata[key] === 'string' ? metadata[key] : undefined);
  // Lists are texts with commas in what the agent writes.
  const addresses = [...new Set([address, ...(text('INSTANCE_IPS')?.split(',') ?? [])])].filter((one) => one !== '');
  if (addresses.length === 0) throw new TypeError(`no valid IP address in the service node id or INSTANCE_IPS: "${node.id}"`);
  const labels = metadata['LABELS'];
  const tlsMode = typeof labels === 'object' && labels !== null ? Reflect.get(labels, 'security.istio.io/tlsMode') : undefined;
  return {
    generator: text('GENERATOR') === 'grpc' ? 'grpc' : 'sidecar',
    namespace: text('NAMESPACE') ?? name.split('.')[1] ?? 'default',
    dnsDomain,
    addresses,
    tlsMode: tlsMode === 'istio',
    bindsPorts: text('INTERCEPTION_MODE') === 'NONE',
    serviceAccount: text('SERVICE_ACCOUNT'),
  };
}
