/** The table of `shapes.ts` as JSON Schema, for completion in editors. `mesh.schema.json` is its output; a test compares the two. */
import { SHAPES } from './shapes.ts';
import type { KeySpec, ShapeSpec, TypeSpec } from './type-spec.ts';

type Schema = Readonly<Record<string, unknown>>;

const DURATION = '^\\d+(\\.\\d+)?(ms|s|m|h)$';
const PERCENT = '^\\d+(\\.\\d+)?\\s?%$';
/** Texts may be written as other scalars: `version: 2`. */
const TEXT = ['string', 'number', 'boolean'];

function typeSchema(type: TypeSpec): Schema {
  switch (type.kind) {
    case 'text':
      return type.pattern === undefined ? { type: TEXT } : { type: TEXT, pattern: type.pattern.source };
    case 'enum':
      return { enum: type.values.map((value) => (/^\d+$/.test(value) ? Number(value) : value)) };
    case 'integer':
      return type.min === type.max ? { const: type.min } : { type: 'integer', minimum: type.min, maximum: type.max };
    case 'boolean':
      return { type: 'boolean' };
    case 'duration':
      return { type: 'string', pattern: DURATION };
    case 'percent':
      return { type: 'string', pattern: PERCENT };
    case 'list':
      return { type: 'array', items: typeSchema(type.of), ...(type.notEmpty === true ? { minItems: 1 } : {}) };
    case 'map':
      return { type: 'object', additionalProperties: typeSchema(type.of) };
    case 'shape':
      return { $ref: `#/$defs/${type.name.replaceAll(' ', '-')}` };
    case 'either':
      return { anyOf: [typeSchema(type.scalar), typeSchema(type.other)] };
    case 'condition':
      return { anyOf: [{ enum: type.values }, { type: 'integer', minimum: 400, maximum: 599 }] };
    case 'raw':
      return { type: 'object', required: ['@type'], properties: { '@type': { type: 'string' } } };
  }
}

function keySchema(key: KeySpec): Schema {
  const extra = key.default === undefined ? '' : ` Default: ${key.default}.`;
  return { description: `${key.doc}${extra}`, ...typeSchema(key.type) };
}

function shapeSchema(shape: ShapeSpec): Schema {
  const entries = Object.entries(shape.keys);
  const required = entries.filter(([, key]) => key.required === true).map(([name]) => name);
  return {
    type: 'object',
    additionalProperties: false,
    ...(required.length > 0 ? { required } : {}),
    ...(shape.oneOf === undefined ? {} : { oneOf: shape.oneOf.map((key) => ({ required: [key] })) }),
    properties: Object.fromEntries(entries.map(([name, key]) => [name, keySchema(key)])),
  };
}

/** JSON Schema, draft 2020-12. */
export function meshJsonSchema(): Schema {
  const definitions = Object.entries(SHAPES).filter(([name]) => name !== 'file');
  const file = SHAPES['file'];
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'mesh.yaml',
    description: 'Configuration of inmesh; docs/reference/mesh-yaml.md explains it.',
    ...(file === undefined ? {} : shapeSchema(file)),
    $defs: Object.fromEntries(definitions.map(([name, shape]) => [name.replaceAll(' ', '-'), shapeSchema(shape)])),
  };
}
