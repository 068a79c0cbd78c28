/**
 * Walks a YAML tree along the table of `shapes.ts` and gives plain values; every deviation becomes a problem with its position.
 * What keys mean together (references, sums, duplicates) is left to `checks.ts`.
 */
import type { Node, Pair, Scalar, YAMLMap } from 'yaml';
import { isAlias, isMap, isScalar, isSeq } from 'yaml';
import type { Document } from 'yaml';
import type { LineIndex } from './line-index.ts';
import { suggest } from './nearest.ts';
import type { FileProblem } from './problem.ts';
import { parseDuration, parsePercent } from './scalars.ts';
import type { ShapeSpec, TypeSpec } from './type-spec.ts';
import type { Position } from './types.ts';

/** Aliases that may be followed in one file: enough for people, too few for an exponential bomb. */
const MAX_ALIASES = 1000;
const DURATION_CURE = 'Write a number with a unit, such as 500ms, 2s, 1m or 1h.';

type Read = unknown;

export class Reader {
  readonly problems: FileProblem[] = [];
  readonly positions = new Map<string, Position>();
  readonly #origin: string;
  readonly #document: Document;
  readonly #lines: LineIndex;
  readonly #shapes: Readonly<Record<string, ShapeSpec>>;
  #aliases = 0;

  constructor(origin: string, document: Document, lines: LineIndex, shapes: Readonly<Record<string, ShapeSpec>>) {
    this.#origin = origin;
    this.#document = document;
    this.#lines = lines;
    this.#shapes = shapes;
  }

  /** Undefined when anything below was wrong; the problems say what. */
  shape(name: string, node: unknown, path: string): Readonly<Record<string, unknown>> | undefined {
    const spec = this.#shapes[name];
    if (spec === undefined) throw new TypeError(`no shape "${name}" in the table`);
    const map = this.#map(node, path, `keys: ${Object.keys(spec.keys).join(', ')}`);
    if (map === undefined) return undefined;
    const result: Record<string, unknown> = {};
    for (const pair of map.items) this.#key(spec, pair, path, result);
    for (const [key, { required, example }] of Object.entries(spec.keys)) {
      if (required === true && !map.has(key)) this.problem(path, map, `"${key}" is missing`, `Add ${key}: ${example ?? '...'}.`);
    }
    if (spec.oneOf !== undefined) {
      const given = spec.oneOf.filter((key) => map.has(key));
      if (given.length !== 1) {
        const said = given.length === 0 ? 'none of them is there' : `${given.map((key) => `"${key}"`).join(' and ')} are there`;
        this.problem(
          path,
          map,
          `exactly one of ${spec.oneOf.join(', ')} is needed, ${said}`,
          given.length === 0 ? 'Add one.' : 'Keep one.',
        );
      }
    }
    return result;
  }

