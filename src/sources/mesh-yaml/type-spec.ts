/** The words of the table in `shapes.ts`: which values a key may have. Read by `reader.ts` (validation) and `json-schema.ts`. */

export type TypeSpec =
  /** A string; other scalars are taken as they are written (`version: 1.10` is the text `1.10`). */
  | { readonly kind: 'text'; readonly pattern?: RegExp; readonly means?: string; readonly example: string }
  /** `later`: values that a later release brings. */
  | { readonly kind: 'enum'; readonly values: readonly string[]; readonly later?: readonly string[] }
  | { readonly kind: 'integer'; readonly min: number; readonly max: number }
  | { readonly kind: 'boolean' }
  /** Becomes milliseconds. */
  | { readonly kind: 'duration'; readonly positive?: boolean }
  /** Becomes a number from 0 to 100. */
  | { readonly kind: 'percent'; readonly positive?: boolean }
  | { readonly kind: 'list'; readonly of: TypeSpec; readonly notEmpty?: boolean }
  /** Becomes a `Map`. */
  | { readonly kind: 'map'; readonly of: TypeSpec; readonly keys: string; readonly lowerCase?: boolean }
  | { readonly kind: 'shape'; readonly name: string }
  /** `scalar` where a plain value stands, else `other`. */
  | { readonly kind: 'either'; readonly scalar: TypeSpec; readonly other: TypeSpec }
  /** A retry condition by name, or a status code. */
  | { readonly kind: 'condition'; readonly values: readonly string[] }
  /** A map with `@type`, handed on as JSON. */
  | { readonly kind: 'raw' };

export interface KeySpec {
  readonly type: TypeSpec;
  readonly doc: string;
  /** As a person would write it; shown in the docs. */
  readonly default?: string;
  readonly required?: boolean;
  readonly example?: string;
}

export interface ShapeSpec {
  readonly keys: Readonly<Record<string, KeySpec>>;
  /** Keys whose feature is not there yet: a positioned error says so. The text says what to do meanwhile. */
  readonly later?: Readonly<Record<string, string>>;
  /** Exactly one of these keys must be there, if given. */
  readonly oneOf?: readonly string[];
}
