/**
 * The only door to the protobuf runtime: messages by type URL, binary and JSON, and what a decoder wants to know about their
 * fields. Descriptors are built when a message of their file is first needed, from one module of data (`gen/descriptors.js`): a hundred
 * generated modules would cost start-up time that most processes waste.
 */
import { create, fromBinary, fromJson, toBinary, toJson } from '@bufbuild/protobuf';
import type { DescField, DescFile, DescMessage, JsonObject, JsonValue, Message, Registry } from '@bufbuild/protobuf';
import { fileDesc } from '@bufbuild/protobuf/codegenv2';
import * as wkt from '@bufbuild/protobuf/wkt';
import type { AnyMessage } from '../core/extension.ts';
import { DESCRIPTORS, FILES } from './gen/descriptors.js';

const TYPE_URL_PREFIX = 'type.googleapis.com/';
const files = new Map<string, DescFile>();
const known = new Map<string, DescMessage>();

for (const schema of [wkt.AnySchema, wkt.DurationSchema, wkt.StructSchema]) known.set(schema.typeName, schema);

/** Bytes or JSON that are not what their type says, or a type that inmesh has no schema for. */
export class ProtoProblem extends Error {
  override readonly name = 'ProtoProblem';
}

export function typeNameOf(typeUrl: string): string {
  return typeUrl.slice(typeUrl.lastIndexOf('/') + 1);
}

export function typeUrlOf(typeName: string): string {
  return TYPE_URL_PREFIX + typeName;
}

function fileOf(key: string): DescFile {
  const found = files.get(key);
  if (found !== undefined) return found;
  const descriptor = DESCRIPTORS[key];
  // What is not generated is part of the runtime: google/protobuf/*.
  const file =
    descriptor === undefined
      ? (wkt as unknown as Readonly<Record<string, DescFile>>)[key]
      : fileDesc(descriptor[0], descriptor[1].map(fileOf));
  if (file === undefined) throw new ProtoProblem(`file ${key} is missing in the generated code`);
  files.set(key, file);
  return file;
}

/** The schema of a top-level message by its full name, loaded if need be; undefined when inmesh does not have it. */
export function schemaOf(typeName: string): DescMessage | undefined {
  const found = known.get(typeName);
  if (found !== undefined) return found;
  const key = Object.hasOwn(FILES, typeName) ? FILES[typeName] : undefined;
  if (key === undefined) return undefined;
  const schema = fileOf(key).messages.find((message) => message.typeName === typeName);
  if (schema !== undefined) known.set(typeName, schema);
  return schema;
}

function needSchema(typeName: string): DescMessage {
  const schema = schemaOf(typeName);
  if (schema === undefined) throw new ProtoProblem(`message type "${typeName}" is not known to inmesh`);
  return schema;
}

