/** `HeaderMap` over every storage that adapters bring: one suite, the plain `HeaderList` as the model (property test). */
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IncomingHeaders, OutgoingHeaders } from '../../src/adapters/node-http/headers.ts';
import { hostOf, RequestHeaders, ResponseHead } from '../../src/adapters/undici/headers.ts';
import type { HeaderMap } from '../../src/core/headers.ts';
import { HeaderList } from '../../src/core/headers.ts';

type Pairs = readonly (readonly [string, string])[];

const upper = (name: string): string => name.replace(/(^|-)[a-z]/g, (part) => part.toUpperCase());

/** Names once each, as an object holds them. */
function grouped(pairs: Pairs): Record<string, string[]> {
  const object: Record<string, string[]> = {};
  for (const [name, value] of pairs) (object[upper(name)] ??= []).push(value);
  return object;
}

function incoming(pairs: Pairs): IncomingMessage {
  const message = new IncomingMessage(new Socket());
  const raw = pairs.flatMap(([name, value]) => [upper(name), value]);
  // What Node's parser does with what it read.
  (message as unknown as { _addHeaderLines(raw: string[], count: number): void })._addHeaderLines(raw, raw.length);
  return message;
}

function outgoing(pairs: Pairs): ServerResponse {
  const response = new ServerResponse(incoming([]));
  for (const [name, value] of pairs) response.appendHeader(upper(name), value);
  return response;
}

const VIEWS: readonly (readonly [name: string, make: (pairs: Pairs) => HeaderMap])[] = [
  ['HeaderList', (pairs) => new HeaderList(pairs)],
  ['undici request, flat array', (pairs) => new RequestHeaders(pairs.flatMap(([name, value]) => [upper(name), value]))],
  ['undici request, object', (pairs) => new RequestHeaders(grouped(pairs))],
  ['undici request, Map', (pairs) => new RequestHeaders(new Map(Object.entries(grouped(pairs))))],
  [
    'undici request, pairs that are read once',
    (pairs) => new RequestHeaders(pairs.map(([name, value]) => [upper(name), value] as const)[Symbol.iterator]() as never),
  ],
  [
    'undici response',
    (pairs) =>
      new ResponseHead(
        200,
        pairs.flatMap(([name, value]) => [Buffer.from(upper(name)), Buffer.from(value)]),
      ),
  ],
  ['node request', (pairs) => new IncomingHeaders(incoming(pairs))],
  ['node response', (pairs) => new OutgoingHeaders(outgoing(pairs))],
];

/** Names of which Node keeps every value. */
const NAMES = ['x-a', 'x-bb', 'accept', 'x-request-id', 'via'] as const;
const name = fc.constantFrom(...NAMES);
const value = fc.stringMatching(/^[a-z0-9;=]{1,8}$/);
const command = fc.oneof(
  fc.record({ do: fc.constant('set' as const), name, value }),
  fc.record({ do: fc.constant('append' as const), name, value }),
  fc.record({ do: fc.constant('remove' as const), name, value }),
);

/** Views keep the order of values of one name, not that of different names. */
function content(map: HeaderMap): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [key, one] of map.entries()) found[key] = found[key] === undefined ? one : `${found[key]},${one}`;
  return found;
}

describe.each(VIEWS)('%s', (_name, make) => {
  test('reads and writes as the model does', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(name, value), { maxLength: 6 }), fc.array(command, { maxLength: 6 }), (pairs, commands) => {
        const [view, model] = [make(pairs), new HeaderList(pairs)];
        for (const one of commands) {
          for (const map of [view, model]) {
            if (one.do === 'remove') map.remove(one.name);
            else map[one.do](one.name, one.value);
          }
        }
        for (const key of NAMES) expect([key, view.get(key), view.has(key)]).toEqual([key, model.get(key), model.has(key)]);
        expect(content(view)).toEqual(content(model));
      }),
    );
  });

  test('absent headers are undefined, names come out in lower case', () => {
    const view = make([['x-a', '1']]);
    expect([view.get('x-b'), view.has('constructor'), view.get('__proto__')]).toEqual([undefined, false, undefined]);
    expect([...view.entries()]).toEqual([['x-a', '1']]);
  });
});

describe('copy on write', () => {
  test('reading changes nothing, and the application keeps its own object', () => {
    const own = { 'X-Own': 'a' };
    const view = new RequestHeaders(own);
    view.get('x-own');
    expect(view.changed).toBe(false);
    view.remove('x-absent');
    expect(view.changed).toBe(false);
    view.set('x-own', 'b');
    expect([view.changed, own, view.flat()]).toEqual([true, { 'X-Own': 'a' }, ['x-own', 'b']]);
  });

  test('null is an empty value, undefined none, as undici writes them', () => {
    const view = new RequestHeaders({ a: null, b: undefined, c: 3 });
    expect([view.get('a'), view.has('b'), view.get('c'), view.flat()]).toEqual(['', false, '3', ['a', '', 'c', '3']]);
  });

  test('raw response headers stay the same buffers until somebody writes', () => {
    const raw = [Buffer.from('A'), Buffer.from('1'), Buffer.from('b'), [Buffer.from('2'), Buffer.from('3')]];
    const head = new ResponseHead(200, raw);
    expect([head.get('b'), head.raw]).toEqual(['2,3', raw]);
    expect(head.raw).toBe(raw);
    head.set('a', '9');
    expect([...head.entries()]).toEqual([
      ['b', '2'],
      ['b', '3'],
      ['a', '9'],
    ]);
  });
});

test.each([
  [undefined, undefined],
  [null, undefined],
  [{ Host: 'a' }, 'a'],
  [{ host: 'a:1' }, 'a:1'],
  [['x', 'host', 'HOST', 'b'], 'b'],
  [new Headers({ host: 'c' }), 'c'],
  [{ 'x-host': 'a' }, undefined],
])('the host header of %j is %j', (headers, host) => {
  expect(hostOf(headers as never)).toBe(host);
});
