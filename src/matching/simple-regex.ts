/**
 * Parses the part of RE2's syntax that JavaScript's engine can run with the same result and in linear time, and says which patterns
 * those are. Everything else (flags, anchors inside, `\p`, POSIX classes, named groups, odd escapes, errors) is "unknown" here and
 * left to RE2 (`regex.ts`). Reason: a native test costs about 20 ns, re2js 400 ns and more.
 */
import type { CharSet } from './char-set.ts';
import { charSet, complement, MAX_CODE_POINT, rangesOf } from './char-set.ts';

export type RegexNode =
  | { readonly kind: 'set'; readonly set: CharSet; /** The one character of a set of one. */ readonly literal: string | undefined }
  | { readonly kind: 'seq'; readonly items: readonly RegexNode[] }
  | { readonly kind: 'alt'; readonly options: readonly RegexNode[] }
  | { readonly kind: 'repeat'; readonly body: RegexNode; readonly min: number; readonly max: number };

const NEWLINE = 10;
const ANY = complement(charSet([NEWLINE, NEWLINE]));
const DIGIT = charSet([48, 57]);
const WORD = charSet([48, 57], [65, 90], [95, 95], [97, 122]);
/** RE2's `\s` has no vertical tab and no Unicode spaces. */
const SPACE = charSet([9, 10], [12, 13], [32, 32]);
const CLASSES: Readonly<Record<string, CharSet>> = {
  d: DIGIT,
  D: complement(DIGIT),
  w: WORD,
  W: complement(WORD),
  s: SPACE,
  S: complement(SPACE),
};
const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13 };
/** RE2 allows 1000; a lower bound here keeps native programs small. */
const MAX_COUNT = 100;
const MAX_DEPTH = 16;

/** Thrown and caught in this file: the pattern is not of the simple kind, which says nothing about its validity. */
class NotSimple extends Error {}
/** One for all: making an error costs more than parsing. */
const NOT_SIMPLE = new NotSimple();

const one = (code: number): RegexNode => ({ kind: 'set', set: charSet([code, code]), literal: String.fromCodePoint(code) });
const setOf = (set: CharSet): RegexNode => ({ kind: 'set', set, literal: undefined });

class Parser {
  readonly #text: string;
  readonly #end: number;
  #at: number;
  #depth = 0;

  constructor(text: string, start: number, end: number) {
    this.#text = text;
    this.#at = start;
    this.#end = end;
  }

  parse(): RegexNode {
    const node = this.#alternation();
    if (this.#at < this.#end) throw NOT_SIMPLE;
    return node;
  }

  #peek(): string {
    return this.#at < this.#end ? (this.#text[this.#at] ?? '') : '';
  }

