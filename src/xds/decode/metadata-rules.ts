/**
 * RBAC rules by dynamic metadata, which is empty here (gRFC A41). Where a filter that would have written some was passed over, a rule that
 * denies by it would let everybody in: such a listener is refused.
 */
import type { HttpFilterConfig } from '../../config/listener.ts';
import type { RbacConfig } from '../../config/rbac.ts';
import { readsMetadata } from '../../config/rbac.ts';
import { ConfigProblem } from '../../config/resource.ts';

const RBAC = 'type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC';

/** Of those that are accepted without effect. */
const WRITERS: ReadonlySet<string> = new Set([
  'type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config',
  'type.googleapis.com/io.istio.http.peer_metadata.Config',
]);

/** Name of a filter that could have written metadata and has no effect. `passed`: one that cannot be run and is not among these; undefined: none. */
export function metadataWriter(filters: readonly HttpFilterConfig[], passed: string | undefined): string | undefined {
  return passed ?? filters.find(({ typeUrl }) => WRITERS.has(typeUrl))?.name;
}

/** Rules that come later, with a route or over ECDS, are met by `filters/chain.ts`. */
export function checkMetadataRules(filters: readonly HttpFilterConfig[], writer: string, path: string): void {
  for (const { name, typeUrl, config } of filters) {
    if (typeUrl === RBAC && readsMetadata(config as RbacConfig))
      throw new ConfigProblem(path, `filter "${name}" decides by metadata, and "${writer}", which could write it, has no effect here`);
  }
}
