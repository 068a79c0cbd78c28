import { describe, expect, test } from 'vitest';
import { TYPE_URLS } from '../../../src/config/resource.ts';
import type { DecodeContext, Decoded, ResourceType } from '../../../src/xds/resource-type.ts';
import { RESOURCE_TYPES } from '../../../src/xds/resource-types.ts';
import { settle } from '../../../src/testing/fake-clock.ts';
import { ScriptedRandom, SeededRandom } from '../../../src/testing/seeded-random.ts';
import { FakeTransport, FakeType, SERVER, bootstrap, resource, wrapped } from './fake-control-plane.ts';
import { RecordingLogger, setup } from './setup.ts';

const LISTENER = { kind: 'listener', name: 'a' } as const;

describe('connection', () => {
  test('no stream before the first subscription; one stream for all', () => {
    const { client, transport } = setup();
    client.want([]);
    expect(transport.streams.length).toBe(0);
    client.want([LISTENER, { kind: 'routes', name: 'r' }, { kind: 'cluster', name: 'c' }]);
    client.want([LISTENER]);
    expect(transport.streams.length).toBe(1);
  });

  test('back-off 1 s x 1.6 to 120 s while no stream has a response, then anew (gRFC A57)', async () => {
    const { client, clock, transport } = setup();
    client.want([LISTENER]);
    const waits: number[] = [];
    for (let attempt = 1; attempt <= 14; attempt++) {
      const before = clock.now();
      transport.stream.end(14, 'refused');
      while (transport.streams.length === attempt) await clock.advance(1);
      waits.push(clock.now() - before);
    }
    const expected = Array.from({ length: 14 }, (_, index) => Math.ceil(Math.min(120_000, 1000 * 1.6 ** index)));
    // One millisecond of slack: the clock moves in steps of one.
    for (const [index, wait] of waits.entries()) expect(Math.abs(wait - (expected[index] ?? 0)), `wait ${index}`).toBeLessThanOrEqual(1);

    // A stream that served a response starts the back-off again; after a long life it is replaced at once.
    transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a')]);
    await clock.advance(5_000);
    transport.stream.end(14, 'restart');
    await settle();
    expect(transport.streams.length).toBe(16);
    transport.stream.end(14, 'refused');
    await clock.advance(999);
    expect(transport.streams.length).toBe(16);
    await clock.advance(1);
    expect(transport.streams.length).toBe(17);
  });

  test('a server that answers and hangs up at once is not called in a loop', async () => {
    const { client, clock, transport } = setup();
    client.want([LISTENER]);
    for (let round = 1; round <= 5; round++) {
      transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a')]);
      transport.stream.end(0, '');
      await clock.advance(999);
      expect(transport.streams.length).toBe(round);
      await clock.advance(1);
      expect(transport.streams.length).toBe(round + 1);
    }
  });

  test.each([
    [0, 800],
    [0.999_999, 1200],
  ])('jitter of 20 %%: chance %d waits %d ms', async (chance, wait) => {
    const { client, clock, transport } = setup({}, new ScriptedRandom(chance));
    client.want([LISTENER]);
    transport.stream.end(14, 'refused');
    await clock.advance(wait - 1);
    expect(transport.streams.length).toBe(1);
    await clock.advance(1);
    expect(transport.streams.length).toBe(2);
  });

  test('connectivity problems are told in words; waiting resources wait, configured ones stay (for ever)', async () => {
    const log = new RecordingLogger();
    const { client, clock, transport, changes } = setup({ log });
    client.want([LISTENER, { kind: 'listener', name: 'b' }]);
    transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a', 'A')]);
    expect(client.describe()).toMatchObject({ name: 'xds:cp:1', connected: true, problem: undefined });
    const before = changes();
    transport.refuse = { code: 14, details: 'connect ECONNREFUSED' };
    transport.stream.end(14, 'killed');
    await clock.advance(24 * 3600 * 1000);
    expect(client.describe()).toMatchObject({ connected: false, problem: 'cp:1: UNAVAILABLE: connect ECONNREFUSED' });
    expect(client.get('listener', 'a')).toMatchObject({ status: 'present', value: 'A' });
    expect(client.get('listener', 'b').status).toBe('waiting');
    expect(changes()).toBe(before);
    expect(log.lines.filter((line) => line.startsWith('warn'))).toEqual([
      'warn the control plane is not reachable; what is configured stays in use {"problem":"cp:1: UNAVAILABLE: connect ECONNREFUSED"}',
    ]);
    transport.refuse = undefined;
    await clock.advance(150_000);
    transport.stream.connect();
    expect(client.describe()).toMatchObject({ connected: true, problem: undefined });
    expect(log.lines.at(-1)).toMatch(/^info the control plane is reachable again/);
  });

  test('a server that connects and refuses is one problem, told once, until a response comes, or nothing does for five seconds', async () => {
    const log = new RecordingLogger();
    const { client, clock, transport } = setup({ log });
    client.want([LISTENER]);
    const problem = 'cp:1: UNAUTHENTICATED: no token';
    for (let attempt = 0; attempt < 3; attempt++) {
      transport.stream.connect();
      if (attempt > 0) expect(client.describe()).toMatchObject({ connected: true, problem });
      transport.stream.end(16, 'no token');
      expect(client.describe()).toMatchObject({ connected: false, problem });
      await clock.advance(3000);
    }
    const told = 'warn the control plane is not reachable; what is configured stays in use {"problem":"cp:1: UNAUTHENTICATED: no token"}';
    expect(log.lines).toEqual([told]);
    transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a', 'A')]);
    expect(client.describe().problem).toBeUndefined();
    expect(log.lines).toEqual([told, 'info the control plane is reachable again {"server":"cp:1"}']);
    transport.stream.end(16, 'no token');
    await clock.advance(2000);
    transport.stream.connect().end(16, 'no token');
    await clock.advance(2000);
    transport.stream.connect();
    await clock.advance(4999);
    expect(client.describe().problem).toBe(problem);
    await clock.advance(1);
    expect(client.describe()).toMatchObject({ connected: true, problem: undefined });
  });

  describe('a stream that ends without a response', () => {
    /** Has everything that it wants; the stream that brought it has ended. */
    async function satisfied(protocol: 'sotw' | 'delta') {
      const log = new RecordingLogger();
      const made = setup({ log, bootstrap: bootstrap({ servers: [{ ...SERVER, protocol }] }) });
      made.client.want([LISTENER]);
      const stream = made.transport.stream.connect();
      const body = resource('listener', 'a', 'A');
      if (protocol === 'sotw') stream.respond('listener', '1', 'n', [body]);
      else stream.respondDelta('listener', 'n', [{ name: 'a', version: '1', body }]);
      await made.clock.advance(60_000);
      stream.end(14, 'too old');
      await settle();
      expect(made.transport.streams).toHaveLength(2);
      return { ...made, log };
    }

    test('delta: the server may have had nothing to say (Envoy X-32); as often as that happens, it is no failure', async () => {
      const { client, clock, transport, log } = await satisfied('delta');
      for (let count = 2; count < 20; count++) {
        expect(transport.stream.connect().takeDelta()).toEqual([{ type: 'listener', sub: ['a'], initial: { a: '1' }, node: 'n1' }]);
        await clock.advance(60_000);
        transport.stream.end(14, 'too old');
        await settle();
        expect(transport.streams).toHaveLength(count + 1);
        // Until the next stream stands, how the last one was lost is all there is to say.
        expect(client.describe().problem).toBe('cp:1: UNAVAILABLE: too old');
      }
      transport.stream.connect();
      expect(client.describe().problem).toBeUndefined();
      expect(log.lines.filter((line) => line.startsWith('warn'))).toEqual([]);
    });

    test.each([
      ['state of the world: every type is answered', 'sotw', 60_000, [LISTENER]],
      ['delta, too soon', 'delta', 4_999, [LISTENER]],
      ['delta, with a name that is awaited', 'delta', 10_000, [LISTENER, { kind: 'listener', name: 'b' }]],
    ] as const)('%s: a failure (gRFC A57)', async (_title, protocol, ms, wanted) => {
      const { client, clock, transport } = await satisfied(protocol);
      client.want(wanted);
      for (const wait of [1000, 1600, 2560]) {
        const count = transport.streams.length;
        transport.stream.connect();
        await clock.advance(ms);
        transport.stream.end(14, 'gone');
        expect(client.describe().problem).toBe('cp:1: UNAVAILABLE: gone');
        await clock.advance(wait - 1);
        expect(transport.streams).toHaveLength(count);
        await clock.advance(1);
        expect(transport.streams).toHaveLength(count + 1);
      }
    });
  });

  test('a transport that cannot be made is a problem, not a crash; the loop goes on', async () => {
    const log = new RecordingLogger();
    let tries = 0;
    const transport = new FakeTransport();
    const { client, clock } = setup({
      log,
      transport: () => {
        if (++tries < 3) throw new TypeError('no such thing');
        return transport;
      },
    });
    client.want([LISTENER]);
    await clock.advance(2_000);
    expect(transport.streams.length).toBe(1);
    expect(log.lines.filter((line) => line.startsWith('error fault in the xDS client'))).toHaveLength(2);
  });

  test('garbage instead of a response ends the stream; it is opened again', async () => {
    const { client, clock, transport } = setup();
    client.want([LISTENER]);
    transport.stream.connect().events.onMessage(Uint8Array.of(0xff, 0xff, 0xff));
    expect(transport.stream.cancelled).toBe(true);
    await clock.advance(1_000);
    expect(transport.streams.length).toBe(2);
  });

  test('close: the stream is cancelled, the transport closed, nothing happens afterwards', async () => {
    const { client, clock, transport, changes } = setup();
    client.want([LISTENER]);
    transport.stream.connect();
    const { stream } = transport;
    await client.close();
    await client.close();
    expect([stream.cancelled, transport.closed, clock.pending]).toEqual([true, true, 0]);
    client.want([]);
    await clock.advance(300_000);
    expect([transport.streams.length, changes()]).toEqual([1, 0]);
  });

  test('while the last report of load waits for its server, no configuration is taken in any more, and no time to live begins', async () => {
    const { client, clock, transport } = setup();
    const key = { kind: 'listener', name: 'a' } as const;
    client.want([key]);
    const stream = transport.stream.connect();
    stream.respond('listener', '1', 'n', [wrapped('a', resource('listener', 'a', 'A'), 60_000)]);
    client.reportLoad('c', 's')?.load.drop();
    await settle();
    const closed = client.close();
    expect(stream.cancelled).toBe(true);
    await clock.advance(1000);
    await closed;
    expect(clock.pending).toBe(0);
  });

  test('close while waiting to reconnect', async () => {
    const { client, clock, transport } = setup();
    client.want([LISTENER]);
    transport.stream.end(14);
    await clock.advance(100);
    await client.close();
    expect([transport.streams.length, clock.pending]).toEqual([1, 0]);
  });
});

