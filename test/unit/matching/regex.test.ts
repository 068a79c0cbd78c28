import * as fc from 'fast-check';
import { RE2JS } from 're2js';
import { describe, expect, test } from 'vitest';
import { ConfigProblem } from '../../../src/config/resource.ts';
import { compileRegex, Regex } from '../../../src/matching/regex.ts';

describe('full match', () => {
  test.each([
    ['a|b', 'a', true],
    ['a|b', 'b', true],
    ['a|b', 'ab', false],
    ['alice|bob', 'alice-evil', false],
    ['alice|bob', 'evil-bob', false],
    ['alice|bob', 'bob', true], // the peer's defect 2
    ['^a|b$', 'ax', false],
    ['^a|b$', 'xb', false],
    ['^a|b$', 'b', true],
    ['/api/v[0-9]+/.*', '/api/v12/x/y', true],
    ['/api/v[0-9]+/.*', '/x/api/v12/x', false],
    ['.*\\.jpg', '/a/b.jpg', true],
    ['.*\\.jpg', '/a/bxjpg', false],
    ['.', '\n', false],
    ['(?s).', '\n', true],
    ['.', '\r', true],
    ['.', '\u2028', true],
    ['\\s', '\v', false],
    ['\\s', '\u00a0', false],
    ['\\d', '٣', false],
    ['(?i)Abc', 'aBC', true],
    ['[[:alpha:]]+', 'abc', true],
    ['\\pL+', 'äß', true],
    ['\\Qa.b\\E', 'a.b', true],
    ['\\Qa.b\\E', 'axb', false],
    ['(?P<n>x)y', 'xy', true],
    ['a$', 'a\n', false],
    ['', '', true],
    ['', 'a', false],
    ['^$', '', true],
    ['[^/]', '😀', true],
    ['[^/]+', '😀', true],
    ['[^/]{2}', '😀', false],
    ['😀', '😀', true],
    ['a\\$', 'a$', true],
    ['[a$]', '$', true],
    ['[-a]', '-', true],
    ['[a-]', '-', true],
    ['[\\]x]', ']', true],
  ])('%j on %j is %s', (pattern, text, expected) => {
    expect(compileRegex(pattern).test(text)).toBe(expected);
  });

  test.each([
    ['(?=a)b', '(?='],
    ['(?!a)b', '(?!'],
    ['(?<=a)b', 'invalid'],
    ['(a)\\1', '\\1'],
    ['[', 'missing closing ]'],
    ['a**', '**'],
    ['(', 'missing'],
    ['a{1001}', '1001'],
    ['[b-a]', 'b-a'],
    ['\\8', '\\8'],
  ])('%j is rejected with the reason', (pattern, part) => {
    let problem: unknown;
    try {
      compileRegex(pattern);
    } catch (error) {
      problem = error;
    }
    expect(problem).toBeInstanceOf(ConfigProblem);
    expect((problem as ConfigProblem).reason).toContain(part);
  });

  test('a program of absurd size is rejected', () => {
    expect(() => compileRegex('((((a{100}){10}){10}b){3}c|d){1,9}'.repeat(20))).toThrow(ConfigProblem);
  });
});

describe('what runs natively', () => {
  test.each([
    ['/api/v[0-9]+/.*', true],
    ['/users/[^/]+', true],
    ['.*\\.jpg', true],
    ['/(users|orders)/[^/]+', true],
    ['(/[^/]+)*', true],
    ['a+', true],
    ['(a+)+', false],
    ['(a*)*', false],
    ['(a|a)*', false],
    ['(a|ab)c', false],
    ['.*.*x', false],
    ['.*a.*b', false],
    ['a?a?a?aaa', false],
    ['(x+x+)+y', false],
    ['[^/]*a', true],
    ['.*/[^/]*x', false],
    ['(?i)a', false],
  ])('%j: %s', (pattern, native) => {
    expect(new Regex(pattern).native).toBe(native);
  });

  test('patterns that kill a backtracking engine take linear time', () => {
    for (const pattern of ['(a+)+$', '(a|a)*', '(a|aa)+', '.*.*.*=.*', '(x+x+)+y', '([a-z]+)*[0-9]']) {
      const regex = compileRegex(pattern);
      const started = process.cpuUsage().user;
      regex.test(`${'a'.repeat(5000)}!`);
      // Exponential time would be years, quadratic a second.
      expect(process.cpuUsage().user - started).toBeLessThan(500_000);
    }
  });

  test("long texts do not overflow the native engine's stack", () => {
    expect(new Regex('(a|b)*').native).toBe(true);
    expect(compileRegex('(a|b)*').test('a'.repeat(10_000_000))).toBe(true);
  });
});