  /** Records a problem at a place that was read before; the nearest outer place where the path itself has none. */
  at(path: string, message: string, cure: string): void {
    let known = path;
    while (known !== '' && !this.positions.has(known)) known = known.replace(/(^|\.|\[)[^.[]*$/, '');
    const place = this.positions.get(known) ?? { line: 1, column: 1, length: 1 };
    this.problems.push({ file: this.#origin, ...place, path, message, cure });
  }

  problem(path: string, node: unknown, message: string, cure: string): void {
    this.problems.push({ file: this.#origin, ...this.place(node), path, message, cure });
  }

  place(node: unknown): Position {
    const range = (node as Node | null | undefined)?.range;
    if (range === undefined || range === null) return { line: 1, column: 1, length: 1 };
    return { ...this.#lines.at(range[0]), length: Math.max(1, range[1] - range[0]) };
  }

  #key(spec: ShapeSpec, pair: Pair, path: string, result: Record<string, unknown>): void {
    const key = this.#name(pair, path);
    if (key === undefined) return;
    const inner = path === '' ? key : `${path}.${key}`;
    const later = spec.later !== undefined && Object.hasOwn(spec.later, key) ? spec.later[key] : undefined;
    if (later !== undefined) {
      this.problem(inner, pair.key, `"${key}" is not supported yet`, `${later}.`);
      return;
    }
    const known = Object.hasOwn(spec.keys, key) ? spec.keys[key] : undefined;
    if (known === undefined) {
      this.problem(inner, pair.key, `unknown key "${key}"`, suggest(key, Object.keys(spec.keys), 'Known keys'));
      return;
    }
    if (isScalar(pair.value) ? pair.value.value === null : pair.value === null) {
      this.problem(inner, pair.key, `"${key}" has no value`, `Write ${key}: ${known.example ?? '...'}, or take the key away.`);
      return;
    }
    const value = this.value(known.type, pair.value, inner);
    if (value !== undefined) result[key] = value;
  }

  #name(pair: Pair, path: string): string | undefined {
    if (isScalar(pair.key)) return this.#text(pair.key);
    this.problem(path, pair.key, 'a key must be a word', 'Write the key as plain text.');
    return undefined;
  }

  value(type: TypeSpec, given: unknown, path: string): Read | undefined {
    const node = this.#follow(given, path);
    if (node === undefined) return undefined;
    this.positions.set(path, this.place(node));
    switch (type.kind) {
      case 'shape':
        return this.shape(type.name, node, path);
      case 'list':
        return this.#list(type, node, path);
      case 'map':
        return this.#entries(type, node, path);
      case 'either':
        return this.value(isScalar(node) ? type.scalar : type.other, node, path);
      case 'raw':
        return this.#raw(node, path);
      default:
        return this.#scalar(type, node, path);
    }
  }

  #scalar(type: Exclude<TypeSpec, { kind: 'shape' | 'list' | 'map' | 'either' | 'raw' }>, node: unknown, path: string): Read | undefined {
    if (!isScalar(node))
      return this.#fail(path, node, `${describeNode(node)} stands where ${expectation(type)} is expected`, cureFor(type));
    const text = this.#text(node);
    switch (type.kind) {
      case 'text':
        if (type.pattern === undefined || type.pattern.test(text)) return text;
        return this.#fail(path, node, `"${text}" is not ${type.means ?? 'valid here'}`, `Write it like ${type.example}.`);
      case 'boolean':
        return typeof node.value === 'boolean' ? node.value : this.#fail(path, node, `"${text}" is neither true nor false`, cureFor(type));
      case 'integer': {
        const fits = typeof node.value === 'number' && Number.isInteger(node.value) && node.value >= type.min && node.value <= type.max;
        return fits ? node.value : this.#fail(path, node, `"${text}" is not ${expectation(type)}`, cureFor(type));
      }
      case 'duration': {
        const value = parseDuration(text);
        if (value === undefined) return this.#fail(path, node, `"${text}" is not a duration`, durationCure(text));
        return value > 0 || type.positive !== true
          ? value
          : this.#fail(path, node, 'the duration must be more than 0', 'Write at least 1ms, or take the key away.');
      }
      case 'percent': {
        const value = parsePercent(text);
        if (value !== undefined && (value > 0 || type.positive !== true)) return value;
        return this.#fail(
          path,
          node,
          `"${text}" is not a percentage from ${type.positive === true ? 'above 0%' : '0%'} to 100%`,
          cureFor(type),
        );
      }
      case 'enum':
        if (type.values.includes(text)) return text;
        if (type.later?.includes(text) === true)
          return this.#fail(path, node, `"${text}" is not supported yet`, `It comes with a later release; use ${type.values.join(', ')}.`);
        return this.#fail(path, node, `"${text}" is not one of ${type.values.join(', ')}`, suggest(text, type.values, 'Use one of'));
      case 'condition':
        if (typeof node.value === 'number') {
          if (Number.isInteger(node.value) && node.value >= 400 && node.value <= 599) return node.value;
          return this.#fail(path, node, `${text} is not a status code from 400 to 599`, 'Write a status code such as 503.');
        }
        return type.values.includes(text)
          ? text
          : this.#fail(path, node, `unknown retry condition "${text}"`, suggest(text, type.values, 'Known'));
    }
  }

  #list(type: Extract<TypeSpec, { kind: 'list' }>, node: unknown, path: string): readonly unknown[] | undefined {
    if (!isSeq(node))
      return this.#fail(
        path,
        node,
        `${describeNode(node)} stands where a list is expected`,
        'Write it as a list: [a, b], or one "- item" per line.',
      );
    if (node.items.length === 0 && type.notEmpty === true)
      return this.#fail(path, node, 'the list is empty', 'Add an item, or take the key away.');
    return node.items.map((item, index) => this.value(type.of, item, `${path}[${index}]`));
  }

  #entries(type: Extract<TypeSpec, { kind: 'map' }>, node: unknown, path: string): ReadonlyMap<string, unknown> | undefined {
    const map = this.#map(node, path, `one line per ${type.keys}`);
    if (map === undefined) return undefined;
    const result = new Map<string, unknown>();
    for (const pair of map.items) {
      const written = this.#name(pair, path);
      if (written === undefined) continue;
      const name = type.lowerCase === true ? written.toLowerCase() : written;
      const inner = `${path}.${name}`;
      if (written === '') this.problem(inner, pair.key, `the ${type.keys} is empty`, 'Write a name.');
      else if (pair.value === null || (isScalar(pair.value) && pair.value.value === null))
        this.problem(inner, pair.key, `"${name}" has no value`, 'Write a value, or take the line away.');
      else if (result.has(name)) this.problem(inner, pair.key, `"${name}" stands here twice`, 'Keep one of the two.');
      else result.set(name, this.value(type.of, pair.value, inner));
    }
    return result;
  }

