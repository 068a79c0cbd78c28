/**
 * Which fields of which xDS message inmesh reads: the one source for what decoders record as unsupported (`survey.ts`) and for
 * `docs/reference/xds-support.md`. A field that is not listed is recorded when it is set; in a strict message it rejects the resource.
 */

export type FieldSupport =
  /** `note` is for the reference page. */
  | { readonly kind: 'read'; readonly note: string }
  /** Means nothing inside a process, or asks for less than we do: neither read nor recorded. */
  | { readonly kind: 'not-applicable'; readonly note: string }
  /** Set: the resource is rejected. */
  | { readonly kind: 'rejects'; readonly reason: string }
  /** Any value but this one rejects the resource. */
  | { readonly kind: 'unless'; readonly harmless: unknown; readonly reason: string };

export interface MessageSupport {
  /** Security: what is not understood rejects. */
  readonly strict?: boolean;
  readonly fields: Readonly<Record<string, FieldSupport>>;
}

export function read(...names: readonly string[]): Record<string, FieldSupport> {
  return Object.fromEntries(names.map((name) => [name, { kind: 'read', note: '' }]));
}

export function notes(fields: Readonly<Record<string, string>>): Record<string, FieldSupport> {
  return Object.fromEntries(Object.entries(fields).map(([name, note]) => [name, { kind: 'read', note }]));
}

export function skip(note: string, ...names: readonly string[]): Record<string, FieldSupport> {
  return Object.fromEntries(names.map((name) => [name, { kind: 'not-applicable', note }]));
}

export function reject(fields: Readonly<Record<string, string>>): Record<string, FieldSupport> {
  return Object.fromEntries(Object.entries(fields).map(([name, reason]) => [name, { kind: 'rejects', reason }]));
}
