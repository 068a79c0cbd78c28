/** State of what stands for several resources: everything of a type (`*`, Envoy X-50), or an `xdstp:` collection (Envoy X-61). */
import type { Clock } from '../core/clock.ts';
import type { ResourceKey } from '../config/resource.ts';
import type { Entry, ServerTraits } from './cache-entry.ts';
import { stopTimer } from './cache-entry.ts';
import { EVERYTHING, inCollection, isCollection } from './names.ts';
import type { Update } from './session.ts';

/**
 * Keys of the collections that changed with an update: a collection is there once it was answered, and from then on a change of a member is
 * a change of it. `changed`: the members that changed.
 */
export function tellCollections(
  entries: Iterable<Entry>,
  changed: readonly ResourceKey[],
  update: Update,
  server: ServerTraits,
  clock: Clock,
): readonly ResourceKey[] {
  const told: ResourceKey[] = [];
  for (const entry of entries) {
    const { kind, name } = entry;
    if (!isCollection(name)) continue;
    const own = new Set([name]);
    const touched = changed.some((key) => inCollection(key.name, own));
    const answered = touched || (update.listed && name === EVERYTHING);
    const news = answered && entry.state.status !== 'present';
    if (answered && (news || entry.fromDisk)) {
      stopTimer(entry, clock);
      entry.from = server;
      entry.status = 'ACKED';
      entry.error = undefined;
      entry.state = { status: 'present', value: undefined, version: update.version };
    }
    if (touched || news) told.push({ kind, name });
  }
  return told;
}
