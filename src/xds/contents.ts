/** What is told of the resources of a client: to CSDS (gRFC A40) with their bytes, to `mesh.describe()` without. */
import type { ResourceContent, ResourceDescription, UnsupportedField } from '../config/resource.ts';
import { TYPE_URLS } from '../config/resource.ts';
import { describeEntry } from './cache-entry.ts';
import type { Entry } from './cache-entry.ts';
import { holdsKeys } from './field-lists.ts';
import { isCollection } from './names.ts';
import type { Space } from './space.ts';
import type { StaticResources } from './static-resources.ts';

/** With their bytes, one by one since those are copies. */
export function* contentsOf(fixed: StaticResources, spaces: Iterable<Space>): Generator<ResourceContent> {
  yield* fixed.contents();
  for (const { cache } of spaces)
    for (const entry of cache.entries())
      yield { ...describeEntry(entry, TYPE_URLS[entry.kind]), raw: holdsKeys(entry.unsupported) ? undefined : entry.raw, fixed: false };
}

/** All but their bytes, with the fields that have no effect. */
export function describeEntries(entries: Iterable<Entry>): {
  readonly resources: readonly ResourceDescription[];
  readonly unsupported: readonly UnsupportedField[];
} {
  const resources: ResourceDescription[] = [];
  const unsupported: UnsupportedField[] = [];
  for (const entry of entries) {
    if (isCollection(entry.name)) continue;
    resources.push(describeEntry(entry, TYPE_URLS[entry.kind]));
    for (const field of entry.unsupported ?? []) unsupported.push({ kind: entry.kind, field, resource: entry.name });
  }
  return { resources, unsupported };
}
