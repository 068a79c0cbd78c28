/** Resources that a bootstrap holds itself (Envoy `static_resources`): decoded once, always there, stronger than discovered ones of the same name. */
import type { AnyMessage } from '../core/extension.ts';
import { MeshError } from '../core/errors.ts';
import { TYPE_URLS, describeResourceError } from '../config/resource.ts';
import type { ResourceDescription, ResourceKind, ResourceState, UnsupportedField } from '../config/resource.ts';
import type { DecodeContext, ResourceType } from './resource-type.ts';

const VERSION = 'static';

export class StaticResources {
  readonly #states = new Map<ResourceKind, Map<string, ResourceState<unknown>>>();
  readonly unsupported: UnsupportedField[] = [];

  /** Throws `ERR_MESH_BOOTSTRAP` for one that is not valid. */
  constructor(
    resources: readonly AnyMessage[],
    types: readonly ResourceType[],
    context: Omit<DecodeContext, 'unsupported'>,
    origin: string,
  ) {
    for (const [index, { typeUrl, value }] of resources.entries()) {
      const type = types.find((candidate) => candidate.typeUrl === typeUrl);
      if (type === undefined) throw problem(origin, `resource ${index} has the type "${typeUrl}", which inmesh does not read`);
      const decoded = type.decode(value, {
        ...context,
        unsupported: (kind, field, resource) => void this.unsupported.push({ kind, field, resource }),
      });
      if (!decoded.ok) throw problem(origin, decoded.errors.map(describeResourceError).join('; '));
      const names = this.#states.get(type.kind) ?? new Map<string, ResourceState<unknown>>();
      this.#states.set(type.kind, names);
      if (names.has(decoded.name)) throw problem(origin, `${type.kind} "${decoded.name}" is there twice`);
      names.set(decoded.name, { status: 'present', value: decoded.value, version: VERSION });
    }
  }

  get(kind: ResourceKind, name: string): ResourceState<unknown> | undefined {
    return this.#states.get(kind)?.get(name);
  }

  names(kind: ResourceKind): readonly string[] {
    return [...(this.#states.get(kind)?.keys() ?? [])];
  }

  describe(): readonly ResourceDescription[] {
    return [...this.#states].flatMap(([kind, names]) =>
      Array.from(names.keys(), (name): ResourceDescription => ({
        typeUrl: TYPE_URLS[kind],
        name,
        version: VERSION,
        status: 'ACKED',
        error: undefined,
        updatedAt: 0,
      })),
    );
  }
}

function problem(origin: string, reason: string): MeshError {
  return new MeshError('ERR_MESH_BOOTSTRAP', `xDS bootstrap ${origin}: static_resources: ${reason}`, {
    cure: 'Mend the resource, or take it out',
  });
}