  #raw(node: unknown, path: string): Read | undefined {
    if (!isMap(node))
      return this.#fail(path, node, `${describeNode(node)} stands where a resource is expected`, 'Write a map with "@type".');
    let json: Readonly<Record<string, unknown>>;
    try {
      json = node.toJS(this.#document, { maxAliasCount: 100 }) as Readonly<Record<string, unknown>>;
    } catch {
      return this.#fail(path, node, 'too many aliases in one resource', 'Write the values out.');
    }
    if (typeof json['@type'] === 'string') return json;
    return this.#fail(path, node, '"@type" is missing', 'Add "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster, or another.');
  }

  #map(node: unknown, path: string, want: string): YAMLMap | undefined {
    return isMap(node)
      ? node
      : this.#fail(path, node, `${describeNode(node)} stands where a map is expected`, `Write it as a map with ${want}.`);
  }

  #follow(node: unknown, path: string): unknown {
    if (!isAlias(node)) return node;
    this.#aliases++;
    if (this.#aliases > MAX_ALIASES)
      return this.#aliases === MAX_ALIASES + 1
        ? this.#fail(path, node, `more than ${MAX_ALIASES} aliases`, 'Write the values out.')
        : undefined;
    return (
      node.resolve(this.#document) ??
      this.#fail(
        path,
        node,
        `there is no anchor "&${node.source}" before this alias`,
        'Define the anchor first, or quote a text that begins with *.',
      )
    );
  }

  /** The scalar as it is written, so that 1.10 stays 1.10; block and quoted texts by their value. */
  #text(node: Scalar): string {
    return typeof node.value === 'string' ? node.value : (node.source ?? String(node.value));
  }

  #fail(path: string, node: unknown, message: string, cure: string): undefined {
    this.problem(path, node, message, cure);
    return undefined;
  }
}

function describeNode(node: unknown): string {
  if (isMap(node)) return 'a map';
  if (isSeq(node)) return 'a list';
  return isScalar(node) && node.value !== null ? `"${node.source ?? String(node.value)}"` : 'nothing';
}

function expectation(type: TypeSpec): string {
  switch (type.kind) {
    case 'integer':
      return type.min === type.max ? `${type.min}` : `a whole number from ${type.min} to ${type.max}`;
    case 'duration':
      return 'a duration';
    case 'percent':
      return 'a percentage';
    case 'boolean':
      return 'true or false';
    case 'enum':
      return `one of ${type.values.join(', ')}`;
    case 'text':
      return type.means ?? 'a text';
    default:
      return 'a single value';
  }
}

function cureFor(type: TypeSpec): string {
  switch (type.kind) {
    case 'integer':
      return type.min === type.max ? `Write ${type.min}.` : `Write a whole number from ${type.min} to ${type.max}.`;
    case 'duration':
      return DURATION_CURE;
    case 'percent':
      return 'Write a number with a percent sign, such as 20%.';
    case 'boolean':
      return 'Write true or false.';
    case 'enum':
      return `Write one of ${type.values.join(', ')}.`;
    case 'text':
      return `Write it like ${type.example}.`;
    default:
      return 'Write a single value.';
  }
}

function durationCure(text: string): string {
  const bare = /^\d+(\.\d+)?$/.test(text);
  return bare ? `Write the unit: ${text}s for seconds, ${text}ms for milliseconds.` : DURATION_CURE;
}