describe('the first request', () => {
  test('node with metadata, locality, user agent and client features', () => {
    const node = {
      id: 'n',
      cluster: 'c',
      locality: { region: 'r', zone: 'z', subZone: 's' },
      metadata: { A: 'x', B: { C: [1, true, null] } },
    };
    const { client, transport } = setup({ bootstrap: bootstrap({ node }) });
    client.want([LISTENER]);
    const sent = transport.stream.sent[0]?.node;
    expect(sent).toMatchObject({
      id: 'n',
      cluster: 'c',
      metadata: node.metadata,
      locality: { region: 'r', zone: 'z', subZone: 's' },
      userAgentName: 'inmesh',
      userAgentVersionType: { case: 'userAgentVersion', value: '1.2.3' },
      clientFeatures: [
        'envoy.lb.does_not_support_overprovisioning',
        'xds.config.resource-in-sotw',
        'xds.config.supports-resource-in-sotw',
        'xds.config.supports-resource-ttl',
      ],
    });
  });
});

describe('updates', () => {
  test.each(['sotw', 'delta'] as const)(
    '%s: each name is waited for as long as its config source says (Envoy X-84), else 15 s',
    async (protocol) => {
      const { client, clock, transport } = setup({ bootstrap: bootstrap({ servers: [{ ...SERVER, protocol }] }) });
      client.want([
        { kind: 'endpoints', name: 'short', waitMs: 2000 },
        { kind: 'endpoints', name: 'usual' },
        { kind: 'endpoints', name: 'endless', waitMs: 0 },
      ]);
      transport.stream.connect();
      const states = (): string[] => ['short', 'usual', 'endless'].map((name) => client.get('endpoints', name).status);
      await clock.advance(1999);
      expect(states()).toEqual(['waiting', 'waiting', 'waiting']);
      await clock.advance(1);
      expect(states()).toEqual(['failed', 'waiting', 'waiting']);
      expect(client.get('endpoints', 'short')).toMatchObject({ reason: expect.stringContaining('within 2 s') });
      await clock.advance(12_999);
      expect(states()).toEqual(['failed', 'waiting', 'waiting']);
      await clock.advance(1);
      expect(states()).toEqual(['failed', 'failed', 'waiting']);
      await clock.advance(3_600_000);
      expect(states()).toEqual(['failed', 'failed', 'waiting']);
    },
  );

  test('a resource that names itself twice is refused: the first name was looked at, the last one counts', async () => {
    const { client, transport } = setup({ types: RESOURCE_TYPES });
    client.want([
      { kind: 'endpoints', name: 'first' },
      { kind: 'endpoints', name: 'last' },
    ]);
    const named = (name: string): Buffer => Buffer.concat([Buffer.from([0x0a, name.length]), Buffer.from(name)]);
    const value = Buffer.concat([named('first'), named('last')]);
    transport.stream.connect().respond('endpoints', '1', 'n', [{ typeUrl: TYPE_URLS.endpoints, value }]);
    await settle();
    expect(client.get('endpoints', 'first')).toMatchObject({
      status: 'failed',
      reason: expect.stringContaining('is "last" in the resource itself'),
    });
    expect(client.get('endpoints', 'last').status).toBe('waiting');
  });

  test('one notification per response, after all of it; want() from within is sent after the ACK', () => {
    const { client, transport } = setup();
    const seen: string[] = [];
    client.onChange(() => {
      seen.push(`${client.get('cluster', 'a').status} ${client.get('cluster', 'b').status}`);
      client.want([
        { kind: 'cluster', name: 'a' },
        { kind: 'cluster', name: 'b' },
        { kind: 'endpoints', name: 'e' },
      ]);
    });
    client.want([
      { kind: 'cluster', name: 'a' },
      { kind: 'cluster', name: 'b' },
    ]);
    transport.stream.connect().respond('cluster', '1', 'n', [resource('cluster', 'a'), resource('cluster', 'b')]);
    expect(seen).toEqual(['present present']);
    expect(transport.stream.take().map(({ type, nonce }) => `${type} ${nonce ?? '-'}`)).toEqual(['cluster -', 'cluster n', 'endpoints -']);
  });

  test('unchanged resources are neither decoded nor delivered, and keep their identity', () => {
    const { client, transport, types, changes } = setup();
    client.want([
      { kind: 'cluster', name: 'a' },
      { kind: 'cluster', name: 'b' },
    ]);
    transport.stream.connect().respond('cluster', '1', 'n1', [resource('cluster', 'a', 'A'), resource('cluster', 'b', 'B')]);
    expect([types.cluster.decoded, changes()]).toEqual([2, 1]);
    transport.stream.respond('cluster', '2', 'n2', [resource('cluster', 'b', 'B'), resource('cluster', 'a', 'A')]);
    expect([types.cluster.decoded, changes()]).toEqual([2, 1]);
    expect(client.get('cluster', 'a')).toEqual({ status: 'present', value: 'A', version: '2' });
    transport.stream.respond('cluster', '3', 'n3', [resource('cluster', 'a', 'A2'), resource('cluster', 'b', 'B')]);
    expect([types.cluster.decoded, changes()]).toEqual([3, 2]);
  });

  test('an identical rejected response is not decoded again, also on the next stream; 1000 of them take few requests', async () => {
    const { client, clock, transport, types } = setup();
    client.want([{ kind: 'routes', name: 'r' }]);
    transport.stream.connect();
    let answered = -1;
    const begin = clock.now();
    // A server that sends the rejected response again as soon as it reads a NACK, for 10 minutes.
    for (let nonce = 0; clock.now() - begin < 600_000;) {
      if (transport.stream.sent.length > answered) {
        answered = transport.stream.sent.length;
        transport.stream.respond('routes', '1', `n${nonce++}`, [resource('routes', 'r', 'bad')]);
      }
      await clock.advance(100);
    }
    expect(types.routes.decoded).toBe(1);
    expect(transport.stream.sent.length).toBeLessThan(600_000 / 5_000 + 12);
    transport.stream.end(14);
    await clock.advance(1_000);
    transport.stream.connect().respond('routes', '1', 'm1', [resource('routes', 'r', 'bad')]);
    expect(types.routes.decoded).toBe(1);
    expect(transport.stream.take().map(({ nack }) => nack)).toEqual([
      undefined,
      '3: RouteConfiguration response rejected: resource "r" at some.field: bad',
    ]);
  });

  test('what nobody asked for is not decoded; nor is an unreadable resource a second time', () => {
    const { client, transport, types } = setup();
    client.want([{ kind: 'cluster', name: 'a' }]);
    transport.stream
      .connect()
      .respond('cluster', '1', 'n1', [resource('cluster', 'z'), resource('cluster', 'a'), resource('cluster', 'y', 'bad')]);
    expect(types.cluster.decoded).toBe(1);
    const unreadable = [resource('cluster', '', 'mute')];
    for (const nonce of ['n2', 'n3', 'n4']) transport.stream.respond('cluster', '2', nonce, unreadable);
    expect(types.cluster.decoded).toBe(2);
  });

  test('a NACK is logged once for each distinct error', () => {
    const log = new RecordingLogger();
    const { client, transport } = setup({ log });
    client.want([{ kind: 'routes', name: 'r' }]);
    transport.stream.connect();
    for (const [nonce, text] of [
      ['1', 'bad x'],
      ['2', 'bad x'],
      ['3', 'bad x'],
      ['4', 'bad y'],
    ] as const) {
      transport.stream.respond('routes', '1', nonce, [resource('routes', 'r', text)]);
    }
    expect(log.lines.filter((line) => line.startsWith('warn configuration rejected'))).toHaveLength(2);
  });

  test('a listener that throws does not end the stream', () => {
    const log = new RecordingLogger();
    const { client, transport } = setup({ log });
    client.onChange(() => {
      throw new Error('compile fault');
    });
    client.want([LISTENER]);
    transport.stream.connect().respond('listener', '1', 'n1', [resource('listener', 'a', '1')]);
    transport.stream.respond('listener', '2', 'n2', [resource('listener', 'a', '2')]);
    expect(client.get('listener', 'a')).toMatchObject({ value: '2' });
    expect(log.lines.filter((line) => line.includes('compile fault'))).toHaveLength(2);
  });
});

