/**
 * Proto JSON written for somebody else: types and fields that inmesh has no schema for are named instead of refused, since over the wire they would
 * come as bytes that are passed over. What they hold is lost; what surrounds them is read.
 */
import { create, createFileRegistry, fromJson, toBinary } from '@bufbuild/protobuf';
import type { DescField, DescMessage, JsonObject, JsonValue, Registry } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import type { AnyMessage } from '../core/extension.ts';
import { ProtoProblem, schemaOf, typeNameOf, typeUrlOf } from './any.ts';
import { isGuarded, withoutUnknownFields } from './unknown-fields.ts';

const placeholders = new Map<string, DescMessage>();

/** An empty message of a name that nobody here knows. */
function placeholder(typeName: string): DescMessage {
  let found = placeholders.get(typeName);
  if (found === undefined) {
    const dot = typeName.lastIndexOf('.');
    const file = create(FileDescriptorProtoSchema, {
      name: `unknown/${typeName}.proto`,
      package: dot < 0 ? '' : typeName.slice(0, dot),
      messageType: [{ name: typeName.slice(dot + 1) }],
      syntax: 'proto3',
    });
    found = createFileRegistry(file, () => undefined).getMessage(typeName);
    if (found === undefined) throw new ProtoProblem(`"${typeName}" is not the name of a message`);
    placeholders.set(typeName, found);
  }
  return found;
}

const TYPE_NAME = /^[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*$/;
const typeFor = (typeName: string): DescMessage | undefined =>
  schemaOf(typeName) ?? (TYPE_NAME.test(typeName) ? placeholder(typeName) : undefined);

const registry: Registry = {
  kind: 'registry',
  [Symbol.iterator]: () => [][Symbol.iterator](),
  get: typeFor,
  getMessage: typeFor,
  getEnum: () => undefined,
  getExtension: () => undefined,
  getExtensionFor: () => undefined,
  getService: () => undefined,
};

export interface LenientResource {
  readonly packed: AnyMessage;
  /** Paths of fields, and paths with types (`path=TYPE`), that inmesh has no schema for. */
  readonly unknown: readonly string[];
}

/** As `jsonToAny`. Throws `ProtoProblem` for JSON that is not what a known field asks for, and for a resource whose own type is not known. */
export function lenientJsonToAny(json: JsonObject, typeUrl: string): LenientResource {
  const schema = schemaOf(typeNameOf(typeUrl));
  if (schema === undefined) throw new ProtoProblem(`the type "${typeUrl}" is not known to inmesh`);
  const { '@type': _type, ...rest } = json;
  const unknown: string[] = [];
  collect(schema, rest, '', unknown, false);
  try {
    const known = withoutUnknownFields(schema.typeName, rest, []) as JsonObject;
    const message = fromJson(schema, known, { registry, ignoreUnknownFields: true });
    return { packed: { typeUrl: typeUrlOf(schema.typeName), value: toBinary(schema, message) }, unknown };
  } catch (error) {
    throw new ProtoProblem(error instanceof Error ? error.message : String(error));
  }
}

const isObject = (value: unknown): value is JsonObject => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Fields that the schema does not have, and types of `Any`s that inmesh does not have. `inside` a guarded message the former are refused. */
function collect(schema: DescMessage, json: JsonObject, path: string, unknown: string[], inside: boolean): void {
  const guarded = inside || isGuarded(schema.typeName);
  if (schema.typeName.startsWith('google.protobuf.')) {
    if (schema.typeName === 'google.protobuf.Any') collectAny(json, path, unknown, guarded);
    return;
  }
  for (const [key, value] of Object.entries(json)) {
    const at = path === '' ? key : `${path}.${key}`;
    const field = schema.fields.find(({ name, jsonName }) => name === key || jsonName === key);
    if (field !== undefined) below(field, value, at, unknown, guarded);
    else if (guarded) throw new ProtoProblem(`${at} of ${schema.typeName} is not known to inmesh, and could be what protects`);
    else unknown.push(at);
  }
}

function below(field: DescField, value: JsonValue, path: string, unknown: string[], guarded: boolean): void {
  const { message } = field;
  if (message === undefined) return;
  if (field.fieldKind === 'list' && Array.isArray(value)) {
    for (const item of value) if (isObject(item)) collect(message, item, `${path}[]`, unknown, guarded);
  } else if (field.fieldKind === 'map' && isObject(value)) {
    for (const item of Object.values(value)) if (isObject(item)) collect(message, item, `${path}[]`, unknown, guarded);
  } else if (isObject(value)) collect(message, value, path, unknown, guarded);
}

function collectAny(json: JsonObject, path: string, unknown: string[], guarded: boolean): void {
  const { '@type': typeUrl, ...rest } = json;
  if (typeof typeUrl !== 'string') return;
  const schema = schemaOf(typeNameOf(typeUrl));
  if (schema === undefined) unknown.push(`${path}=${typeNameOf(typeUrl)}`);
  else collect(schema, rest, path, unknown, guarded);
}