  #take(): number {
    const code = this.#at < this.#end ? this.#text.codePointAt(this.#at) : undefined;
    if (code === undefined) throw NOT_SIMPLE;
    this.#at += code > 0xffff ? 2 : 1;
    return code;
  }

  #alternation(): RegexNode {
    const options = [this.#sequence()];
    while (this.#peek() === '|') {
      this.#at++;
      options.push(this.#sequence());
    }
    return options.length === 1 && options[0] !== undefined ? options[0] : { kind: 'alt', options };
  }

  #sequence(): RegexNode {
    const items: RegexNode[] = [];
    while (this.#at < this.#end && this.#peek() !== '|' && this.#peek() !== ')') items.push(this.#quantified(this.#atom()));
    if (items.length === 0) throw NOT_SIMPLE;
    return items.length === 1 && items[0] !== undefined ? items[0] : { kind: 'seq', items };
  }

  #atom(): RegexNode {
    const char = this.#peek();
    if (char === '(') return this.#group();
    if (char === '[') return this.#class();
    if (char === '\\') return this.#escape();
    const code = this.#take();
    if (char === '.') return setOf(ANY);
    // `]` and `}` alone are literals for RE2; too rare to prove here. Surrogates cannot be part of a sound text.
    if ('^$*+?{}])'.includes(char) || code > 0xffff || (code >= 0xd800 && code <= 0xdfff)) throw NOT_SIMPLE;
    return one(code);
  }

  #group(): RegexNode {
    this.#at++;
    if (this.#peek() === '?') {
      if (!this.#text.startsWith('?:', this.#at)) throw NOT_SIMPLE;
      this.#at += 2;
    }
    if (++this.#depth > MAX_DEPTH) throw NOT_SIMPLE;
    const node = this.#alternation();
    this.#depth--;
    if (this.#peek() !== ')') throw NOT_SIMPLE;
    this.#at++;
    return node;
  }

  #escape(): RegexNode {
    this.#at++;
    const char = this.#peek();
    const code = this.#take();
    const named = CLASSES[char];
    if (named !== undefined) return setOf(named);
    const control = CONTROLS[char];
    if (control !== undefined) return one(control);
    if (code >= 0x80 || code < 0x21 || /\w/.test(char)) throw NOT_SIMPLE;
    return one(code);
  }

  #class(): RegexNode {
    this.#at++;
    const negated = this.#peek() === '^';
    if (negated) this.#at++;
    const ranges: [number, number][] = [];
    for (let first = true; this.#peek() !== ']' || first; first = false) {
      const char = this.#peek();
      if (char === ']' || char === '[' || char === '') throw NOT_SIMPLE;
      if (char === '-') {
        // A dash is a character of its own only at the edges, for every engine.
        if (!first && this.#text[this.#at + 1] !== ']') throw NOT_SIMPLE;
        this.#at++;
        if (first && this.#peek() === '-') throw NOT_SIMPLE;
        ranges.push([45, 45]);
        continue;
      }
      const low = this.#classMember();
      if (typeof low !== 'number') {
        ranges.push(...rangesOf(low));
        if (this.#peek() === '-' && this.#text[this.#at + 1] !== ']') throw NOT_SIMPLE;
        continue;
      }
      if (this.#peek() !== '-' || this.#text[this.#at + 1] === ']') {
        ranges.push([low, low]);
        continue;
      }
      this.#at++;
      if (this.#peek() === '[') throw NOT_SIMPLE;
      const high = this.#classMember();
      if (typeof high !== 'number' || high < low || this.#peek() === '-') throw NOT_SIMPLE;
      ranges.push([low, high]);
    }
    this.#at++;
    const set = charSet(...ranges);
    if (rangesOf(set).some(([lo, hi]) => hi >= 0xd800 && lo <= MAX_CODE_POINT)) {
      // Only complements reach beyond the BMP; see `nativeSource`.
      if (negated || !ranges.every(([lo, hi]) => hi < 0xd800 || (lo < 0xd800 && hi === MAX_CODE_POINT))) throw NOT_SIMPLE;
    }
    const [range] = rangesOf(set);
    if (!negated && range !== undefined && set.length === 2 && range[0] === range[1]) return one(range[0]);
    return setOf(negated ? complement(set) : set);
  }

  #classMember(): number | CharSet {
    if (this.#peek() !== '\\') return this.#take();
    const node = this.#escape();
    if (node.kind !== 'set') throw NOT_SIMPLE;
    return node.literal === undefined ? node.set : (node.literal.codePointAt(0) ?? 0);
  }

  #quantified(body: RegexNode): RegexNode {
    const char = this.#peek();
    if (char === '' || !'*+?{'.includes(char)) return body;
    let min = char === '+' ? 1 : 0;
    let max = char === '?' ? 1 : Number.POSITIVE_INFINITY;
    if (char === '{') {
      const counts = /^\{(\d{1,3})(,(\d{0,3}))?\}/.exec(this.#text.slice(this.#at, this.#end));
      // Counted groups are left to RE2, which limits the product of nested counts.
      if (counts === null || body.kind !== 'set') throw NOT_SIMPLE;
      min = Number(counts[1]);
      max = counts[2] === undefined ? min : counts[3] === '' ? Number.POSITIVE_INFINITY : Number(counts[3]);
      if (min > MAX_COUNT || (max !== Number.POSITIVE_INFINITY && max > MAX_COUNT) || max < min) throw NOT_SIMPLE;
      this.#at += counts[0].length;
    } else this.#at++;
    // Lazy or greedy makes no difference to a full match.
    if (this.#peek() === '?') this.#at++;
    if (this.#peek() !== '' && '*+?{'.includes(this.#peek())) throw NOT_SIMPLE;
    return { kind: 'repeat', body, min, max };
  }
}

/** The pattern's tree, or undefined where it is not of the simple kind (or not valid at all). `^` first and `$` last are dropped. */
export function parseSimple(pattern: string): RegexNode | undefined {
  const start = pattern.startsWith('^') ? 1 : 0;
  const end = pattern.endsWith('$') && !pattern.endsWith('\\$') ? pattern.length - 1 : pattern.length;
  try {
    const node = new Parser(pattern, start, end).parse();
    // `^a|b$` anchors only one side of each alternative; full matching makes both the same, but that is RE2's to say.
    return node.kind === 'alt' && (start > 0 || end < pattern.length) ? undefined : node;
  } catch (error) {
    if (error instanceof NotSimple) return undefined;
    throw error;
  }
}

/** Literal text that every match begins with; empty when there is none. */
export function literalPrefix(node: RegexNode): string {
  return prefixOf(node).text;
}

interface Prefix {
  readonly text: string;
  /** The node matches `text` and nothing else, so a prefix may go on behind it. */
  readonly whole: boolean;
}

function prefixOf(node: RegexNode): Prefix {
  switch (node.kind) {
    case 'set':
      return { text: node.literal ?? '', whole: node.literal !== undefined };
    case 'repeat':
      return { text: node.min > 0 ? prefixOf(node.body).text : '', whole: false };
    case 'seq': {
      let text = '';
      for (const item of node.items) {
        const next = prefixOf(item);
        text += next.text;
        if (!next.whole) return { text, whole: false };
      }
      return { text, whole: true };
    }
    case 'alt': {
      const texts = node.options.map((option) => prefixOf(option).text);
      let common = texts[0] ?? '';
      for (const text of texts) while (!text.startsWith(common)) common = common.slice(0, -1);
      return { text: common, whole: false };
    }
  }
}

/** The longest text that every match contains; empty when there is none. */
export function requiredText(node: RegexNode): string {
  switch (node.kind) {
    case 'set':
      return node.literal ?? '';
    case 'repeat':
      return node.min > 0 ? requiredText(node.body) : '';
    case 'alt':
      return '';
    case 'seq': {
      let longest = '';
      let run = '';
      for (const item of node.items) {
        const literal = prefixOf(item);
        run = literal.whole ? run + literal.text : '';
        for (const text of [run, literal.whole ? '' : requiredText(item)]) if (text.length > longest.length) longest = text;
      }
      return longest;
    }
  }
}
