/** The table of keys, the JSON Schema beside it, and the reference page say the same. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { meshJsonSchema } from '../../../src/sources/mesh-yaml/json-schema.ts';
import { loadMeshYaml } from '../../../src/sources/mesh-yaml/load.ts';
import { SHAPES } from '../../../src/sources/mesh-yaml/shapes.ts';

const root = new URL('../../../', import.meta.url);
const page = readFileSync(new URL('docs/reference/mesh-yaml.md', root), 'utf8');
const schema = JSON.parse(readFileSync(new URL('src/sources/mesh.schema.json', root), 'utf8')) as {
  $defs: Record<string, { properties: object }>;
  properties: object;
};

test('mesh.schema.json is what the table gives', () => {
  // To renew it: write JSON.stringify(meshJsonSchema(), undefined, 2) there.
  expect(schema).toEqual(JSON.parse(JSON.stringify(meshJsonSchema())));
});

describe.each(Object.entries(SHAPES))('%s', (name, shape) => {
  const keys = Object.keys(shape.keys);

  test('all keys are in the schema, and no others', () => {
    const properties = name === 'file' ? schema.properties : schema.$defs[name.replaceAll(' ', '-')]?.properties;
    expect(Object.keys(properties ?? {})).toEqual(keys);
  });

  test('all keys are on the page, with what they mean', () => {
    for (const key of keys) {
      const row = page
        .split('\n')
        .find((line) => line.startsWith(`| \`${key}\` |`) && line.includes(shape.keys[key]?.doc.replaceAll('|', '\\|') ?? ' '));
      expect(row, key).toBeDefined();
    }
    for (const key of Object.keys(shape.later ?? {})) expect(page).toContain(`\`${key}\``);
  });

  test('examples are YAML', () => {
    for (const [key, { example }] of Object.entries(shape.keys))
      if (example !== undefined) expect(() => parse(`${key}: ${example}`) as unknown, key).not.toThrow();
  });
});

test('the files on the page are valid', () => {
  const blocks = [...page.matchAll(/```yaml\n([\s\S]*?)```/g)].map((match) => match[1] ?? '');
  expect(blocks.length).toBeGreaterThan(1);
  for (const block of blocks) expect(loadMeshYaml(block, 'page')).toMatchObject({ ok: true });
});
