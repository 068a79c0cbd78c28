/** Polling over REST on a simulated clock and a scripted server (Envoy X-100). */
import { expect, onTestFinished, test } from 'vitest';
import { createRestTransport } from '../../../src/adapters/rest/index.ts';
import type { Post, Poster, PostReply, RestTransportOptions } from '../../../src/adapters/rest/index.ts';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import type { AdsStream, AdsStreamEvents } from '../../../src/core/transport.ts';
import { decodeDiscoveryResponse, encodeDiscoveryRequest } from '../../../src/proto/discovery.ts';
import { FakeClock, settle } from '../../../src/testing/fake-clock.ts';
import { ScriptedRandom } from '../../../src/testing/seeded-random.ts';
import { RecordingLogger } from '../xds/setup.ts';

const METHOD = '/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters';
const NODE = {
  id: 'n',
  cluster: 'c',
  metadata: { a: [1, { b: true }] },
  locality: { region: 'r', zone: 'z', subZone: '' },
  userAgentName: 'inmesh',
  userAgentVersion: '1',
  clientFeatures: ['f'],
};

/** Requests wait until they are answered by hand. */
class Server implements Poster {
  readonly base = 'http://plane';
  readonly posts: Post[] = [];
  readonly #waiting: { resolve: (reply: PostReply) => void; reject: (error: Error) => void }[] = [];

  post(post: Post): Promise<PostReply> {
    this.posts.push(post);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      post.signal.addEventListener('abort', () => reject(post.signal.reason as Error));
    });
  }
  async answer(status: number, body: unknown = ''): Promise<void> {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    this.#waiting.shift()?.resolve({ status, body: Buffer.from(text) });
    await settle();
  }
  async fail(message: string): Promise<void> {
    this.#waiting.shift()?.reject(Object.assign(new Error(message), { code: 'ECONNRESET' }));
    await settle();
  }
  last(): Record<string, unknown> {
    return JSON.parse(this.posts.at(-1)?.body ?? '{}') as Record<string, unknown>;
  }
}

class Recorder implements AdsStreamEvents {
  readonly events: string[] = [];
  stream: AdsStream | undefined;
  /** As the session does: nothing is delivered before the last message is applied. */
  pausing = false;
  onConnected(): void {
    this.events.push('connected');
  }
  onMessage(bytes: Uint8Array): void {
    const { versionInfo, nonce, resources } = decodeDiscoveryResponse(bytes);
    this.events.push(`message ${versionInfo}/${nonce} ${resources.length}`);
    if (this.pausing) this.stream?.pause();
  }
  onEnd(code: number, details: string): void {
    this.events.push(`end ${code} ${details}`);
  }
}

interface Setup {
  readonly server: Server;
  readonly clock: FakeClock;
  readonly recorder: Recorder;
  readonly stream: AdsStream;
  readonly log: RecordingLogger;
  send(
    names: readonly string[],
    more?: { readonly version?: string; readonly nonce?: string; readonly error?: string; readonly typeUrl?: string },
  ): Promise<void>;
}

function setup(change: Partial<RestTransportOptions> = {}, method = METHOD): Setup {
  const [server, clock, recorder, log] = [new Server(), new FakeClock(), new Recorder(), new RecordingLogger()];
  const transport = createRestTransport({
    uri: 'plane:80',
    security: undefined,
    identity: undefined,
    refreshDelayMs: 1000,
    requestTimeoutMs: 500,
    clock,
    random: new ScriptedRandom(0.5),
    log,
    background: true,
    poster: server,
    ...change,
  });
  const stream = transport.open(method, recorder);
  recorder.stream = stream;
  let first = true;
  onTestFinished(async () => {
    transport.close();
    transport.close();
    await settle();
    expect(clock.pending, 'timers left').toBe(0);
    expect(recorder.events.filter((event) => event.startsWith('end'))).toHaveLength(1);
  });
  const send: Setup['send'] = async (names, { version = '', nonce = '', error, typeUrl = TYPE_URLS.cluster } = {}) => {
    stream.send(
      encodeDiscoveryRequest({
        typeUrl,
        versionInfo: version,
        resourceNames: names,
        responseNonce: nonce,
        errorDetail: error === undefined ? undefined : { code: 3, message: error },
        node: first ? NODE : undefined,
      }),
    );
    first = false;
    await settle();
  };
  return { server, clock, recorder, stream, log, send };
}

const cluster = (name: string): object => ({ '@type': TYPE_URLS.cluster, name });
const response = (version: string, ...names: readonly string[]): object => ({
  version_info: version,
  nonce: `n${version}`,
  resources: names.map(cluster),
});

