/** Small values in proto JSON. A resource is encoded as proto JSON first, since that is also how people read it. */

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

/** Fields that are undefined are left out. */
export function object(fields: Readonly<Record<string, Json | undefined>>): JsonObject {
  const result: Record<string, Json> = {};
  for (const [key, value] of Object.entries(fields)) if (value !== undefined) result[key] = value;
  return result;
}

/** google.protobuf.Duration from milliseconds. */
export function duration(ms: number): string {
  return `${Math.floor(ms / 1000)}.${String(Math.round((ms % 1000) * 1e6)).padStart(9, '0')}s`;
}

export function optionalDuration(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : duration(ms);
}

/** A list, or nothing where it is empty. */
export function list(values: readonly Json[]): readonly Json[] | undefined {
  return values.length === 0 ? undefined : values;
}

export const ADS_SOURCE: JsonObject = { ads: {}, resource_api_version: 'V3' };