/** Every decode takes 3 ms of the clock. */
class SlowType<K extends 'endpoints' | 'cluster'> extends FakeType<K> implements ResourceType<K> {
  *decodeInSteps(bytes: Uint8Array, context: DecodeContext): Generator<undefined, Decoded<never>> {
    for (let step = 0; step < 3; step++) {
      this.spend(1);
      yield undefined;
    }
    return this.decode(bytes, context);
  }
  spend: (ms: number) => void = () => undefined;
}

describe('flow control', () => {
  test('a large response is taken in over several tasks, the stream paused, and applied as a whole', async () => {
    const slow = new SlowType('cluster');
    const { client, clock, transport, changes } = setup({ types: [slow] });
    let spent = 0;
    const now = clock.now.bind(clock);
    clock.now = () => now() + spent;
    slow.spend = (ms) => (spent += ms);
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    client.want(names.map((name) => ({ kind: 'cluster', name })));
    const { stream } = transport;
    stream.connect().respond(
      'cluster',
      '1',
      'n',
      names.map((name) => resource('cluster', name)),
    );
    expect([stream.paused, client.get('cluster', 'a').status, stream.sent.length, changes()]).toEqual([true, 'waiting', 1, 0]);
    let slices = 1;
    const set = clock.set.bind(clock);
    clock.set = (alarm, delayMs) => {
      expect([client.get('cluster', 'a').status, stream.sent.length]).toEqual(['waiting', 1]);
      slices++;
      return set(alarm, delayMs);
    };
    await clock.advance(1);
    // 6 resources of 3 ms are 18 ms of work, in slices of 2.5 (three steps of 1 ms): six pauses, the first before `set` was watched.
    expect([slices, stream.paused]).toEqual([6, false]);
    expect([client.get('cluster', 'a').status, client.get('cluster', 'f').status, changes()]).toEqual(['present', 'present', 1]);
    expect(stream.take().map(({ nonce }) => nonce)).toEqual([undefined, 'n']);
  });

  test('names that change meanwhile go with the ACK; a stream that ends meanwhile leaves nothing behind', async () => {
    const slow = new SlowType('cluster');
    const { client, clock, transport } = setup({ types: [slow] });
    let spent = 0;
    const now = clock.now.bind(clock);
    clock.now = () => now() + spent;
    slow.spend = (ms) => (spent += ms);
    const keys = ['a', 'b', 'c'].map((name) => ({ kind: 'cluster', name }) as const);
    client.want(keys);
    const entries = keys.map(({ name }) => resource('cluster', name));
    transport.stream.connect().respond('cluster', '1', 'n1', entries);
    expect(transport.stream.paused).toBe(true);
    client.want(keys.slice(1));
    expect(transport.stream.take()).toHaveLength(1);
    await clock.advance(10);
    expect(transport.stream.take()).toEqual([{ type: 'cluster', version: '1', nonce: 'n1', names: ['b', 'c'] }]);
    expect(client.get('cluster', 'a').status).toBe('waiting');

    transport.stream.respond(
      'cluster',
      '2',
      'n2',
      entries.map(({ typeUrl }, index) => ({ ...resource('cluster', ['a', 'b', 'c'][index] ?? '', 'new'), typeUrl })),
    );
    expect(transport.stream.paused).toBe(true);
    transport.stream.end(14);
    await clock.advance(2_000);
    expect(client.get('cluster', 'b')).toMatchObject({ value: '', version: '1' });
    expect(transport.stream.take()).toMatchObject([{ version: '1', names: ['b', 'c'] }]);
  });

  test.each(['sotw', 'delta'] as const)(
    '%s: a name given up and wanted again meanwhile is asked for anew, and awaited',
    async (protocol) => {
      const slow = new SlowType('cluster');
      const { client, clock, transport } = setup({ types: [slow], bootstrap: bootstrap({ servers: [{ ...SERVER, protocol }] }) });
      let spent = 0;
      const now = clock.now.bind(clock);
      clock.now = () => now() + spent;
      slow.spend = (ms) => (spent += ms);
      const e = { kind: 'cluster', name: 'e' } as const;
      const f = { kind: 'cluster', name: 'f' } as const;
      client.want([e, f]);
      const stream = transport.stream.connect();
      const respond = (nonce: string, ...written: readonly (readonly [string, string])[]): void => {
        const bodies = written.map(([name, text]) => ({ name, version: text, body: resource('cluster', name, text) }));
        if (protocol === 'delta') stream.respondDelta('cluster', nonce, bodies);
        else
          stream.respond(
            'cluster',
            nonce,
            nonce,
            bodies.map(({ body }) => body),
          );
      };
      respond('1', ['e', 'same'], ['f', 'old']);
      await clock.advance(10);
      if (protocol === 'delta') stream.takeDelta();
      else stream.take();
      // By its bytes `e` is known as what it was; then that is forgotten.
      respond('2', ['e', 'same'], ['f', 'new']);
      expect(stream.paused).toBe(true);
      client.want([f]);
      client.want([f, e]);
      await clock.advance(10);
      if (protocol === 'delta')
        expect(stream.takeDelta()).toEqual([
          { type: 'cluster', unsub: ['e'] },
          { type: 'cluster', sub: ['e'] },
          { type: 'cluster', nonce: '2' },
        ]);
      else
        expect(stream.take()).toEqual([
          { type: 'cluster', version: '2', nonce: '2', names: ['f'] },
          { type: 'cluster', version: '2', nonce: '2', names: ['f', 'e'] },
        ]);
      expect(client.get('cluster', 'f')).toMatchObject({ value: 'new' });
      expect(client.get('cluster', 'e').status).toBe('waiting');
      await clock.advance(15_000);
      expect(client.get('cluster', 'e')).toMatchObject({ reason: expect.stringContaining('sent no cluster of this name') });
      respond('3', ['e', 'same']);
      await clock.advance(10);
      expect(client.get('cluster', 'e')).toMatchObject({ value: 'same' });
    },
  );

  test('assignments stand alone: a large EDS response is applied slice by slice, so that no task has to apply it all', async () => {
    const endpoints = new SlowType('endpoints');
    const { client, clock, transport, changes } = setup({ types: [endpoints] });
    let spent = 0;
    const now = clock.now.bind(clock);
    clock.now = () => now() + spent;
    endpoints.spend = (ms) => (spent += ms);
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    client.want(names.map((name) => ({ kind: 'endpoints', name })));
    const { stream } = transport;
    stream.connect().respond(
      'endpoints',
      '1',
      'n',
      names.map((name) => resource('endpoints', name)),
    );
    expect([stream.paused, client.get('endpoints', 'a').status, stream.sent.length, changes()]).toEqual([true, 'waiting', 1, 0]);
    let slices = 1;
    const set = clock.set.bind(clock);
    clock.set = (alarm, delayMs) => {
      expect([client.get('endpoints', 'f').status, stream.sent.length]).toEqual(['waiting', 1]);
      slices++;
      return set(alarm, delayMs);
    };
    await clock.advance(1);
    // 6 resources of 3 ms are 18 ms of work, in slices of 2.5 (three steps of 1 ms): six pauses, the first before `set` was watched.
    expect([slices, stream.paused]).toEqual([6, false]);
    expect([client.get('endpoints', 'a').status, client.get('endpoints', 'f').status, changes()]).toEqual(['present', 'present', 6]);
    expect(stream.take().map(({ nonce }) => nonce)).toEqual([undefined, 'n']);
  });
});

