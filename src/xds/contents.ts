/** Every resource of a client with its bytes, one by one since they are copies: what CSDS tells (gRFC A40). */
import type { ResourceContent } from '../config/resource.ts';
import { TYPE_URLS } from '../config/resource.ts';
import { describeEntry } from './cache-entry.ts';
import { holdsKeys } from './field-lists.ts';
import type { Space } from './space.ts';
import type { StaticResources } from './static-resources.ts';

export function* contentsOf(fixed: StaticResources, spaces: Iterable<Space>): Generator<ResourceContent> {
  yield* fixed.contents();
  for (const { cache } of spaces)
    for (const entry of cache.entries())
      yield { ...describeEntry(entry, TYPE_URLS[entry.kind]), raw: holdsKeys(entry.unsupported) ? undefined : entry.raw, fixed: false };
}
