/** Lists of fields without effect, each kept once: thousands of resources have the same. */
import type { UnsupportedField } from '../config/resource.ts';

const MAX_LISTS = 1000;

export class FieldLists {
  readonly #lists = new Map<string, readonly string[]>();

  /** Undefined for none. */
  of(unsupported: readonly UnsupportedField[]): readonly string[] | undefined {
    if (unsupported.length === 0) return undefined;
    const fields = unsupported.map(({ field }) => field);
    const id = fields.join('\n');
    const known = this.#lists.get(id);
    if (known !== undefined) return known;
    if (this.#lists.size >= MAX_LISTS) this.#lists.clear();
    this.#lists.set(id, fields);
    return fields;
  }
}

/** Whether one of them holds keys that are no PEM, which cannot be found in the bytes: such a resource is neither shown nor kept on disk. */
export function holdsKeys(fields: readonly string[] | undefined): boolean {
  return fields?.some((field) => field.endsWith('.session_ticket_keys')) ?? false;
}