test('polls after refresh_delay and up to the same again; the same answer, and 304, are no news; the node is in every request', async () => {
  const { server, clock, recorder, send } = setup();
  await send([]);
  expect(server.posts.map(({ path }) => path)).toEqual(['/v3/discovery:clusters']);
  expect(server.last()).toEqual({
    typeUrl: TYPE_URLS.cluster,
    node: {
      id: 'n',
      cluster: 'c',
      metadata: { a: [1, { b: true }] },
      locality: { region: 'r', zone: 'z' },
      userAgentName: 'inmesh',
      userAgentVersion: '1',
      clientFeatures: ['f'],
    },
  });
  await server.answer(200, response('1', 'a', 'b'));
  expect(recorder.events).toEqual(['connected', 'message 1/n1 2']);
  await send([], { version: '1', nonce: 'n1' });
  await clock.advance(1499);
  expect(server.posts).toHaveLength(1);
  await clock.advance(1);
  expect(server.posts).toHaveLength(2);
  expect(server.last()).toMatchObject({ versionInfo: '1', responseNonce: 'n1', node: { id: 'n' } });
  await server.answer(304);
  await clock.advance(1500);
  await server.answer(200, response('1', 'a', 'b'));
  await clock.advance(1500);
  // A fresh nonce is no change either.
  await server.answer(200, { ...response('1', 'a', 'b'), nonce: 'other' });
  expect(recorder.events).toHaveLength(2);
  await clock.advance(1500);
  await server.answer(200, { ...response('1', 'a'), nonce: 'other' });
  expect(recorder.events.at(-1)).toBe('message 1/other 1');
});

test('other names are polled for at once, without a version, and their answer is delivered though it is the same', async () => {
  const { server, clock, recorder, send } = setup();
  await send(['a']);
  await send(['a', 'b']);
  expect(server.posts).toHaveLength(1);
  await server.answer(200, response('1', 'a', 'b'));
  expect(server.posts).toHaveLength(2);
  expect(server.last()).toMatchObject({ resourceNames: ['a', 'b'] });
  expect(server.last()).not.toHaveProperty('versionInfo');
  await send(['b', 'a'], { version: '1', nonce: 'n1' });
  await server.answer(200, response('1', 'a', 'b'));
  expect(recorder.events).toEqual(['connected', 'message 1/n1 2', 'message 1/n1 2']);
  await clock.advance(1500);
  expect(server.last()).toMatchObject({ versionInfo: '1' });
  await server.answer(304);
  // No names any more: an empty list would mean everything (Envoy X-51).
  await send([], { version: '1' });
  await clock.advance(10_000);
  expect(server.posts).toHaveLength(3);
  await send(['c'], { version: '1' });
  expect(server.posts).toHaveLength(4);
});

test.each([304, 200])(
  'a name that was given up and asked for again during a poll (answered with %i) is delivered again',
  async (status) => {
    const { server, clock, recorder, send } = setup();
    const answer = (): Promise<void> => server.answer(status, status === 200 ? response('1', 'a', 'b') : '');
    await send(['a', 'b']);
    await server.answer(200, response('1', 'a', 'b'));
    await send(['a', 'b'], { version: '1', nonce: 'n1' });
    await clock.advance(1500);
    expect(server.last()).toMatchObject({ versionInfo: '1' });
    await send(['b'], { version: '1', nonce: 'n1' });
    await send(['a', 'b'], { version: '1', nonce: 'n1' });
    await answer();
    if (status === 304) {
      expect(server.last()).not.toHaveProperty('versionInfo');
      await server.answer(200, response('1', 'a', 'b'));
    }
    expect(recorder.events).toEqual(['connected', 'message 1/n1 2', 'message 1/n1 2']);
  },
);

test('a NACK goes with the next poll', async () => {
  const { server, clock, send } = setup();
  await send([]);
  await server.answer(200, response('2', 'bad'));
  await send([], { version: '1', nonce: 'n2', error: 'bad is bad' });
  expect(server.posts).toHaveLength(1);
  await clock.advance(1500);
  expect(server.last()).toMatchObject({ versionInfo: '1', responseNonce: 'n2', errorDetail: { code: 3, message: 'bad is bad' } });
});

test('flow control: nothing is delivered, and nothing polled for, between pause and resume', async () => {
  const { server, clock, recorder, stream, send } = setup();
  await send([]);
  recorder.pausing = true;
  await server.answer(200, response('1', 'a'));
  await clock.advance(60_000);
  expect(server.posts).toHaveLength(1);
  stream.resume();
  await settle();
  expect(server.posts).toHaveLength(2);
  stream.pause();
  await server.answer(200, response('2', 'a'));
  await clock.advance(60_000);
  expect(recorder.events).toEqual(['connected', 'message 1/n1 1']);
  stream.resume();
  expect(recorder.events.at(-1)).toBe('message 2/n2 1');
});