/** Patterns of the simple grammar, most of them valid. */
const atom = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('a', 'b', '/', '-', '0', '\\.', '\\/', '\\-', ' ', 'é') },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      '.',
      '[^/]',
      '[ab]',
      '[a-c]',
      '[^ab/]',
      '\\d',
      '\\w',
      '\\s',
      '\\S',
      '\\D',
      '[\\w-]',
      '[-a]',
      '[0-9a]',
      '[^\\d]',
      '[\\W]',
      '[a\\]]',
    ),
  },
);
const { regex: patternTree } = fc.letrec<{ regex: string; piece: string }>((tie) => ({
  piece: fc.oneof(
    { maxDepth: 4, depthIdentifier: 'regex' },
    {
      weight: 5,
      arbitrary: fc.tuple(atom, fc.constantFrom('', '', '', '*', '+', '?', '{2}', '{1,3}', '{1,}', '*?', '+?')).map(([a, q]) => a + q),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(fc.constantFrom('(', '(?:'), tie('regex'), fc.constantFrom('', '', '*', '+', '?'))
        .map(([open, body, q]) => `${open}${body})${q}`),
    },
  ),
  regex: fc.oneof(
    { maxDepth: 4, depthIdentifier: 'regex' },
    { weight: 4, arbitrary: fc.array(tie('piece'), { minLength: 1, maxLength: 5 }).map((pieces) => pieces.join('')) },
    { weight: 1, arbitrary: fc.array(tie('piece'), { minLength: 2, maxLength: 4 }).map((pieces) => pieces.join('|')) },
  ),
}));
const texts = fc
  .array(fc.constantFrom('a', 'b', 'c', '/', '-', '0', '1', '.', ' ', '\n', 'é', '😀', '\ud800', '\v', ']', 'z'), { maxLength: 12 })
  .map((chars) => chars.join(''));

describe('equal to RE2', () => {
  test('every simple pattern is valid RE2 and matches the same texts', () => {
    let native = 0;
    fc.assert(
      fc.property(
        patternTree,
        fc.constantFrom('', '^'),
        fc.constantFrom('', '$'),
        fc.array(texts, { minLength: 4, maxLength: 8 }),
        (body, head, tail, samples) => {
          const pattern = head + body + tail;
          const re2 = RE2JS.compile(pattern);
          const regex = new Regex(pattern);
          if (regex.native) native++;
          for (const sample of samples) {
            const expected = re2.testExact(sample);
            expect(regex.test(sample), `${pattern} on ${JSON.stringify(sample)}`).toBe(expected);
            if (expected) expect(sample.startsWith(regex.literalPrefix), `${pattern} prefix ${regex.literalPrefix}`).toBe(true);
          }
        },
      ),
      { numRuns: 4000 },
    );
    // The property says something about the native engine only if that was used.
    expect(native).toBeGreaterThan(1000);
  });

  test('any text as a pattern: the same verdict and the same matches', () => {
    const noise = fc.array(
      fc.constantFrom(
        'a',
        'b',
        '-',
        '\\',
        '[',
        ']',
        '(',
        ')',
        '{',
        '}',
        '^',
        '$',
        '|',
        '*',
        '+',
        '?',
        '.',
        ',',
        '1',
        '2',
        ':',
        'd',
        'Q',
        'E',
        'z',
        '😀',
      ),
      { maxLength: 9 },
    );
    fc.assert(
      fc.property(
        noise.map((chars) => chars.join('')),
        fc.array(texts, { minLength: 3, maxLength: 3 }),
        (pattern, samples) => {
          let re2: RE2JS | undefined;
          try {
            re2 = RE2JS.compile(pattern);
          } catch {
            re2 = undefined;
          }
          if (re2 === undefined) {
            expect(() => new Regex(pattern), pattern).toThrow(ConfigProblem);
            return;
          }
          const regex = new Regex(pattern);
          for (const sample of [...samples, 'a', 'ab', '-']) {
            const expected = re2.testExact(sample);
            expect(regex.test(sample), `${pattern} on ${JSON.stringify(sample)}`).toBe(expected);
            if (expected) expect(sample.startsWith(regex.literalPrefix), `${pattern} prefix`).toBe(true);
          }
        },
      ),
      { numRuns: 6000 },
    );
  });
});

