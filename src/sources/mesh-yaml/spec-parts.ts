/** Building blocks of the table of keys (`shapes.ts`, `route-shapes.ts`): kinds of values that recur. */
import type { TypeSpec } from './type-spec.ts';

export const text = (example: string): TypeSpec => ({ kind: 'text', example });
export const pattern = (regex: RegExp, means: string, example: string): TypeSpec => ({ kind: 'text', pattern: regex, means, example });
export const list = (of: TypeSpec, notEmpty = false): TypeSpec => ({ kind: 'list', of, notEmpty });
export const shape = (name: string): TypeSpec => ({ kind: 'shape', name });
export const oneOf = (...values: string[]): TypeSpec => ({ kind: 'enum', values });
export const integer = (min: number, max = 0xffff_ffff): TypeSpec => ({ kind: 'integer', min, max });
export const either = (scalar: TypeSpec, other: TypeSpec): TypeSpec => ({ kind: 'either', scalar, other });
export const BOOLEAN: TypeSpec = { kind: 'boolean' };
export const DURATION: TypeSpec = { kind: 'duration' };
export const POSITIVE_DURATION: TypeSpec = { kind: 'duration', positive: true };
export const PERCENT: TypeSpec = { kind: 'percent' };
export const PORT = integer(1, 65_535);

const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
export const header = pattern(HEADER_NAME, 'a header name', 'x-user');
export const headerValues: TypeSpec = { kind: 'map', of: text('ana'), keys: 'header name', lowerCase: true };
export const textMatches = (keys: string, lowerCase: boolean): TypeSpec => ({
  kind: 'map',
  of: either(text('ana'), shape('text match')),
  keys,
  lowerCase,
});
export const labels: TypeSpec = { kind: 'map', of: text('v2'), keys: 'label' };
export const method = pattern(/^[A-Z][A-Z-]*$/, 'an HTTP method in capitals', 'GET');
export const spiffe = pattern(/^spiffe:\/\/[a-z0-9._-]+(\/[A-Za-z0-9._-]+)+$/, 'a SPIFFE id', 'spiffe://dev/reviews');
export const spiffePattern = pattern(
  /^(\*|spiffe:\/\/[a-z0-9._-]+(\/[A-Za-z0-9._-]+)*(\/\*)?)$/,
  'a SPIFFE id, perhaps ending in /*',
  'spiffe://dev/web',
);
export const pathPattern = pattern(/^\//, 'a path that begins with /', '/reviews/**');
export const mtls = { type: oneOf('strict', 'off'), default: 'off' } as const;
