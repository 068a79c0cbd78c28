/** Recording of bodies that can be read once: every reading gets the same bytes, up to the limit; then only the one that is ahead goes on. */
import { Readable } from 'node:stream';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MultipartBody } from '../../../src/adapters/undici/multipart.ts';
import { RECORD_LIMIT, RecordedBody, sendable } from '../../../src/adapters/undici/request-body.ts';

async function* of(...parts: readonly (string | Uint8Array)[]): AsyncGenerator<string | Uint8Array> {
  for (const part of parts) {
    await Promise.resolve();
    yield part;
  }
}

async function read(body: AsyncIterable<unknown>, most = Number.POSITIVE_INFINITY): Promise<string> {
  let text = '';
  let count = 0;
  for await (const part of body) {
    text += String(part);
    if (++count >= most) break;
  }
  return text;
}

describe('RecordedBody', () => {
  test('is intact for any number of readings that stop anywhere', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ maxLength: 20 }), { maxLength: 8 }),
        fc.array(fc.nat(8), { maxLength: 4 }),
        async (parts, stops) => {
          const body = new RecordedBody(of(...parts));
          const whole = parts.join('');
          for (const stop of stops) expect(whole.startsWith(await read(body, stop + 1))).toBe(true);
          expect(await read(body)).toBe(whole);
          expect(body.replayable).toBe(true);
        },
      ),
    );
  });

  test('two readings at once share what the source gives', async () => {
    const body = new RecordedBody(of('a', 'b', 'c'));
    expect(await Promise.all([read(body), read(body)])).toEqual(['abc', 'abc']);
  });

  test('the limit is exact: at it replayable, beyond it not, and the reading goes on whole', async () => {
    const full = new RecordedBody(of('x'.repeat(RECORD_LIMIT)));
    await read(full);
    expect(full.replayable).toBe(true);
    const over = new RecordedBody(of('x'.repeat(RECORD_LIMIT), 'y', 'z'));
    expect((await read(over)).length).toBe(RECORD_LIMIT + 2);
    expect(over.replayable).toBe(false);
    await expect(read(over)).rejects.toThrow('gone');
  });

  test('a chunk is kept as it was, even when its owner writes over it', async () => {
    const memory = Buffer.from('one');
    const body = new RecordedBody(
      (async function* () {
        yield memory;
        memory.write('two');
        yield memory;
      })(),
    );
    expect([await read(body), await read(body)]).toEqual(['onetwo', 'onetwo']);
  });

  test('the error of the source is told to every reading', async () => {
    const body = new RecordedBody(
      (async function* () {
        yield 'a';
        throw new Error('source');
      })(),
    );
    await expect(read(body)).rejects.toThrow('source');
    expect((body.error as Error).message).toBe('source');
    await expect(read(body)).rejects.toThrow('source');
  });

  test('close ends a source that was not read to its end, also a stream', async () => {
    let closed = false;
    const body = new RecordedBody(
      (async function* () {
        try {
          yield 'a';
          yield 'b';
        } finally {
          closed = true;
        }
      })(),
    );
    await read(body, 1);
    expect(closed).toBe(false);
    body.close();
    await new Promise((resolve) => setImmediate(resolve));
    expect(closed).toBe(true);
    const stream = Readable.from(['a', 'b']);
    new RecordedBody(stream).close();
    expect(stream.destroyed).toBe(true);
  });
});

describe('sendable', () => {
  test.each([
    ['buffer', Buffer.from('a')],
    ['array', ['a']],
    ['blob', new Blob(['a'])],
    ['array buffer', new ArrayBuffer(1)],
  ])('a %s goes to undici as it is', (_name, body) => {
    expect(sendable(body)).toBe(body);
  });

  test.each([
    ['generator', of('a')],
    ['stream', Readable.from(['a'])],
    ['web stream', new Blob(['a']).stream()],
    [
      'sync generator',
      (function* () {
        yield 'a';
      })(),
    ],
  ])('a %s is recorded', async (_name, body) => {
    const recorded = sendable(body) as RecordedBody;
    expect(recorded).toBeInstanceOf(RecordedBody);
    await read(recorded);
    expect((await read(recorded)).length).toBeGreaterThan(0);
  });
});

test('multipart: what the platform reads back is what was put in, with the length announced', async () => {
  const form = new FormData();
  form.append('a "quoted"\nname', 'line\nline');
  form.append('empty', '');
  form.append('file', new Blob([new Uint8Array([0, 255, 10, 13])], { type: 'x/y' }), 'f".bin');
  const body = new MultipartBody(form as never);
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(part);
  const bytes = Buffer.concat(parts);
  expect(bytes.length).toBe(body.length);
  const back = await new Response(bytes, { headers: { 'content-type': body.contentType } }).formData();
  const file = back.get('file') as File;
  expect([...back.keys()].length).toBe(3);
  expect([back.get('empty'), file.name, file.type, [...new Uint8Array(await file.arrayBuffer())]]).toEqual([
    '',
    'f".bin',
    'x/y',
    [0, 255, 10, 13],
  ]);
});