describe('names and servers', () => {
  const other = { ...SERVER, uri: 'other:2' };
  const federated = bootstrap({
    serverListenerTemplate: 'in/%s',
    clientListenerTemplate: 'xdstp://auth/L/%s',
    authorities: {
      auth: { servers: [other], clientListenerTemplate: '' },
      same: { servers: [{ ...SERVER }], clientListenerTemplate: '' },
    },
  });

  test('candidates and the inbound listener come from the templates', () => {
    const { client } = setup({ bootstrap: federated });
    expect(client.candidates('greeter:80')).toEqual(['greeter:80', 'greeter', 'xdstp://auth/L/greeter:80']);
    expect(client.inboundListener('::1', 80)).toBe('in/[::1]:80');
    expect(setup().client.inboundListener('::1', 80)).toBeUndefined();
  });

  test('an authority has its server; the same server configuration shares a stream (gRFC A47)', () => {
    const { client, transport, transports } = setup({ bootstrap: federated });
    client.want([LISTENER, { kind: 'listener', name: 'xdstp://auth/L/x' }, { kind: 'listener', name: 'xdstp://same/L/y' }]);
    expect(transport.streams).toHaveLength(1);
    expect(transport.stream.take()).toMatchObject([{ names: ['a', 'xdstp://same/L/y'] }]);
    const second = transports.get('other:2');
    expect(second?.stream.take()).toMatchObject([{ names: ['xdstp://auth/L/x'], node: 'n1' }]);
    second?.stream.connect().respond('listener', '1', 'n', [resource('listener', 'xdstp://auth/L/x', 'X')]);
    expect(client.get('listener', 'xdstp://auth/L/x')).toMatchObject({ value: 'X' });
    // A complete list of one server says nothing about the names of another.
    transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a')]);
    expect(client.describe().resources.find(({ name }) => name === 'xdstp://auth/L/x')?.status).toBe('ACKED');
  });

  test('an unknown authority fails that name alone, and says so', async () => {
    const { client, changes } = setup({ bootstrap: federated });
    client.want([{ kind: 'cluster', name: 'xdstp://nobody/C/x' }]);
    expect(changes()).toBe(0);
    await settle();
    expect(changes()).toBe(1);
    expect(client.get('cluster', 'xdstp://nobody/C/x')).toEqual({ status: 'failed', reason: 'the bootstrap has no authority "nobody"' });
  });

  test('a type that nobody decodes fails', async () => {
    const { client } = setup();
    client.want([{ kind: 'secret', name: 's' }]);
    await settle();
    expect(client.get('secret', 's')).toEqual({ status: 'failed', reason: 'resources of type secret are not supported' });
  });

  test('listeners(): those of a wildcard LDS, none on demand', () => {
    const on = setup({ wildcard: true });
    on.transport.stream
      .connect()
      .respond('listener', '1', 'n', [resource('listener', 'x'), resource('listener', 'y', 'bad'), resource('listener', 'z')]);
    expect(on.client.listeners()).toEqual(['x', 'z']);
    on.transport.stream.respond('listener', '2', 'm', [resource('listener', 'z')]);
    expect(on.client.listeners()).toEqual(['z']);
    const off = setup();
    off.client.want([LISTENER]);
    off.transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'a')]);
    expect(off.client.listeners()).toEqual([]);
  });

  test.each([
    ['kept, and listed last', [], ['y', 'x']],
    ['gone with fail_on_data_errors', ['fail_on_data_errors'], ['y']],
  ] as const)('listeners(): one that the list lost while it is in use is %s (gRFC A88)', (_title, features, listed) => {
    const { client, transport } = setup({ wildcard: true, bootstrap: bootstrap({ servers: [{ ...SERVER, features }] }) });
    transport.stream.connect().respond('listener', '1', 'n', [resource('listener', 'x'), resource('listener', 'z')]);
    client.want([{ kind: 'listener', name: 'x' }]);
    transport.stream.respond('listener', '2', 'm', [resource('listener', 'y')]);
    expect(client.listeners()).toEqual(listed);
  });
});

