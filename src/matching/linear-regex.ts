/**
 * Proves that a backtracking engine needs linear time for a pattern, and writes such a pattern for JavaScript's engine.
 * The proof: wherever the pattern may go two ways (a loop on or out of it, one alternative or another), the next character decides,
 * so that every wrong way fails at its first character. One exception is allowed: a loop over single characters whose rest has
 * bounded length, as in `.*\.jpg`, since each of its positions costs a bounded number of steps.
 */
import type { CharSet } from './char-set.ts';
import { intersects, MAX_CODE_POINT, NO_CHARS, rangesOf, union } from './char-set.ts';
import type { RegexNode } from './simple-regex.ts';

/** Longest rest behind an ambiguous loop. */
const MAX_REST = 64;
/** Pairs of alternatives are compared, so many of them are left to RE2. */
const MAX_OPTIONS = 64;

function nullable(node: RegexNode): boolean {
  switch (node.kind) {
    case 'set':
      return false;
    case 'seq':
      return node.items.every(nullable);
    case 'alt':
      return node.options.some(nullable);
    case 'repeat':
      return node.min === 0 || nullable(node.body);
  }
}

/** Characters that a match can begin with. */
function firstOf(node: RegexNode): CharSet {
  switch (node.kind) {
    case 'set':
      return node.set;
    case 'repeat':
      return node.max === 0 ? NO_CHARS : firstOf(node.body);
    case 'alt':
      return node.options.reduce<CharSet>((set, option) => union(set, firstOf(option)), NO_CHARS);
    case 'seq': {
      let set = NO_CHARS;
      for (const item of node.items) {
        set = union(set, firstOf(item));
        if (!nullable(item)) break;
      }
      return set;
    }
  }
}

function maxLength(node: RegexNode): number {
  switch (node.kind) {
    case 'set':
      return 1;
    case 'seq':
      return node.items.reduce((sum, item) => sum + maxLength(item), 0);
    case 'alt':
      return Math.max(...node.options.map(maxLength));
    case 'repeat':
      return node.max === 0 ? 0 : node.max * maxLength(node.body);
  }
}

function literalOf(node: RegexNode): string | undefined {
  if (node.kind === 'set') return node.literal;
  if (node.kind !== 'seq') return undefined;
  let text = '';
  for (const item of node.items) {
    if (item.kind !== 'set' || item.literal === undefined) return undefined;
    text += item.literal;
  }
  return text;
}

/** At most one option can match at any place: they differ in the first character, or are texts of which none begins another. */
function exclusive(options: readonly RegexNode[]): boolean {
  if (options.length > MAX_OPTIONS || options.some(nullable)) return false;
  const texts = options.map(literalOf);
  return options.every((option, i) =>
    options.every((other, j) => {
      if (j <= i) return true;
      const [a, b] = [texts[i], texts[j]];
      if (a !== undefined && b !== undefined) return !a.startsWith(b) && !b.startsWith(a);
      return !intersects(firstOf(option), firstOf(other));
    }),
  );
}

/** `follow`: characters that can come directly behind the node; the end of the text is never one of them. */
function decided(node: RegexNode, follow: CharSet): boolean {
  switch (node.kind) {
    case 'set':
      return true;
    case 'alt':
      return exclusive(node.options) && node.options.every((option) => decided(option, follow));
    case 'repeat': {
      const first = firstOf(node.body);
      if (nullable(node.body)) return false;
      if (node.max > node.min && intersects(first, follow)) return false;
      return decided(node.body, node.max > 1 ? union(follow, first) : follow);
    }
    case 'seq':
      return sequenceDecided(node.items, follow, false);
  }
}

function sequenceDecided(items: readonly RegexNode[], end: CharSet, outermost: boolean): boolean {
  let follow = end;
  let rest = 0;
  let mayBeLoose = outermost;
  for (let i = items.length - 1; i >= 0; i--) {
    const item = items[i];
    if (item === undefined) continue;
    if (!decided(item, follow)) {
      // The one exception; everything before and behind it is decided by the next character.
      if (!mayBeLoose || rest > MAX_REST || item.kind !== 'repeat' || item.body.kind !== 'set') return false;
      mayBeLoose = false;
    }
    rest += maxLength(item);
    follow = nullable(item) ? union(firstOf(item), follow) : firstOf(item);
  }
  return true;
}

/** Whether a backtracking full match of `node` takes time linear in the text. */
export function isLinear(node: RegexNode): boolean {
  return sequenceDecided(node.kind === 'seq' ? node.items : [node], NO_CHARS, true);
}

const isAstral = (set: CharSet): boolean => rangesOf(set).some(([, hi]) => hi > 0xffff);

/**
 * Without the `u` flag (which is slower) a character beyond the BMP counts as two. That makes no difference where such characters are
 * matched only by `[^...]*` or `[^...]+`, since those sets take the halves as well.
 */
function needsUnicode(node: RegexNode): boolean {
  switch (node.kind) {
    case 'set':
      return isAstral(node.set);
    case 'seq':
      return node.items.some(needsUnicode);
    case 'alt':
      return node.options.some(needsUnicode);
    case 'repeat':
      return node.body.kind === 'set' && node.max === Number.POSITIVE_INFINITY && node.min <= 1 ? false : needsUnicode(node.body);
  }
}

function charSource(code: number, unicode: boolean): string {
  if (code <= 0xffff) return `\\u${code.toString(16).padStart(4, '0')}`;
  return unicode ? `\\u{${code.toString(16)}}` : '\\uffff';
}

function setSource(set: CharSet, unicode: boolean): string {
  const parts = rangesOf(set).filter(([lo]) => unicode || lo <= 0xffff);
  if (parts.length === 1 && parts[0] !== undefined && parts[0][0] === parts[0][1]) return charSource(parts[0][0], unicode);
  return `[${parts.map(([lo, hi]) => `${charSource(lo, unicode)}-${charSource(Math.min(hi, MAX_CODE_POINT), unicode)}`).join('')}]`;
}

function countSource(min: number, max: number): string {
  if (max === Number.POSITIVE_INFINITY) return min === 0 ? '*' : min === 1 ? '+' : `{${min},}`;
  return min === 0 && max === 1 ? '?' : `{${min},${max}}`;
}

function sourceOf(node: RegexNode, unicode: boolean): string {
  switch (node.kind) {
    case 'set':
      return setSource(node.set, unicode);
    case 'seq':
      return node.items.map((item) => (item.kind === 'alt' ? `(?:${sourceOf(item, unicode)})` : sourceOf(item, unicode))).join('');
    case 'alt':
      return node.options.map((option) => sourceOf(option, unicode)).join('|');
    case 'repeat':
      return `${node.body.kind === 'set' ? setSource(node.body.set, unicode) : `(?:${sourceOf(node.body, unicode)})`}${countSource(node.min, node.max)}`;
  }
}

/** The same language for JavaScript's engine, as a full match. */
export function nativeRegExp(node: RegexNode): RegExp {
  const unicode = needsUnicode(node);
  return new RegExp(`^(?:${sourceOf(node, unicode)})$`, unicode ? 'u' : '');
}
