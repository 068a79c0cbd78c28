/** Takes wrappers off an `Any`: `TypedStruct` of both kinds becomes the message that it stands for (gRFC A39). */
import type { Any } from '@bufbuild/protobuf/wkt';
import type { AnyMessage } from '../../core/extension.ts';
import { ConfigProblem } from '../../config/resource.ts';
import { ProtoProblem, jsonToMessage, knows, typeNameOf } from '../../proto/any.ts';
import type { JsonObject } from '../../proto/any.ts';
import type { Scope } from './scope.ts';

const TYPED_STRUCTS: ReadonlySet<string> = new Set(['xds.type.v3.TypedStruct', 'udpa.type.v1.TypedStruct']);

/** A `TypedStruct` whose type inmesh has no schema for keeps its own bytes under the inner type, so that it counts as that type. */
export function unwrap(packed: Any, path: string, scope: Scope): AnyMessage {
  if (!TYPED_STRUCTS.has(typeNameOf(packed.typeUrl))) return packed;
  const struct = scope.unpack<{ readonly typeUrl: string; readonly value?: JsonObject }>(packed, path);
  if (!knows(struct.typeUrl)) return { typeUrl: struct.typeUrl, value: packed.value };
  try {
    return jsonToMessage(typeNameOf(struct.typeUrl), struct.value ?? {});
  } catch (error) {
    if (error instanceof ProtoProblem) throw new ConfigProblem(path, `TypedStruct of ${typeNameOf(struct.typeUrl)}: ${error.message}`);
    throw error;
  }
}
