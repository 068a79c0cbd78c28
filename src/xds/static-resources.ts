/**
 * Resources that a bootstrap holds itself (Envoy `static_resources`): decoded once, always there, stronger than discovered ones of the same
 * name. Bootstraps for sidecars hold much that only a sidecar needs (admin and metrics listeners, collectors behind DNS): what cannot be
 * used here fails by itself, with its reason, and does not keep the process from starting.
 */
import type { AnyMessage } from '../core/extension.ts';
import { MeshError } from '../core/errors.ts';
import { TYPE_URLS, describeResourceError } from '../config/resource.ts';
import type { ResourceContent, ResourceDescription, ResourceKind, ResourceState, UnsupportedField } from '../config/resource.ts';
import { holdsKeys } from './field-lists.ts';
import type { DecodeContext, ResourceType } from './resource-type.ts';

const VERSION = 'static';

export class StaticResources {
  readonly #states = new Map<ResourceKind, Map<string, ResourceState<unknown>>>();
  readonly #refusals: { readonly kind: ResourceKind; readonly raw: Uint8Array }[] = [];
  readonly #raw = new Map<ResourceState<unknown>, Uint8Array>();
  readonly unsupported: UnsupportedField[] = [];

  /** Throws `ERR_MESH_BOOTSTRAP` for a name that is there twice. */
  constructor(
    resources: readonly AnyMessage[],
    types: readonly ResourceType[],
    context: Omit<DecodeContext, 'unsupported'>,
    origin: string,
  ) {
    for (const [index, { typeUrl, value }] of resources.entries()) {
      const type = types.find((candidate) => candidate.typeUrl === typeUrl);
      if (type === undefined) {
        const kind = (Object.keys(TYPE_URLS) as ResourceKind[]).find((candidate) => TYPE_URLS[candidate] === typeUrl);
        if (kind === undefined) throw problem(origin, `resource ${index} has the type "${typeUrl}", which inmesh does not read`);
        this.unsupported.push({ kind, field: '', resource: `static_resources, number ${index}` });
        continue;
      }
      const decoded = type.decode(value, {
        ...context,
        unsupported: (kind, field, resource) => void this.unsupported.push({ kind, field, resource }),
      });
      const names = this.#states.get(type.kind) ?? new Map<string, ResourceState<unknown>>();
      this.#states.set(type.kind, names);
      if (names.has(decoded.name)) throw problem(origin, `${type.kind} "${decoded.name}" is there twice`);
      const state: ResourceState<unknown> = decoded.ok
        ? { status: 'present', value: decoded.value, version: VERSION }
        : { status: 'failed', reason: `${origin}: static_resources: ${decoded.errors.map(describeResourceError).join('; ')}` };
      names.set(decoded.name, state);
      const fields = this.unsupported.flatMap(({ kind, field, resource }) =>
        kind === type.kind && resource === decoded.name ? field : [],
      );
      if (decoded.ok && !holdsKeys(fields)) this.#raw.set(state, value);
      if (!decoded.ok) this.#refusals.push({ kind: type.kind, raw: value });
    }
  }

  get(kind: ResourceKind, name: string): ResourceState<unknown> | undefined {
    return this.#states.get(kind)?.get(name);
  }

  refusals(kind: ResourceKind): readonly { readonly raw: Uint8Array }[] {
    return this.#refusals.filter((refusal) => refusal.kind === kind);
  }

  names(kind: ResourceKind): readonly string[] {
    return [...(this.#states.get(kind) ?? [])].filter(([, state]) => state.status === 'present').map(([name]) => name);
  }

  describe(): readonly ResourceDescription[] {
    return this.contents().map(({ raw: _raw, fixed: _fixed, ...description }) => description);
  }

  contents(): readonly ResourceContent[] {
    return [...this.#states].flatMap(([kind, names]) =>
      Array.from(names, ([name, state]): ResourceContent => ({
        raw: this.#raw.get(state),
        fixed: true,
        typeUrl: TYPE_URLS[kind],
        name,
        version: VERSION,
        status: state.status === 'failed' ? 'NACKED' : 'ACKED',
        error: state.status === 'failed' ? state.reason : undefined,
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
