import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  applyTemplate,
  authorityOf,
  canonicalName,
  listenerCandidates,
  percentEncode,
  serverListenerName,
  withoutPort,
} from '../../../src/xds/names.ts';
import { peekName, sameBytes } from '../../../src/xds/peek-name.ts';
import { resource } from './fake-control-plane.ts';

describe('templates', () => {
  test.each([
    ['%s', 'a:1', 'a:1'],
    ['x/%s/y/%s', 'a', 'x/a/y/a'],
    ['none', 'a', 'none'],
    ['%s', '$&$1', '$&$1'],
    ['plain/%s', 'a b', 'plain/a b'],
    ['xdstp://auth/L/%s', 'a b?c#d%', 'xdstp://auth/L/a%20b%3Fc%23d%25'],
    ['xdstp://auth/L/%s', "a:1/b@c!$&'()*+,;=~-._", "xdstp://auth/L/a:1/b@c!$&'()*+,;=~-._"],
    ['xdstp://auth/L/%s', '[::1]:80', 'xdstp://auth/L/%5B::1%5D:80'],
    ['xdstp://auth/L/%s?z=1&b=2', 'ü', 'xdstp://auth/L/%C3%BC?b=2&z=1'],
  ])('%s with %s', (template, value, expected) => {
    expect(applyTemplate(template, value)).toBe(expected);
  });

  test('a lone surrogate does not throw', () => {
    expect(percentEncode('a\ud800')).toBe('a%EF%BF%BD');
  });

  test('percent-encoding can be undone', () => {
    fc.assert(fc.property(fc.string({ unit: 'grapheme' }), (text) => decodeURIComponent(percentEncode(text)) === text));
  });

  test.each([
    ['greeter:50051', '%s', ['greeter:50051', 'greeter']],
    ['greeter', '%s', ['greeter']],
    ['greeter:80', 'xdstp://a/L/%s', ['greeter:80', 'greeter', 'xdstp://a/L/greeter:80']],
    ['[::1]:80', '%s', ['[::1]:80', '[::1]']],
  ])('candidates for %s by %s', (authority, template, expected) => {
    expect(listenerCandidates(authority, template)).toEqual(expected);
  });

  test.each([
    ['a:80', 'a'],
    ['a', 'a'],
    ['[::1]:80', '[::1]'],
    ['[::1]', '[::1]'],
    ['1.2.3.4:5', '1.2.3.4'],
    ['a:', 'a'],
    ['::1', '::1'],
  ])('%s without port', (authority, expected) => {
    expect(withoutPort(authority)).toBe(expected);
  });

  test.each([
    ['in/%s', '0.0.0.0', 80, 'in/0.0.0.0:80'],
    ['in/%s', '::', 80, 'in/[::]:80'],
    ['in/%s', '[::1]', 80, 'in/[::1]:80'],
    ['xdstp://a/L/%s', '::1', 80, 'xdstp://a/L/%5B::1%5D:80'],
  ])('server listener %s for %s %i', (template, host, port, expected) => {
    expect(serverListenerName(template, host, port)).toBe(expected);
  });
});

describe('xdstp names', () => {
  test.each([
    ['plain?b=1&a=2', 'plain?b=1&a=2'],
    ['xdstp://a/T/id', 'xdstp://a/T/id'],
    ['xdstp://a/T/id?b=1&a=2', 'xdstp://a/T/id?a=2&b=1'],
    ['xdstp://a/T/id?a=1&a=2', 'xdstp://a/T/id?a=2'],
    ['xdstp://a/T/id?b&a=1', 'xdstp://a/T/id?a=1&b='],
    ['xdstp://a/T/id?', 'xdstp://a/T/id'],
    ['xdstp://a/T/id?b=1&a=2#frag', 'xdstp://a/T/id?a=2&b=1#frag'],
    ['xdstp:///T/id?b=1&a=2', 'xdstp:///T/id?a=2&b=1'],
    ['xdstp:malformed', 'xdstp:malformed'],
  ])('%s', (name, expected) => {
    expect(canonicalName(name)).toBe(expected);
    expect(canonicalName(expected)).toBe(expected);
  });

  test.each([
    ['plain', undefined],
    ['xdstp://a.b/T/id', 'a.b'],
    ['xdstp:///T/id', ''],
    ['xdstp://a?x=1', 'a'],
  ])('authority of %s', (name, expected) => {
    expect(authorityOf(name)).toBe(expected);
  });
});

describe('names without decoding', () => {
  test('any name, and nothing else', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 300 }), fc.string(), (name, text) => {
        expect(peekName(resource('cluster', name, text).value)).toBe(name);
      }),
    );
  });

  test.each([
    ['empty', []],
    ['another field first', [0x12, 1, 65]],
    ['empty name', [0x0a, 0]],
    ['cut short', [0x0a, 5, 65]],
    ['no length', [0x0a]],
    ['endless length', [0x0a, 255, 255, 255, 255, 255, 1]],
  ])('%s: undefined', (_title, bytes) => {
    expect(peekName(Uint8Array.from(bytes))).toBeUndefined();
  });

  test('random bytes never throw', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void peekName(bytes)));
  });

  test('sameBytes', () => {
    expect(sameBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2))).toBe(true);
    expect(sameBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 3))).toBe(false);
    expect(sameBytes(Uint8Array.of(1), Uint8Array.of(1, 2))).toBe(false);
  });
});
