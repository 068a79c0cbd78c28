/** Text of a `mesh.yaml` → everything it says as resources, or its problems: parse, compile, raw resources, sharing with the load before. */
import { TYPE_URLS } from '../../config/resource.ts';
import type { ResourceKind, UnsupportedField } from '../../config/resource.ts';
import type { ResourceSet } from './compile.ts';
import { compileMeshFile } from './compile.ts';
import type { CertificateStrategy } from './compile-tls.ts';
import { fileCertificates } from './compile-tls.ts';
import { parseMeshYaml } from './parse.ts';
import type { FileProblem } from './problem.ts';
import type { RawResource } from './raw-resources.ts';
import { decodeRawResources, mergeRaw } from './raw-resources.ts';
import { shareMap } from './share.ts';
import type { MeshFile } from './types.ts';

export interface LoadedMeshYaml {
  readonly file: MeshFile;
  readonly resources: ResourceSet;
  /** Those of `resources` that were given raw, with their bytes. */
  readonly raw: readonly RawResource[];
  readonly unsupported: readonly UnsupportedField[];
}

export type LoadResult = ({ readonly ok: true } & LoadedMeshYaml) | { readonly ok: false; readonly errors: readonly FileProblem[] };

export interface LoadOptions {
  /** Default: the files of the key `identity`. */
  readonly certificates?: CertificateStrategy;
  readonly previous?: LoadedMeshYaml | undefined;
}

/** Never throws. */
export function loadMeshYaml(text: string, origin: string, options: LoadOptions = {}): LoadResult {
  const parsed = parseMeshYaml(text, origin);
  if (!parsed.ok) return parsed;
  const { file } = parsed;
  const certificates = options.certificates ?? fileCertificates(file);
  const compiled = compileMeshFile(file, certificates);
  if (!compiled.ok) return compiled;
  const raw = decodeRawResources(file, new Set(certificates.kind === 'provider' ? [certificates.instance] : []));
  if (!raw.ok) return raw;
  const merged = mergeRaw(file, compiled.resources, raw.resources);
  if (!('cluster' in merged)) return { ok: false, errors: merged };
  const resources = options.previous === undefined ? freezeSet(undefined, merged) : freezeSet(options.previous.resources, merged);
  return { ok: true, file, resources, raw: raw.resources, unsupported: raw.unsupported };
}

function freezeSet(previous: ResourceSet | undefined, next: ResourceSet): ResourceSet {
  const frozen = Object.fromEntries(KINDS.map((kind) => [kind, shareMap<unknown>(previous?.[kind], next[kind])]));
  return frozen as unknown as ResourceSet;
}

export const KINDS = Object.keys(TYPE_URLS) as readonly ResourceKind[];

/** Names of the resources that differ between two loads, by kind; what went is there too. */
export function changedResources(
  previous: ResourceSet | undefined,
  next: ResourceSet,
): { readonly kind: ResourceKind; readonly name: string }[] {
  const changed: { kind: ResourceKind; name: string }[] = [];
  for (const kind of KINDS) {
    const before: ReadonlyMap<string, unknown> | undefined = previous?.[kind];
    for (const [name, value] of next[kind]) if (before?.get(name) !== value) changed.push({ kind, name });
    for (const name of before?.keys() ?? []) if (!next[kind].has(name)) changed.push({ kind, name });
  }
  return changed;
}

/** `1 route configuration, 2 clusters`; `nothing` for none. */
export function summarizeChanges(changed: readonly { readonly kind: ResourceKind }[]): string {
  const names: Record<ResourceKind, [one: string, many: string]> = {
    listener: ['listener', 'listeners'],
    routes: ['route configuration', 'route configurations'],
    'scoped-routes': ['scope', 'scopes'],
    'virtual-host': ['virtual host', 'virtual hosts'],
    cluster: ['cluster', 'clusters'],
    endpoints: ['endpoint list', 'endpoint lists'],
    secret: ['secret', 'secrets'],
    'extension-config': ['filter configuration', 'filter configurations'],
    runtime: ['runtime layer', 'runtime layers'],
  };
  const parts = KINDS.flatMap((kind) => {
    const count = changed.filter((entry) => entry.kind === kind).length;
    return count === 0 ? [] : [`${count} ${names[kind][count === 1 ? 0 : 1]}`];
  });
  return parts.length === 0 ? 'nothing' : parts.join(', ');
}
