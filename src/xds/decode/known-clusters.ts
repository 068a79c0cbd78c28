/**
 * Clusters that differ from one decoded before in their names only: the configuration is made from that one, which also keeps thresholds,
 * outlier detection and policies of ten thousand clusters once. What may differ is in `SPEC`; everything else is compared byte by byte.
 */
import type { ClusterConfig } from '../../config/cluster.ts';
import type { UpstreamTlsConfig } from '../../config/tls.ts';
import type { DecodeContext } from '../resource-type.ts';
import { outlineOf } from './outline.ts';
import type { Scope } from './scope.ts';
import type { Outline, Outlined, OutlineSpec } from './outline.ts';

const NAME = 0;
const SERVICE_NAME = 1;
const SNI = 2;
const STATISTICS_NAME = 3;
const MAX_SNI_BYTES = 255;
const UPSTREAM_TLS = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext';

const TLS: OutlineSpec = { fields: new Map([[2, { fields: new Map([[2, SNI]]) }]]), where: [1, UPSTREAM_TLS] };
const TRANSPORT_SOCKET: OutlineSpec = { fields: new Map([[3, TLS]]) };

/** Of metadata only `filter_metadata.inmesh` is read. */
const SPEC: OutlineSpec = {
  fields: new Map<number, Outlined>([
    [1, NAME],
    [3, { fields: new Map([[2, SERVICE_NAME]]) }],
    [24, TRANSPORT_SOCKET],
    [25, { unless: 'inmesh' }],
    [28, STATISTICS_NAME],
    [43, { fields: new Map([[3, TRANSPORT_SOCKET]]) }],
  ]),
};

/** Kinds of clusters that are remembered for one client; a control plane has few. */
const MAX_KNOWN = 256;

interface Known {
  readonly config: ClusterConfig;
  /** Fields without effect, as they were recorded. */
  readonly unsupported: readonly string[];
}

/** The text with this number, when there is one and no other; empty when there is none. */
function only(outline: Outline, number: number): string | undefined {
  let found = '';
  for (const [other, text] of outline.texts) {
    if (other !== number) continue;
    if (found !== '' && found !== text) return undefined;
    found = text;
  }
  return found;
}

interface Names {
  readonly name: string;
  readonly serviceName: string;
  readonly sni: string;
}

function namesOf(outline: Outline): Names | undefined {
  const name = only(outline, NAME);
  const service = only(outline, SERVICE_NAME);
  const sni = only(outline, SNI);
  if (name === undefined || name === '' || name.startsWith('xdstp:') || service === undefined || sni === undefined) return undefined;
  // The same text once.
  const serviceName = service === '' || service === name ? name : service;
  return sni.length > MAX_SNI_BYTES ? undefined : { name, serviceName, sni };
}

export class KnownClusters {
  readonly #known = new Map<string, Known>();

  /** Decodes by `decode`, unless that was done for a cluster like this. */
  take(bytes: Uint8Array, scope: Scope, decode: () => ClusterConfig): ClusterConfig {
    const outline = outlineOf(bytes, SPEC);
    const names = outline && namesOf(outline);
    if (outline === undefined || names === undefined) return decode();
    const known = this.#known.get(outline.key);
    if (known !== undefined) {
      scope.name = names.name;
      for (const field of known.unsupported) scope.note(field);
      return withNames(known.config, names);
    }
    const config = decode();
    if (!isLike(config, names)) return config;
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.set(outline.key, { config, unsupported: [...scope.noted] });
    return withNames(config, names);
  }
}

/** Whether the names are where they are thought to be. */
function isLike({ name, discovery, tls, sockets = [] }: ClusterConfig, names: Names): boolean {
  const secured = [tls, ...sockets.map((socket) => socket.tls)];
  return (
    name === names.name &&
    discovery.kind === 'eds' &&
    discovery.serviceName === names.serviceName &&
    secured.every((each) => each === undefined || each.sni === names.sni)
  );
}

function withSni(tls: UpstreamTlsConfig | undefined, sni: string): UpstreamTlsConfig | undefined {
  return tls === undefined || tls.sni === sni ? tls : Object.freeze({ ...tls, sni });
}

function withNames(config: ClusterConfig, { name, serviceName, sni }: Names): ClusterConfig {
  const { discovery, tls, sockets } = config;
  if (discovery.kind !== 'eds') return config;
  return Object.freeze({
    ...config,
    name,
    discovery: Object.freeze({ ...discovery, serviceName }),
    tls: withSni(tls, sni),
    ...(sockets && { sockets: Object.freeze(sockets.map((each) => Object.freeze({ ...each, tls: withSni(each.tls, sni) }))) }),
  });
}

const byContext = new WeakMap<object, WeakMap<object, KnownClusters>>();

/** Those of one client: what is valid depends on its policies and its certificate providers. */
export function knownClusters({ lbPolicies, certificateProviders }: DecodeContext): KnownClusters {
  let byProviders = byContext.get(lbPolicies);
  if (byProviders === undefined) byContext.set(lbPolicies, (byProviders = new WeakMap<object, KnownClusters>()));
  let known = byProviders.get(certificateProviders);
  if (known === undefined) byProviders.set(certificateProviders, (known = new KnownClusters()));
  return known;
}
