/** What the control plane has to serve: resources by type and name with versions per type, as bytes for one receiver. No IO. */
import type { ListenerConfig } from '../config/listener.ts';
import type { ResourceKind } from '../config/resource.ts';
import { TYPE_URLS } from '../config/resource.ts';
import type { AnyMessage } from '../core/extension.ts';
import type { LoadedMeshYaml } from '../sources/mesh-yaml/load.ts';
import { Encoder } from './encode/resource.ts';
import type { InlineCertificates } from './encode/tls.ts';

const KIND_BY_URL = new Map<string, ResourceKind>(Object.entries(TYPE_URLS).map(([kind, url]) => [url, kind as ResourceKind]));
const INBOUND = /^inbound\/(?:\[([^\]]+)\]|([^:]+)):(\d+)$/;

export function kindOfUrl(typeUrl: string): ResourceKind | undefined {
  return KIND_BY_URL.get(typeUrl);
}

export class ResourceStore {
  readonly #encoder = new Encoder();
  readonly #versions = new Map<ResourceKind, number>();
  /** Server listeners for one bound address, made from those for any address. */
  #derived = new WeakMap<ListenerConfig, Map<string, ListenerConfig>>();
  #loaded: LoadedMeshYaml | undefined;
  #raw = new Map<ResourceKind, Map<string, AnyMessage>>();

  /** Takes over a file; true when anything differs from before. */
  load(loaded: LoadedMeshYaml): boolean {
    const before = this.#loaded?.resources;
    const rawBefore = this.#raw;
    this.#raw = new Map();
    for (const { kind, name, packed } of loaded.raw) {
      const names = this.#raw.get(kind) ?? new Map<string, AnyMessage>();
      this.#raw.set(kind, names.set(name, packed));
    }
    let changed = false;
    for (const kind of KIND_BY_URL.values()) {
      if (before !== undefined && before[kind] === loaded.resources[kind] && sameRaw(rawBefore.get(kind), this.#raw.get(kind))) continue;
      this.#versions.set(kind, (this.#versions.get(kind) ?? 0) + 1);
      changed = true;
    }
    this.#loaded = loaded;
    return changed;
  }

  version(kind: ResourceKind): string {
    return String(this.#versions.get(kind) ?? 0);
  }

  names(kind: ResourceKind): readonly string[] {
    return [...(this.#loaded?.resources[kind].keys() ?? [])];
  }

  /** The same object as long as the resource is the same. Undefined: there is none of that name. */
  get(kind: ResourceKind, name: string, inline: InlineCertificates | undefined): AnyMessage | undefined {
    const raw = this.#raw.get(kind)?.get(name);
    if (raw !== undefined) return raw;
    const value = this.#loaded?.resources[kind].get(name);
    if (value !== undefined) return this.#encoder.encode(kind, value, inline);
    const listener = kind === 'listener' ? this.#inbound(name) : undefined;
    return listener === undefined ? undefined : this.#encoder.encode('listener', listener, inline);
  }

  /** A server asks for the address that it is bound to (`inbound/127.0.0.1:8080`); gRFC A36 wants to see that address in the answer. */
  #inbound(name: string): ListenerConfig | undefined {
    const match = INBOUND.exec(name);
    const general = match === null ? undefined : this.#loaded?.resources.listener.get(`inbound/0.0.0.0:${match[3]}`);
    if (match === null || general === undefined) return undefined;
    const known = this.#derived.get(general) ?? new Map<string, ListenerConfig>();
    this.#derived.set(general, known);
    let derived = known.get(name);
    if (derived === undefined) {
      derived = { ...general, name, address: { host: match[1] ?? match[2] ?? '', port: Number(match[3]) } };
      known.set(name, derived);
    }
    return derived;
  }
}

function sameRaw(before: ReadonlyMap<string, AnyMessage> | undefined, after: ReadonlyMap<string, AnyMessage> | undefined): boolean {
  if ((before?.size ?? 0) !== (after?.size ?? 0)) return false;
  for (const [name, packed] of after ?? []) {
    const old = before?.get(name);
    if (old === undefined || Buffer.compare(old.value, packed.value) !== 0) return false;
  }
  return true;
}
