/** Against servers that speak raw HTTP/2, on a connected channel: what the express lane does itself, and what grpc-js reports of broken streams. */
import type { Http2Server, ServerHttp2Stream } from 'node:http2';
import { constants, createServer } from 'node:http2';
import { deflateSync, gzipSync } from 'node:zlib';
import { Channel, ChannelCredentials, Metadata, status } from '@grpc/grpc-js';
import { describe, expect, onTestFinished, test } from 'vitest';
import { channelFactory } from '../../src/adapters/grpc/channel.ts';
import { laneOf } from '../../src/adapters/grpc/express.ts';
import { RealClock } from '../../src/core/real-clock.ts';
import type { EchoStub } from '../support/echo-grpc.ts';
import { chat, collect, echoStub, expand, startEcho, unary } from '../support/echo-grpc.ts';
import { FakeGrpcEngine } from '../support/fake-grpc-engine.ts';

type Answer = (stream: ServerHttp2Stream, headers: Record<string, unknown>) => void;

const HEAD = { ':status': 200, 'content-type': 'application/grpc' } as const;
const frame = (body: Buffer, compressed: boolean): Buffer => {
  const prefix = Buffer.alloc(5);
  prefix[0] = compressed ? 1 : 0;
  prefix.writeUInt32BE(body.length, 1);
  return Buffer.concat([prefix, body]);
};

const reply = (stream: ServerHttp2Stream, body: Buffer, encoding?: string): void => {
  stream.respond(
    { ...HEAD, ...(encoding === undefined ? {} : { 'grpc-encoding': encoding, 'grpc-accept-encoding': 'identity,gzip' }) },
    { waitForTrailers: true },
  );
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.end(frame(body, encoding !== undefined));
};

/** The first call is answered plainly, so that the ones that count run on a connected channel. */
async function raw(
  answer: Answer,
  retries = 0,
  options: Record<string, unknown> = {},
): Promise<{ stub: EchoStub; engine: FakeGrpcEngine; server: Http2Server }> {
  let calls = 0;
  const server = createServer();
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    if (calls++ === 0) reply(stream, Buffer.from('warm'));
    else answer(stream, headers);
  });
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => sessions.add(session));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const engine = new FakeGrpcEngine({ ports: [(server.address() as { port: number }).port], retries });
  const stub = echoStub('echo:1', { ...options, channelFactoryOverride: channelFactory(engine) });
  onTestFinished(async () => {
    stub.close();
    for (const session of sessions) session.destroy();
    server.close();
    await engine.close();
  });
  expect(await unary(stub, 'warm')).toMatchObject({ code: 0, value: 'warm' });
  return { stub, engine, server };
}

describe('express lane', () => {
  test('contract: the installed grpc-js has it; without it, or with compression, calls take the public way', () => {
    const channel = new Channel('ipv4:127.0.0.1:1', ChannelCredentials.createInsecure(), {});
    onTestFinished(() => channel.close());
    expect(laneOf(channel, {}, new RealClock())).toBeDefined();
    expect(laneOf(channel, { 'grpc.default_compression_algorithm': 2 }, new RealClock())).toBeUndefined();
    expect(laneOf({} as Channel, {}, new RealClock())).toBeUndefined();
  });

  test('contract: on a connected channel every kind of call is what it is on a plain grpc-js channel', async () => {
    const echo = await startEcho();
    const engine = new FakeGrpcEngine({ ports: [echo.port] });
    const meshed = echoStub('echo:1', { channelFactoryOverride: channelFactory(engine) });
    const plain = echoStub(`127.0.0.1:${echo.port}`, {});
    onTestFinished(async () => {
      meshed.close();
      plain.close();
      echo.close();
      await engine.close();
    });
    const metadata = new Metadata();
    metadata.set('x-ask', '1');
    const everything = async (stub: EchoStub): Promise<unknown> => {
      await unary(stub, 'warm');
      echo.state.fail.push(status.NOT_FOUND);
      const results = [
        await unary(stub, 'bad'),
        await unary(stub, 'u', metadata),
        await unary(stub, ''),
        await collect(stub, ['a', '', 'c']),
        await expand(stub, 3),
        await chat(stub, ['x', 'y']),
      ];
      const seen = echo.state.lastMetadata?.getMap();
      return JSON.parse(
        JSON.stringify([results, seen], (key, value: unknown) => (key === 'date' || key === 'x-refused' ? undefined : value)),
      );
    };
    expect(await everything(meshed)).toEqual(await everything(plain));
  });

  test.each([
    { encoding: 'gzip', pack: gzipSync },
    { encoding: 'deflate', pack: deflateSync },
  ])('inflates $encoding replies', async ({ encoding, pack }) => {
    const accepted: unknown[] = [];
    const { stub } = await raw((stream, headers) => {
      accepted.push(headers['grpc-accept-encoding'], headers['grpc-encoding']);
      reply(stream, pack(Buffer.from('packed'.repeat(100))), encoding);
    });
    const outcome = await unary(stub, 'x');
    expect(outcome).toMatchObject({ code: 0, value: 'packed'.repeat(100) });
    expect(outcome.head?.get('grpc-encoding')).toEqual([]);
    expect(accepted).toEqual(['identity,deflate,gzip', undefined]);
  });

  test('what cannot be inflated, or would become too large, fails with its status', async () => {
    const bodies: [Buffer, string][] = [
      [gzipSync(Buffer.alloc(5 << 20)), 'gzip'],
      [Buffer.from('no gzip'), 'gzip'],
      [Buffer.from('x'), 'zstd'],
    ];
    const { stub } = await raw((stream) => {
      const [body, encoding] = bodies.shift() ?? [Buffer.alloc(0), 'identity'];
      reply(stream, body, encoding);
    });
    expect((await unary(stub, 'x')).code).toBe(status.RESOURCE_EXHAUSTED);
    expect((await unary(stub, 'x')).code).toBe(status.INTERNAL);
    expect((await unary(stub, 'x')).code).toBe(status.INTERNAL);
  });

  test('limits on message sizes hold', async () => {
    const { stub } = await raw((stream) => reply(stream, Buffer.alloc(600)), 0, {
      'grpc.max_send_message_length': 500,
      'grpc.max_receive_message_length': 550,
    });
    expect(await unary(stub, 'x'.repeat(501))).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: 'Attempted to send message with a size larger than 500',
    });
    expect((await unary(stub, 'x'.repeat(500))).code).toBe(status.RESOURCE_EXHAUSTED);
  });
});

