/**
 * What the control plane has to serve, by type URL and name: resources of a `mesh.yaml` and such as are given raw, with versions per type
 * and per resource. Which of them go to whom, and when, is the streams' business. No IO.
 */
import { createHash } from 'node:crypto';
import type { ListenerConfig } from '../config/listener.ts';
import type { ResourceKind } from '../config/resource.ts';
import { TYPE_URLS } from '../config/resource.ts';
import type { AnyMessage } from '../core/extension.ts';
import type { ResourceSet } from '../sources/mesh-yaml/compile.ts';
import type { Encoder } from './encode/resource.ts';
import type { TlsMaterial } from './encode/tls.ts';

/** A resource as a receiver gets it. The same object as long as the resource is the same. */
export interface Served {
  readonly name: string;
  readonly body: AnyMessage;
  /** Other names that it may be asked for by (Envoy X-40); only the incremental dialect has them. */
  readonly aliases: readonly string[];
  /** Milliseconds for which it is valid; undefined: for ever (Envoy X-70). */
  readonly ttlMs: number | undefined;
  /** Given version; undefined: that of its bytes. */
  readonly version: string | undefined;
}

/** Who is asking, as far as that changes what is answered. */
export interface Receiver {
  readonly material: TlsMaterial;
  /** Secrets of the test CA, by name; they differ from node to node. */
  secret(name: string): AnyMessage | undefined;
}

/** What one node is served at one time. */
export interface Catalogue {
  /** Version of all resources of a type. */
  version(typeUrl: string): string;
  /** Versions are given and not counted: another one is a news even if the resources are the same, as for go-control-plane. */
  readonly versioned: boolean;
  /** Own names of the resources of a type: what a wildcard stands for. */
  names(typeUrl: string): readonly string[];
  /** By its own name or an alias. Undefined: there is none. */
  get(typeUrl: string, name: string, receiver: Receiver): Served | undefined;
  /** Names of the resources that an asked name stands for; absent: it stands for itself. */
  expand?(typeUrl: string, name: string): readonly string[];
  /** All resources of the type are sent, whatever is asked for; absent: none is so. */
  whole?(typeUrl: string): boolean;
  /** Incremental: names that are added take the place of the earlier ones, which are not pushed any more; absent: no type is so. */
  forgets?(typeUrl: string): boolean;
}

/** What a catalogue is made of. */
export interface Content {
  /** Resources of a `mesh.yaml`, to be encoded. */
  readonly mesh: ResourceSet | undefined;
  readonly raw: readonly RawServed[];
  /** Version of every type; undefined: they are counted. */
  readonly version: string | undefined;
}

export interface RawServed extends Served {
  readonly typeUrl: string;
}

const KIND_BY_URL = new Map<string, ResourceKind>(Object.entries(TYPE_URLS).map(([kind, url]) => [url, kind as ResourceKind]));
const INBOUND = /^inbound\/(?:\[([^\]]+)\]|([^:]+)):(\d+)$/;
const NO_RAW: ReadonlyMap<string, ReadonlyMap<string, RawServed>> = new Map();
const NONE: ReadonlyMap<string, Served> = new Map();

export function kindOfUrl(typeUrl: string): ResourceKind | undefined {
  return KIND_BY_URL.get(typeUrl);
}

const hashes = new WeakMap<AnyMessage, string>();

/** What a resource is compared by in the incremental dialect: the same after a restart of the control plane, as long as the bytes are. */
export function versionOf({ version, body }: Served): string {
  if (version !== undefined) return version;
  let hash = hashes.get(body);
  if (hash === undefined) {
    hash = createHash('sha256').update(body.value).digest('hex').slice(0, 16);
    hashes.set(body, hash);
  }
  return hash;
}

export class ContentCatalogue implements Catalogue {
  readonly content: Content;
  readonly #encoder: Encoder;
  readonly #versions: ReadonlyMap<string, string>;
  readonly #raw: ReadonlyMap<string, ReadonlyMap<string, RawServed>>;
  readonly #aliases: ReadonlyMap<string, ReadonlyMap<string, RawServed>>;
  readonly #served: WeakMap<AnyMessage, Served>;
  /** Server listeners for one bound address, made from those for any address. */
  readonly #derived = new Map<string, ListenerConfig>();

  private constructor(
    content: Content,
    previous: ContentCatalogue | undefined,
    encoder: Encoder,
    indexes: ReturnType<typeof index>,
    versions: ReadonlyMap<string, string>,
  ) {
    this.content = content;
    this.#encoder = encoder;
    this.#raw = indexes.byName;
    this.#aliases = indexes.byAlias;
    this.#versions = versions;
    this.#served = previous === undefined ? new WeakMap() : previous.#served;
  }

