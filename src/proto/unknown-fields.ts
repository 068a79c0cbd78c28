/**
 * Proto JSON of a control plane that is newer than inmesh: takes out the fields that the schemas do not have, as the binary form lets them
 * pass, and names them; not those of messages about TLS and RBAC, where they could be what protects. Values that are not known, of enums
 * above all, are left where they are, so that they are refused. Durations as objects, which Envoy reads as well, become texts.
 */
import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { schemaOf, typeNameOf } from './any.ts';

/** Written as something else than their fields. */
const OWN_FORM = /^google\.protobuf\.(?:\w+Value|Value|Struct|ListValue|Duration|Timestamp|FieldMask)$/;

/** Messages that are refused as a whole for a field that is not known, however they came; and all that is in them. */
const GUARDED =
  /^envoy\.(?:extensions\.transport_sockets\.|config\.rbac\.|extensions\.filters\.(?:http|network)\.rbac\.|config\.core\.v3\.WatchedDirectory$)/;

export function isGuarded(typeName: string): boolean {
  return GUARDED.test(typeName);
}

/** `path` of what was taken out is added to `found`. */
export function withoutUnknownFields(typeUrl: string, json: unknown, found: string[]): unknown {
  const desc = schemaOf(typeNameOf(typeUrl));
  return desc === undefined ? json : strip(desc, json, '', found, false);
}

function strip(desc: DescMessage, json: unknown, path: string, found: string[], inside: boolean): unknown {
  if (!isRecord(json)) return json;
  if (desc.typeName === 'google.protobuf.Duration') return durationText(json);
  if (OWN_FORM.test(desc.typeName)) return json;
  const typeUrl = json['@type'];
  if (desc.typeName === 'google.protobuf.Any') {
    const inner = typeof typeUrl === 'string' ? schemaOf(typeNameOf(typeUrl)) : undefined;
    return inner === undefined ? json : strip(inner, json, path, found, inside);
  }
  const guarded = inside || isGuarded(desc.typeName);
  const kept: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(json)) {
    const at = path === '' ? key : `${path}.${key}`;
    const field = desc.fields.find(({ name, jsonName }) => name === key || jsonName === key);
    if (field !== undefined) kept[key] = stripField(field, value, at, found, guarded);
    // Left in, it is refused by who reads it.
    else if (key === '@type' || guarded) kept[key] = value;
    else found.push(at);
  }
  return kept;
}

function stripField(field: DescField, value: unknown, path: string, found: string[], guarded: boolean): unknown {
  const { message } = field;
  if (message === undefined) return value;
  if (field.fieldKind === 'list' && Array.isArray(value))
    return value.map((item: unknown, index) => strip(message, item, `${path}[${index}]`, found, guarded));
  if (field.fieldKind === 'map' && isRecord(value))
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, strip(message, item, `${path}["${key}"]`, found, guarded)]));
  return strip(message, value, path, found, guarded);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `{ seconds: 1, nanos: 500000000 }` as `"1.500000000s"`; anything else stays, and is refused by who reads it. */
export function durationText(json: Readonly<Record<string, unknown>>): unknown {
  const { seconds = 0, nanos = 0, ...others } = json;
  const whole = typeof seconds === 'string' && /^-?\d{1,12}$/.test(seconds) ? Number(seconds) : seconds;
  const isWhole = (value: unknown): value is number => Number.isSafeInteger(value);
  if (!isWhole(whole) || !isWhole(nanos) || Math.abs(nanos) > 999_999_999 || whole * nanos < 0 || Object.keys(others).length > 0)
    return json;
  const sign = whole < 0 || nanos < 0 ? '-' : '';
  return `${sign}${Math.abs(whole)}.${String(Math.abs(nanos)).padStart(9, '0')}s`;
}
