/** Configurations with endpoints as plain objects, to compare what they say and not how they are kept. */
import { PackedEndpoint } from '../../src/config/packed-endpoint.ts';

export function plain<T>(value: T): T {
  if (value instanceof PackedEndpoint) {
    const { host, port, hostname, weight, health, metadata } = value;
    return { host, port, hostname, weight, health, metadata: metadata && Uint8Array.from(metadata) } as T;
  }
  if (Array.isArray(value)) return value.map((item: unknown) => plain(item)) as T;
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain<unknown>(inner)])) as T;
}
