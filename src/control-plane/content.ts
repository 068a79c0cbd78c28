/** What a control plane is given, a `mesh.yaml`, a snapshot file or resources in code, as the contents of its catalogues. */
import type { ResourceKey } from '../config/resource.ts';
import { MeshError } from '../core/errors.ts';
import type { LoadedMeshYaml } from '../sources/mesh-yaml/load.ts';
import { changedResources, loadMeshYaml } from '../sources/mesh-yaml/load.ts';
import type { FileProblem } from '../sources/mesh-yaml/problem.ts';
import type { ResourceJson, SnapshotSet } from '../sources/xds-snapshot.ts';
import { isSnapshot, parseSnapshot, readResource } from '../sources/xds-snapshot.ts';
import { canonicalName } from '../xds/names.ts';
import type { Content, RawServed } from './catalogue.ts';
import { kindOfUrl } from './catalogue.ts';

/** Name under `certificate_providers` of the bootstraps that this control plane writes. */
export const PROVIDER_INSTANCE = 'inmesh';

export interface Loaded {
  /** For every node that `nodes` does not name. */
  readonly common: Content;
  /** By node id. */
  readonly nodes: ReadonlyMap<string, Content>;
  /** The file, where it is a `mesh.yaml`. */
  readonly mesh: LoadedMeshYaml | undefined;
}

export type LoadedContent = ({ readonly ok: true } & Loaded) | { readonly ok: false; readonly errors: readonly FileProblem[] };

/** Tells a snapshot from a `mesh.yaml` by what is in it. Never throws. */
export function loadContent(text: string, origin: string, previous: Loaded | undefined): LoadedContent {
  if (isSnapshot(text)) {
    const parsed = parseSnapshot(text, origin);
    if (!parsed.ok) return parsed;
    const { nodes, ...common } = parsed.snapshot;
    return {
      ok: true,
      common: contentOf(common),
      nodes: new Map([...nodes].map(([id, set]) => [id, contentOf(set)])),
      mesh: undefined,
    };
  }
  const mesh = loadMeshYaml(text, origin, {
    certificates: { kind: 'provider', instance: PROVIDER_INSTANCE },
    previous: previous?.mesh,
  });
  if (!mesh.ok) return mesh;
  const raw = mesh.raw.map(({ name, packed }) => ({ ...BARE, typeUrl: packed.typeUrl, name: canonicalName(name), body: packed }));
  return { ok: true, common: { mesh: mesh.resources, raw, version: undefined }, nodes: new Map(), mesh };
}

/** Resources in code. Throws `ERR_MESH_CONFIG` for one that cannot be read. */
export function contentOfJson(resources: readonly ResourceJson[], version?: string): Content {
  const raw = resources.map((json, index) => {
    const read = readResource(json);
    if (typeof read === 'string') throw new MeshError('ERR_MESH_CONFIG', `resources[${index}]: ${read}`);
    return read;
  });
  return contentOf({ version, resources: raw });
}

const BARE = { aliases: [], ttlMs: undefined, version: undefined } as const;

function contentOf({ version, resources }: SnapshotSet): Content {
  const raw = resources.map((resource) => ({
    ...resource,
    name: canonicalName(resource.name),
    aliases: resource.aliases.map(canonicalName),
  }));
  return { mesh: undefined, raw, version };
}

/** What differs between two contents: resources of the types that inmesh reads, and the number of all others. */
export function differences(
  before: Loaded | undefined,
  after: Loaded,
): { readonly changed: readonly ResourceKey[]; readonly others: number } {
  if (after.mesh !== undefined) return { changed: changedResources(before?.mesh?.resources, after.mesh.resources), others: 0 };
  const changed: ResourceKey[] = [];
  let others = 0;
  for (const [typeUrl, name] of changedRaw(before, after)) {
    const kind = kindOfUrl(typeUrl);
    if (kind === undefined) others++;
    else changed.push({ kind, name });
  }
  return { changed, others };
}

function* changedRaw(before: Loaded | undefined, after: Loaded): Generator<readonly [typeUrl: string, name: string]> {
  for (const node of new Set([undefined, ...(before?.nodes.keys() ?? []), ...after.nodes.keys()])) {
    const old = byId(node === undefined ? before?.common : before?.nodes.get(node));
    const now = byId(node === undefined ? after.common : after.nodes.get(node));
    for (const [id, served] of now) {
      const was = old.get(id);
      if (was === undefined || Buffer.compare(was.body.value, served.body.value) !== 0) yield [served.typeUrl, served.name];
    }
    for (const [id, served] of old) if (!now.has(id)) yield [served.typeUrl, served.name];
  }
}

function byId(content: Content | undefined): ReadonlyMap<string, RawServed> {
  return new Map((content?.raw ?? []).map((served) => [`${served.typeUrl} ${served.name}`, served]));
}