  /** The catalogue after `previous`, which is returned itself when nothing differs. Unchanged raw resources keep their objects. */
  static of(content: Content, encoder: Encoder, previous?: ContentCatalogue): ContentCatalogue {
    const rawBefore = previous === undefined ? NO_RAW : previous.#raw;
    const indexes = index(content.raw, rawBefore);
    const versions = new Map<string, string>();
    const urls = new Set([...KIND_BY_URL.keys(), ...indexes.byName.keys(), ...rawBefore.keys()]);
    let changed = previous === undefined || previous.content.version !== content.version;
    for (const url of urls) {
      const kind = KIND_BY_URL.get(url);
      const same =
        previous !== undefined &&
        (kind === undefined || previous.content.mesh?.[kind] === content.mesh?.[kind]) &&
        sameEntries(rawBefore.get(url), indexes.byName.get(url));
      if (!same) changed = true;
      const before = previous?.version(url) ?? '0';
      versions.set(url, content.version ?? (same ? before : String(1 + (Number(before) || 0))));
    }
    return previous !== undefined && !changed ? previous : new ContentCatalogue(content, previous, encoder, indexes, versions);
  }

  get versioned(): boolean {
    return this.content.version !== undefined;
  }

  version(typeUrl: string): string {
    return this.#versions.get(typeUrl) ?? this.content.version ?? '0';
  }

  names(typeUrl: string): readonly string[] {
    const kind = KIND_BY_URL.get(typeUrl);
    const compiled = kind === undefined ? undefined : this.content.mesh?.[kind];
    const raw = this.#raw.get(typeUrl);
    return [...(compiled?.keys() ?? []), ...[...(raw?.keys() ?? [])].filter((name) => compiled?.has(name) !== true)];
  }

  get(typeUrl: string, name: string, receiver: Receiver): Served | undefined {
    const raw = this.#raw.get(typeUrl)?.get(name) ?? this.#aliases.get(typeUrl)?.get(name);
    if (raw !== undefined) return raw;
    const kind = KIND_BY_URL.get(typeUrl);
    if (kind === undefined) return undefined;
    if (kind === 'secret') return this.#serve(name, receiver.secret(name));
    const value = this.content.mesh?.[kind].get(name);
    if (value !== undefined) return this.#serve(name, this.#encoder.encode(kind, value, receiver.material));
    const listener = kind === 'listener' ? this.#inbound(name) : undefined;
    return listener === undefined ? undefined : this.#serve(name, this.#encoder.encode('listener', listener, receiver.material));
  }

  #serve(name: string, body: AnyMessage | undefined): Served | undefined {
    if (body === undefined) return undefined;
    let served = this.#served.get(body);
    if (served === undefined) {
      served = { name, body, aliases: [], ttlMs: undefined, version: undefined };
      this.#served.set(body, served);
    }
    return served;
  }

  /** A server asks for the address that it is bound to (`inbound/127.0.0.1:8080`); gRFC A36 wants to see that address in the answer. */
  #inbound(name: string): ListenerConfig | undefined {
    const match = INBOUND.exec(name);
    const general = match === null ? undefined : this.content.mesh?.listener.get(`inbound/0.0.0.0:${match[3]}`);
    if (match === null || general === undefined) return undefined;
    let derived = this.#derived.get(name);
    if (derived === undefined) {
      derived = { ...general, name, address: { host: match[1] ?? match[2] ?? '', port: Number(match[3]) } };
      this.#derived.set(name, derived);
    }
    return derived;
  }
}

function index(raw: readonly RawServed[], before: ReadonlyMap<string, ReadonlyMap<string, RawServed>>) {
  const byName = new Map<string, Map<string, RawServed>>();
  const byAlias = new Map<string, Map<string, RawServed>>();
  for (const given of raw) {
    const old = before.get(given.typeUrl)?.get(given.name);
    const served = old !== undefined && sameServed(old, given) ? old : given;
    const names = byName.get(served.typeUrl) ?? new Map<string, RawServed>();
    byName.set(served.typeUrl, names.set(served.name, served));
    for (const alias of served.aliases) {
      const aliases = byAlias.get(served.typeUrl) ?? new Map<string, RawServed>();
      byAlias.set(served.typeUrl, aliases.set(alias, served));
    }
  }
  return { byName, byAlias };
}

function sameServed(a: Served, b: Served): boolean {
  return (
    a.version === b.version &&
    a.ttlMs === b.ttlMs &&
    a.aliases.join('\n') === b.aliases.join('\n') &&
    Buffer.compare(a.body.value, b.body.value) === 0
  );
}

/** Served objects are shared, so equal ones are the same. */
function sameEntries(before: ReadonlyMap<string, Served> = NONE, after: ReadonlyMap<string, Served> = NONE): boolean {
  if (before.size !== after.size) return false;
  for (const [name, served] of after) if (before.get(name) !== served) return false;
  return true;
}