test.each([
  [401, 16, 'HTTP 401: not <you> (no credentials were sent)'],
  [403, 7, 'HTTP 403: not <you> (no credentials were sent)'],
  [404, 12, 'HTTP 404: not <you>'],
  [500, 14, 'HTTP 500: not <you>'],
  [302, 2, 'HTTP 302: not <you>'],
])('HTTP %i ends the stream with code %i', async (status, code, details) => {
  const { server, recorder, send } = setup();
  await send([]);
  await server.answer(status, ' not\n <you>\n');
  expect(recorder.events).toEqual([`end ${code} POST http://plane/v3/discovery:clusters: ${details}`]);
});

test.each([
  ['{', /^end 13 POST http:\/\/plane\/v3\/discovery:clusters: the answer is no DiscoveryResponse in JSON: /],
  ['[]', /a DiscoveryResponse must be an object$/],
  ['{"resources": {}}', /"resources" must be a list$/],
  ['{"version_info": {}}', /^end 13 .*version_?info/i],
])('an answer that is none: %s', async (body, expected) => {
  const { server, recorder, send } = setup();
  await send([]);
  await server.answer(200, body);
  expect(recorder.events).toEqual([expect.stringMatching(expected)]);
});

test('no answer in time, a broken connection, cancel: one end each, the request given up', async () => {
  const slow = setup();
  await slow.send([]);
  await slow.clock.advance(499);
  expect(slow.recorder.events).toEqual([]);
  await slow.clock.advance(1);
  expect(slow.recorder.events).toEqual(['end 14 POST http://plane/v3/discovery:clusters: no answer within 500 ms']);
  expect(slow.server.posts[0]?.signal.aborted).toBe(true);

  const broken = setup();
  await broken.send([]);
  await broken.server.fail('socket hang up');
  expect(broken.recorder.events).toEqual(['end 14 POST http://plane/v3/discovery:clusters: ECONNRESET: socket hang up']);

  const cancelled = setup();
  await cancelled.send([]);
  cancelled.stream.cancel();
  cancelled.stream.cancel();
  await settle();
  await cancelled.send(['x']);
  expect(cancelled.recorder.events).toEqual(['end 1 cancelled']);
  expect(cancelled.server.posts).toHaveLength(1);
  expect(cancelled.server.posts[0]?.signal.aborted).toBe(true);
});

test('credentials: collected for every request, never in a reason', async () => {
  let count = 0;
  const identity = {
    sent: 'x-token (from /run/token)',
    collect: async () => {
      if (++count === 3) throw Object.assign(new Error('cannot read /run/token: ENOENT'), { code: 16 });
      return { entries: [['x-token', `s3cret${count}`] as const], redact: (text: string) => text.replaceAll(/s3cret\d/g, '[redacted]') };
    },
  };
  const { server, clock, recorder, send } = setup({ identity });
  await send([]);
  await server.answer(304);
  await clock.advance(1500);
  await server.answer(304);
  expect(server.posts.map(({ headers }) => headers)).toEqual([[['x-token', 's3cret1']], [['x-token', 's3cret2']]]);
  await clock.advance(1500);
  expect(recorder.events).toEqual(['connected', 'end 16 no credentials: cannot read /run/token: ENOENT']);

  count = 0;
  const refused = setup({ identity });
  await refused.send([]);
  await refused.server.answer(401, 's3cret1 is wrong');
  expect(refused.recorder.events).toEqual([
    'end 16 POST http://plane/v3/discovery:clusters: HTTP 401: [redacted] is wrong (sent: x-token (from /run/token))',
  ]);
});

test('what REST has no path for, and two types on one stream, are refused', async () => {
  const virtual = setup({}, '/envoy.service.route.v3.VirtualHostDiscoveryService/DeltaVirtualHosts');
  expect(virtual.recorder.events).toEqual([expect.stringContaining('end 12 /envoy.service.route.v3.VirtualHostDiscoveryService')]);
  const mixed = setup();
  await mixed.send([]);
  await mixed.send([], { typeUrl: TYPE_URLS.listener });
  expect(mixed.recorder.events).toEqual(['end 12 REST has no aggregated stream']);
});

test('fields that are not known are left out and named, once', async () => {
  const { server, clock, recorder, log, send } = setup();
  await send([]);
  const body = (version: string): object => ({
    version_info: version,
    future: 1,
    resources: [{ ...cluster('a'), connect_timeout: '1s', fancy: { x: 1 } }],
  });
  await server.answer(200, body('1'));
  await clock.advance(1500);
  await server.answer(200, body('2'));
  expect(recorder.events).toEqual(['connected', 'message 1/ 1', 'message 2/ 1']);
  expect(log.lines).toHaveLength(1);
  expect(log.lines[0]).toContain('read without fields that are not known here: fancy');
});
