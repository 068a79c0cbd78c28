/** Text of a misbehave file → steps, or every problem with its position. */
import { GrpcStatus } from '../../core/status.ts';
import { inOrder, openYaml } from '../../sources/mesh-yaml/document.ts';
import { suggest } from '../../sources/mesh-yaml/nearest.ts';
import type { FileProblem } from '../../sources/mesh-yaml/problem.ts';
import type { Reader } from '../../sources/mesh-yaml/reader.ts';
import { parseDuration } from '../../sources/mesh-yaml/scalars.ts';
import { DURATION, POSITIVE_DURATION, integer, list, oneOf, pattern, shape, text } from '../../sources/mesh-yaml/spec-parts.ts';
import type { ShapeSpec } from '../../sources/mesh-yaml/type-spec.ts';
import { TYPE_URLS } from '../../config/resource.ts';
import type { Deed, DeedSpec, Step } from './script.ts';
import { DEEDS, typeUrlOfName } from './script.ts';

const AFTER = pattern(/^(\d+|\d+(\.\d+)?(ms|s|m|h))$/, 'a number of responses or a duration', '2 or 500ms');
const TIMES = pattern(/^([1-9]\d*|always)$/, 'a number from 1, or always', '3');

export const MISBEHAVE_SHAPES: Readonly<Record<string, ShapeSpec>> = {
  file: { keys: { misbehave: { type: list(shape('step')), doc: 'What goes wrong.', required: true, example: '[{ do: silence }]' } } },
  step: {
    keys: {
      do: { type: oneOf(...Object.keys(DEEDS)), doc: 'What.', required: true, example: 'silence' },
      on: { type: text('endpoints'), doc: 'Kind of resource or type URL.', default: 'any' },
      node: { type: text('"web-*"'), doc: 'Node id, in which `*` stands for any text.', default: 'any' },
      after: { type: AFTER, doc: 'So many right responses (of that type) on the stream, or so long after it began.', default: '0' },
      times: { type: TIMES, doc: 'How often altogether, on all streams; or `always`.', default: '1' },
      for: { type: POSITIVE_DURATION, doc: 'Then all is well again.', default: 'for ever' },
      by: { type: DURATION, doc: 'How much later.', default: '1s' },
      repair: { type: POSITIVE_DURATION, doc: 'After this time the right response follows.', default: 'never' },
      code: { type: oneOf(...Object.keys(GrpcStatus)), doc: 'A gRPC status.' },
      message: { type: text('no'), doc: 'Text beside the status.' },
      bytes: { type: integer(1), doc: 'How much larger.', default: '8388608' },
      copies: { type: integer(1, 1000), doc: 'How often again.', default: '1' },
    },
  },
};

export type ParsedMisbehaviour =
  | { readonly ok: true; readonly steps: readonly Step[] }
  | { readonly ok: false; readonly errors: readonly FileProblem[] };

interface RawStep {
  readonly do: Deed;
  readonly on?: string;
  readonly node?: string;
  readonly after?: string;
  readonly times?: string;
  readonly for?: number;
  readonly by?: number;
  readonly repair?: number;
  readonly code?: keyof typeof GrpcStatus;
  readonly message?: string;
  readonly bytes?: number;
  readonly copies?: number;
}

/** Never throws. */
export function parseMisbehaviour(content: string, origin: string): ParsedMisbehaviour {
  const opened = openYaml(content, origin, MISBEHAVE_SHAPES, 'Begin with "misbehave:".');
  if (!opened.ok) return opened;
  const { reader, root } = opened;
  const raw = reader.shape('file', root, '')?.['misbehave'] as readonly (RawStep | undefined)[] | undefined;
  const steps: Step[] = [];
  raw?.forEach((step, index) => {
    if (step === undefined || step.do === undefined) return;
    check(step, `misbehave[${index}]`, reader);
    steps.push(stepOf(step));
  });
  return reader.problems.length > 0 ? { ok: false, errors: inOrder(reader.problems) } : { ok: true, steps };
}

const COMMON = new Set(['do', 'on', 'node', 'after', 'times']);

function check(step: RawStep, path: string, reader: Reader): void {
  const { keys }: DeedSpec = DEEDS[step.do];
  for (const key of Object.keys(step)) {
    if (COMMON.has(key) || keys.includes(key as DeedSpec['keys'][number])) continue;
    const known = keys.length === 0 ? '' : ` It has ${keys.join(', ')}.`;
    reader.at(`${path}.${key}`, `"${step.do}" has no "${key}"`, `Take the key away.${known}`);
  }
  if (step.on !== undefined && typeUrlOfName(step.on) === undefined)
    reader.at(
      `${path}.on`,
      `"${step.on}" is neither a kind of resource nor a type URL`,
      suggest(step.on, Object.keys(TYPE_URLS), 'Kinds are'),
    );
}

function stepOf(raw: RawStep): Step {
  const { after, times, for: forMs, by: byMs, repair: repairMs, ...same } = raw;
  const responses = after === undefined || !/^\d+$/.test(after) ? undefined : Number(after);
  const afterMs = after === undefined || responses !== undefined ? undefined : parseDuration(after);
  return {
    ...same,
    ...(responses === undefined ? {} : { after: responses }),
    ...(afterMs === undefined ? {} : { afterMs }),
    ...(times === undefined ? {} : { times: times === 'always' ? Infinity : Number(times) }),
    ...(forMs === undefined ? {} : { forMs }),
    ...(byMs === undefined ? {} : { byMs }),
    ...(repairMs === undefined ? {} : { repairMs }),
  };
}
