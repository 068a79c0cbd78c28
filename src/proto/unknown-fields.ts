/**
 * Proto JSON of a control plane that is newer than inmesh: takes out the fields that the schemas do not have, as the binary form lets them
 * pass, and names them. Values that are not known, of enums above all, are left where they are, so that they are refused.
 */
import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { schemaOf, typeNameOf } from './any.ts';

/** Written as something else than their fields. */
const OWN_FORM = /^google\.protobuf\.(?:\w+Value|Value|Struct|ListValue|Duration|Timestamp|FieldMask)$/;

/** `path` of what was taken out is added to `found`. */
export function withoutUnknownFields(typeUrl: string, json: unknown, found: string[]): unknown {
  const desc = schemaOf(typeNameOf(typeUrl));
  return desc === undefined ? json : strip(desc, json, '', found);
}

function strip(desc: DescMessage, json: unknown, path: string, found: string[]): unknown {
  if (!isRecord(json) || OWN_FORM.test(desc.typeName)) return json;
  const typeUrl = json['@type'];
  if (desc.typeName === 'google.protobuf.Any') {
    const inner = typeof typeUrl === 'string' ? schemaOf(typeNameOf(typeUrl)) : undefined;
    return inner === undefined ? json : strip(inner, json, path, found);
  }
  const kept: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(json)) {
    const at = path === '' ? key : `${path}.${key}`;
    const field = desc.fields.find(({ name, jsonName }) => name === key || jsonName === key);
    if (key === '@type') kept[key] = value;
    else if (field === undefined) found.push(at);
    else kept[key] = stripField(field, value, at, found);
  }
  return kept;
}

function stripField(field: DescField, value: unknown, path: string, found: string[]): unknown {
  const { message } = field;
  if (message === undefined) return value;
  if (field.fieldKind === 'list' && Array.isArray(value))
    return value.map((item: unknown, index) => strip(message, item, `${path}[${index}]`, found));
  if (field.fieldKind === 'map' && isRecord(value))
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, strip(message, item, `${path}["${key}"]`, found)]));
  return strip(message, value, path, found);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
