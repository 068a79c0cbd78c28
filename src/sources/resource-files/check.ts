/** Decodes and validates resources from files exactly as the xDS client would: what is accepted, what is rejected and why, what has no effect. */
import { LB_POLICIES } from '../../balancing/registry.ts';
import { FILTERS } from '../../filters/registry.ts';
import { ProtoProblem, typeNameOf } from '../../proto/any.ts';
import type { JsonObject } from '../../proto/any.ts';
import { lenientJsonToAny } from '../../proto/lenient-json.ts';
import { RESOURCE_TYPES } from '../../xds/resource-types.ts';
import type { FoundResource } from './documents.ts';

export interface CheckedResource {
  readonly typeUrl: string;
  /** Empty where it could not be read. */
  readonly name: string;
  readonly place: string;
  /** Empty: accepted. */
  readonly problems: readonly { readonly field: string; readonly reason: string }[];
  /** Paths of fields that were set and have no effect. */
  readonly unsupported: readonly string[];
}

/** Names that no bootstrap is at hand for: any certificate provider may be there. */
const ANY_PROVIDER: ReadonlySet<string> = new (class extends Set<string> {
  override has(): boolean {
    return true;
  }
})();

/** `providers`: names of `certificate_providers`; undefined where no bootstrap was given. */
export function checkResource(found: FoundResource, providers: ReadonlySet<string> | undefined): CheckedResource {
  const { json, place } = found;
  const typeUrl = found.typeUrl ?? '';
  const given = json['name'] ?? json['cluster_name'] ?? json['clusterName'];
  const base = { typeUrl, place, name: typeof given === 'string' ? given : '' };
  const rejected = (field: string, reason: string): CheckedResource => ({ ...base, problems: [{ field, reason }], unsupported: [] });
  if (typeUrl === '')
    return rejected('@type', 'is missing, and nothing else says what this is; give --type, or the form of a file that Envoy reads');
  const type = RESOURCE_TYPES.find((candidate) => typeNameOf(candidate.typeUrl) === typeNameOf(typeUrl));
  if (type === undefined) return rejected('@type', `"${typeNameOf(typeUrl)}" is not a resource type that inmesh reads`);
  try {
    const { packed, unknown } = lenientJsonToAny(json as JsonObject, type.typeUrl);
    const unsupported = new Set(unknown);
    const decoded = type.decode(packed.value, {
      filters: FILTERS,
      lbPolicies: LB_POLICIES,
      certificateProviders: providers ?? ANY_PROVIDER,
      unsupported: (_kind, field) => void unsupported.add(field),
    });
    const problems = decoded.ok ? [] : decoded.errors.map(({ field, reason }) => ({ field, reason }));
    return { ...base, name: decoded.name === '' ? base.name : decoded.name, problems, unsupported: [...unsupported] };
  } catch (error) {
    if (error instanceof ProtoProblem) return rejected('', error.message);
    // A mistake of ours must not hide what the other resources are.
    return rejected(
      '',
      `the decoder failed, which is a bug of inmesh: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
  }
}
