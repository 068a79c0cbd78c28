/** `filter_metadata` of an endpoint, read only where something looks at it (EndpointConfig.metadata keeps the bytes). */
import { ProtoProblem, unpack } from '../../proto/any.ts';
import type { Metadata } from '../../proto/gen/envoy/config/core/v3/base_pb.js';

const TYPE_URL = 'type.googleapis.com/envoy.config.core.v3.Metadata';
const NONE: Metadata['filterMetadata'] = Object.freeze({});

/** Empty for bytes that are no such message: then nothing matches. */
export function endpointMetadata(bytes: Uint8Array): Metadata['filterMetadata'] {
  try {
    return unpack<Metadata>({ typeUrl: TYPE_URL, value: bytes }).filterMetadata;
  } catch (error) {
    if (error instanceof ProtoProblem) return NONE;
    throw error;
  }
}
