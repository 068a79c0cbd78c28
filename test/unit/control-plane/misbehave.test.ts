/** Misbehave files: what is read, and what is refused with its place. */
import { expect, test } from 'vitest';
import { parseMisbehaviour } from '../../../src/control-plane/misbehave/parse.ts';
import { DEEDS } from '../../../src/control-plane/misbehave/script.ts';

test('every deed with everything that it knows', () => {
  const values: Readonly<Record<string, string>> = {
    for: '2s',
    by: '30ms',
    repair: '1s',
    code: 'ABORTED',
    message: 'no',
    bytes: '9',
    copies: '3',
  };
  for (const [deed, { keys }] of Object.entries(DEEDS)) {
    const text = `misbehave: [{ do: ${deed}, ${keys.map((key) => `${key}: ${values[key]}, `).join('')}on: cluster }]`;
    expect(parseMisbehaviour(text, 'm.yaml')).toMatchObject({ ok: true, steps: [{ do: deed, on: 'cluster' }] });
  }
});

test('when and how often', () => {
  const text = `misbehave:
  - { do: reset, after: 2, times: always, node: "web-*" }
  - { do: silence, after: 1.5s, for: 2m, times: 3, on: type.googleapis.com/example.Thing }
`;
  expect(parseMisbehaviour(text, 'm.yaml')).toEqual({
    ok: true,
    steps: [
      { do: 'reset', after: 2, times: Infinity, node: 'web-*' },
      { do: 'silence', afterMs: 1500, forMs: 120_000, times: 3, on: 'type.googleapis.com/example.Thing' },
    ],
  });
});

test.each([
  ['', '1:1 the file is empty. Begin with "misbehave:".'],
  ['misbehave: [{ do: jnk }]', '1:19 "jnk" is not one of'],
  ['misbehave: [{ on: cluster }]', '1:13 "do" is missing'],
  ['misbehave: [{ do: junk, for: 2s }]', '1:30 "junk" has no "for". Take the key away. It has repair.'],
  ['misbehave: [{ do: junk, on: clusters }]', '1:29 "clusters" is neither a kind of resource nor a type URL. Did you mean "cluster"?'],
  ['misbehave: [{ do: junk, after: soon }]', '1:32 "soon" is not a number of responses or a duration'],
  ['misbehave: [{ do: junk, times: 0 }]', '1:32 "0" is not a number from 1, or always'],
  ['misbehave: [{ do: reset, code: GONE }]', '1:32 "GONE" is not one of OK, CANCELLED'],
  ['steps: []', '1:1 unknown key "steps"'],
])('%s', (text, expected) => {
  const parsed = parseMisbehaviour(text, 'm.yaml');
  if (parsed.ok) throw new Error('it was read');
  const [first] = parsed.errors;
  expect(`${first?.line}:${first?.column} ${first?.message}. ${first?.cure}`).toContain(expected);
});