describe('what a broken stream is', () => {
  test('refused: sent once more within the attempt (gRFC A6, transparent retry); refused again, it is a failure', async () => {
    let seen = 0;
    const { stub, engine } = await raw((stream) => {
      seen++;
      stream.close(constants.NGHTTP2_REFUSED_STREAM);
    });
    const outcome = await unary(stub, 'x');
    expect(outcome.code).toBe(status.UNAVAILABLE);
    expect(outcome.details).toMatch(/^\[UR\] upstream_refused_stream: /);
    expect(engine.record.attempts.at(-1)).toMatchObject({ failure: 'upstream_refused_stream' });
    expect([seen, engine.record.calls.at(-1)?.attempts]).toEqual([2, 1]);
  });

  test('refused once: every message comes to the next stream, and no attempt is counted', async () => {
    let seen = 0;
    const { stub, engine } = await raw((stream) => {
      if (seen++ === 0) {
        stream.close(constants.NGHTTP2_REFUSED_STREAM);
        return;
      }
      const parts: Buffer[] = [];
      stream.on('data', (part: Buffer) => parts.push(part));
      stream.on('end', () =>
        reply(
          stream,
          Buffer.from(
            String(
              Buffer.concat(parts)
                .toString()
                .replaceAll(/[^abc]/g, ''),
            ),
          ),
        ),
      );
    });
    expect(await collect(stub, ['a', 'b', 'c'])).toMatchObject({ code: 0, value: 'abc' });
    expect(engine.record.calls.at(-1)).toMatchObject({ attempts: 1, grpcStatus: 0 });
  });

  test('a session that is going (GOAWAY) loses no call: those that it did not take go to the next one', async () => {
    const { stub, server } = await raw((stream) => reply(stream, Buffer.from('taken')));
    let sessions = 1;
    server.on('session', () => sessions++);
    let answered = 0;
    server.on('stream', (stream) => void (++answered % 50 === 0 && stream.session?.goaway(constants.NGHTTP2_NO_ERROR, 2 ** 31 - 1)));
    const outcomes = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const codes: number[] = [];
        for (let i = 0; i < 30; i++) codes.push((await unary(stub, 'x')).code);
        return codes;
      }),
    );
    expect(outcomes.flat().filter((code) => code !== 0)).toEqual([]);
    expect(sessions).toBeGreaterThan(3);
  });

  test('what was reset otherwise may have been processed: not sent again', async () => {
    let seen = 0;
    const { stub } = await raw((stream) => {
      seen++;
      stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    });
    expect((await unary(stub, 'x')).code).toBe(status.INTERNAL);
    expect(seen).toBe(1);
  });

  test.each([
    { code: constants.NGHTTP2_INTERNAL_ERROR, expected: status.INTERNAL },
    { code: constants.NGHTTP2_CANCEL, expected: status.CANCELLED },
    { code: constants.NGHTTP2_PROTOCOL_ERROR, expected: status.INTERNAL },
  ])('reset with code $code keeps gRPC’s status', async ({ code, expected }) => {
    const { stub, engine } = await raw((stream) => stream.close(code));
    expect((await unary(stub, 'x')).code).toBe(expected);
    expect(engine.record.attempts.at(-1)).toMatchObject({ failure: 'upstream_reset_before_response_started', grpcStatus: expected });
  });

  test('an HTTP error without gRPC headers is the server’s answer, mapped', async () => {
    const { stub, engine } = await raw((stream) => stream.respond({ ':status': 503 }, { endStream: true }));
    expect((await unary(stub, 'x')).code).toBe(status.UNAVAILABLE);
    expect(engine.record.attempts.at(-1)).toMatchObject({ grpcStatus: status.UNAVAILABLE });
  });

  test('after a retry on the same endpoint the call succeeds', async () => {
    let refused = 0;
    const { stub, engine } = await raw((stream) => {
      if (refused++ < 2) {
        stream.close(constants.NGHTTP2_REFUSED_STREAM);
      } else {
        reply(stream, Buffer.from('second'));
      }
    }, 1);
    expect(await unary(stub, 'x')).toMatchObject({ code: 0, value: 'second' });
    expect(engine.record.calls.at(-1)).toMatchObject({ attempts: 2, grpcStatus: 0 });
  });
});
