/**
 * Envoy resources under `resources:` → config types, by the same decoders that serve xDS. Protobuf and the decoders are loaded on the
 * first file that has such a key, synchronously, since a file is read and found valid as a whole.
 */
import { createRequire } from 'node:module';
import { LB_POLICIES } from '../../balancing/registry.ts';
import type { ClusterConfig } from '../../config/cluster.ts';
import type { ResourceKind } from '../../config/resource.ts';
import { TYPE_URLS } from '../../config/resource.ts';
import type { UnsupportedField } from '../../config/resource.ts';
import type { AnyMessage } from '../../core/extension.ts';
import { FILTERS } from '../../filters/registry.ts';
import type { DecodeContext, ResourceType } from '../../xds/resource-type.ts';
import type { ResourceSet } from './compile.ts';
import { suggest } from './nearest.ts';
import type { FileProblem } from './problem.ts';
import type { MeshFile } from './types.ts';

const require = createRequire(import.meta.url);
/** Source runs as `.ts` (type stripping), the package as `.js`. */
const SUFFIX = import.meta.url.endsWith('.ts') ? '.ts' : '.js';

export interface RawResource {
  readonly kind: ResourceKind;
  readonly name: string;
  readonly packed: AnyMessage;
  readonly value: unknown;
}

export type RawResources =
  | { readonly ok: true; readonly resources: readonly RawResource[]; readonly unsupported: readonly UnsupportedField[] }
  | { readonly ok: false; readonly errors: readonly FileProblem[] };

const KINDS = new Map<string, ResourceKind>(Object.entries(TYPE_URLS).map(([kind, url]) => [url, kind as ResourceKind]));

/** `certificateProviders`: names that the resources may use. */
export function decodeRawResources(file: MeshFile, certificateProviders: ReadonlySet<string>): RawResources {
  if (file.resources.length === 0) return { ok: true, resources: [], unsupported: [] };
  const { jsonToAny } = require(`../../proto/any${SUFFIX}`) as typeof import('../../proto/any.ts');
  const { RESOURCE_TYPES } = require(`../../xds/resource-types${SUFFIX}`) as { readonly RESOURCE_TYPES: readonly ResourceType[] };
  const errors: FileProblem[] = [];
  const resources: RawResource[] = [];
  const unsupported: UnsupportedField[] = [];
  const context: DecodeContext = {
    filters: FILTERS,
    lbPolicies: LB_POLICIES,
    certificateProviders,
    unsupported: (kind, field, resource) => void unsupported.push({ kind, field, resource }),
  };
  file.resources.forEach((json, index) => {
    const path = `resources[${index}]`;
    const fail = (message: string, cure: string): void => {
      const place = file.positions.get(path) ?? { line: 1, column: 1, length: 1 };
      errors.push({ file: file.origin, ...place, path, message, cure });
    };
    const url = String(json['@type']);
    const kind = KINDS.get(url);
    const type = RESOURCE_TYPES.find(({ typeUrl }) => typeUrl === url);
    if (kind === undefined || type === undefined) {
      fail(`"${url}" is not a resource type that inmesh reads`, suggest(url, [...KINDS.keys()], 'Use one of'));
      return;
    }
    let packed: AnyMessage;
    try {
      packed = jsonToAny(json);
    } catch (error) {
      fail(error instanceof Error ? error.message : String(error), 'Fields are named as in the .proto files, values as in proto JSON.');
      return;
    }
    const decoded = type.decode(packed.value, context);
    const unavailable = decoded.ok && kind === 'cluster' ? (decoded.value as ClusterConfig).discovery : undefined;
    // A control plane may send what others can use; who writes a file for this mesh made a mistake.
    if (unavailable?.kind === 'unavailable') fail(`type: ${unavailable.reason}`, 'Use type EDS or STATIC.');
    else if (decoded.ok) resources.push({ kind, name: decoded.name, packed, value: decoded.value });
    else
      for (const error of decoded.errors)
        fail(
          `${error.field === '' ? '' : `${error.field}: `}${error.reason}`,
          'Mend the field; docs/reference/xds-support.md lists what is read.',
        );
  });
  return errors.length > 0 ? { ok: false, errors } : { ok: true, resources, unsupported };
}

/** Adds raw resources to compiled ones; the same kind and name twice is a problem. */
export function mergeRaw(file: MeshFile, compiled: ResourceSet, raw: readonly RawResource[]): ResourceSet | readonly FileProblem[] {
  if (raw.length === 0) return compiled;
  const errors: FileProblem[] = [];
  const merged: Record<string, Map<string, unknown>> = {};
  for (const kind of Object.keys(TYPE_URLS) as ResourceKind[]) merged[kind] = new Map<string, unknown>(compiled[kind]);
  raw.forEach(({ kind, name, value }, index) => {
    const path = `resources[${index}]`;
    if (merged[kind]?.has(name) === true) {
      const place = file.positions.get(path) ?? { line: 1, column: 1, length: 1 };
      errors.push({
        file: file.origin,
        ...place,
        path,
        message: `${kind} "${name}" is there already`,
        cure: 'Give it another name, or take the other one away.',
      });
    }
    merged[kind]?.set(name, value);
  });
  return errors.length > 0 ? errors : (merged as unknown as ResourceSet);
}