describe('replaceAll', () => {
  test.each([
    ['^/service/([^/]+)(/.*)$', '/service/foo/v1/api', '\\2/instance/\\1', '/v1/api/instance/foo'], // the example of RouteAction.regex_rewrite
    ['one', '/xxx/one/yyy/one/zzz', 'two', '/xxx/two/yyy/two/zzz'],
    ['^(.*?)one(.*)$', '/xxx/one/yyy/one/zzz', '\\1two\\2', '/xxx/two/yyy/one/zzz'],
    ['(?i)/xxx/', '/aaa/XxX/bbb', '/yyy/', '/aaa/yyy/bbb'],
    ['b*', 'bb', '<\\0>', '<bb>'],
    ['a*', 'baac', 'X', 'XbXcX'],
    ['', 'ab', '-', '-a-b-'],
    ['b*', 'aaaaa', 'bb', 'bbabbabbabbabbabb'],
    ['x', 'axb', '\\\\', 'a\\b'],
    ['(a)|(b)', 'ab', '[\\1\\2]', '[a][b]'],
    ['', '😀', '-', '-😀-'],
    ['^a', 'aaa', 'b', 'baa'],
    ['a', 'xax', '$&$1', 'x$&$1x'],
    ['nothing', 'abc', 'x', 'abc'],
    ['(a)', 'aaa', '\\2', 'aaa'],
    ['a', 'aaa', '\\q', 'aaa'], // invalid substitutions change nothing
  ])('%j in %j by %j gives %j', (pattern, text, substitution, expected) => {
    expect(compileRegex(pattern).replaceAll(text, substitution)).toBe(expected);
  });

  test('substitutions are checked', () => {
    expect(compileRegex('(a)(b)').checkSubstitution('\\0\\1\\2\\\\')).toBeUndefined();
    expect(compileRegex('(a)').checkSubstitution('\\2')).toContain('\\1');
    expect(compileRegex('(a)').checkSubstitution('x\\')).toBeDefined();
    expect(compileRegex('(a)').checkSubstitution('\\n')).toBeDefined();
  });
});

test.each([
  ['/svc/[^/]+', '/svc/'],
  ['/api/v1|/api/v2', '/api/v'],
  ['^/a\\.b/.*$', '/a.b/'],
  ['/ab?c', '/a'],
  ['/(foo)/x+', '/foo/x'],
  ['.*', ''],
  ['(?i)/a', ''],
  ['/a{2}', '/a'],
  ['/a|b', ''],
])('%j begins with %j', (pattern, prefix) => {
  expect(compileRegex(pattern).literalPrefix).toBe(prefix);
});

test('patterns in use are shared, and churn does not pile them up (the peer dies after about 10 700 regexes)', async () => {
  expect(compileRegex('/shared/[a-z]+')).toBe(compileRegex('/shared/[a-z]+'));
  for (let update = 0; update < 700; update++) for (let route = 0; route < 20; route++) compileRegex(`/(?i)r${route}-${update}/.*`);
  expect(compileRegex('/still/.*').test('/still/here')).toBe(true);
});
