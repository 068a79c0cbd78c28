/**
 * RBAC rules by dynamic metadata, which is empty here (gRFC A41). Where a filter that would have written some was passed over, a rule that
 * denies by it would let everybody in: such a listener is refused.
 */
import type { HttpFilterConfig } from '../../config/listener.ts';
import type { Permission, Principal, RbacConfig } from '../../config/rbac.ts';
import { ConfigProblem } from '../../config/resource.ts';

const RBAC = 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC';

/** Of those that are accepted without effect. */
const WRITERS: ReadonlySet<string> = new Set([
  'type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config',
  'type.googleapis.com/io.istio.http.peer_metadata.Config',
]);

function reads(rule: Permission | Principal): boolean {
  switch (rule.kind) {
    case 'metadata':
      return true;
    case 'not':
      return reads('rule' in rule ? rule.rule : rule.id);
    case 'and':
    case 'or':
      return 'rules' in rule ? rule.rules.some(reads) : rule.ids.some(reads);
    default:
      return false;
  }
}

function readsMetadata({ rules }: RbacConfig): boolean {
  return rules?.policies.some(({ permissions, principals }) => permissions.some(reads) || principals.some(reads)) ?? false;
}

/** `passed`: a filter before these, or among them, that cannot be run; undefined: none. */
export function checkMetadataRules(filters: readonly HttpFilterConfig[], passed: string | undefined, path: string): void {
  const writer = passed ?? filters.find(({ typeUrl }) => WRITERS.has(typeUrl))?.name;
  if (writer === undefined) return;
  for (const { name, typeUrl, config } of filters) {
    if (typeUrl === RBAC && readsMetadata(config as RbacConfig))
      throw new ConfigProblem(path, `filter "${name}" decides by metadata, and "${writer}", which could write it, has no effect here`);
  }
}
