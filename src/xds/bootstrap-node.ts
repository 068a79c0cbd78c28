/** What both formats of bootstrap have in common: the node, and that nobody changes what was read. */
import type { NodeConfig } from '../config/bootstrap.ts';
import type { JsonFields } from './bootstrap-json.ts';

export function readNode(fields: JsonFields | undefined): NodeConfig {
  // `locality` may be missing: clients that insist on it break with a misleading error (peer-grpc-js-xds.md §6.2, 19).
  const locality = fields?.fields('locality');
  return {
    id: fields?.string('id') ?? '',
    cluster: fields?.string('cluster') ?? '',
    locality: {
      region: locality?.string('region') ?? '',
      zone: locality?.string('zone') ?? '',
      subZone: locality?.string('sub_zone') ?? '',
    },
    metadata: fields?.record('metadata') ?? {},
  };
}

/** Bytes stay as they are: JavaScript cannot freeze them. */
export function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value) && !(value instanceof Uint8Array)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