export function knows(typeUrl: string): boolean {
  return schemaOf(typeNameOf(typeUrl)) !== undefined;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Throws `ProtoProblem` for a type that inmesh does not know, and for bytes that are not such a message. */
export function unpack<T>(packed: AnyMessage): T {
  const schema = needSchema(typeNameOf(packed.typeUrl));
  try {
    return fromBinary(schema, packed.value) as T;
  } catch (error) {
    throw new ProtoProblem(`the bytes are not a ${schema.typeName}: ${reasonOf(error)}`);
  }
}

export function pack(typeName: string, init: Readonly<Record<string, unknown>>): AnyMessage {
  const schema = needSchema(typeName);
  return { typeUrl: typeUrlOf(typeName), value: toBinary(schema, create(schema, init)) };
}

/** Finds types of nested `Any`s in JSON. Only what the runtime's JSON functions call is lively. */
const registry: Registry = {
  kind: 'registry',
  [Symbol.iterator]: () => known.values(),
  get: schemaOf,
  getMessage: schemaOf,
  getEnum: () => undefined,
  getExtension: () => undefined,
  getExtensionFor: () => undefined,
  getService: () => undefined,
};

/** A resource in protobuf's canonical JSON with `@type` (proto or JSON field names) to its binary form. Throws `ProtoProblem`. */
export function jsonToAny(json: unknown): AnyMessage {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new ProtoProblem('a resource must be an object with "@type"');
  const { '@type': typeUrl, ...rest } = json as Record<string, JsonValue>;
  if (typeof typeUrl !== 'string' || !typeUrl.includes('/')) throw new ProtoProblem('"@type" is missing or is not a type URL');
  return jsonToMessage(typeNameOf(typeUrl), rest);
}

/** The same for JSON whose type is known otherwise (`TypedStruct`). */
export function jsonToMessage(typeName: string, json: JsonObject): AnyMessage {
  const schema = needSchema(typeName);
  try {
    return { typeUrl: typeUrlOf(schema.typeName), value: toBinary(schema, fromJson(schema, json, { registry })) };
  } catch (error) {
    throw new ProtoProblem(reasonOf(error));
  }
}

/** Canonical JSON with `@type` and proto field names. Throws `ProtoProblem`. */
export function anyToJson(packed: AnyMessage): JsonObject {
  const schema = needSchema(typeNameOf(packed.typeUrl));
  try {
    const json = toJson(schema, fromBinary(schema, packed.value), { registry, useProtoFieldName: true });
    return { '@type': packed.typeUrl, ...(json as JsonObject) };
  } catch (error) {
    throw new ProtoProblem(reasonOf(error));
  }
}

/** The value of a decoded field when it was set: present, and for fields without presence not the default. */
function valueOf(message: Message, field: DescField): unknown {
  const record = message as unknown as Record<string, unknown>;
  if (field.oneof !== undefined) {
    const chosen = record[field.oneof.localName] as { case: string | undefined; value?: unknown } | undefined;
    return chosen?.case === field.localName ? chosen.value : undefined;
  }
  const value = record[field.localName];
  if (field.fieldKind === 'list') return (value as readonly unknown[]).length === 0 ? undefined : value;
  if (field.fieldKind === 'map') return Object.keys(value as object).length === 0 ? undefined : value;
  if (field.fieldKind === 'message') return value;
  return value === 0 || value === '' || value === false || value === 0n || (value instanceof Uint8Array && value.length === 0)
    ? undefined
    : value;
}

export interface FieldOf {
  /** As in the .proto file. */
  readonly name: string;
  readonly number: number;
  readonly repeated: boolean;
  readonly deprecated: boolean;
  /** Full name of the message that it holds, for lists and maps that of the values; undefined for scalars and enums. */
  readonly message: string | undefined;
  /** The messages that are set in it (several for a list or a map), or the scalar; undefined when it is not set. */
  valueIn(message: Message): unknown;
}

const fields = new Map<string, readonly FieldOf[]>();

function describe(desc: DescMessage): readonly FieldOf[] {
  return desc.fields.map((field) => ({
    name: field.name,
    number: field.number,
    repeated: field.fieldKind === 'list' || field.fieldKind === 'map',
    deprecated: field.deprecated,
    message: field.message?.typeName,
    valueIn: (message: Message) => valueOf(message, field),
  }));
}

/** Fields of a message type, nested ones too; throws `ProtoProblem` for a type that inmesh does not have. */
export function fieldsOf(typeName: string): readonly FieldOf[] {
  let found = fields.get(typeName);
  if (found === undefined) {
    found = describe(schemaOf(typeName) ?? nestedSchema(typeName));
    fields.set(typeName, found);
  }
  return found;
}

function nestedSchema(typeName: string): DescMessage {
  const end = typeName.lastIndexOf('.');
  const parent = end < 0 ? undefined : (schemaOf(typeName.slice(0, end)) ?? nestedSchema(typeName.slice(0, end)));
  const nested = parent?.nestedMessages.find((message) => message.typeName === typeName);
  if (nested === undefined) throw new ProtoProblem(`message type "${typeName}" is not known to inmesh`);
  return nested;
}

/** Numbers of fields that came on the wire and that the schema does not have: those of newer control planes. */
export function unknownFieldsOf(message: Message): readonly number[] {
  return message.$unknown === undefined ? [] : message.$unknown.map((field) => field.no);
}

export type { JsonObject, JsonValue, Message };
