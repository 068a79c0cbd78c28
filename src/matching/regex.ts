/**
 * Regular expressions of xDS: RE2 syntax, full match, linear time (Envoy, gRFC A28). re2js runs them; patterns proven to be
 * linear and to mean the same in both engines run natively. The pattern is matched as a whole, so `a|b` never means `^a|b$`.
 */
import { createRequire } from 'node:module';
import type { RE2JS } from 're2js';
import { ConfigProblem } from '../config/resource.ts';
import { isLinear, nativeRegExp } from './linear-regex.ts';
import type { RegexNode } from './simple-regex.ts';
import { literalPrefix, parseSimple, requiredText } from './simple-regex.ts';

/**
 * Deviation from Envoy R-28, whose default is 100: there an operator raises it by a runtime key that does not exist here, it counts
 * RE2's own programs and not re2js's, and gRPC has no limit. This one only bounds memory; time is linear anyway.
 */
const MAX_PROGRAM_SIZE = 32_768;
/** V8's backtracking stack grows with the text; a longer text goes to RE2. */
const MAX_NATIVE_TEXT = 16_384;
const MAX_NATIVE_PATTERN = 1024;

type Piece = string | number;

/** RE2's rewrite syntax: `\0` to `\9` and `\\`. Undefined when it is not valid. */
function parseSubstitution(text: string, groups: number): readonly Piece[] | undefined {
  const pieces: Piece[] = [];
  let literal = '';
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i);
    if (char !== '\\') {
      literal += char;
      continue;
    }
    const next = text.charAt(++i);
    if (next === '\\') literal += next;
    else if (next >= '0' && next <= '9' && Number(next) <= groups) {
      pieces.push(literal, Number(next));
      literal = '';
    } else return undefined;
  }
  pieces.push(literal);
  return pieces;
}

let engine: typeof import('re2js') | undefined;

/** Loaded for the first pattern that needs it (0.9 MB, about 10 ms): most processes never meet one. */
function re2js(): typeof import('re2js') {
  return (engine ??= createRequire(import.meta.url)('re2js') as typeof import('re2js'));
}

function compileRe2(pattern: string): RE2JS {
  let re2: RE2JS;
  try {
    re2 = re2js().RE2JS.compile(pattern);
  } catch (error) {
    if (!(error instanceof re2js().RE2JSException)) throw error;
    throw new ConfigProblem('regex', `${JSON.stringify(pattern)} is not a valid RE2 pattern: ${error.message}`);
  }
  if (re2.programSize() > MAX_PROGRAM_SIZE) {
    throw new ConfigProblem('regex', `the pattern's program size ${re2.programSize()} exceeds ${MAX_PROGRAM_SIZE}`);
  }
  return re2;
}

export class Regex {
  readonly pattern: string;
  /** Text that every match begins with; empty when there is none or it is not known. */
  readonly literalPrefix: string;
  /** The simple pattern's tree until the first test: proof and native program cost 40 µs, and most routes are never asked. */
  #tree: RegexNode | undefined;
  #program: RegExp | undefined = undefined;
  /** A text without this needs no engine: looking for it costs a tenth of what RE2 does. */
  readonly #required: string;
  #re2: RE2JS | undefined;
  #substitution = '';
  #pieces: readonly Piece[] | undefined = [''];

  /** Throws `ConfigProblem` for a pattern that RE2 does not take: look-around, back-references, syntax errors. */
  constructor(pattern: string) {
    this.pattern = pattern;
    const node = pattern.length > MAX_NATIVE_PATTERN ? undefined : parseSimple(pattern);
    this.literalPrefix = node === undefined ? '' : literalPrefix(node);
    this.#required = node === undefined ? '' : requiredText(node);
    this.#tree = node;
    // What the simple parser takes, RE2 takes (property test), so the costlier compilation waits until it is needed.
    this.#re2 = node === undefined ? compileRe2(pattern) : undefined;
  }

  /** Runs in JavaScript's own engine; for tests and `describe`. */
  get native(): boolean {
    if (this.#tree !== undefined) this.#choose(this.#tree);
    return this.#program !== undefined;
  }

  /** Full match. */
  test(text: string): boolean {
    if (this.#tree !== undefined) this.#choose(this.#tree);
    if (this.#program !== undefined && text.length <= MAX_NATIVE_TEXT) return this.#program.test(text);
    return (this.#required === '' || text.includes(this.#required)) && this.#engine().testExact(text);
  }

  /**
   * Replaces every match in `text` (RE2's GlobalReplace, Envoy R-42). `text` comes back as it was when the substitution is not valid,
   * which `checkSubstitution` tells beforehand.
   */
  replaceAll(text: string, substitution: string): string {
    const re2 = this.#engine();
    if (substitution !== this.#substitution) {
      this.#substitution = substitution;
      this.#pieces = parseSubstitution(substitution, re2.groupCount());
    }
    if (this.#pieces === undefined) return text;
    const matcher = re2.matcher(text);
    let out = '';
    let at = 0;
    let lastEnd = -1;
    while (at <= text.length && matcher.find(at)) {
      const start = matcher.start();
      const end = matcher.end();
      out += text.slice(at, start);
      if (start === end && start === lastEnd) {
        // No empty match directly behind the last match; one whole character goes on.
        const width = (text.codePointAt(start) ?? 0) > 0xffff ? 2 : 1;
        out += text.slice(start, start + width);
        at = start + width;
        continue;
      }
      for (const piece of this.#pieces) out += typeof piece === 'string' ? piece : (matcher.group(piece) ?? '');
      at = end;
      lastEnd = end;
    }
    return out + text.slice(at);
  }

  /** What is wrong with a substitution for this pattern; undefined when it is valid. */
  checkSubstitution(substitution: string): string | undefined {
    const groups = this.#engine().groupCount();
    if (parseSubstitution(substitution, groups) !== undefined) return undefined;
    return `substitution ${JSON.stringify(substitution)} may only use \\\\ and \\0 to \\${Math.min(groups, 9)}, as the pattern has ${groups} groups`;
  }

  #choose(tree: RegexNode): void {
    this.#tree = undefined;
    if (isLinear(tree)) this.#program = nativeRegExp(tree);
  }

  #engine(): RE2JS {
    this.#re2 ??= compileRe2(this.pattern);
    return this.#re2;
  }
}

const known = new Map<string, WeakRef<Regex>>();
const forgotten = new FinalizationRegistry<string>((pattern) => {
  if (known.get(pattern)?.deref() === undefined) known.delete(pattern);
});

/**
 * The compiled pattern; throws `ConfigProblem` with the reason when it is not valid RE2. Patterns in use are shared, so that decoding
 * and compiling a plan pay once, and every update of an unchanged table nothing; unused ones are collected.
 */
export function compileRegex(pattern: string): Regex {
  const existing = known.get(pattern)?.deref();
  if (existing !== undefined) return existing;
  const regex = new Regex(pattern);
  known.set(pattern, new WeakRef(regex));
  forgotten.register(regex, pattern);
  return regex;
}