test('describe: CSDS status, version, time of update, and fields without effect, which go with their resource', () => {
  const { client, clock, transport } = setup();
  const keys = ['a', 'b', 'c'].map((name) => ({ kind: 'cluster', name }) as const);
  client.want(keys);
  transport.stream.connect().respond('cluster', '1', 'n', [resource('cluster', 'a', 'extra'), resource('cluster', 'b', 'bad')]);
  const typeUrl = 'type.googleapis.com/envoy.config.cluster.v3.Cluster';
  expect(client.describe()).toEqual({
    name: 'xds:cp:1',
    connected: true,
    problem: undefined,
    servers: [{ uri: 'cp:1', connected: true, problem: undefined }],
    resources: [
      { typeUrl, name: 'a', version: '1', status: 'ACKED', error: undefined, updatedAt: clock.wallTime() },
      {
        typeUrl,
        name: 'b',
        version: '',
        status: 'NACKED',
        error: 'cluster "b" at some.field: bad',
        failed: { details: 'cluster "b" at some.field: bad', version: '1', at: clock.wallTime() },
        updatedAt: 0,
      },
      { typeUrl, name: 'c', version: '', status: 'REQUESTED', error: undefined, updatedAt: 0 },
    ],
    unsupported: [{ kind: 'cluster', field: 'extra', resource: 'a' }],
  });
  client.want(keys.slice(1));
  expect(client.describe().unsupported).toEqual([]);
  expect(client.describe().resources.map(({ name }) => name)).toEqual(['b', 'c']);
});

test('random chance is used for waits only, within its bounds', async () => {
  const { client, clock, transport } = setup({}, new SeededRandom(7));
  client.want([LISTENER]);
  for (let attempt = 0; attempt < 40; attempt++) {
    const before = clock.now();
    transport.stream.end(14);
    const count = transport.streams.length;
    while (transport.streams.length === count) await clock.advance(50);
    const nominal = Math.min(120_000, 1000 * 1.6 ** attempt);
    expect(clock.now() - before).toBeGreaterThanOrEqual(nominal * 0.8);
    expect(clock.now() - before).toBeLessThanOrEqual(nominal * 1.2 + 50);
  }
});
